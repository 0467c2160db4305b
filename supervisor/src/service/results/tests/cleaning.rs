//! What becomes of fields that a hook does not take, and of what must not stand in them.

use types::gate_decision::Decision as GateOr;
use types::message_rewrite::Replacement;

use super::samples::*;
use super::*;

#[test]
fn prompts_of_turns_only_surround_the_persons_prompt() {
    let everything = types::PromptContribution {
        prepend_context: "a".to_owned(),
        append_context: "b".to_owned(),
        prepend_system_context: "c".to_owned(),
        append_system_context: "d".to_owned(),
        system_prompt: Some(String::new()),
        tools_allow: Some(types::ToolList::default()),
    };
    let context = types::PromptContribution {
        prepend_context: "a".to_owned(),
        append_context: "b".to_owned(),
        ..types::PromptContribution::default()
    };
    let notices = ["prepend_system_context", "append_system_context", "system_prompt", "tools_allow"]
        .map(|field| format!("{field} has no effect here and was left out"))
        .to_vec();
    for hook in [Hook::AgentTurnPrepare, Hook::HeartbeatPromptContribution] {
        assert_eq!(checked(hook, Kind::Prompt(everything.clone())), (Kind::Prompt(context.clone()), notices.clone()));
    }
    let whole = (Kind::Prompt(everything.clone()), Vec::new());
    assert_eq!(checked(Hook::BeforePromptBuild, Kind::Prompt(everything.clone())), whole);
    let with_authority =
        check(Hook::BeforePromptBuild, false, wrap(Kind::Prompt(everything)), "h").map(Checked::with_tool_authority);
    assert_eq!(with_authority, Ok(Checked { result: wrap(Kind::Prompt(context)), notices }));
}

#[test]
fn a_list_of_tools_is_canonical_or_empty() {
    let tools = |names: Vec<String>| {
        Kind::Prompt(types::PromptContribution { tools_allow: Some(types::ToolList { names }), ..Default::default() })
    };
    let list = |names: &[&str]| tools(names.iter().map(|name| (*name).to_owned()).collect());
    let hook = Hook::BeforePromptBuild;
    assert_eq!(checked(hook, list(&["b", "a", "b"])), (list(&["b", "a"]), Vec::new()));
    let (wrong, notices) = checked(hook, list(&["a", "Exec"]));
    assert_eq!(wrong, list(&[]));
    assert_eq!(notices, ["tools_allow allows no tool now: `Exec` is not a tool id"]);
    let many = |count: usize| tools((0..count).map(|index| format!("t{index}")).collect());
    assert_eq!(checked(hook, many(512)), (many(512), Vec::new()));
    assert_eq!(checked(hook, many(513)).0, list(&[]));
}

#[test]
fn a_block_of_a_run_alone_has_more_than_a_reason() {
    let block = types::Block {
        reason: "a\nb\u{202e}".to_owned(),
        message: " one\n\ttwo\u{1b} ".to_owned(),
        category: "c".to_owned(),
        metadata_json: json("[1]"),
    };
    let (whole, notices) = checked(Hook::BeforeAgentRun, gate(GateOr::Block(block.clone()), &["{}"]));
    let clean = types::Block { reason: "a b".to_owned(), message: "one\n\ttwo".to_owned(), ..block.clone() };
    assert_eq!(whole, gate(GateOr::Block(clean), &[]));
    assert_eq!(notices, ["findings_json has no effect here and was left out"]);
    let (whole, notices) = checked(Hook::BeforeInstall, gate(GateOr::Block(block), &["{}"]));
    assert_eq!(whole, gate(GateOr::Block(samples::block("a b")), &["{}"]));
    assert_eq!(notices.len(), 3);
}

#[test]
fn the_default_reason_names_the_handler() {
    for policy in [false, true] {
        let result = check(Hook::BeforeToolCall, policy, wrap(tool_block("\n")), "no-shell").expect("valid");
        assert_eq!(reason(&result.result), "blocked by no-shell");
    }
    assert_eq!(checked(Hook::BeforeInstall, gate_block("")).0, gate_block("blocked by handler"));
}

