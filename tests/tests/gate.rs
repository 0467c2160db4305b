//! The gate: whatever becomes of a plugin that declares a guard, what it guards does not pass unasked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::GuardState;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{HookStream, Package, Setup, World, within};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);
/// Calls of the tool `exec` in the recorded traces, and of other tools.
const EXEC_CALLS: usize = 5;
const OTHER_CALLS: usize = 3;

/// The gate that denies `exec`.
fn gate() -> Package {
    Package::policy_gate("{ deny_tools = [\"exec\"] }")
}

/// The same package with a program that never comes to serve.
fn broken_gate() -> Package {
    let mut package = gate();
    package.command = ["/bin/sh", "-c", "exit 3"].map(str::to_owned).to_vec();
    package
}

/// Plays all traces; the decisions on `exec`, those on other tools, and the whole report.
async fn replay(world: &World) -> (Vec<Value>, Vec<Value>, Value) {
    let report = world.replay().await;
    let decisions = report["decisions"].as_array().expect("it has decisions").clone();
    let (exec, other) = decisions.into_iter().partition(|decision| decision["tool"] == "exec");
    (exec, other, report)
}

fn assert_denied(decision: &Value, outcome: &str, state: &str) {
    assert_eq!(decision["verdict"], "stop", "{decision}");
    assert_eq!(decision["decided_by"]["plugin_id"], "policy-gate", "{decision}");
    assert_eq!(decision["decided_by"]["outcome"], outcome, "{decision}");
    let reason = decision["reason"].as_str().expect("it has a reason");
    assert!(reason.starts_with("policy-gate: ") && reason.contains(state), "{reason}");
}

#[tokio::test]
async fn a_replay_has_exactly_as_many_denials_as_calls_of_the_denied_tool() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(gate()).start().await;
        world.ready("policy-gate").await;
        let (exec, other, report) = replay(&world).await;
        assert_eq!((exec.len(), other.len()), (EXEC_CALLS, OTHER_CALLS), "{report}");
        for decision in &exec {
            assert_denied(decision, "deny", "the operator denies the tool `exec`");
        }
        // Nobody wants the hook for other tools, so no call is made.
        other.iter().for_each(|decision| assert_eq!(decision["verdict"], "not_wanted", "{decision}"));
        assert_eq!(report["totals"]["stop"], EXEC_CALLS, "{report}");
        assert_eq!(world.status("policy-gate").await.denials, EXEC_CALLS as u64);
    })
    .await;
}

#[tokio::test]
async fn a_gate_in_backoff_denies_by_name_and_state() {
    within(LIMIT, async {
        let world = Setup::new()
            .await
            .set("backoff_first", "10m")
            .set("backoff_max", "10m")
            .plugin(broken_gate())
            .start()
            .await;
        world.wait_for("policy-gate", PluginState::Waiting).await;
        world.failed("policy-gate", 1).await;
        let (exec, other, report) = replay(&world).await;
        assert_eq!((exec.len(), other.len()), (EXEC_CALLS, OTHER_CALLS), "{report}");
        exec.iter().for_each(|decision| assert_denied(decision, "absent", "is waiting"));
        other.iter().for_each(|decision| assert_eq!(decision["verdict"], "not_wanted", "{decision}"));
    })
    .await;
}

#[tokio::test]
async fn a_gate_in_quarantine_denies_by_name_and_state() {
    within(LIMIT, async {
        let world = Setup::new().await.set_raw("quarantine_after", "2").plugin(broken_gate()).start().await;
        world.wait_for("policy-gate", PluginState::Quarantined).await;
        let (exec, _, report) = replay(&world).await;
        assert_eq!(exec.len(), EXEC_CALLS, "{report}");
        exec.iter().for_each(|decision| assert_denied(decision, "absent", "is quarantined"));
    })
    .await;
}

#[tokio::test]
async fn a_gate_that_is_to_be_skipped_is_passed_and_counted() {
    within(LIMIT, async {
        let world = Setup::new()
            .await
            .set_raw("quarantine_after", "1")
            .plugin(broken_gate().skipped_when_absent())
            .start()
            .await;
        world.wait_for("policy-gate", PluginState::Quarantined).await;
        let (exec, _, report) = replay(&world).await;
        assert_eq!(exec.len(), EXEC_CALLS, "{report}");
        for decision in &exec {
            assert_eq!(decision["verdict"], "go_on", "{decision}");
            assert_eq!(decision["handlers"][0]["plugin_id"], "policy-gate", "{decision}");
            assert_eq!(decision["handlers"][0]["outcome"], "absent", "{decision}");
        }
        let hooks = report["hooks"].as_array().expect("it has hooks");
        let before = hooks.iter().find(|hook| hook["hook"] == "before_tool_call").expect("the hook was played");
        assert_eq!(before["handlers"]["absent"], EXEC_CALLS, "{before}");
        let guards = world.full("policy-gate").await.guards;
        assert!(guards.iter().all(|guard| guard.state() == GuardState::Skipped), "{guards:?}");
    })
    .await;
}

