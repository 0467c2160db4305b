//! The archetypes as real processes, over a real socket.

use outrigger_sdk::Decision;
use outrigger_sdk::testkit::{Builder, TestHost};
use serde_json::{Value, json};
use tokio::process::Command;

const GATE: &str = env!("CARGO_BIN_EXE_policy-gate");
const OBSERVER: &str = env!("CARGO_BIN_EXE_audit-observer");

async fn gate(config: Value) -> TestHost {
    TestHost::builder().config(config).spawn(Command::new(GATE)).await.expect("ready")
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
async fn the_gate_refuses_a_configuration_it_does_not_understand() {
    for (config, told) in [
        (json!({"deny": []}), "unknown field `deny`"),
        (json!({"allow": [" "]}), "`allow`: a pattern is empty"),
        (json!({"deny_tools": ["Exec"]}), "`deny_tools`: `Exec` is no tool id"),
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
async fn the_observer_needs_a_data_directory() {
    let error = fails(TestHost::builder(), OBSERVER).await;
    assert!(error.contains("no data directory"), "{error}");
}

#[tokio::test]
async fn the_manifests_are_what_the_programs_are() {
    let manifests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    for name in ["policy-gate", "audit-observer"] {
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
