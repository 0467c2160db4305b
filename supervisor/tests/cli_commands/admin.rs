//! Commands that ask the admin service, one test for each and for what it prints.

use outrigger::cli::Exit;
use serde_json::json;

use crate::fake::{Fake, Scene};
use crate::run::{Run, outrigger};

#[test]
fn status_shows_supervisor_and_plugins() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["status"]);
    let expected = "\
● outrigger 0.1.0, pid 4242, up 2h 5m
  config    /etc/outrigger/outrigger.toml
  runtimes  default (Agent 1.0\\u{7}), 2 runs

   PLUGIN       STATE        SINCE  GEN   PID   MEMORY   CPU  GUARDS  DENIALS  RESTARTS  MESSAGE
●  broken       quarantined  1h 2m    9     -        -     -     1+1        0         5  exited with status 1: \\u{1b}[2J\\u{202e}gone; again in 30s; 1 guard declared and not granted: does not guard
●  policy-gate  ready        2m 5s    3  4711  5.0 MiB  1.5s       1        7         2
";
    assert_eq!(ran.out, expected);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(fake.asked(), ["get_supervisor", "list_plugins page=", "list_plugins page=2"]);
}

#[test]
fn status_fits_the_terminal_and_colours_the_mark_only() {
    let fake = Fake::start();
    let ran = Run::new(fake.dir(), &["status"]).width(60).go();
    let table: Vec<_> = ran.out.lines().skip(4).collect();
    assert!(table.iter().all(|line| line.chars().count() <= 60), "{table:#?}");
    assert!(table[0].starts_with("   PLUGIN       STATE") && table[0].ends_with("MESSAGE"), "{table:#?}");
    let ran = Run::new(fake.dir(), &["status", "policy-gate"]).color().go();
    assert!(ran.out.contains("\u{1b}[32m●\u{1b}[0m  policy-gate  ready"), "{:?}", ran.out);
}

#[test]
fn status_of_named_plugins_tells_whether_they_are_ready() {
    let fake = Fake::start();
    assert_eq!(outrigger(fake.dir(), &["status", "policy-gate"]).exit, Exit::Done);
    let one_is_not = outrigger(fake.dir(), &["status", "policy-gate", "broken", "--json"]);
    assert_eq!(one_is_not.exit, Exit::Plugin);
    assert_eq!(one_is_not.json()["plugins"].as_array().map(Vec::len), Some(2));
    let unknown = outrigger(fake.dir(), &["status", "nobody"]);
    assert_eq!(unknown.exit, Exit::Plugin);
    assert_eq!(unknown.err, "error: there is no plugin `nobody`\n  -> `outrigger status` lists the plugins\n");
}

#[test]
fn status_as_json_has_stable_fields() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["status", "--json"]);
    let json = ran.json();
    let supervisor = json!({
        "version": "0.1.0", "pid": 4242, "started_at": "2026-11-21T04:43:45.000Z",
        "config_path": "/etc/outrigger/outrigger.toml", "plugins_by_state": { "quarantined": 1, "ready": 1 },
        "runtimes": [{ "runtime_id": "default", "incarnation": 5, "software": "Agent 1.0\u{7}", "connected": true,
                       "live_runs": 2 }],
        "pending_directives": 0, "contribution_epoch": 12, "event_epoch": 99,
        "plugin_protocol": { "min": 1, "max": 1 }, "runtime_protocol": { "min": 1, "max": 1 },
    });
    assert_eq!(json["supervisor"], supervisor);
    let gate = json!({
        "plugin_id": "policy-gate", "name": "Policy gate", "version": "1.2.0", "tier": "community", "state": "ready",
        "since": "2026-11-21T06:46:40.000Z", "message": null, "enabled": true, "generation": 3, "pid": 4711,
        "retry_after_ms": null, "recent_failures": 0, "restarts": 2, "guards": 1, "ungranted_guards": 0,
        "manifest_unreadable": false, "refused_items": 0, "uncalled_hooks": 0, "denials": 7, "p50_us": 340,
        "p99_us": 1240, "event_lag": 0, "events_dropped": 0, "events_refused": 0, "peak_memory_bytes": null,
        "resources": { "cpu_time_ms": 1500, "memory_bytes": 5_242_880, "peak_memory_bytes": 6_291_456,
                       "memory_limit_bytes": null, "descriptors": 9, "processes": 1, "threads": 2,
                       "invocations_in_flight": 1, "queued_bytes": 0 },
    });
    assert_eq!(json["plugins"][1], gate);
    assert_eq!(json["plugins"][0]["message"], "exited with status 1: \u{1b}[2J\u{202e}gone");
    assert!(ran.out.contains("\\u001b[2J\\u202egone") && !ran.out.contains('\u{1b}'), "escaped on its way out");
}

