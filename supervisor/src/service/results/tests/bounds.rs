//! Every bound holds exactly at its number.

use types::evaluation::{Skipped, Verdict};
use types::gate_decision::{Decision as GateOr, Pass};
use types::message_rewrite::Replacement;

use super::samples::*;
use super::*;

/// An answer with a text of some length in one place.
type Make = fn(String) -> Kind;

fn prompt(fill: impl Fn(&mut types::PromptContribution)) -> Kind {
    let mut added = types::PromptContribution::default();
    fill(&mut added);
    Kind::Prompt(added)
}

fn asking(fill: impl Fn(&mut types::ApprovalRequest)) -> Kind {
    let mut request = approval("t");
    fill(&mut request);
    proceed(types::Proceed { params_json: Bytes::new(), approval: Some(request) })
}

fn run_block(fill: impl Fn(&mut types::Block)) -> Kind {
    let mut block = block("r");
    fill(&mut block);
    gate(GateOr::Block(block), &[])
}

#[test]
fn texts_have_their_bound_in_utf_16_units() {
    let cases: &[(Hook, usize, Make, &str)] = &[
        (Hook::BeforeToolCall, 2_000, |text| tool_block(&text), "a reason longer than 2,000 characters"),
        (
            Hook::BeforeToolCall,
            80,
            |text| asking(|it| it.title = text.clone()),
            "an approval's title longer than 80 characters",
        ),
        (
            Hook::BeforeToolCall,
            512,
            |text| asking(|it| it.description = text.clone()),
            "an approval's description longer than 512 characters",
        ),
        (
            Hook::BeforeToolCall,
            16_384,
            |text| asking(|it| it.detail = text.clone()),
            "an approval's detail longer than 16,384 characters",
        ),
        (
            Hook::BeforeAgentRun,
            2_000,
            |text| run_block(|it| it.reason = text.clone()),
            "a reason longer than 2,000 characters",
        ),
        (
            Hook::BeforeAgentRun,
            2_000,
            |text| run_block(|it| it.message = text.clone()),
            "a message longer than 2,000 characters",
        ),
        (
            Hook::BeforeAgentRun,
            64,
            |text| run_block(|it| it.category = text.clone()),
            "a category longer than 64 characters",
        ),
        (
            Hook::AgentTurnPrepare,
            65_536,
            |text| prompt(|it| it.prepend_context = text.clone()),
            "a prepend_context longer than 65,536 characters",
        ),
        (
            Hook::HeartbeatPromptContribution,
            65_536,
            |text| prompt(|it| it.append_context = text.clone()),
            "an append_context longer than 65,536 characters",
        ),
        (
            Hook::BeforePromptBuild,
            65_536,
            |text| prompt(|it| it.prepend_system_context = text.clone()),
            "a prepend_system_context longer than 65,536 characters",
        ),
        (
            Hook::BeforePromptBuild,
            65_536,
            |text| prompt(|it| it.append_system_context = text.clone()),
            "an append_system_context longer than 65,536 characters",
        ),
        (
            Hook::BeforePromptBuild,
            65_536,
            |text| prompt(|it| it.system_prompt = Some(text.clone())),
            "a system_prompt longer than 65,536 characters",
        ),
        (
            Hook::MessageSending,
            65_536,
            |text| {
                Kind::Message(types::MessageRewrite {
                    replacement: Some(Replacement::Content(text)),
                    ..Default::default()
                })
            },
            "a content longer than 65,536 characters",
        ),
        (
            Hook::BeforeMessageWrite,
            2_000,
            |text| Kind::Message(types::MessageRewrite { reason: text, ..Default::default() }),
            "a reason longer than 2,000 characters",
        ),
        (
            Hook::BeforeDispatch,
            2_000,
            |text| Kind::Claim(types::Claim { reason: text, ..Default::default() }),
            "a reason longer than 2,000 characters",
        ),
        (
            Hook::BeforeAgentFinalize,
            2_000,
            |text| finalize(types::FinalizeAction::Revise, &text, Vec::new()),
            "a reason longer than 2,000 characters",
        ),
        (
            Hook::BeforeAgentFinalize,
            32_768,
            |text| finalize(types::FinalizeAction::Revise, "", vec![retry(&format!(" {text}\n"), "", 1)]),
            "an instruction longer than 32,768 characters",
        ),
        (
            Hook::BeforeAgentFinalize,
            512,
            |text| finalize(types::FinalizeAction::Revise, "", vec![retry("x", &format!(" {text}\n"), 1)]),
            "an idempotency_key longer than 512 characters",
        ),
        (
            Hook::BeforeModelResolve,
            256,
            |text| Kind::Model(types::ModelOverride { model: Some(text), provider: None }),
            "a model longer than 256 characters",
        ),
        (
            Hook::BeforeModelResolve,
            256,
            |text| Kind::Model(types::ModelOverride { model: None, provider: Some(text) }),
            "a provider longer than 256 characters",
        ),
        (
            Hook::ResolveExecEnv,
            32_768,
            |text| variables(&[("A", &text)]),
            "a value of `A` longer than 32,768 characters",
        ),
        (Hook::SkillProposalEvaluate, 2_000, |text| verdict(false, &text, ""), "a reason longer than 2,000 characters"),
        (
            Hook::SkillProposalEvaluate,
            2_000,
            |text| Kind::Evaluation(types::Evaluation { verdict: Some(Verdict::Skipped(Skipped { reason: text })) }),
            "a reason longer than 2,000 characters",
        ),
        (Hook::SubagentSpawning, 2_000, |text| spawn_error(&text), "an error longer than 2,000 characters"),
    ];
    for (hook, max, make, why) in cases {
        for (unit, units) in [("a", 1), ("€", 1), ("😀", 2)] {
            let fits = make(unit.repeat(max / units));
            let (whole, notices) = checked(*hook, fits.clone());
            assert_eq!(notices, Vec::<String>::new(), "{why}");
            assert!(whole == fits || matches!(hook, Hook::BeforeAgentFinalize | Hook::BeforeToolCall), "{why}");
            assert_eq!(refused(*hook, make(unit.repeat(max / units) + "a")), *why);
        }
    }
}

