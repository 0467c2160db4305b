//! What several answers come to, hook by hook.

use types::FinalizeAction::{Continue, Finalize, Revise};
use types::gate_decision::{Decision as GateOr, Pass};
use types::message_rewrite::Replacement;

use super::samples::*;
use super::*;

fn prompt(prepend: &str, append: &str) -> types::PromptContribution {
    types::PromptContribution {
        prepend_context: prepend.to_owned(),
        append_context: append.to_owned(),
        ..Default::default()
    }
}

fn tools(names: &[&str]) -> Option<types::ToolList> {
    Some(types::ToolList { names: names.iter().map(|name| (*name).to_owned()).collect() })
}

#[test]
fn without_an_opinion_there_is_no_result() {
    for row in CATALOGUE {
        assert_eq!(merged(row.hook, Vec::new()), Merged::default(), "{}", row.name);
    }
    let empty = Kind::Prompt(types::PromptContribution::default());
    assert_eq!(merged(Hook::BeforePromptBuild, vec![empty]), Merged::default());
    assert_eq!(merged(Hook::BeforeAgentRun, vec![gate_pass()]), Merged::default());
    assert_eq!(merged(Hook::BeforeToolCall, vec![params("")]), Merged::default());
    assert_eq!(merged(Hook::ResolveExecEnv, vec![variables(&[("PATH", "/")])]), Merged::default());
    assert_eq!(merged(Hook::BeforeModelResolve, vec![Kind::Model(Default::default())]), Merged::default());
    assert_eq!(merged(Hook::BeforeMessageWrite, vec![Kind::Message(Default::default())]), Merged::default());
}

#[test]
fn prompts_are_joined_with_a_blank_line() {
    let answers = vec![Kind::Prompt(prompt("a", "")), Kind::Prompt(prompt("", "x")), Kind::Prompt(prompt("b\n", "y"))];
    for hook in [Hook::AgentTurnPrepare, Hook::HeartbeatPromptContribution, Hook::BeforePromptBuild] {
        let merged = merged(hook, answers.clone());
        assert_eq!(merged.result, Some(wrap(Kind::Prompt(prompt("a\n\nb\n", "x\n\ny")))));
        assert_eq!((merged.decided_by, merged.stopped), (None, false));
    }
}

#[test]
fn the_first_system_prompt_wins_and_lists_of_tools_intersect() {
    let with = |system: Option<&str>, tools_allow| {
        let system_prompt = system.map(str::to_owned);
        Kind::Prompt(types::PromptContribution { system_prompt, tools_allow, ..prompt("", "") })
    };
    let of = |answers| merged(Hook::BeforePromptBuild, answers).result.and_then(|result| result.result);
    let answers =
        vec![with(None, tools(&["c", "a", "b"])), with(Some(""), None), with(Some("late"), tools(&["b", "c", "d"]))];
    assert_eq!(of(answers), Some(with(Some(""), tools(&["c", "b"]))));
    // A list that cannot be read allows nothing, and an empty one as well.
    assert_eq!(of(vec![with(None, tools(&["a"])), with(None, tools(&["a", "B"]))]), Some(with(None, tools(&[]))));
    assert_eq!(of(vec![with(None, tools(&[]))]), Some(with(None, tools(&[]))));
}

#[test]
fn a_prompt_that_is_too_long_fails_but_its_list_of_tools_counts() {
    let long = || "é".repeat(65_536);
    let mut one = prompt(&long(), &long());
    (one.prepend_system_context, one.append_system_context) = (long(), long());
    one.system_prompt = Some("s".to_owned());
    let all = 4 * (2 * 65_536 + 2);
    let fit = MAX_PAYLOAD / all;
    let mut answers = vec![Kind::Prompt(one.clone()); fit];
    answers.push(Kind::Prompt(types::PromptContribution { tools_allow: tools(&["a"]), ..one }));
    answers.push(Kind::Prompt(prompt("short", "")));
    let merged = merged(Hook::BeforePromptBuild, answers);
    let failed: Vec<_> = merged.failed.iter().map(|(position, why)| (*position, why.as_str())).collect();
    assert_eq!(failed, [(fit, "made the prompt longer than 3145728 bytes")]);
    let Some(Kind::Prompt(whole)) = merged.result.and_then(|result| result.result) else { unreachable!("a prompt") };
    assert_eq!(whole.tools_allow, tools(&["a"]));
    assert!(whole.prepend_context.ends_with("é\n\nshort"));
    assert_eq!(whole.prepend_context.len(), fit * (2 * 65_536 + 2) + 5);
}