#[test]
fn status_follows_until_the_supervisor_is_gone() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["status", "-f", "broken", "policy-gate"]);
    let expected = "\
2026-11-21T06:48:45.000Z broken quarantined, generation 9: exited with status 1: \\u{1b}[2J\\u{202e}gone; again in 30s; 1 guard declared and not granted: does not guard
2026-11-21T06:48:45.000Z policy-gate ready, generation 3, pid 4711
2026-11-21T06:48:45.000Z broken removed
";
    assert_eq!(ran.out, expected);
    assert_eq!(ran.exit, Exit::NoSupervisor);
    let lines = outrigger(fake.dir(), &["status", "-f", "--json"]).json_lines();
    assert_eq!(lines[1]["plugin"]["plugin_id"], "policy-gate");
    assert_eq!(lines[2], json!({ "removed": "broken" }));
    assert_eq!(fake.asked(), ["watch_plugins [\"broken\", \"policy-gate\"]", "watch_plugins []"]);
}

#[test]
fn top_shows_once_what_plugins_use() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["top", "--once", "-d", "500ms"]);
    let expected = "\
outrigger 0.1.0, up 2h 5m   2 plugins: 1 quarantined, 1 ready   1 runtime

PLUGIN       STATE        GEN  CPU%   MEMORY  PROCS  CALLS    P50    P99  DENIALS  RESTARTS  LAG  MESSAGE
broken       quarantined    9     -        -      -      -      -      -        0         5    0  exited with status 1: \\u{1b}[2J\\u{202e}gone; again in 30s; 1 guard declared and not granted: does not guard
policy-gate  ready          3   0.0  5.0 MiB      1      1  340us  1.2ms        7         2    0
";
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, expected, ""));
    let narrow = Run::new(fake.dir(), &["top", "--once", "-d", "500ms"]).width(50).go();
    assert!(narrow.out.lines().all(|line| line.chars().count() <= 50), "{}", narrow.out);
    let json = outrigger(fake.dir(), &["top", "--json", "-d", "500ms"]).json();
    assert_eq!(json["supervisor"]["pid"], 4242);
    let gate = &json["plugins"][1];
    assert_eq!((&gate["plugin_id"], &gate["cpu_percent"]), (&json!("policy-gate"), &json!(0.0)));
    assert_eq!((&gate["resources"]["invocations_in_flight"], &gate["p99_us"]), (&json!(1), &json!(1240)));
    assert_eq!(json["plugins"][0]["cpu_percent"], json!(null), "it has no process");
}

#[test]
fn inspect_says_first_what_does_not_hold() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["inspect", "policy-gate"]);
    let expected = "\
● policy-gate 1.2.0 - Policy gate
  state       ready for 2m 5s
  tier        community
  generation  3
  pid         4711
  command     /opt/policy-gate --strict
  package     sha256 abababababababababababababababababababababababababababababababab
  sdk         rust/outrigger-sdk 0.1.0
  protocol    version 1
  counts      7 denials of it or because it was absent; 2 launches after a failure, 0 failures since it was last stable
  environment PATH OUTRIGGER_TARGET

