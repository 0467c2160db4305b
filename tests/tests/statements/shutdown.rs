//! The supervisor's own stop.

use std::time::{Duration, Instant};

use outrigger_fixtures::faults::Phase;
use outrigger_proto::types::v1::PluginState;
use outrigger_tests::{Package, Setup, World, hooks, processes, within};
use serde_json::json;

use crate::{LIMIT, NEIGHBOUR, arrange};

/// X10: shutdown with a hung plugin ends within the budget; the exit status tells.
///
/// Q24: stop works in each state, also half started.
///
/// Q25: the report and the exit status name each plugin that had to be killed.
#[tokio::test]
async fn x10_q24_q25_a_stop_ends_in_every_state_and_names_who_had_to_be_killed() {
    within(LIMIT, async {
        let setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        let mut world = setup
            .plugin(Package::well_behaved(NEIGHBOUR))
            .plugin(Package::well_behaved("holding"))
            .plugin(Package::misbehaving("deaf", "ignore-sigterm", Phase::Idle))
            .plugin(Package::misbehaving("half-deaf", "ignore-sigterm", Phase::Starting))
            .plugin(arrange::waiting_for_go("half-started"))
            .plugin(Package::misbehaving("waiting", "exit", Phase::Idle))
            .plugin(Package::misbehaving("quarantined", "final-exit", Phase::Idle))
            .plugin(Package::well_behaved("stopped"))
            .start()
            .await;
        for plugin in [NEIGHBOUR, "holding", "stopped"] {
            world.ready(plugin).await;
        }
        world.told("deaf", "ignores SIGTERM").await;
        world.told("half-deaf", "ignores SIGTERM").await;
        world.wait_for("half-started", PluginState::Starting).await;
        world.wait_for("waiting", PluginState::Waiting).await;
        world.wait_for("quarantined", PluginState::Quarantined).await;
        world.stop("stopped").await.expect("stop it");
        let runtime = world.runtime();
        let held = tokio::spawn(async move { hooks::invoke(&runtime, "holding", &json!({ "hold": true })).await });
        world.told("holding", "holds invocation").await;

        let status = world.terminate().await;
        assert_eq!(status.code(), Some(1), "the exit status tells");
        let killed = killed(&world);
        assert!(killed.contains(&"deaf".to_owned()), "{killed:?}");
        for innocent in [NEIGHBOUR, "holding", "waiting", "quarantined", "stopped"] {
            assert!(!killed.contains(&innocent.to_owned()), "{killed:?}");
        }
        // It had its time to drain, and answered.
        let held = held.await.expect("the call comes to an end").expect("with an answer");
        assert_eq!(held.short(), "go-on/allow", "{held:?}");
        let left = processes::gone(Duration::from_secs(3), || world.left()).await;
        assert!(left.is_empty(), "{:?}", left.into_iter().map(processes::describe).collect::<Vec<_>>());
    })
    .await;
}

/// X10, Q24: one total budget for all plugins in parallel, whatever each of them could take by itself.
#[tokio::test]
async fn x10_q24_the_budget_for_all_is_less_than_one_plugin_could_take() {
    /// What one plugin could take for its drain alone.
    const DRAIN: Duration = Duration::from_secs(30);
    within(LIMIT, async {
        let setup = Setup::new().await.set("drain", "30s").set("stop_all", "500ms");
        let mut world = setup
            .plugin(Package::misbehaving("first", "never-answer", Phase::Draining).timeout("50s"))
            .plugin(Package::misbehaving("second", "never-answer", Phase::Draining).timeout("50s"))
            .plugin(Package::well_behaved(NEIGHBOUR))
            .start()
            .await;
        world.ready(NEIGHBOUR).await;
        let mut held = Vec::new();
        for plugin in ["first", "second"] {
            world.ready(plugin).await;
            let runtime = world.runtime();
            held.push(tokio::spawn(async move { hooks::invoke(&runtime, plugin, &json!({})).await }));
            world.told(plugin, "holds invocation").await;
        }
        let begin = Instant::now();
        let status = world.terminate().await;
        assert!(begin.elapsed() < DRAIN / 2, "it took {:?}", begin.elapsed());
        assert_eq!(status.code(), Some(1));
        assert_eq!(killed(&world), ["first", "second"]);
        for held in held {
            // Whether the answer gets through or the socket closes first: it is no way through.
            if let Ok(called) = held.await.expect("the call comes to an end") {
                assert!(!called.goes_on(), "{called:?}");
            }
        }
    })
    .await;
}

/// Whom the supervisor's log names as killed, at its end.
fn killed(world: &World) -> Vec<String> {
    let log = world.log_tail();
    let line = log.lines().rev().find_map(|line| line.split_once("had to be killed: "));
    let (_, names) = line.unwrap_or_else(|| unreachable!("the log names nobody:\n{log}"));
    names.split(", ").map(|name| name.trim().to_owned()).collect()
}