#[test]
fn replacements_are_of_the_form_the_hook_takes() {
    let rewrite = |replacement: Replacement| {
        Kind::Message(types::MessageRewrite {
            replacement: Some(replacement),
            cancel: false,
            reason: String::new(),
            metadata_json: json("{}"),
        })
    };
    let content = rewrite(Replacement::Content("x".to_owned()));
    let message_json = rewrite(Replacement::MessageJson(json("{}")));
    assert_eq!(checked(Hook::MessageSending, content.clone()), (content.clone(), Vec::new()));
    let (whole, notices) = checked(Hook::MessageSending, message_json.clone());
    let Kind::Message(whole) = whole else { unreachable!("it is a message") };
    assert_eq!((whole.replacement, notices.len()), (None, 1));
    for hook in [Hook::ReplyPayloadSending, Hook::ToolResultPersist, Hook::BeforeMessageWrite] {
        assert_eq!(checked(hook, message_json.clone()).0, message("{}"));
        let (whole, notices) = checked(hook, content.clone());
        assert_eq!(whole, Kind::Message(types::MessageRewrite::default()));
        let left_out = |field: &str| format!("{field} has no effect here and was left out");
        assert_eq!(notices, [left_out("content"), left_out("metadata_json")]);
        assert!(refused(hook, message("[]")).starts_with("message_json: "));
        assert!(refused(hook, message("")).starts_with("message_json: "));
    }
    let cancel = Kind::Message(types::MessageRewrite { cancel: true, ..Default::default() });
    assert_eq!(refused(Hook::ToolResultPersist, cancel.clone()), "a cancel, where a message can only be changed");
    assert_eq!(checked(Hook::BeforeMessageWrite, cancel.clone()), (cancel, Vec::new()));
}

#[test]
fn markers_of_trust_are_taken_out_of_messages_and_replies() {
    let marked = concat!(
        r#"{"text":"trusted","trustedLocalMedia":true,"media":[{"url":"/etc/x","\u0074rusted_by":{"a":[1]},"trusted":1}],"#,
        r#""trustedness":1,"untrusted":true,"entrusted":{"Trusted":1}}"#
    );
    let plain =
        r#"{"text":"trusted","media":[{"url":"/etc/x"}],"trustedness":1,"untrusted":true,"entrusted":{"Trusted":1}}"#;
    for hook in [Hook::ReplyPayloadSending, Hook::ToolResultPersist, Hook::BeforeMessageWrite] {
        let (whole, notices) = checked(hook, message(marked));
        assert_eq!(whole, message(plain));
        assert_eq!(notices, ["message_json: markers of trust were taken out, which only the runtime sets"]);
        // What has none stays as it was written.
        let spaced = r#" { "text" : "trusted \u0041" } "#;
        assert_eq!(checked(hook, message(spaced)), (message(spaced), Vec::new()));
    }
    let reply = |text: &str| Kind::Claim(types::Claim { reply_json: json(text), ..Default::default() });
    for hook in [Hook::BeforeAgentReply, Hook::InboundClaim] {
        assert_eq!(checked(hook, reply(marked)).0, reply(plain));
    }
}

#[test]
fn claims_have_what_their_hook_takes() {
    let everything = types::Claim {
        reply_json: json("\"x\""),
        text: "t".to_owned(),
        reason: "r".to_owned(),
        queued_final: true,
        counts: [("tool", 1), ("final", u32::MAX), ("x", 1)].map(|(kind, count)| (kind.to_owned(), count)).into(),
    };
    let reason = types::Claim { reason: "r".to_owned(), ..types::Claim::default() };
    let reply = types::Claim { reply_json: json("\"x\""), ..reason.clone() };
    let mut counts = everything.counts.clone();
    counts.remove("x");
    let taken = [
        (Hook::BeforeAgentReply, reply.clone(), 3),
        (Hook::InboundClaim, reply, 3),
        (Hook::BeforeDispatch, types::Claim { text: "t".to_owned(), ..reason.clone() }, 3),
        (Hook::ReplyDispatch, types::Claim { queued_final: true, counts, ..reason }, 3),
    ];
    for (hook, expected, told) in taken {
        let (whole, notices) = checked(hook, Kind::Claim(everything.clone()));
        assert_eq!((whole, notices.len()), (Kind::Claim(expected), told), "{}", hook.name());
    }
}