What does not hold
  ! a plugin of the supervisor's user can read the keys

Resources
  memory      5.0 MiB, peak 6.0 MiB, no limit
  cpu         1.5s
  tree        1 process, 2 threads, 9 descriptors
  calls       1 in flight, 0 B queued
  last minute p50 340us, p99 1.2ms

Guards
  served before_tool_call of exec: guards, and a handler serves it
  not_granted before_tool_call of exec: declared, not granted: does not guard (needs policy.trusted)

Rights
  state [state 12 of 1.0 MiB]

Registered
  hook guard
  hook reader\\n refused: needs hooks.conversation
    -> outrigger grant policy-gate hooks.conversation

Handlers
  HANDLER  OF                CALLS  ALLOW  DENY  FAILED    P50    P99  REMARKS
  guard    before_tool_call     48     40     7       1  340us  1.2ms  2 late or invalid answers

Sandbox
  RUNG            MODE         APPLIED  DETAIL
  landlock-files  best-effort  no       the kernel has no Landlock
";
    assert_eq!(ran.out, expected);
    let json = outrigger(fake.dir(), &["inspect", "policy-gate", "--json"]).json();
    assert_eq!(json["plugin_id"], "policy-gate");
    assert_eq!(json["exposures"][0], "a plugin of the supervisor's user can read the keys");
    assert_eq!(json["declared_guards"][1]["missing_scope"], "policy.trusted");
    assert_eq!(json["handlers"][0]["outcomes"], json!({ "allow": 40, "deny": 7, "timeout": 1 }));
    assert_eq!(json["items"][1]["accepted"], false);
    assert_eq!(json["sandbox"][0]["applied"], false);
}

#[test]
fn start_waits_for_ready_and_reset_is_passed_on() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["start", "policy-gate"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "policy-gate is ready, generation 3, pid 4711\n"));
    let failed = outrigger(fake.dir(), &["start", "broken"]);
    assert_eq!(failed.exit, Exit::Plugin);
    let expected = "\
error: broken failed while waiting for hello
  exit: status 1
  phase: hello
  state: quarantined
  -> `outrigger why broken` tells what happened
";
    assert_eq!(failed.err, expected);
    let reset = outrigger(fake.dir(), &["start", "broken", "--reset", "--json"]);
    assert_eq!((reset.exit, &reset.json()["plugin"]["state"]), (Exit::Plugin, &json!("quarantined")));
    let asked =
        ["start_plugin policy-gate reset=false", "start_plugin broken reset=false", "start_plugin broken reset=true"];
    assert_eq!(fake.asked(), asked);
}

#[test]
fn stop_refuses_to_lift_guards_unasked() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["stop", "policy-gate"]);
    let expected = "\
error: guards of policy-gate hold
  guards: before_tool_call:exec
  would not be guarded any more: before_tool_call of exec
  -> repeat with --yes to let them go: `outrigger stop policy-gate --yes`
";
    assert_eq!((ran.exit, ran.err.as_str(), ran.out.as_str()), (Exit::GuardsHold, expected, ""));
    let asked = fake.asked();
    assert!(!asked.iter().any(|asked| asked.contains("confirm=true")), "{asked:?}");
    let json = Run::new(fake.dir(), &["stop", "policy-gate", "--json"]).answering("y\n").go();
    assert_eq!(json.exit, Exit::GuardsHold, "a program is not asked");
    let error: serde_json::Value = serde_json::from_str(&json.err).expect("JSON on stderr");
    assert_eq!(error["error"]["reason"], "GUARDS_HOLD");
    assert_eq!(error["error"]["exit"], 8);
}

