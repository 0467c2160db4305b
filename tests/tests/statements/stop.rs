//! Stopping, of one plugin and of all.

use std::time::{Duration, Instant};

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::{StopPluginRequest, StopStep};
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Package, Setup, World, processes, within};
use serde_json::json;

use crate::LIMIT;

async fn stop(world: &World, id: &str) -> StopStep {
    let stopped = world.stop(id).await.expect("it stops");
    assert_eq!(stopped.plugin.expect("the answer has the status").state(), PluginState::Stopped, "{id}");
    stopped.report.map(|report| report.step()).unwrap_or_default()
}

/// Q24: "Stop: drain, stop request with deadline, SIGTERM to the group, SIGKILL; …; works in each state, also half
/// started." Q25: "The report … name[s] each plugin that had to be killed".
#[tokio::test]
async fn q24_q25_a_stop_works_from_every_state_and_tells_how_far_it_had_to_go() {
    within(LIMIT, async {
        let world = Setup::new()
            .await
            .set("backoff_first", "10m")
            .set("backoff_max", "10m")
            .plugin(Package::well_behaved("ready"))
            .plugin(Package::misbehaving("stubborn", "ignore-sigterm", Phase::Idle))
            .plugin(Package::misbehaving("deaf", "never-read", Phase::Draining))
            .plugin(Package::misbehaving("starting", "ignore-sigterm", Phase::Starting))
            .plugin(Package::misbehaving("waiting", "exit", Phase::Starting))
            .plugin(Package::misbehaving("quarantined", "final-exit", Phase::Starting))
            .start()
            .await;
        world.ready("ready").await;
        assert!(matches!(stop(&world, "ready").await, StopStep::Drain | StopStep::Shutdown));
        world.told("stubborn", "ignores SIGTERM").await;
        assert_eq!(stop(&world, "stubborn").await, StopStep::Sigkill);
        world.ready("deaf").await;
        assert_eq!(stop(&world, "deaf").await, StopStep::Sigterm);
        world.told("starting", "ignores SIGTERM").await;
        assert_eq!(world.status("starting").await.state(), PluginState::Starting);
        assert_eq!(stop(&world, "starting").await, StopStep::Sigkill);
        for (id, state) in [("waiting", PluginState::Waiting), ("quarantined", PluginState::Quarantined)] {
            world.wait_for(id, state).await;
            stop(&world, id).await;
            // Again, from Stopped.
            stop(&world, id).await;
        }
        assert!(world.processes().is_empty(), "nothing of any of them is left");
        // A stop lifts the guards, and only an operator's.
        assert!(world.call("ready", &json!({})).await.goes_on());
        world.start_plugin("ready", false).await.expect("it starts again");
        assert_eq!(world.status("ready").await.generation, 2);
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

/// X10: "shutdown with a hung plugin ends within the budget; exit status tells". Q24: "total budget for all plugins in
/// parallel". Q25: "The report and the exit status name each plugin that had to be killed".
#[tokio::test]
async fn x10_q24_q25_a_shutdown_with_hung_plugins_ends_in_its_budget_and_names_them() {
    within(LIMIT, async {
        let mut setup = Setup::new().await.plugin(Package::well_behaved("plain"));
        let stubborn = ["hung-0", "hung-1", "hung-2", "hung-3"];
        for id in stubborn {
            setup = setup.plugin(Package::misbehaving(id, "ignore-sigterm", Phase::Idle));
        }
        setup = setup.plugin(Package::misbehaving("half-started", "ignore-sigterm", Phase::Starting));
        let mut world = setup.start().await;
        world.ready("plain").await;
        for id in stubborn.into_iter().chain(["half-started"]) {
            world.told(id, "ignores SIGTERM").await;
        }
        let begin = Instant::now();
        let status = world.terminate().await;
        let elapsed = begin.elapsed();
        assert_eq!(status.code(), Some(1), "{status}");
        // One ladder is 1.3 s; one after the other they would take five times that, and more than the budget of 5 s.
        assert!(elapsed < Duration::from_secs(5), "it took {elapsed:?}");
        let log = world.log_tail();
        let line = log.lines().find(|line| line.contains("had to be killed")).unwrap_or_default().to_owned();
        for id in stubborn.into_iter().chain(["half-started"]) {
            assert!(line.contains(id), "{id} is not named: {line}\n{log}");
        }
        assert!(!line.contains("plain"), "{line}");
        let left = processes::gone(Duration::from_secs(1), || world.left()).await;
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}

/// X10, the budget: where the ladder is longer than the budget, the budget ends it.
#[tokio::test]
async fn x10_the_budget_of_a_shutdown_is_kept() {
    within(LIMIT, async {
        let mut world = Setup::new()
            .await
            .set("shutdown", "1m")
            .set("stop_all", "700ms")
            .plugin(Package::misbehaving("hung", "ignore-sigterm", Phase::Idle))
            .start()
            .await;
        world.told("hung", "ignores SIGTERM").await;
        let begin = Instant::now();
        let status = world.terminate().await;
        assert_eq!(status.code(), Some(1), "{status}");
        assert!(begin.elapsed() < Duration::from_secs(6), "it took {:?}", begin.elapsed());
        assert!(world.log_tail().contains("had to be killed: hung"), "{}", world.log_tail());
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
        assert_eq!(stop(&world, "stubborn").await, StopStep::Sigkill);
        let status = world.terminate().await;
        assert!(status.success(), "{status}: {}", world.log_tail());
    })
    .await;
}

/// Q24: an orderly shutdown answers what is in flight and exits with 0.
#[tokio::test]
async fn q24_an_orderly_shutdown_lets_calls_in_flight_finish() {
    within(LIMIT, async {
        let mut world = Setup::new().await.plugin(Package::well_behaved("plain")).start().await;
        world.ready("plain").await;
        let runtime = world.runtime();
        let params = json!({ "hold": true });
        let held = tokio::spawn(async move { outrigger_tests::hooks::invoke(&runtime, "plain", &params).await });
        world.told("plain", "holds invocation").await;
        let status = world.terminate().await;
        assert!(status.success(), "{status}: {}", world.log_tail());
        // The plugin answered it when it was to drain.
        let called = held.await.expect("the call was made").expect("it was answered before the end");
        assert!(called.goes_on(), "{called:?}");
    })
    .await;
}
