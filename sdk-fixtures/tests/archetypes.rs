//! The archetypes as real processes, over a real socket.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use outrigger_sdk::proto::plugin::v1::ApprovalCall;
use outrigger_sdk::proto::types::v1::{AgentEvent, ApprovalOutcome, ApprovalSeverity};
use outrigger_sdk::testkit::{Builder, Counts, Replayed, TestHost, Trace};
use outrigger_sdk::{Approval, Decision, Finalize, MessageRewrite, Proceed, Prompt, Retry, TextRewrite, hooks};
use serde_json::{Value, json};
use tokio::process::Command;

const GATE: &str = env!("CARGO_BIN_EXE_policy-gate");
const OBSERVER: &str = env!("CARGO_BIN_EXE_audit-observer");
const CONTRIBUTOR: &str = env!("CARGO_BIN_EXE_prompt-contributor");
const REDACTOR: &str = env!("CARGO_BIN_EXE_redactor");
const REVIEWER: &str = env!("CARGO_BIN_EXE_review-assistant");

async fn start(program: &str, config: Value) -> TestHost {
    TestHost::builder().config(config).spawn(Command::new(program)).await.expect("ready")
}

/// The recorded trace of this name.
fn trace(name: &str) -> Trace {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    Trace::read(traces.join(name).with_extension("jsonl")).expect("a trace")
}

fn counts(calls: usize, quiet: usize, answered: usize) -> Counts {
    Counts { calls, quiet, answered, failed: 0 }
}

/// What came of a trace that nothing failed in.
fn sound(replayed: &Replayed) -> HashMap<&str, Counts> {
    assert_eq!(replayed.failures, Vec::<String>::new());
    replayed.hooks.iter().map(|(hook, counts)| (hook.as_str(), *counts)).collect()
}

/// A text that looks like a key, put together here so that it is nowhere written down.
fn key() -> String {
    format!("sk-{}", "a1B2c3D4".repeat(5))
}

async fn gate(config: Value) -> TestHost {
    start(GATE, config).await
}

async fn fails(builder: Builder, program: &str) -> String {
    format!("{:?}", builder.spawn(Command::new(program)).await.err().expect("it does not start"))
}

#[tokio::test]
async fn the_gate_blocks_what_would_do_harm_and_has_no_opinion_on_the_rest() {
    let host = gate(json!({})).await;
    let register = host.registered();
    assert_eq!(register.hooks.len(), 1);
    assert_eq!(register.hooks[0].tool_names, ["exec"]);
    let blocked = host.before_tool_call("exec", json!({"command": "cd / && sudo rm -rf /"})).await;
    assert_eq!(blocked, Ok(Decision::block("`rm` would delete all of `/`")));
    let words = host.before_tool_call("exec", json!({"command": ["dd", "of=/dev/sda"]})).await;
    assert!(words.expect("a decision").is_block());
    assert_eq!(host.before_tool_call("exec", json!({"command": "ls"})).await, Ok(Decision::Declined));
    // A call that cannot be read is a failure, and the host blocks it.
    host.before_tool_call("exec", json!({"cmd": "ls"})).await.expect_err("no command");
    host.shutdown().await.expect("status 0");
}

#[tokio::test]
async fn the_gate_follows_its_configuration() {
    let config = json!({"deny_tools": ["browser"], "deny_patterns": ["git push*"], "allow": ["rm -rf /opt"]});
    let host = gate(config).await;
    let browser = host.before_tool_call("browser", json!({})).await;
    assert_eq!(browser, Ok(Decision::block("the operator denies the tool `browser`")));
    let push = host.before_tool_call("exec", json!({"command": "git push origin"})).await;
    assert_eq!(push, Ok(Decision::block("the operator denies `git push*`")));
    assert_eq!(host.before_tool_call("exec", json!({"command": "rm -rf /opt"})).await, Ok(Decision::Declined));
    host.shutdown().await.expect("status 0");
}