#[test]
fn stop_asks_a_person() {
    let fake = Fake::start();
    let no = Run::new(fake.dir(), &["stop", "policy-gate"]).answering("\n").go();
    assert_eq!(no.exit, Exit::GuardsHold);
    let question =
        "would not be guarded any more: before_tool_call of exec\nStop policy-gate and leave this unguarded? [y/N] ";
    assert_eq!(no.err, format!("{question}error: policy-gate was not stopped\n"));
    let yes = Run::new(fake.dir(), &["stop", "policy-gate", "--kill"]).answering("Yes\n").go();
    assert_eq!((yes.exit, yes.err.as_str()), (Exit::Done, question));
    let expected = "\
the process: had to be killed, signal 9, in 12ms; 2 calls cut off
policy-gate is stopped, generation 3
not guarded any more: before_tool_call of exec
";
    assert_eq!(yes.out, expected);
    assert_eq!(
        fake.asked().last().map(String::as_str),
        Some("stop_plugin policy-gate kill=true confirm=true dry_run=false")
    );
}

#[test]
fn stop_with_yes_asks_nobody() {
    let fake = Fake::start();
    let json = outrigger(fake.dir(), &["stop", "policy-gate", "--yes", "--json"]).json();
    let unguarded = json!([{ "hook": "before_tool_call", "tools": ["exec"], "tool_policy": false }]);
    assert_eq!(json["unguarded"], unguarded);
    let report =
        json!({ "step": "sigkill", "exit_status": null, "signal": 9, "cut_off_invocations": 2, "elapsed_ms": 12 });
    assert_eq!(json["report"], report);
    assert_eq!(fake.asked(), ["stop_plugin policy-gate kill=false confirm=true dry_run=false"]);
}

#[test]
fn restart_and_reload_tell_what_they_did() {
    let fake = Fake::start();
    let restarted = outrigger(fake.dir(), &["restart", "policy-gate"]);
    let expected = "\
the old process: ended while draining, exit status 0, in 4ms
policy-gate is ready, generation 3, pid 4711
";
    assert_eq!((restarted.exit, restarted.out.as_str()), (Exit::Done, expected));
    let reloaded = outrigger(fake.dir(), &["reload", "policy-gate"]);
    assert_eq!(reloaded.out, "policy-gate is ready, generation 3, pid 4711 (generation 2 before)\n");
    let json = outrigger(fake.dir(), &["reload", "policy-gate", "--json"]).json();
    assert_eq!(json["previous_generation"], 2);
}

#[test]
fn logs_are_harmless_and_gaps_are_told() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["logs", "policy-gate", "-n", "5"]);
    let expected = "\
2026-11-21T06:48:45.250Z policy-gate[3] stderr: hello \\u{1b}[31mred
-- 4 lines dropped --
2026-11-21T06:48:45.250Z policy-gate[3] error: it broke {\"code\":3}
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, expected));
    let document = outrigger(fake.dir(), &["logs", "--json"]).json();
    assert_eq!(document["lines"][0]["text"], "hello \u{1b}[31mred");
    assert_eq!(document["lines"][1]["dropped_before"], 4);
    assert_eq!(document["lines"][1]["fields"], json!({ "code": 3 }));
    let followed = outrigger(fake.dir(), &["logs", "policy-gate", "-f", "--json", "--generation", "3"]);
    assert_eq!(followed.exit, Exit::NoSupervisor);
    assert_eq!(followed.json_lines().len(), 2);
    let asked = [
        "tail_logs policy-gate lines=5 follow=false generation=0",
        "tail_logs  lines=100 follow=false generation=0",
        "tail_logs policy-gate lines=100 follow=true generation=3",
    ];
    assert_eq!(fake.asked(), asked);
}