#[test]
fn of_a_model_each_field_is_the_first() {
    let model = |model: Option<&str>, provider: Option<&str>| {
        Kind::Model(types::ModelOverride { model: model.map(str::to_owned), provider: provider.map(str::to_owned) })
    };
    let answers = vec![model(None, Some("p")), model(Some("m"), Some("q")), model(Some("n"), None)];
    assert_eq!(merged(Hook::BeforeModelResolve, answers).result, Some(wrap(model(Some("m"), Some("p")))));
}

#[test]
fn a_gate_ends_at_the_first_block() {
    let merged = merged(Hook::BeforeAgentRun, vec![gate_pass(), gate_block("no"), gate_block("never")]);
    assert_eq!(merged.result, Some(wrap(gate_block("no"))));
    assert_eq!((merged.decided_by, merged.stopped), (Some(1), true));
    let unsaid = super::merged(Hook::BeforeInstall, vec![gate_block(" ")]);
    assert_eq!(unsaid.result, Some(wrap(gate_block("blocked by handler"))));
}

#[test]
fn findings_are_put_one_after_the_other() {
    let pass = |findings: &[&str]| gate(GateOr::Pass(Pass {}), findings);
    let two = vec![pass(&["{\"a\":1}", "{}"]), pass(&["{\"b\":1}"])];
    let whole = merged(Hook::BeforeInstall, two.clone());
    assert_eq!(whole.result, Some(wrap(pass(&["{\"a\":1}", "{}", "{\"b\":1}"]))));
    assert_eq!((whole.decided_by, whole.stopped), (None, false));
    let blocked = [two, vec![gate(GateOr::Block(block("no")), &["{\"c\":1}"]), pass(&["{}"])]].concat();
    let whole = merged(Hook::BeforeInstall, blocked);
    let all = ["{\"a\":1}", "{}", "{\"b\":1}", "{\"c\":1}"];
    assert_eq!(whole.result, Some(wrap(gate(GateOr::Block(block("no")), &all))));
    // What informs is left out before what decides.
    let many = merged(Hook::BeforeInstall, vec![pass(&["{}"; 255]), gate(GateOr::Block(block("no")), &["{}"; 3])]);
    assert_eq!(many.result, Some(wrap(gate(GateOr::Block(block("no")), &["{}"; 256]))));
    let why = "the last 2 findings were left out, as there are too many".to_owned();
    assert_eq!(many.notices, [(1, why)]);
    let long = format!("{{\"a\":[{}]}}", vec![format!("\"{}\"", "a".repeat(65_000)); 4].join(","));
    let fit = MAX_PAYLOAD / long.len();
    let many = merged(Hook::BeforeInstall, vec![pass(&vec![long.as_str(); fit + 1]), gate_block("no")]);
    assert_eq!(many.result, Some(wrap(gate(GateOr::Block(block("no")), &vec![long.as_str(); fit]))));
    assert_eq!(many.notices.len(), 1);
}

#[test]
fn the_first_claim_is_taken() {
    let claim = |reason: &str| Kind::Claim(types::Claim { reason: reason.to_owned(), ..Default::default() });
    for hook in [Hook::BeforeAgentReply, Hook::InboundClaim, Hook::BeforeDispatch, Hook::ReplyDispatch] {
        let whole = merged(hook, vec![claim("mine"), claim("no, mine")]);
        assert_eq!(whole.result, Some(wrap(claim("mine"))));
        assert_eq!((whole.decided_by, whole.stopped), (Some(0), false));
    }
}

