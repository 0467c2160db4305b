//! Replays of the recorded traces against a runtime service that checks what a runtime has to do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use outrigger::cli::Exit;
use outrigger_proto::types::v1::Hook;
use serde_json::{Value, json};

use crate::fake::{Fake, Scene, interest};
use crate::run::{Ran, Run};

const FILES: [&str; 5] = ["plain", "exec", "fail", "files", "multi"];

fn trace(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sdk-fixtures/traces").join(name).with_extension("jsonl")
}

fn replay(fake: &Fake, files: &[&str], options: &[&str]) -> Ran {
    let files: Vec<_> = files.iter().map(|name| trace(name).to_str().expect("UTF-8").to_owned()).collect();
    let mut args = vec!["replay"];
    args.extend(files.iter().map(String::as_str));
    args.extend(options);
    Run::new(fake.dir(), &args).go()
}

fn gate(tools: &[&str]) -> Scene {
    Scene { hooks: vec![interest(Hook::BeforeToolCall, tools)], ..Scene::default() }
}

/// What the fake was asked, and it has no complaint.
fn asked(fake: &Fake) -> Vec<String> {
    let asked = fake.asked();
    let complaints: Vec<_> = asked.iter().filter(|asked| asked.starts_with('!')).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    asked
}

/// The text with measured times taken out: they differ from run to run.
fn without_times(text: &str) -> String {
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    text.lines()
        .map(|line| match line.rsplit_once(" (") {
            Some((head, tail)) if tail.starts_with(digits) && tail.ends_with("s)") => head.to_owned(),
            _ => line.to_owned(),
        })
        .map(|line| line + "\n")
        .collect()
}