#[test]
fn events_are_short_harmless_and_gaps_are_told() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["events"]);
    let expected = "\
2026-11-21T06:48:45.250Z 606fc93f-a3… assistant      {\"text\":\"\\u001b[31mred\"}
2026-11-21T06:48:45.250Z 606fc93f-a3… planner.x      {\"pluginId\":\"planner\"}
-- 2 events lost --
2026-11-21T06:48:45.250Z 606fc93f-a3… lifecycle      {\"phase\":\"end\"}
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, expected));
    let document = outrigger(fake.dir(), &["events", "--json", "-n", "5"]).json();
    assert_eq!(document["events"][0]["position"], 1);
    assert_eq!(document["events"][1]["plugin_id"], "planner");
    assert_eq!(document["events"][1]["position"], json!(null));
    assert_eq!(document["events"][2]["dropped_before"], 2);
    assert_eq!(document["events"][2]["data"], json!({ "phase": "end" }));
    assert_eq!(document["events"][2]["terminal"], true);
    let options = ["-f", "--json", "--stream", "tool", "--stream", "usage", "--run", "r", "--session", "k"];
    let followed = outrigger(fake.dir(), &[&["events", "--runtime", "second", "-n", "0"][..], &options].concat());
    assert_eq!(followed.exit, Exit::NoSupervisor);
    assert_eq!(followed.json_lines().len(), 3);
    let asked = [
        "watch_events streams= runtime= session= run= recent=100 until_now=true",
        "watch_events streams= runtime= session= run= recent=5 until_now=true",
        "watch_events streams=tool,usage runtime=second session=k run=r recent=0 until_now=false",
    ];
    assert_eq!(fake.asked(), asked);
}

#[test]
fn why_tells_failures_with_their_evidence() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["why", "broken"]);
    let expected = "\
broken is quarantined, generation 9: exited with status 1: \\u{1b}[2J\\u{202e}gone; again in 30s; 1 guard declared and not granted: does not guard
It failed six times in a row.
  -> outrigger start broken --reset

2026-11-21T06:47:45.000Z exit, generation 9, waiting for hello, exit status 1
  it exited before it said hello
  last lines of stderr:
  | Traceback:
  | \\u{1b}]0;title\\u{7}boom
  stack:
  | main
  | read
  open-files: cannot be read: no permission
  wait-channel: not tried

last reclaim, 2026-11-21T06:47:45.000Z, cause crash:
  run context: 2 released, 1 kept, 0 to do
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, expected));
    let json = outrigger(fake.dir(), &["why", "broken", "--json"]).json();
    assert_eq!(json["failures"][0]["phase"], "hello");
    assert_eq!(
        json["failures"][0]["evidence"][1],
        json!({ "name": "open-files", "text": null, "unreadable": "no permission" })
    );
    assert_eq!(json["last_reclaim"]["items"][0]["kind"], "run_context");
    let calm = outrigger(fake.dir(), &["why", "policy-gate"]);
    assert_eq!(calm.out, "policy-gate is ready, generation 3, pid 4711\n\nno failures on record\n");
}

