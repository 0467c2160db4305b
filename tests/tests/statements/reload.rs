//! Reloads. That they fail, double and pass nothing under load is shown in `gate.rs`.

use std::fs;
use std::time::Duration;

use outrigger_fixtures::faults::Phase;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, processes, within};
use serde_json::json;

use crate::LIMIT;

/// X12: "hot reload: in-flight calls finish on the old generation …; no window with no generation for fail-closed
/// policies". Q21: "Reload = start the new process, handshake, swap atomically, drain the old with a deadline, kill. New
/// code is always really new."
#[tokio::test]
async fn x12_q21_a_reload_swaps_to_new_code_and_calls_in_flight_finish_on_the_old() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(Package::well_behaved("reloaded")).start().await;
        let old = world.ready("reloaded").await;
        let neighbour = Neighbour::watch(&world.runtime(), "reloaded");
        let params = json!({ "hold": true });
        let held = world.call("reloaded", &params);
        let reload = async {
            world.told("reloaded", "holds invocation").await;
            // Other code: an argument more.
            Package::well_behaved("reloaded").arguments(&["life=19"]).write(&world.dir().join("packages"));
            world.reload("reloaded").await.expect("it reloads")
        };
        let (held, reloaded) = tokio::join!(held, reload);
        // The old generation answered it when it was to drain.
        assert!(held.goes_on(), "{held:?}");
        let new = reloaded.plugin.expect("the answer has the status");
        assert_eq!((reloaded.previous_generation, new.generation), (1, 2));
        assert_ne!(new.pid, old.pid);
        assert!(processes::describe(new.pid).contains("life=19"), "{}", processes::describe(new.pid));
        let left = processes::gone(Duration::from_secs(5), || {
            world.processes_of("reloaded").into_iter().filter(|pid| *pid == old.pid).collect()
        });
        assert!(left.await.is_empty(), "the old one has drained and is gone");
        neighbour.finish().await.assert_unharmed();
        assert_eq!(world.causes("reloaded").await, Vec::<String>::new());
    })
    .await;
}

/// X15: "reload whose new process fails the handshake: old generation still serves, no durable state deleted". Q23: "A
/// failed new generation leaves the old one serving."
#[tokio::test]
async fn x15_q23_a_failed_next_generation_leaves_the_old_one_serving() {
    within(LIMIT, async {
        let id = "reloaded";
        let world = Setup::new().await.plugin(Package::well_behaved(id).timeout("2s")).start().await;
        let old = world.ready(id).await;
        let neighbour = Neighbour::watch(&world.runtime(), id);
        let kept = world.data_dir(id).join("kept");
        fs::write(&kept, "of the plugin").expect("write a file of the plugin");
        // It exits, says Fatal, has a wrong token, or does not answer the canary.
        for (fault, when) in [
            ("exit", Phase::Starting),
            ("fatal-internal", Phase::Starting),
            ("wrong-token", Phase::Starting),
            ("bad-version", Phase::Starting),
            ("answer-wrong-type", Phase::Hook),
        ] {
            Package::misbehaving(id, fault, when).write(&world.dir().join("packages"));
            let status = world.reload(id).await.expect_err("the next generation fails");
            assert_eq!(status.code(), tonic::Code::Unavailable, "{fault}: {status}");
            let now = world.status(id).await;
            assert_eq!((now.state(), now.generation, now.pid), (PluginState::Ready, 1, old.pid), "{fault}");
        }
        // A manifest that cannot be read is told before anything is started.
        fs::write(world.package_dir(id).join("plugin.toml"), "nonsense").expect("break the manifest");
        let status = world.reload(id).await.expect_err("nothing can be started");
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
        neighbour.finish().await.assert_unharmed();
        assert_eq!(fs::read_to_string(&kept).expect("it is there"), "of the plugin");

        Package::well_behaved(id).write(&world.dir().join("packages"));
        let reloaded = world.reload(id).await.expect("mended it reloads");
        assert_eq!(reloaded.previous_generation, 1);
        assert!(world.call(id, &json!({})).await.goes_on());
    })
    .await;
}

/// Q21, stop-first: between the generations guards deny, by name; nothing passes.
#[tokio::test]
async fn q21_a_reload_that_stops_first_denies_meanwhile() {
    within(LIMIT, async {
        let package = Package::well_behaved("one-only").manifest("reload = \"stop-first\"");
        let world = Setup::new().await.plugin(package).start().await;
        world.ready("one-only").await;
        let stream = world.hook_stream().await;
        let done = std::sync::atomic::AtomicBool::new(false);
        let press = async {
            let (mut passed, mut denied) = (0, 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let called = stream.call("one-only", &json!({})).await.expect("it is carried out");
                if called.goes_on() {
                    assert!(!called.handlers.is_empty(), "it passed unasked: {called:?}");
                    passed += 1;
                } else {
                    assert!(called.is_stopped_by("one-only"), "{called:?}");
                    assert_eq!(called.stopped_as(), Some(HandlerOutcome::Absent), "{called:?}");
                    denied += 1;
                }
            }
            (passed, denied)
        };
        let reload = async {
            let reloaded = world.reload("one-only").await.expect("it reloads");
            assert_eq!(reloaded.plugin.expect("the answer has the status").generation, 2);
            assert_eq!(world.processes_of("one-only").len(), 1, "never two at once");
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        let ((passed, denied), ()) = tokio::join!(press, reload);
        assert!(denied > 0, "{passed} passed, none was denied");
    })
    .await;
}

/// Q23 in quarantine: a reload does not release a plugin, and its guard holds on.
#[tokio::test]
async fn q23_a_reload_does_not_release_from_quarantine() {
    within(LIMIT, async {
        let package = Package::misbehaving("failing", "exit", Phase::Starting);
        let world = Setup::new().await.set_raw("quarantine_after", "1").plugin(package).start().await;
        world.wait_for("failing", PluginState::Quarantined).await;
        let status = world.reload("failing").await.expect_err("it is quarantined");
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
        assert_stopped(&world.call("failing", &json!({})).await, "failing", HandlerOutcome::Absent);
    })
    .await;
}
