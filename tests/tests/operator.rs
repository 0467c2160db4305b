//! What an operator sets and asks for, and what comes of it: deadlines, the breaker, probes, reloads, stops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::{StopPluginRequest, StopStep};
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Package, Setup, within};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

/// Q6: "configurable per plugin and hook, strongest setting wins": the caller's own deadline bounds what is configured.
#[tokio::test]
async fn q06_the_shortest_deadline_wins() {
    within(LIMIT, async {
        let package = |id: &str| Package::well_behaved(id);
        let world = Setup::new()
            .await
            .plugin(package("by-hook").entry("timeout = \"30s\"").timeout("200ms"))
            .plugin(package("by-plugin").entry("timeout = \"200ms\""))
            .start()
            .await;
        for id in ["by-hook", "by-plugin"] {
            world.ready(id).await;
            let called = world.call(id, &json!({ "hold": true })).await;
            assert_stopped(&called, id, HandlerOutcome::Timeout);
            assert!(called.elapsed < Duration::from_secs(10), "{id}: {:?}", called.elapsed);
        }
    })
    .await;
}

/// Q14, the breaker: five failures in a row open it; then the handler is absent, which denies, and is not asked.
#[tokio::test]
async fn q14_an_open_breaker_denies_too() {
    within(LIMIT, async {
        let package = Package::misbehaving("failing", "answer-unset", Phase::Hook);
        let world =
            Setup::new().await.set("breaker_first", "10m").set("breaker_max", "10m").plugin(package).start().await;
        world.ready("failing").await;
        for _ in 0..5 {
            assert_stopped(&world.call("failing", &json!({})).await, "failing", HandlerOutcome::Error);
        }
        let called = world.call("failing", &json!({})).await;
        assert_stopped(&called, "failing", HandlerOutcome::Absent);
        assert!(called.reason.contains("breaker"), "{}", called.reason);
        assert!(world.full("failing").await.handlers.iter().any(|handler| handler.breaker_open));
    })
    .await;
}

/// Q2, the probe: a quarantined plugin is tried again when its probe is due, and serves if it is mended by then.
#[tokio::test]
async fn q02_a_due_probe_tries_a_quarantined_plugin_again() {
    within(LIMIT, async {
        let script = "if [ -e \"$OUTRIGGER_DATA_DIR/mended\" ]; then exec \"$0\" \"$@\"; else exit 3; fi";
        let mut package = Package::well_behaved("probed");
        let own = std::mem::take(&mut package.command);
        package.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        package.command.extend(own);
        let world = Setup::new()
            .await
            .set_raw("quarantine_after", "2")
            .set("probe_first", "300ms")
            .set("probe_max", "300ms")
            .plugin(package)
            .start()
            .await;
        world.wait_for("probed", PluginState::Quarantined).await;
        // A probe that fails leads back into quarantine, with one failure more.
        world.failed("probed", 3).await;
        world.wait_for("probed", PluginState::Quarantined).await;
        std::fs::write(world.data_dir("probed").join("mended"), "").expect("mend it");
        world.ready("probed").await;
        assert!(world.call("probed", &json!({})).await.goes_on());
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
        let done = AtomicBool::new(false);
        let press = async {
            let (mut passed, mut denied) = (0, 0);
            while !done.load(Ordering::Relaxed) {
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
            done.store(true, Ordering::Relaxed);
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

/// Only a confirmed stop takes a guard away; asked without, nothing is done.
#[tokio::test]
async fn q24_a_stop_that_would_unguard_wants_to_be_confirmed() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(Package::well_behaved("guarding")).start().await;
        world.ready("guarding").await;
        let request = StopPluginRequest { plugin_id: "guarding".to_owned(), ..StopPluginRequest::default() };
        let status = world.admin().stop_plugin(request.clone()).await.expect_err("it is not confirmed");
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
        assert!(status.message().contains("before_tool_call:guarding"), "it names what would be unguarded: {status}");
        let dry = StopPluginRequest { dry_run: true, ..request };
        let told = world.admin().stop_plugin(dry).await.expect("a dry run needs no confirmation").into_inner();
        assert_eq!(told.unguarded.len(), 1, "{told:?}");
        let params = json!({ "block": true });
        assert_stopped(&world.call("guarding", &params).await, "guarding", HandlerOutcome::Deny);
        let output = world.cli(&["stop", "guarding"]).await;
        assert_eq!(output.status.code(), Some(8), "{output:?}");
        assert_stopped(&world.call("guarding", &params).await, "guarding", HandlerOutcome::Deny);
    })
    .await;
}

/// Q25: the exit status tells of this shutdown, not of what an operator killed long before.
#[tokio::test]
async fn q25_an_earlier_kill_is_no_matter_of_the_shutdown() {
    within(LIMIT, async {
        let mut world = Setup::new()
            .await
            .plugin(Package::misbehaving("stubborn", "ignore-sigterm", Phase::Idle))
            .plugin(Package::well_behaved("plain"))
            .start()
            .await;
        world.ready("plain").await;
        world.told("stubborn", "ignores SIGTERM").await;
        let stopped = world.stop("stubborn").await.expect("it stops");
        assert_eq!(stopped.report.map(|report| report.step()), Some(StopStep::Sigkill));
        let status = world.terminate().await;
        assert!(status.success(), "{status}: {}", world.log_tail());
    })
    .await;
}