#[test]
fn rights_tell_where_each_comes_from_and_what_would_allow_the_rest() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["rights", "policy-gate"]);
    let expected = "\
policy-gate, tier community
  RIGHT              HELD  WHERE FROM             QUOTAS                                  WHAT IT ALLOWS, OR WHAT WOULD ALLOW IT
  attach             yes   granted                staged 64 MiB                           files in a conversation, from the roots named: /srv/\\u{1b}[2Jreports
  hooks.tools        yes   tier default           -                                       hooks around tool calls
  schedule           yes   tier default, granted  pending-turns 3 of 32, min-interval 1m  turns at a time or at intervals
  commands.reserved  no    above the ceiling      -                                       no grant can allow it
  inject             no    denied                 injections 32                           take \"inject\" out of `deny` of its entry in outrigger.toml
  policy.trusted     no    not granted            -                                       \"policy.trusted\" in `grants` of its entry in outrigger.toml
  lease              no    not requested          -                                       \"lease\" in `scopes` of its plugin.toml, and \"lease\" in `grants` of its entry in outrigger.toml
  ! before_tool_call of exec: declared, not granted: does not guard (needs policy.trusted)
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, expected));
    assert_eq!(fake.asked(), ["list_grants policy-gate page=", "list_grants policy-gate page=2"]);
    let all = outrigger(fake.dir(), &["rights"]).out;
    assert!(!all.contains("  lease ") && all.contains("  schedule "), "what nobody asked for is left out: {all}");
    let narrow = Run::new(fake.dir(), &["rights", "policy-gate"]).width(70).go().out;
    assert!(narrow.lines().take(8).all(|line| line.chars().count() <= 70), "{narrow}");
    let json = outrigger(fake.dir(), &["rights", "policy-gate", "--json"]).json();
    assert_eq!(json["rights"][0]["scope"], "attach");
    assert_eq!(json["rights"][0]["names"], json!(["/srv/\u{1b}[2Jreports"]));
    assert_eq!(json["rights"][0]["quotas"], json!([{ "name": "staged-bytes", "limit": 67_108_864, "used": 0 }]));
    let origins: Vec<_> = json["rights"].as_array().expect("a list").iter().map(|right| &right["origin"]).collect();
    let expected = ["granted", "above_ceiling", "tier_default", "denied", "not_requested", "not_granted", "granted"];
    assert_eq!(origins, expected);
    assert_eq!(json["ungranted_guards"][0]["missing_scope"], "policy.trusted");
    assert_eq!(outrigger(fake.dir(), &["rights", "nobody"]).exit, Exit::Plugin);
}

#[test]
fn hooks_are_listed_in_the_order_of_asking() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["hooks", "before_tool_call", "--plugin", "policy-gate"]);
    let expected = "\
HOOK              #  PLUGIN       HANDLER  TOOLS  GUARD        PRIO  LIMIT  CALLS  ALLOW  DENY  ERROR  TIMEOUT  ABSENT  SKIPPED    P50    P99    LAST  REMARKS
before_tool_call  1  policy-gate  guard    exec   served         10     2s     48     40     7      0        1       0        0  340us  1.2ms  3s ago  2 late or invalid answers
before_tool_call  -  broken       -        exec   denying         -     2s      -      -     -      -        -       -        -      -      -       -  no handler serves it now: what it guards is denied; not called by default
before_tool_call  -  policy-gate  -        exec   not_granted     -     2s      -      -     -      -        -       -        -      -      -       -  declared, not granted: does not guard
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, expected));
    let json = outrigger(fake.dir(), &["hooks", "--json"]).json();
    assert_eq!(json["handlers"][0]["calls"], 48);
    assert_eq!(json["handlers"][1]["handler_id"], serde_json::Value::Null);
    assert_eq!(fake.asked(), ["list_hooks hook=24 plugin=policy-gate", "list_hooks hook=0 plugin="]);
}

#[test]
fn guards_that_do_not_guard_fail_the_check() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["guards"]);
    let expected = "\
served policy-gate: before_tool_call of exec - guards, and a handler serves it
not_granted policy-gate: before_tool_call of exec - declared, not granted: does not guard (needs policy.trusted)
  canary timeout by policy-gate/guard in 412us: no answer in 2 s
";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failed, expected));
    let sound = outrigger(fake.dir(), &["guards", "policy-gate", "--json"]);
    assert_eq!(sound.exit, Exit::Done);
    assert_eq!(sound.json()["reports"][0]["outcome"], "allow");
}

#[test]
fn a_live_check_fails_where_a_guard_does_not_answer() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["check", "--live"]);
    let expected = "\
PLUGIN       HANDLER  CANARY    TIME  MESSAGE
policy-gate  guard    timeout  412us  no answer in 2 s
! policy-gate: before_tool_call of exec - declared, not granted: does not guard (needs policy.trusted)
1 guard tried, 1 did not answer
";
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Failed, expected, ""));
    let json = outrigger(fake.dir(), &["check", "--live", "--json"]);
    assert_eq!(json.exit, Exit::Failed);
    let json = json.json();
    assert_eq!((&json["answered"], &json["reports"][0]["elapsed_us"]), (&json!(false), &json!(412)));
    assert_eq!(fake.asked(), ["check_guards ", "check_guards "]);
}