#[test]
fn what_has_to_be_there_is_wanted() {
    let wanted = [
        (
            Hook::BeforeToolCall,
            Kind::ToolCall(types::ToolCallDecision { decision: None }),
            "a decision without a branch that is known here",
        ),
        (
            Hook::BeforeInstall,
            Kind::Gate(types::GateDecision::default()),
            "a decision without a branch that is known here",
        ),
        (
            Hook::SkillProposalEvaluate,
            Kind::Evaluation(types::Evaluation { verdict: None }),
            "a verdict without a branch that is known here",
        ),
        (
            Hook::SubagentSpawning,
            Kind::SubagentSpawn(types::SubagentSpawn { status: None }),
            "a status without a branch that is known here",
        ),
        (Hook::SubagentSpawning, spawn_error(" \n"), "an error that does not say why"),
        (
            Hook::BeforeModelResolve,
            Kind::Model(types::ModelOverride { model: Some(" ".to_owned()), provider: None }),
            "a model without a name",
        ),
        (
            Hook::SubagentDeliveryTarget,
            Kind::SubagentDelivery(types::SubagentDelivery::default()),
            "origin_json: it is empty",
        ),
        (Hook::BeforeInstall, gate(GateOr::Pass(Pass {}), &[""]), "findings_json[0]: it is empty"),
        (
            Hook::BeforeAgentFinalize,
            Kind::Finalize(types::FinalizeDecision::default()),
            "an action that is not known here",
        ),
        (
            Hook::BeforeAgentFinalize,
            Kind::Finalize(types::FinalizeDecision { action: 4, ..Default::default() }),
            "an action that is not known here",
        ),
    ];
    for (hook, answer, why) in wanted {
        assert_eq!(refused(hook, answer), why);
    }
}

