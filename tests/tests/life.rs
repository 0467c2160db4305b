//! The supervisor's own life: killed, stopped, started again.

use std::time::{Duration, Instant};

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::LaunchPhase;
use outrigger_proto::admin::v1::explain_plugin_response::Failure;
use outrigger_proto::admin::v1::get_plugin_response::SandboxRung;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Package, Setup, processes, within};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);
/// How long after a kill of the supervisor processes of plugins may be there (architecture §17).
const GONE: Duration = Duration::from_secs(1);

/// `kill -9` of the supervisor with detached grandchildren alive: none is left 1 s later, and the next start is clean.
#[tokio::test]
async fn a_killed_supervisor_leaves_no_process_and_the_next_start_is_clean() {
    within(LIMIT, async {
        let mut world = Setup::new()
            .await
            .plugin(Package::misbehaving("detach", "detach-grandchild", Phase::Idle))
            .plugin(Package::misbehaving("many", "many-processes", Phase::Idle).arguments(&["count=24"]))
            .plugin(Package::misbehaving("stubborn", "ignore-sigterm", Phase::Idle))
            .plugin(Package::well_behaved("plain"))
            .start()
            .await;
        world.told("detach", "ignores SIGTERM").await;
        world.told("many", "started 24 children").await;
        world.told("stubborn", "ignores SIGTERM").await;
        world.ready("plain").await;
        assert!(world.processes().len() >= 4 + 1 + 24, "{:?}", world.processes());
        assert!(world.processes_of("detach").len() >= 2, "the grandchild is there");
        let begin = Instant::now();
        world.kill();
        let left = processes::gone(GONE, || world.left()).await;
        let told: Vec<_> = left.into_iter().map(processes::describe).collect();
        assert!(told.is_empty(), "left {GONE:?} after the kill: {told:?}");
        println!("gone {:?} after the kill", begin.elapsed());

        world.start().await;
        for plugin in ["detach", "many", "stubborn", "plain"] {
            let status = world.ready(plugin).await;
            assert_eq!(status.generation, 2, "{plugin}");
            assert_eq!(world.causes(plugin).await, Vec::<String>::new(), "the kill was no failure of {plugin}");
        }
        // Private directories of the killed one are swept: one is there for each launch now.
        let directories = std::fs::read_dir(world.runtime_dir().join("launch")).expect("list private directories");
        assert_eq!(directories.count(), 4);
    })
    .await;
}

/// `kill -9` of the supervisor with processes alive that replace their dead without end: an atomic kill ends them all the
/// same, and the next start is clean.
#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_of_a_fork_bomb() {
    within(LIMIT, async {
        let mut world = Setup::new().await.plugin(Package::misbehaving("bomb", "fork-bomb", Phase::Idle)).start().await;
        world.told("bomb", "replace their dead").await;
        let atomic = |rung: &SandboxRung| rung.name == "tree-kill" && rung.applied;
        if !world.full("bomb").await.sandbox.iter().any(atomic) {
            println!("n/a: this kernel has no atomic kill of a tree, so a sweep may be outrun");
            return;
        }
        world.kill();
        let left = processes::gone(2 * GONE, || world.left()).await;
        let told: Vec<_> = left.into_iter().map(processes::describe).collect();
        assert!(told.is_empty(), "left after the kill: {told:?}");
        world.start().await;
        assert_eq!(world.ready("bomb").await.generation, 2);
    })
    .await;
}

/// Kills at moments spread over the start, when launches are half made.
#[tokio::test]
async fn a_supervisor_killed_while_it_starts_plugins_leaves_none() {
    within(LIMIT, async {
        let mut setup = Setup::new().await.set_raw("starts_at_once", "8");
        for number in 0..8 {
            setup = setup.plugin(Package::well_behaved(&format!("plugin-{number}")));
        }
        let mut world = setup.start().await;
        for round in 0..8_usize {
            // The more of them are ready the later it is.
            let ready = |statuses: &std::collections::BTreeMap<String, outrigger_proto::admin::v1::PluginStatus>| {
                let ready = statuses.values().filter(|status| status.state() == PluginState::Ready).count();
                (ready >= round).then_some(())
            };
            world.wait_until(&format!("{round} plugins are ready"), ready).await;
            world.kill();
            let left = processes::gone(GONE, || world.left()).await;
            let told: Vec<_> = left.into_iter().map(processes::describe).collect();
            assert!(told.is_empty(), "left after the kill in round {round}: {told:?}");
            world.start().await;
        }
        for number in 0..8 {
            world.ready(&format!("plugin-{number}")).await;
        }
    })
    .await;
}