#[test]
fn call_prints_what_the_plugin_said() {
    let fake = Fake::start();
    let event = r#"{"toolName":"exec","params":{"command":"rm -rf /"}}"#;
    let args = ["call", "policy-gate", "before_tool_call", "--tool", "exec", "--event"];
    let denied = outrigger(fake.dir(), &[&args[..], &[event]].concat());
    let expected = "\
policy-gate/guard deny in 412us
{
  \"tool_call\": {
    \"block\": {
      \"reason\": \"no \\u001brm\"
    }
  }
}
";
    assert_eq!((denied.exit, denied.out.as_str()), (Exit::Denied, expected));
    let file = fake.dir().join("event.json");
    std::fs::write(&file, r#"{"params":{}}"#).expect("write the event");
    let from_file = format!("@{}", file.display());
    let allowed = outrigger(fake.dir(), &[&args[..], &[&from_file, "--canary"]].concat());
    assert_eq!((allowed.exit, allowed.out.as_str()), (Exit::Done, "policy-gate/guard allow in 412us\nno opinion\n"));
    let json = outrigger(fake.dir(), &[&args[..], &[event, "--json"]].concat()).json();
    assert_eq!(json["result"]["tool_call"]["block"]["reason"], "no \u{1b}rm");
    assert_eq!(json["report"]["outcome"], "deny");
    let absent = outrigger(fake.dir(), &["call", "broken", "before_tool_call", "--event", "{}"]);
    assert_eq!(absent.exit, Exit::Plugin);
    assert_eq!(fake.asked()[1], r#"invoke_plugin_hook policy-gate hook=24 tool=exec canary=true event={"params":{}}"#);
}

#[test]
fn keys_are_made_listed_and_removed() {
    let fake = Fake::start();
    let made = outrigger(fake.dir(), &["key", "add", "second", "--group", "agents"]);
    assert_eq!(made.out, "made: /var/lib/outrigger/keys/second.key, readable by group agents\n");
    let listed = outrigger(fake.dir(), &["key", "list"]);
    let expected = "\
RUNTIME  GROUP  AGE  LAST USED  FILE
default  -       1d     5s ago  /var/lib/outrigger/keys/default.key
";
    assert_eq!(listed.out, expected);
    assert_eq!(outrigger(fake.dir(), &["key", "list", "--json"]).json()["keys"][0]["runtime_id"], "default");
    let removed = outrigger(fake.dir(), &["key", "remove", "default"]);
    assert_eq!(removed.out, "default: removed; the runtime attached with it is cut off\n");
    let none = outrigger(fake.dir(), &["key", "remove", "other", "--json"]).json();
    assert_eq!(none, json!({ "removed": false, "was_attached": false }));
    let refused = outrigger(fake.dir(), &["key", "add", "second", "--group", "nobody-knows"]);
    let expected = "\
error: the group is unknown
  group: this machine has no such group
  -> name a group of `getent group`
";
    assert_eq!((refused.exit, refused.err.as_str()), (Exit::Failed, expected));
}

#[test]
fn shutdown_waits_until_the_process_is_gone() {
    let process = std::process::Command::new("sleep").arg("60").spawn().expect("a process to be ended");
    let pid = process.id();
    let fake = Fake::start_with(Scene::default(), Some(process));
    let ran = outrigger(fake.dir(), &["shutdown"]);
    assert_eq!((ran.exit, ran.out), (Exit::Done, format!("the supervisor, pid {pid}, has stopped\n")));
    assert_eq!(fake.asked(), ["get_supervisor", "stop_supervisor"]);
}

#[test]
fn shutdown_need_not_wait() {
    let fake = Fake::start();
    let json = outrigger(fake.dir(), &["shutdown", "--no-block", "--json"]).json();
    assert_eq!(json, json!({ "pid": 4242, "stopped": false }));
}