#[test]
fn of_a_message_that_is_sent_each_field_is_the_last() {
    let sending = |content: Option<&str>, reason: &str, metadata: &str| types::MessageRewrite {
        replacement: content.map(|content| Replacement::Content(content.to_owned())),
        cancel: false,
        reason: reason.to_owned(),
        metadata_json: json(metadata),
    };
    let answers = vec![
        Kind::Message(sending(Some("a"), "first", "")),
        Kind::Message(sending(Some(""), "", "{\"a\":1}")),
        Kind::Message(sending(None, "last", "")),
    ];
    let whole = merged(Hook::MessageSending, answers.clone());
    assert_eq!(whole.result, Some(wrap(Kind::Message(sending(Some(""), "last", "{\"a\":1}")))));
    let cancel = Kind::Message(types::MessageRewrite { cancel: true, ..sending(Some("b"), "", "") });
    let whole =
        merged(Hook::MessageSending, [answers, vec![cancel, Kind::Message(sending(Some("c"), "c", ""))]].concat());
    let cancelled = types::MessageRewrite { cancel: true, ..sending(None, "last", "{\"a\":1}") };
    assert_eq!(whole.result, Some(wrap(Kind::Message(cancelled))));
    assert_eq!((whole.decided_by, whole.stopped), (Some(3), true));
}

/// Each handler of a chained hook is shown what the one before made of the member.
#[test]
fn chained_hooks_see_what_the_one_before_made() {
    let chained = [
        (Hook::ReplyPayloadSending, "payload"),
        (Hook::ToolResultPersist, "message"),
        (Hook::BeforeMessageWrite, "message"),
    ];
    for (hook, member) in chained {
        let event = format!("{{\"x\": 1,\"{member}\":{{\"text\":\"one\"}},\"y\":[]}}");
        let mut merge = Merge::new(hook, json(&event), MAX_PAYLOAD);
        let shown = |merge: &mut Merge, position| merge.event(position).expect("an object");
        assert_eq!(shown(&mut merge, 0), event);
        assert_eq!(merge.add(0, false, wrap(message("{\"text\":\"two\"}"))), Ok(Flow::GoOn));
        // One that only gives a reason changes nothing.
        assert_eq!(merge.add(2, false, wrap(plain(ResultKind::Message))), Ok(Flow::GoOn));
        assert_eq!(merge.add(4, false, wrap(message("{}"))), Ok(Flow::GoOn));
        assert_eq!(shown(&mut merge, 0), event);
        for position in [1, 2, 3, 4] {
            assert_eq!(shown(&mut merge, position), event.replace("one", "two"), "{position}");
        }
        assert_eq!(shown(&mut merge, 5), event.replace("{\"text\":\"one\"}", "{}"));
        let Some(Kind::Message(whole)) = merge.finish().result.and_then(|result| result.result) else {
            unreachable!("it is another answer")
        };
        assert_eq!(whole.replacement, Some(Replacement::MessageJson(json("{}"))));
        assert_eq!(whole.reason, "x");
    }
    let mut sending = Merge::new(Hook::MessageSending, json("{\"content\":\"a\"}"), MAX_PAYLOAD);
    let changed =
        types::MessageRewrite { replacement: Some(Replacement::Content("b".to_owned())), ..Default::default() };
    assert_eq!(sending.add(0, false, wrap(Kind::Message(changed))), Ok(Flow::GoOn));
    assert_eq!(sending.event(1), Ok(json("{\"content\":\"a\"}")));
}

#[test]
fn a_message_that_makes_the_event_too_long_is_a_failure_unless_it_is_withheld() {
    let event = "{\"payload\":{}}";
    let long = format!("{{\"a\":\"{}\"}}", "a".repeat(12));
    let most = event.len() - 2 + long.len();
    let mut merge = Merge::new(Hook::ReplyPayloadSending, json(event), most);
    assert_eq!(merge.add(0, false, wrap(message(&long))), Ok(Flow::GoOn));
    let longer = long.replace("aa", "aaa");
    let why = format!("made the call {} bytes long, at most {most} can be passed on", event.len() - 2 + longer.len());
    assert_eq!(merge.add(1, false, wrap(message(&longer))), Err(why));
    let Kind::Message(withheld) = message(&longer) else { unreachable!("it is another answer") };
    let withheld = Kind::Message(types::MessageRewrite { cancel: true, ..withheld });
    assert_eq!(merge.add(2, false, wrap(withheld)), Ok(Flow::Stop));
    let whole = merge.finish();
    assert_eq!((whole.decided_by, whole.stopped), (Some(2), true));
}