/// Without their times, of which the store keeps milliseconds.
fn untimed(failures: &[Failure]) -> Vec<Failure> {
    failures.iter().cloned().map(|failure| Failure { time: None, ..failure }).collect()
}

/// A restart keeps generations, quarantine with its probe, and the last failures; not Stopped, as with systemctl.
#[tokio::test]
async fn a_restart_keeps_generations_quarantine_and_failures_and_not_stop() {
    within(LIMIT, async {
        let mut world = Setup::new()
            .await
            .set_raw("quarantine_after", "3")
            .plugin(Package::misbehaving("failing", "exit", Phase::Starting))
            .plugin(Package::misbehaving("final", "final-exit", Phase::Starting))
            .plugin(Package::well_behaved("stopped"))
            .plugin(Package::well_behaved("plain"))
            .start()
            .await;
        world.wait_for("failing", PluginState::Quarantined).await;
        world.wait_for("final", PluginState::Quarantined).await;
        world.ready("stopped").await;
        world.ready("plain").await;
        world.stop("stopped").await.expect("stop it");
        assert!(world.call("stopped", &json!({})).await.goes_on(), "a stop lifts the guard");
        let failing = world.failed("failing", 3).await;
        let generation = world.status("failing").await.generation;
        assert_eq!(generation, 3);
        assert!(failing.failures.iter().all(|failure| failure.phase() == LaunchPhase::Register), "{failing:?}");

        for killed in [false, true] {
            if killed {
                world.kill();
            } else {
                assert!(world.terminate().await.success());
            }
            world.start().await;
            let again = world.wait_for("failing", PluginState::Quarantined).await;
            assert_eq!(again.generation, generation, "a quarantined plugin is not launched");
            let wait = again.retry_after.expect("a probe is due");
            assert!(wait.seconds > 0 && wait.seconds <= 60, "{wait:?}");
            let kept = world.explain("failing").await.failures;
            assert_eq!(untimed(&kept), untimed(&failing.failures), "failures are kept as they were");
            let last = world.wait_for("final", PluginState::Quarantined).await;
            assert_eq!(last.retry_after, None, "after a final exit no probe is due");
            let called = world.call("failing", &json!({})).await;
            assert_stopped(&called, "failing", HandlerOutcome::Absent);
            assert!(called.reason.contains("is quarantined"), "{}", called.reason);

            let generations = if killed { (3, 3) } else { (2, 2) };
            let (stopped, plain) = (world.ready("stopped").await, world.ready("plain").await);
            assert_eq!((stopped.generation, plain.generation), generations, "generations go on rising");
        }
        // An operator releases it.
        assert!(world.start_plugin("failing", false).await.is_err(), "a start without reset does not release it");
        assert!(world.start_plugin("failing", true).await.is_err(), "it fails again");
        let status = world.status("failing").await;
        assert!(status.generation > generation, "it was tried: {status:?}");
    })
    .await;
}

/// One state directory has one supervisor; the second names the first and changes nothing.
#[tokio::test]
async fn a_second_supervisor_on_the_same_state_is_refused() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(Package::well_behaved("plain")).start().await;
        world.ready("plain").await;
        let config = world.dir().join("outrigger.toml");
        let output = world.cli(&["run", "--config", config.to_str().expect("the path is text")]).await;
        assert!(!output.status.success(), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(&world.pid().to_string()), "it names who holds the directory: {told}");
        assert!(world.call("plain", &json!({})).await.goes_on());
        assert_eq!(world.status("plain").await.generation, 1);
    })
    .await;
}