#[test]
fn every_tool_call_is_decided_and_told() {
    let fake = Fake::start_with(gate(&[]), None);
    let ran = replay(&fake, &FILES, &[]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    let text = without_times(&ran.out);
    let (decisions, summary) = text.split_once("\n\n").expect("a summary");
    let expected = "\
exec.jsonl   exec      echo hello-from-tool              go on     allowed by policy-gate
fail.jsonl   exec      sh -c 'echo boom >&2; exit 3'     stop      policy-gate: no exits\\u{1b}[1m
files.jsonl  write     notes/todo.md                     go on     allowed by policy-gate; parameters changed
files.jsonl  read      notes/todo.md                     go on     allowed by policy-gate
files.jsonl  edit      notes/todo.md                     go on     allowed by policy-gate
multi.jsonl  exec      date -u +%Y                       go on     allowed by policy-gate
multi.jsonl  exec      uname -s                          go on     allowed by policy-gate
multi.jsonl  exec      ls -la                            ask       policy-gate (allow): List files?";
    assert_eq!(decisions, expected);
    let lines: Vec<_> = summary.lines().collect();
    assert!(lines[0].starts_with("HOOK              CALLS  NOT WANTED  GO ON  STOP  ASK  FAILED"), "{summary}");
    assert!(lines[1].starts_with("before_tool_call      8           0      6     1    1       0"), "{summary}");
    assert!(lines[1].ends_with("6 absent, 7 allow, 1 deny, 1 skipped"), "{summary}");
    assert_eq!(lines[2], "15 hooks that no plugin wants (115 recorded): no call was made");
    assert_eq!(lines[3], "101 recorded events: 5 published, 96 that nobody wants, 0 not taken in");
    assert_eq!(lines[4], "5 traces, 123 recorded hooks, 8 calls: 6 went on, 1 stopped, 1 asked, 0 not answered");

    let asked = asked(&fake);
    let calls: Vec<_> = asked.iter().filter(|asked| asked.starts_with("call")).collect();
    assert_eq!(calls.len(), 8);
    // A session is announced once, before its first call; plain.jsonl has no call.
    let sessions: Vec<_> = asked.iter().filter(|asked| asked.starts_with("upsert")).collect();
    assert_eq!(sessions.len(), 4, "{sessions:?}");
    assert_eq!(sessions[0], "upsert_session agent:main:exec-2 agent=main");
    assert_eq!(asked.iter().filter(|asked| *asked == "hook_stream").count(), 1, "one stream");
    assert!(asked[0].starts_with("attach served=") && asked[0].split([',', '=']).any(|hook| hook == "24"));
    // Hooks with calls of their own are served, too.
    let own = ["2", "4", "7"].map(|hook| asked[0].split([',', '=']).any(|served| served == hook));
    assert_eq!(own, [true; 3], "{}", asked[0]);
}

#[test]
fn json_has_hooks_decisions_and_totals() {
    let fake = Fake::start_with(gate(&["exec"]), None);
    let ran = replay(&fake, &["fail", "files"], &["--json"]);
    let json = ran.json();
    let totals = json!({ "files": 2, "hooks": 55, "events": 42, "events_published": 2, "events_not_wanted": 40,
                         "events_rejected": 0, "calls": 1, "not_wanted": 54, "go_on": 0, "stop": 1, "ask": 0, "failed": 0 });
    assert_eq!(json["totals"], totals);
    let decisions = json["decisions"].as_array().expect("decisions");
    assert_eq!(decisions.len(), 4);
    let stopped = &decisions[0];
    let fields = [
        ("file", json!("fail.jsonl")),
        ("n", json!(16)),
        ("tool", json!("exec")),
        ("verdict", json!("stop")),
        ("tool_call_id", json!("call_fail_0_0")),
        ("reason", json!("policy-gate: no exits\u{1b}[1m")),
        ("params", json!({ "command": "sh -c 'echo boom >&2; exit 3'" })),
        ("changed_params", Value::Null),
    ];
    for (field, value) in fields {
        assert_eq!(stopped[field], value, "{field}");
    }
    assert_eq!(stopped["decided_by"]["outcome"], "deny");
    assert_eq!(stopped["handlers"][1]["outcome"], "skipped");
    assert!(stopped["elapsed_us"].is_u64());
    // Nobody wants the file tools: no call, and the agent goes on.
    assert_eq!(decisions[1]["verdict"], "not_wanted");
    assert_eq!(decisions[1]["elapsed_us"], Value::Null);
    let hook = json["hooks"].as_array().expect("hooks").iter().find(|hook| hook["hook"] == "before_tool_call");
    assert_eq!(hook.expect("it was played")["handlers"], json!({ "deny": 1, "skipped": 1 }));
    assert_eq!(asked(&fake).iter().filter(|asked| asked.starts_with("call")).count(), 1);
}

#[test]
fn events_are_published_in_their_place_as_far_as_somebody_wants_them() {
    let streams = vec!["tool".to_owned(), "usage".to_owned()];
    let fake = Fake::start_with(Scene { streams: streams.clone(), ..gate(&["exec"]) }, None);
    let ran = replay(&fake, &["exec"], &[]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    assert!(ran.out.contains("17 recorded events: 6 published, 11 that nobody wants, 0 not taken in\n"), "{}", ran.out);
    let order: Vec<_> = asked(&fake).into_iter().filter(|asked| !asked.starts_with("attach")).collect();
    let key = "agent:main:exec-2";
    let expected = [
        "hook_stream".to_owned(),
        format!("publish usage 3 of {key}"),
        format!("publish tool 5 of {key}"),
        format!("upsert_session {key} agent=main"),
        "call hook=24 tool=exec".to_owned(),
    ];
    assert_eq!(order[..5], expected, "{order:#?}");
    assert!(order.last().is_some_and(|last| last.starts_with("publish lifecycle") && last.ends_with("terminal")));

    let fake = Fake::start_with(Scene { streams, refuses: "usage".to_owned(), ..gate(&["exec"]) }, None);
    let ran = replay(&fake, &["exec"], &[]);
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.out.contains("4 published, 11 that nobody wants, 2 not taken in (no \\u{1b}[1msuch)\n"), "{}", ran.out);
    let left_out = replay(&fake, &["exec"], &["--no-events", "--json"]);
    assert_eq!((left_out.exit, &left_out.json()["totals"]["events_published"]), (Exit::Done, &json!(0)));
}

#[test]
fn what_plugins_want_changes_on_the_way() {
    // After the first call nobody wants shell commands any more, but the results of tools.
    let later = vec![interest(Hook::AfterToolCall, &["exec"])];
    let fake = Fake::start_with(Scene { later: Some((1, later)), ..gate(&["exec"]) }, None);
    let json = replay(&fake, &["multi"], &["--json"]).json();
    let verdicts: Vec<_> = json["decisions"].as_array().expect("decisions").iter().map(|d| &d["verdict"]).collect();
    assert_eq!(verdicts, ["go_on", "not_wanted", "not_wanted"]);
    let calls: Vec<_> = asked(&fake).into_iter().filter(|asked| asked.starts_with("call")).collect();
    assert_eq!(
        calls,
        ["call hook=24 tool=exec", "call hook=25 tool=exec", "call hook=25 tool=exec", "call hook=25 tool=exec"]
    );
}

#[test]
fn filters_and_pauses_are_kept() {
    let fake = Fake::start_with(gate(&[]), None);
    let json = replay(&fake, &["files"], &["--json", "--tool", "read", "--hook", "before_tool_call"]).json();
    assert_eq!(json["totals"]["hooks"], 1);
    assert_eq!(json["decisions"][0]["tool"], "read");
    let begun = Instant::now();
    let paced = replay(&fake, &["files"], &["--json", "--hook", "before_tool_call", "--gap-max", "60"]);
    assert_eq!(paced.exit, Exit::Done);
    assert!(begun.elapsed() >= Duration::from_millis(120), "two pauses of 60 ms, recorded as 73 and 64");
    let begun = Instant::now();
    replay(&fake, &["files"], &["--json", "--hook", "before_tool_call", "--speed", "0.5"]);
    assert!(begun.elapsed() >= Duration::from_millis(250), "137 ms at half the speed");
}

#[test]
fn a_supervisor_that_goes_away_is_a_no() {
    let fake = Fake::start_with(Scene { away_at: Some(2), ..gate(&[]) }, None);
    let ran = replay(&fake, &["exec", "fail", "multi"], &["--json"]);
    assert_eq!(ran.exit, Exit::NoSupervisor);
    let json = ran.json();
    let decisions = json["decisions"].as_array().expect("decisions");
    assert_eq!(decisions[0]["verdict"], "go_on");
    assert!(decisions[1..].iter().all(|decision| decision["verdict"] == "failed"), "{decisions:#?}");
    assert_eq!(decisions[1]["reason"], "the supervisor is away: a guard guards it, so it is blocked");
    assert_eq!(json["totals"]["failed"], 4);
    assert!(ran.err.contains("went away"), "{}", ran.err);
}

#[test]
fn a_refused_call_fails_the_replay_and_not_the_rest() {
    let fake = Fake::start_with(Scene { refused_at: Some(1), ..gate(&[]) }, None);
    let ran = replay(&fake, &["exec", "files"], &["--json"]);
    assert_eq!(ran.exit, Exit::Failed);
    let json = ran.json();
    assert_eq!(json["decisions"][0]["reason"], "the run has ended: a guard guards it, so it is blocked");
    assert_eq!((&json["totals"]["failed"], &json["totals"]["go_on"]), (&json!(1), &json!(3)));
}

#[test]
fn directives_are_acknowledged_as_unsupported() {
    let fake = Fake::start_with(Scene { with_turn: true, ..gate(&[]) }, None);
    assert_eq!(replay(&fake, &["exec"], &[]).exit, Exit::Done);
    let acknowledged = asked(&fake).into_iter().filter(|asked| asked.starts_with("acknowledge")).collect::<Vec<_>>();
    assert_eq!(acknowledged, ["acknowledge d1 outcome=8"]);
}

#[test]
fn a_trace_is_read_before_anything_is_played() {
    let fake = Fake::start_with(gate(&[]), None);
    let bad = fake.dir().join("bad.jsonl");
    std::fs::write(&bad, "{\"n\":0}\n").expect("write it");
    let good = trace("exec");
    let ran = Run::new(fake.dir(), &["replay", good.to_str().expect("UTF-8"), bad.to_str().expect("UTF-8")]).go();
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.starts_with(&format!("error: {}:1: ", bad.display())), "{}", ran.err);
    assert!(fake.asked().is_empty());
}

#[test]
fn a_runtime_without_a_key_is_told_where_it_belongs() {
    let fake = Fake::start_with(gate(&[]), None);
    let ran = replay(&fake, &["exec"], &["--runtime", "second"]);
    assert_eq!(ran.exit, Exit::Key);
    assert!(ran.err.contains("keys/second.key`: there is no such file"), "{}", ran.err);
}