/// What is to be read decides where it is read: the event counts once somebody may have changed it.
#[test]
fn the_weight_of_a_merge_is_what_it_reads() {
    let event = format!("{{\"params\":{{\"a\":\"{}\"}}}}", "x".repeat(70_000));
    let mut merge = Merge::new(Hook::BeforeToolCall, json(&event), MAX_PAYLOAD);
    assert_eq!(merge.weight(), 0);
    assert_eq!(merge.add(0, false, wrap(params("{\"a\":1}"))), Ok(Flow::GoOn));
    assert!((70_000..71_000).contains(&merge.weight()));
    let mut merge = Merge::new(Hook::MessageSending, json(&event), MAX_PAYLOAD);
    assert_eq!(merge.add(0, false, wrap(plain(ResultKind::Message))), Ok(Flow::GoOn));
    assert!((1..100).contains(&merge.weight()));
}

#[test]
fn of_a_variable_the_last_value_stays() {
    let answers = vec![variables(&[("A", "1"), ("B", "1")]), variables(&[("B", "2"), ("C", "2")])];
    let whole = merged(Hook::ResolveExecEnv, answers);
    assert_eq!(whole.result, Some(wrap(variables(&[("A", "1"), ("B", "2"), ("C", "2")]))));
}

#[test]
fn a_handler_that_sets_a_variable_too_many_has_failed() {
    let named = |from: usize, to: usize, value: &str| {
        let names: Vec<String> = (from..to).map(|index| format!("V{index}")).collect();
        variables(&names.iter().map(|name| (name.as_str(), value)).collect::<Vec<_>>())
    };
    let answers = vec![named(0, 127, "1"), named(100, 128, "2"), named(127, 129, "3"), named(0, 1, "4")];
    let whole = merged(Hook::ResolveExecEnv, answers);
    assert_eq!(whole.failed.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [2]);
    let Some(Kind::ExecEnvironment(whole)) = whole.result.and_then(|result| result.result) else {
        unreachable!("it is another answer")
    };
    assert_eq!(whole.variables.len(), 128);
    assert_eq!((whole.variables["V0"].as_str(), whole.variables["V127"].as_str()), ("4", "2"));
    // 33 values of 98,304 bytes are more than 3 MiB; one in the place of another is not one more.
    let long = "€".repeat(32_768);
    let answers = vec![named(0, 31, &long), named(30, 31, &long), named(31, 33, &long), named(31, 32, "x")];
    let whole = merged(Hook::ResolveExecEnv, answers);
    assert_eq!(whole.failed.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [2]);
    let Some(Kind::ExecEnvironment(whole)) = whole.result.and_then(|result| result.result) else {
        unreachable!("it is another answer")
    };
    assert_eq!((whole.variables.len(), whole.variables["V31"].as_str()), (32, "x"));
}

#[test]
fn verdicts_are_kept_apart_and_any_block_vetoes() {
    let apart = |answers: Vec<Kind>| {
        let whole = merged(Hook::SkillProposalEvaluate, answers.clone());
        let kept: Vec<_> = whole.evaluations.into_iter().map(|(_, verdict)| Kind::Evaluation(verdict)).collect();
        assert_eq!(kept, answers);
        assert_eq!(whole.result, None);
        (whole.decided_by, whole.stopped)
    };
    assert_eq!(apart(vec![verdict(false, "a", "{}"), verdict(false, "b", "")]), (None, false));
    assert_eq!(apart(vec![verdict(false, "a", ""), verdict(true, "b", ""), verdict(true, "c", "1")]), (Some(1), true));
    let mut merge = Merge::new(Hook::SkillProposalEvaluate, json("{}"), MAX_PAYLOAD);
    assert_eq!(merge.add(0, false, wrap(verdict(true, "no", ""))), Ok(Flow::GoOn));
}

#[test]
fn a_veto_counts_even_where_its_detail_is_too_much() {
    let detail = format!("[{}]", vec![format!("\"{}\"", "a".repeat(65_000)); 4].join(","));
    let fit = MAX_PAYLOAD / detail.len();
    let mut answers = vec![verdict(false, "", &detail); fit];
    answers.push(verdict(true, "no", &detail));
    let whole = merged(Hook::SkillProposalEvaluate, answers);
    assert_eq!((whole.decided_by, whole.stopped), (Some(fit), true));
    assert_eq!(whole.evaluations.last().cloned().map(|(_, it)| Kind::Evaluation(it)), Some(verdict(true, "no", "")));
    assert_eq!(whole.notices, [(fit, "detail_json was left out, as there is too much of all".to_owned())]);
}