#[tokio::test]
async fn a_manifest_broken_between_two_starts_guards_as_it_last_did() {
    within(LIMIT, async {
        let setup = Setup::new().await.plugin(Package::well_behaved("broken")).plugin(Package::well_behaved("sound"));
        let mut world = setup.start().await;
        world.ready("broken").await;
        world.ready("sound").await;
        assert!(world.call("broken", &json!({})).await.goes_on());
        assert!(world.terminate().await.success());

        std::fs::write(world.package_dir("broken").join("plugin.toml"), "id = [this is no TOML").expect("break it");
        world.start().await;
        world.ready("sound").await;
        let status = world.wait_for("broken", PluginState::Quarantined).await;
        assert!(status.manifest_unreadable, "{status:?}");
        let called = world.call("broken", &json!({})).await;
        assert_stopped(&called, "broken", HandlerOutcome::Absent);
        assert!(called.reason.contains("is quarantined"), "{}", called.reason);
        assert!(world.call("sound", &json!({})).await.goes_on());
        assert!(world.call("somebody-elses", &json!({})).await.goes_on(), "only what it last guarded is denied");

        // Mended, it serves again without a new start of the supervisor.
        Package::well_behaved("broken").write(&world.dir().join("packages"));
        world.start_plugin("broken", true).await.expect("it starts once it is mended");
        assert!(world.call("broken", &json!({})).await.goes_on());
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_never_could_be_read_guards_everything() {
    within(LIMIT, async {
        let setup = Setup::new().await.plugin(Package::well_behaved("sound"));
        // No package of this name is ever written in a form that can be read.
        let setup = setup.plugin(Package::of_program("never-read", &["/bin/true"]).manifest("nonsense = 1"));
        let world = setup.start().await;
        world.ready("sound").await;
        for tool in ["sound", "somebody-elses"] {
            let called = world.call(tool, &json!({})).await;
            assert_stopped(&called, "never-read", HandlerOutcome::Absent);
        }
        assert!(world.status("never-read").await.manifest_unreadable);
    })
    .await;
}

/// Calls a plugin's tool all the time, on a stream; counts what went on.
async fn press(stream: &HookStream, tool: &str, stop: &AtomicBool) -> (u64, u64) {
    let (mut calls, mut passed) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let called = stream.call(tool, &json!({})).await.expect("the call is carried out");
        calls += 1;
        if called.goes_on() {
            passed += 1;
        } else {
            assert!(called.is_stopped_by(tool), "{called:?}");
        }
        tokio::task::yield_now().await;
    }
    (calls, passed)
}

/// Presses on a plugin until it is quarantined; nothing must have passed.
async fn no_way_through(package: Package, failures: usize) {
    let id = package.id.clone();
    let world = Setup::new().await.set_raw("quarantine_after", "3").plugin(package).start().await;
    let stream = world.hook_stream().await;
    let stop = AtomicBool::new(false);
    let quarantined = async {
        let status = world.wait_for(&id, PluginState::Quarantined).await;
        // It stays so: the call after it is denied as well.
        let called = world.call(&id, &json!({})).await;
        assert_stopped(&called, &id, HandlerOutcome::Absent);
        stop.store(true, Ordering::Relaxed);
        status
    };
    let ((calls, passed), status) = tokio::join!(press(&stream, &id, &stop), quarantined);
    assert!(calls > 0);
    assert_eq!(passed, 0, "{passed} of {calls} calls passed");
    let causes = world.causes(&id).await;
    assert_eq!(causes.len(), failures, "{causes:?}");
    assert_eq!(status.state(), PluginState::Quarantined);
}

#[tokio::test]
async fn a_plugin_that_exits_with_0_is_no_way_through() {
    within(LIMIT, no_way_through(Package::misbehaving("exit-zero", "exit-zero", Phase::Starting), 3)).await;
}

#[tokio::test]
async fn a_plugin_that_exits_for_good_is_no_way_through_and_is_not_tried_again() {
    within(LIMIT, no_way_through(Package::misbehaving("final", "final-exit", Phase::Starting), 1)).await;
}

#[tokio::test]
async fn a_plugin_that_crashes_on_each_call_is_no_way_through() {
    within(LIMIT, no_way_through(Package::misbehaving("crash", "exit", Phase::Hook), 3)).await;
}

#[tokio::test]
async fn a_plugin_that_crashes_after_each_ready_is_asked_or_denies() {
    within(LIMIT, async {
        // It serves for a moment each time; what passes then, it was asked about.
        let package = Package::misbehaving("slow-crash", "exit", Phase::Idle);
        let world = Setup::new().await.set_raw("quarantine_after", "4").plugin(package).start().await;
        let stream = world.hook_stream().await;
        loop {
            let called = stream.call("slow-crash", &json!({})).await.expect("the call is carried out");
            if called.goes_on() {
                let asked = called.handlers.iter().any(|handler| handler.outcome() == HandlerOutcome::Allow);
                assert!(asked, "it passed and nobody was asked: {called:?}");
            } else {
                assert!(called.is_stopped_by("slow-crash"), "{called:?}");
                if called.reason.contains("is quarantined") {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(world.causes("slow-crash").await, ["crashed"; 4]);
    })
    .await;
}

/// Reloads in CI, and with `OUTRIGGER_ALL_RELOADS` set; the short form has its own time.
fn reloads() -> u32 {
    if std::env::var_os("OUTRIGGER_ALL_RELOADS").is_some() { 100 } else { 20 }
}

/// Reloads a plugin again and again while its tool is called on a stream and by the unary method.
///
/// `blocked` and `allowed` are parameters that it must block and allow. No call may fail, be answered twice (the stream's
/// reader fails then), or pass unasked.
async fn reload_under_calls(world: &World, id: &str, tool: &str, blocked: &Value, allowed: &Value) {
    let stream = world.hook_stream().await;
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let call = |by_stream: bool| {
        let (stream, stop, calls) = (&stream, &stop, &calls);
        async move {
            let mut turn = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                let (params, must_block) = if turn.is_multiple_of(2) { (blocked, true) } else { (allowed, false) };
                let called = if by_stream {
                    stream.call(tool, params).await.expect("no call fails")
                } else {
                    world.call(tool, params).await
                };
                calls.fetch_add(1, Ordering::Relaxed);
                let told: BTreeMap<_, _> =
                    called.handlers.iter().map(|handler| (handler.plugin_id.as_str(), handler.outcome())).collect();
                if must_block {
                    assert_stopped(&called, id, HandlerOutcome::Deny);
                } else {
                    assert!(called.goes_on(), "{called:?}");
                    assert_eq!(told.get(id), Some(&HandlerOutcome::Allow), "{called:?}");
                }
            }
        }
    };
    let reload = async {
        let first = world.status(id).await.generation;
        for turn in 1..=reloads() {
            let reloaded = world.reload(id).await.expect("it reloads");
            let status = reloaded.plugin.expect("the answer has the status");
            assert_eq!(status.generation, first + u64::from(turn), "one generation each");
            assert_eq!(reloaded.previous_generation, status.generation - 1);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let begin = Instant::now();
    // Four on the stream and two beside it, so that some are in flight at every swap.
    tokio::join!(reload, call(true), call(true), call(true), call(true), call(false), call(false));
    let calls = calls.load(Ordering::Relaxed);
    println!("{} reloads of {id} in {:.1?} under {calls} calls", reloads(), begin.elapsed());
    assert!(calls > u64::from(reloads()), "{calls} calls");
    assert_eq!(world.causes(id).await, Vec::<String>::new());
}

#[tokio::test]
async fn reloads_under_calls_fail_none_double_none_and_let_none_pass() {
    within(LIMIT * 3, async {
        let world = Setup::new().await.plugin(Package::well_behaved("reloaded")).start().await;
        world.ready("reloaded").await;
        reload_under_calls(&world, "reloaded", "reloaded", &json!({ "block": true }), &json!({})).await;
        // Of all the generations one is left.
        let left = outrigger_tests::processes::gone(Duration::from_secs(5), || {
            let mut pids = world.processes_of("reloaded");
            pids.pop_first();
            pids
        });
        assert!(left.await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn reloads_of_a_stock_python_plugin_under_calls_likewise() {
    within(LIMIT * 6, async {
        let environment = outrigger_tests::python::environment().await;
        let packages = outrigger_tests::python::packages();
        let directory = packages.path().join("python-gate");
        environment.write_gate(&directory).expect("write the package");
        let world = Setup::new().await.plugin(Package::written("python-gate", &directory)).start().await;
        world.ready("python-gate").await;
        let (blocked, allowed) = (json!({ "command": "rm -rf /" }), json!({ "command": "ls" }));
        reload_under_calls(&world, "python-gate", "exec", &blocked, &allowed).await;
    })
    .await;
}