#[tokio::test]
async fn the_gate_asks_a_person_and_changes_parameters() {
    let host = gate(json!({
        "ask_patterns": ["git push*", "npm publish"],
        "ask_timeout_secs": 30,
        "set_params": [
            {"pattern": "npm *", "params": {"timeoutMs": 60000, "cwd": "/srv"}},
            {"pattern": "npm publish", "params": {"timeoutMs": 90000}},
        ],
    }))
    .await;
    let decide = |command: Value| host.before_tool_call("exec", json!({"command": command}));
    assert_eq!(decide(json!("ls")).await, Ok(Decision::Declined));
    // The host merges what is set over what was there.
    let Ok(Decision::Proceed(Proceed { params: Some(params), approval: None })) = decide(json!("npm ci")).await else {
        unreachable!("its parameters are set")
    };
    assert_eq!(Value::Object(params), json!({"command": "npm ci", "timeoutMs": 60000, "cwd": "/srv"}));

    let Ok(Decision::Proceed(Proceed { params: None, approval: Some(asked) })) =
        decide(json!("cd x && git push")).await
    else {
        unreachable!("a person is asked")
    };
    let expected = Approval::new("Run this command?")
        .description("It is one of `git push*`, about which the operator wants you to be asked.")
        .detail("cd x && git push")
        .timeout(Duration::from_secs(30))
        .offer([ApprovalOutcome::AllowedOnce, ApprovalOutcome::Denied])
        .context(&json!({"tool_call": "tool-call-1", "pattern": "git push*"}));
    assert_eq!(asked, expected);
    assert_eq!(asked.request().severity(), ApprovalSeverity::Unspecified);

    // Both at once: what is approved is what was set.
    let Ok(Decision::Proceed(Proceed { params: Some(params), approval: Some(asked) })) =
        decide(json!(["npm", "publish"])).await
    else {
        unreachable!("both")
    };
    assert_eq!(params["timeoutMs"], 90000);
    assert_eq!(asked.request().detail, r#"["npm", "publish"]"#);

    // What is dangerous is not asked about, nor is what cannot be shown.
    assert!(decide(json!("git push; rm -rf /")).await.expect("a decision").is_block());
    assert!(decide(json!(format!("git push {}", "x".repeat(20_000)))).await.expect("a decision").is_block());
    // About the final parameters it only blocks.
    let recheck = |command: &str| host.call("commands").params(json!({"command": command})).recheck().answer();
    assert_eq!(recheck("git push").await, Ok(Decision::Declined));
    assert!(recheck("rm -rf /").await.expect("a decision").is_block());

    let context_json = serde_json::to_vec(&json!({"tool_call": "t", "pattern": "p"})).expect("JSON").into();
    let ended = ApprovalCall { outcome: ApprovalOutcome::Denied.into(), context_json, ..Default::default() };
    host.approval_ended("commands", ended).answer().await.expect("noted");
    host.shutdown().await.expect("status 0");
}

#[tokio::test]
async fn the_gate_lets_a_recorded_run_pass() {
    let host = gate(json!({"deny_tools": ["edit"]})).await;
    for (name, expected) in [("plain", None), ("multi", Some(counts(3, 3, 0))), ("files", Some(counts(1, 0, 1)))] {
        let replayed = host.replay(&trace(name)).await.expect("played");
        assert_eq!(sound(&replayed).get("before_tool_call").copied(), expected, "{name}");
    }
    host.shutdown().await.expect("status 0");
}

#[tokio::test]
async fn the_gate_refuses_a_configuration_it_does_not_understand() {
    for (config, told) in [
        (json!({"deny": []}), "unknown field `deny`"),
        (json!({"allow": [" "]}), "`allow`: a pattern is empty"),
        (json!({"deny_tools": ["Exec"]}), "`deny_tools`: `Exec` is no tool id"),
        (json!({"ask_patterns": [""]}), "`ask_patterns`: a pattern is empty"),
        (json!({"ask_timeout_secs": 601}), "`ask_timeout_secs`: is not in 1 to 600"),
        (json!({"set_params": [{"pattern": "npm *", "params": {}}]}), "`set_params`: `npm *` sets nothing"),
    ] {
        let error = fails(TestHost::builder().config(config), GATE).await;
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test]
async fn the_observer_writes_down_every_call_and_declines() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = TestHost::builder().data_dir(directory.path()).spawn(Command::new(OBSERVER)).await.expect("ready");
    let register = host.registered();
    assert!(register.hooks[0].tool_names.is_empty() && !register.hooks[0].side_effect_free);
    for tool in ["exec", "write", "exec"] {
        assert_eq!(host.before_tool_call(tool, json!({"secret": "s3cret"})).await, Ok(Decision::Declined));
    }
    host.shutdown().await.expect("status 0");
    let record = std::fs::read_to_string(directory.path().join("audit.jsonl")).expect("a record");
    let entries: Vec<Value> = record.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let tools: Vec<_> = entries.iter().map(|entry| entry["tool"].as_str().expect("a tool")).collect();
    assert_eq!(tools, ["exec", "write", "exec"]);
    assert_eq!(entries[2]["invocation_id"], 3);
    assert!(!record.contains("s3cret"), "parameters are not written down");
}

#[tokio::test]
async fn the_observer_writes_down_events_and_what_is_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = TestHost::builder().data_dir(directory.path()).spawn(Command::new(OBSERVER)).await.expect("ready");
    let record = || -> Vec<Value> {
        let record = std::fs::read_to_string(directory.path().join("audit.jsonl")).expect("a record");
        record.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    host.publish("assistant", json!({"text": "not for it"}));
    host.publish("lifecycle", json!({"phase": "start", "text": "s3cret"}));
    let again =
        AgentEvent { run_id: "r".into(), stream: "approval".into(), data_json: "{}".into(), ..Default::default() };
    host.redeliver_event(again);
    host.acknowledged_up_to(3).await;
    // Written before it is acknowledged.
    let seen = record();
    let fields = |entry: &Value| (entry["event"].clone(), entry["phase"].clone(), entry["redelivered"].clone());
    assert_eq!(
        seen.iter().map(fields).collect::<Vec<_>>(),
        [(json!(2), json!("start"), json!(false)), (json!(3), Value::Null, json!(true)),]
    );

    // Too slow for one: it is told, asked for, and comes. Another one is gone.
    host.publish_missed("lifecycle", json!({"phase": "model"}));
    host.acknowledged_up_to(4).await;
    host.publish_lost("lifecycle", json!({"phase": "model"}));
    host.publish("lifecycle", json!({"phase": "end"}));
    host.acknowledged_up_to(6).await;
    let seen = record();
    let missing: Vec<_> = seen.iter().filter_map(|entry| entry["missing"]["from"].as_u64()).collect();
    assert_eq!(missing, [4, 5, 5], "what is gone is told once more when it was asked for");
    let events: Vec<_> = seen.iter().filter_map(|entry| entry["event"].as_u64()).collect();
    assert_eq!(events, [2, 3, 4, 6], "each once and in order");
    assert!(!seen.iter().any(|entry| entry.to_string().contains("s3cret")), "texts are not written down");
    host.shutdown().await.expect("status 0");
}

#[tokio::test]
async fn the_observer_sees_a_whole_recorded_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = TestHost::builder().data_dir(directory.path()).spawn(Command::new(OBSERVER)).await.expect("ready");
    let replayed = host.replay(&trace("multi")).await.expect("played");
    assert_eq!(sound(&replayed), HashMap::from([("before_tool_call", counts(3, 3, 0))]));
    host.shutdown().await.expect("status 0");
    let record = std::fs::read_to_string(directory.path().join("audit.jsonl")).expect("a record");
    let tools = record.lines().filter(|line| line.contains("\"tool\":")).count();
    let events = record.lines().filter(|line| line.contains("\"stream\":\"lifecycle\"")).count();
    assert_eq!((tools, events, replayed.events), (3, 7, 35));
}