#[test]
fn the_first_error_keeps_a_subagent_from_starting() {
    let whole = merged(Hook::SubagentSpawning, vec![ready(false), ready(true), ready(false)]);
    assert_eq!((whole.result, whole.stopped), (Some(wrap(ready(true))), false));
    let whole = merged(Hook::SubagentSpawning, vec![ready(true), spawn_error("a"), spawn_error("b")]);
    assert_eq!(whole.result, Some(wrap(spawn_error("a"))));
    assert_eq!((whole.decided_by, whole.stopped), (Some(1), true));
}

#[test]
fn the_first_target_is_taken() {
    let target = |origin: &str| Kind::SubagentDelivery(types::SubagentDelivery { origin_json: json(origin) });
    let whole = merged(Hook::SubagentDeliveryTarget, vec![target("{\"a\":1}"), target("{}")]);
    assert_eq!((whole.result, whole.decided_by, whole.stopped), (Some(wrap(target("{\"a\":1}"))), Some(0), false));
}

#[test]
fn finalize_beats_revise_beats_continue() {
    let propose = |answers| merged(Hook::BeforeAgentFinalize, answers).finalize;
    let retries = vec![retry("again", "", 1)];
    assert_eq!(propose(vec![finalize(Continue, "fine", Vec::new())]), None);
    // Neither a reason nor a retry: nothing is asked for.
    assert_eq!(propose(vec![finalize(Revise, " ", vec![retry(" \n", "k", 3)])]), None);
    let answers = vec![
        finalize(Revise, "a", retries.clone()),
        finalize(Continue, "b", Vec::new()),
        finalize(Revise, "c", vec![retry("x", "k", 0), retry("y", "", 7)]),
    ];
    let both = propose(answers.clone()).expect("a proposal");
    assert_eq!((both.action, both.reason.as_str(), both.finalised_by), (Revise, "a\n\nc", None));
    assert_eq!(both.retries, [(0, retry("again", "", 1)), (2, retry("x", "k", 1)), (2, retry("y", "", 7))]);
    let more = [answers, vec![finalize(Finalize, "enough", retries), finalize(Finalize, "too", Vec::new())]].concat();
    let whole = merged(Hook::BeforeAgentFinalize, more);
    assert_eq!((whole.result, whole.decided_by, whole.stopped), (None, Some(3), false));
    let last = whole.finalize.expect("a proposal");
    assert_eq!((last.action, last.reason.as_str(), last.finalised_by), (Finalize, "enough", Some(3)));
    assert_eq!(last.retries, []);
}

#[test]
fn reasons_and_instructions_have_their_bound_together() {
    let reason = "€".repeat(2_000);
    let fit = (1 << 20) / (reason.len() + 2);
    let whole = merged(Hook::BeforeAgentFinalize, vec![finalize(Revise, &reason, Vec::new()); fit + 1]);
    assert_eq!(whole.notices, [(fit, "reason was left out, as there is too much of all".to_owned())]);
    assert_eq!(whole.finalize.map(|it| it.reason.len()), Some(fit * (reason.len() + 2) - 2));
    let long = retry(&"€".repeat(32_768), "", 1);
    let fit = (1 << 20) / long.instruction.len();
    let answers =
        vec![finalize(Revise, "", vec![long.clone(); 8]), finalize(Revise, "", vec![long, retry("x", "", 1)])];
    let whole = merged(Hook::BeforeAgentFinalize, [answers.clone(), answers].concat());
    assert_eq!(whole.finalize.map(|it| it.retries.len()), Some(fit + 1), "a short one after them still fits");
    assert_eq!(whole.notices.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn retries_have_their_bound() {
    let eight = |letter: &str| (0..8).map(|index| retry(&format!("{letter}{index}"), "", 1)).collect::<Vec<_>>();
    let answers = (0..9).map(|index| finalize(Revise, "", eight(&index.to_string()))).collect();
    let whole = merged(Hook::BeforeAgentFinalize, answers);
    let proposal = whole.finalize.expect("a proposal");
    assert_eq!(proposal.retries.len(), 64);
    assert_eq!(proposal.retries[63], (7, retry("77", "", 1)));
    assert_eq!(whole.notices, [(8, "retries were left out, as there are too many".to_owned())]);
}