#[test]
fn variables_that_decide_about_code_are_left_out() {
    let answer = variables(&[("A", "1"), ("LD_PRELOAD", "x"), ("https_proxy", "y"), ("PATH", "/")]);
    let (whole, notices) = checked(Hook::ResolveExecEnv, answer);
    assert_eq!(whole, variables(&[("A", "1")]));
    let told =
        "variables that decide what code runs or whom it reaches were left out: `LD_PRELOAD`, `PATH`, `https_proxy`";
    assert_eq!(notices, [told]);
    assert_eq!(refused(Hook::ResolveExecEnv, variables(&[("A B", "")])), "`A B`, which is not the name of a variable");
    assert_eq!(refused(Hook::ResolveExecEnv, variables(&[("A", "\0")])), "a value of `A` that no variable can have");
}

#[test]
fn approvals_are_written_out() {
    let timeout = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let ask = |request: types::ApprovalRequest| {
        let answer = proceed(types::Proceed { params_json: Bytes::new(), approval: Some(request) });
        check(Hook::BeforeToolCall, true, wrap(answer), "h").map(|checked| match checked.result.result {
            Some(Kind::ToolCall(types::ToolCallDecision {
                decision: Some(types::tool_call_decision::Decision::Proceed(proceed)),
            })) => proceed.approval.expect("an approval"),
            _ => unreachable!("it is another answer"),
        })
    };
    let plain = ask(types::ApprovalRequest { title: " a\u{202e}b ".to_owned(), ..Default::default() }).expect("valid");
    assert_eq!(plain.title, "a b");
    assert_eq!((plain.severity, plain.timeout, plain.allowed), (2, timeout(120, 0), vec![1, 2, 3]));
    let other = types::ApprovalRequest {
        severity: 77,
        timeout: timeout(601, 0),
        allowed: vec![3, 1, 3],
        detail: "a\r\nb".to_owned(),
        ..approval("t")
    };
    let other = ask(other).expect("valid");
    assert_eq!((other.severity, other.timeout, other.allowed), (2, timeout(600, 0), vec![1, 3]));
    assert_eq!(other.detail, "a \nb");
    let least = ask(types::ApprovalRequest { timeout: timeout(0, 0), severity: 3, ..approval("t") }).expect("valid");
    assert_eq!((least.severity, least.timeout), (3, timeout(0, 1_000_000)));
    assert_eq!(ask(approval(" ")), Err("an approval without a title".to_owned()));
    let negative = types::ApprovalRequest { timeout: timeout(-1, 0), ..approval("t") };
    assert_eq!(ask(negative), Err("an approval's timeout that is no length of time".to_owned()));
    for outcome in [0, 4, 5, 6, -1] {
        let wrong = types::ApprovalRequest { allowed: vec![1, outcome], ..approval("t") };
        assert_eq!(ask(wrong), Err("an approval that offers an answer which cannot be given".to_owned()));
    }
}

#[test]
fn notices_are_few_and_short() {
    let many: Vec<(String, String)> =
        (0..128).map(|index| (format!("LD_{}{index}", "x".repeat(100)), String::new())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (_, notices) = checked(Hook::ResolveExecEnv, variables(&many));
    assert_eq!(notices.len(), 1);
    assert!(notices[0].ends_with(" and 120 more") && notices[0].len() <= 500, "{}", notices[0]);
}

#[test]
fn what_refuses_says_why() {
    for (kind, why) in [
        (tool_block("a"), "a"),
        (gate_block("b"), "b"),
        (Kind::Message(types::MessageRewrite { cancel: true, reason: "c".to_owned(), ..Default::default() }), "c"),
        (verdict(true, "d", ""), "d"),
        (spawn_error("e"), "e"),
    ] {
        assert!(denies(&wrap(kind.clone())));
        assert_eq!(reason(&wrap(kind)), why);
    }
    for kind in KINDS {
        assert!(!denies(&wrap(plain(kind))), "{kind:?}");
        assert_eq!(reason(&wrap(plain(kind))), "");
    }
    assert!(!denies(&types::HookResult::default()));
}