#[test]
fn counts_have_their_bound() {
    let hook = Hook::BeforeInstall;
    let findings = |count: usize| gate(GateOr::Pass(Pass {}), &vec!["{}"; count]);
    assert_eq!(checked(hook, findings(256)).0, findings(256));
    assert_eq!(refused(hook, findings(257)), "more than 256 findings");
    let named = |count: usize| {
        let names: Vec<String> = (0..count).map(|index| format!("V{index}")).collect();
        variables(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>())
    };
    assert_eq!(checked(Hook::ResolveExecEnv, named(128)).0, named(128));
    assert_eq!(refused(Hook::ResolveExecEnv, named(129)), "more than 128 variables");
    let long = "V".repeat(128);
    assert_eq!(checked(Hook::ResolveExecEnv, variables(&[(&long, "")])).0, variables(&[(&long, "")]));
    assert!(check(Hook::ResolveExecEnv, false, wrap(variables(&[(&format!("{long}V"), "")])), "h").is_err());
    let retries = |count: usize| (0..count).map(|index| retry(&index.to_string(), "", 1)).collect::<Vec<_>>();
    let revise = |count| finalize(types::FinalizeAction::Revise, "", retries(count));
    assert_eq!(checked(Hook::BeforeAgentFinalize, revise(8)), (revise(8), Vec::new()));
    let (whole, notices) = checked(Hook::BeforeAgentFinalize, revise(9));
    assert_eq!((whole, notices.len()), (revise(8), 1));
}

#[test]
fn json_is_a_value_of_the_plugins_own_or_a_part_of_the_event() {
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let values: &[(Hook, Make, &str)] = &[
        (Hook::BeforeAgentRun, |text| run_block(|it| it.metadata_json = json(&text)), "metadata_json"),
        (Hook::BeforeToolCall, |text| asking(|it| it.context_json = json(&text)), "approval.context_json"),
        (
            Hook::MessageSending,
            |text| Kind::Message(types::MessageRewrite { metadata_json: json(&text), ..Default::default() }),
            "metadata_json",
        ),
        (
            Hook::InboundClaim,
            |text| Kind::Claim(types::Claim { reply_json: json(&text), ..Default::default() }),
            "reply_json",
        ),
        (Hook::BeforeInstall, |text| gate(GateOr::Pass(Pass {}), &[&text]), "findings_json[0]"),
        (Hook::SkillProposalEvaluate, |text| verdict(false, "", &text), "detail_json"),
        (
            Hook::SubagentDeliveryTarget,
            |text| Kind::SubagentDelivery(types::SubagentDelivery { origin_json: json(&text) }),
            "origin_json",
        ),
    ];
    for (hook, make, field) in values {
        checked(*hook, make(nested(32)));
        let deep = refused(*hook, make(nested(33)));
        assert!(
            deep.starts_with(&format!("{field}: accept JSON")) && deep.ends_with("nested deeper than 32"),
            "{deep}"
        );
    }
    // Beside the event's own depth there is room for 127.
    let parts: &[(Hook, Make, &str)] = &[
        (Hook::BeforeToolCall, |text| params(&text), "params_json"),
        (Hook::ReplyPayloadSending, |text| message(&text), "message_json"),
    ];
    for (hook, make, field) in parts {
        checked(*hook, make(nested(127)));
        let deep = refused(*hook, make(nested(128)));
        assert!(
            deep.starts_with(&format!("{field}: accept JSON")) && deep.ends_with("nested deeper than 127"),
            "{deep}"
        );
        for wrong in ["[]", "1", "{", "{\"a\":1,\"a\":1}"] {
            assert!(refused(*hook, make(wrong.to_owned())).starts_with(field), "{wrong}");
        }
    }
    // They may be as long as the message that brings them.
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(900_000));
    assert_eq!(checked(Hook::BeforeToolCall, params(&long)).0, params(&long));
    let context = |bytes: usize| asking(|it| it.context_json = json(&format!("\"{}\"", "x".repeat(bytes - 2))));
    checked(Hook::BeforeToolCall, context(16_384));
    assert!(refused(Hook::BeforeToolCall, context(16_385)).contains("longer than 16384 bytes"));
}