#[tokio::test]
async fn the_contributor_adds_to_prompts_what_fits() {
    let config = json!({
        "rules": "Be brief.",
        "notes": [
            {"word": "Deploy", "text": "Never deploy on Fridays."},
            {"word": "release", "text": "Releases need a tag."},
        ],
    });
    let host = start(CONTRIBUTOR, config).await;
    let rules = host.hook(hooks::BEFORE_PROMPT_BUILD, json!({"prompt": "deploy"})).answer().await;
    assert_eq!(rules, Ok(Prompt::default().append_system("Be brief.")));
    let notes = |prompt: Value| host.hook(hooks::AGENT_TURN_PREPARE, prompt).answer();
    let both = "Never deploy on Fridays.\nReleases need a tag.";
    assert_eq!(notes(json!({"prompt": "Please deploy the release."})).await, Ok(Prompt::default().prepend(both)));
    assert_eq!(notes(json!({"prompt": "redeployed"})).await, Ok(Prompt::declined()));
    // Without the right to see the conversation there is no prompt to look at.
    assert_eq!(notes(json!({"queuedInjections": []})).await, Ok(Prompt::declined()));
    let replayed = host.replay(&trace("plain")).await.expect("played");
    let expected = [("before_prompt_build", counts(1, 0, 1)), ("agent_turn_prepare", counts(1, 1, 0))];
    assert_eq!(sound(&replayed), HashMap::from(expected));
    host.shutdown().await.expect("status 0");

    let host = start(CONTRIBUTOR, json!({})).await;
    assert_eq!(host.hook(hooks::BEFORE_PROMPT_BUILD, json!({})).answer().await, Ok(Prompt::declined()));
    for (config, told) in [
        (json!({"rules": "x".repeat(65_537)}), "`rules`: is longer"),
        (json!({"notes": [{"word": " ", "text": "x"}]}), "`notes.0`: its word or text is empty"),
    ] {
        let error = fails(TestHost::builder().config(config), CONTRIBUTOR).await;
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test]
async fn the_redactor_replaces_secrets_wherever_messages_go() {
    let host = start(REDACTOR, json!({})).await;
    let text = |content: String| host.hook(hooks::MESSAGE_SENDING, json!({"to": "x", "content": content})).answer();
    let redacted = TextRewrite::replace("my key is [redacted]!").reason("it had secrets");
    assert_eq!(text(format!("my key is {}!", key())).await, Ok(redacted));
    assert_eq!(text("no key here".to_owned()).await, Ok(TextRewrite::keep()));

    // Only strings change, however deep they are; everything else stays as it was.
    let message = |secret: &str| {
        json!({
            "role": "assistant",
            "content": [{"type": "toolCall", "arguments": {"command": format!("curl -H 'Authorization: {secret}'")}}],
            "usage": {"input": 10, "cost": 0.25},
            "timestamp": 1_795_243_702_221_u64,
        })
    };
    let write = |message: Value| host.hook(hooks::BEFORE_MESSAGE_WRITE, json!({"message": message})).answer();
    let rewrite = write(message(&key())).await.expect("an answer");
    assert_eq!(rewrite.message::<Value>(), Some(message("[redacted]")));
    assert_eq!(write(message("none")).await, Ok(MessageRewrite::keep()));
    assert_eq!(host.hook(hooks::BEFORE_MESSAGE_WRITE, json!({})).answer().await, Ok(MessageRewrite::keep()));
    host.shutdown().await.expect("status 0");
}

#[tokio::test]
async fn the_redactor_copes_with_a_result_of_200_kib() {
    let host = start(REDACTOR, json!({})).await;
    let line = format!("export API_KEY={}; échappé \"quoted\" \\ \u{1} 日本語\n", key());
    let long = line.repeat(200 * 1024 / line.len() + 1);
    assert!(long.len() >= 200 * 1024);
    let event = |text: &str| {
        let content = json!([{"type": "text", "text": text}]);
        let message = json!({"role": "toolResult", "toolCallId": "c1", "content": content, "isError": false});
        json!({"toolName": "exec", "toolCallId": "c1", "message": message, "isSynthetic": false})
    };
    let persist = |text: &str| host.hook(hooks::TOOL_RESULT_PERSIST, event(text)).answer();
    let rewrite = persist(&long).await.expect("an answer");
    let expected = event(&long.replace(&key(), "[redacted]"))["message"].clone();
    assert_eq!(rewrite.message::<Value>(), Some(expected));
    // And without a secret it stays as it is.
    assert!(persist(&"x".repeat(200 * 1024)).await.expect("an answer").is_keep());
    // What is too long to be sent back is a failure, and the plugin lives.
    persist(&line.repeat(2_400_000 / line.len())).await.expect_err("it does not fit");
    assert!(persist("short").await.expect("an answer").is_keep());
    host.shutdown().await.expect("status 0");
}

#[tokio::test]
async fn the_redactor_leaves_a_recorded_run_as_it_is() {
    let host = start(REDACTOR, json!({})).await;
    let replayed = host.replay(&trace("files")).await.expect("played");
    let expected = [("before_message_write", counts(8, 8, 0)), ("tool_result_persist", counts(3, 3, 0))];
    assert_eq!(sound(&replayed), HashMap::from(expected));
    assert_eq!(replayed.unwanted, 23);
}

#[tokio::test]
async fn the_reviewer_sends_unfinished_work_back_within_one_budget() {
    let host = start(REVIEWER, json!({})).await;
    let review =
        |answer: &str| host.hook(hooks::BEFORE_AGENT_FINALIZE, json!({"lastAssistantMessage": answer})).answer();
    assert_eq!(review("All done, tests pass.").await, Ok(Finalize::declined()));
    let retry = |sign: &str| {
        Retry::new(format!(
            "Your answer says `{sign}`. Finish that work if you can, and say plainly what you could not finish and why."
        ))
        .key("unfinished-work")
        .at_most(1)
    };
    for (answer, sign) in [("Left a todo in main.rs", "TODO"), ("It is NOT implemented yet.", "not implemented yet")] {
        let expected = Finalize::revise(format!("the answer says `{sign}`")).retry(retry(sign));
        assert_eq!(review(answer).await, Ok(expected));
    }
    // An answer without a text is none to find fault with.
    assert_eq!(host.hook(hooks::BEFORE_AGENT_FINALIZE, json!({})).answer().await, Ok(Finalize::declined()));
    let replayed = host.replay(&trace("exec")).await.expect("played");
    assert_eq!(sound(&replayed), HashMap::from([("before_agent_finalize", counts(1, 1, 0))]));
    host.shutdown().await.expect("status 0");

    let host = start(REVIEWER, json!({"signs": ["hm"], "attempts": 3})).await;
    let answer = host.hook(hooks::BEFORE_AGENT_FINALIZE, json!({"lastAssistantMessage": "Hm."})).answer().await;
    assert_eq!(answer.expect("an answer").wire().expect("a revision").retries[0].max_attempts, 3);
    let error = fails(TestHost::builder().config(json!({"attempts": 0})), REVIEWER).await;
    assert!(error.contains("`attempts`: is not in 1 to 8"), "{error}");
}

#[tokio::test]
async fn the_observer_needs_a_data_directory() {
    let error = fails(TestHost::builder(), OBSERVER).await;
    assert!(error.contains("no data directory"), "{error}");
}

#[tokio::test]
async fn the_manifests_are_what_the_programs_are() {
    let manifests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    for name in ["policy-gate", "audit-observer", "prompt-contributor", "redactor", "review-assistant"] {
        let text = std::fs::read_to_string(manifests.join(name).join("plugin.toml")).expect("a manifest");
        for line in [
            format!("id = \"{name}\""),
            format!("command = [\"./{name}\"]"),
            format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(text.lines().any(|found| found == line), "{name}: no `{line}`");
        }
    }
}
