//! Failures that repeat, and what outlives the supervisor.

use std::time::Duration;

use outrigger_fixtures::faults::Phase;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Package, Setup, within};
use serde_json::json;

use crate::look::History;
use crate::{LIMIT, arrange};

/// Q2: restart with exponential backoff and jitter, a crash budget per window, then quarantine with the last exit reason
/// and last stderr lines; manual release.
#[tokio::test]
async fn q02_failures_back_off_then_quarantine_until_an_operator_releases() {
    /// First wait; each next one is twice as long, and at least half of that is waited.
    const FIRST: Duration = Duration::from_millis(80);
    within(LIMIT, async {
        let setup = Setup::new().await.set("backoff_first", "80ms").set("backoff_max", "10s");
        let setup = setup.set_raw("quarantine_after", "4").set("probe_first", "10m");
        let crashing = arrange::until_mended("crashing", "exit", Phase::Idle);
        let world = setup.plugin(crashing).start().await;
        let history = History::of(&world, "crashing").await;

        let quarantined = world.wait_for("crashing", PluginState::Quarantined).await;
        assert!(quarantined.message.contains("status 3"), "the last exit reason: {quarantined:?}");
        let failures = world.failed("crashing", 4).await.failures;
        let told: Vec<_> = failures.iter().map(|failure| (failure.generation, failure.exit_status)).collect();
        assert_eq!(told, [4, 3, 2, 1].map(|generation| (generation, Some(3))));
        for failure in &failures {
            assert!(failure.stderr_tail.iter().any(|line| line.contains("exit strikes")), "{failure:?}");
        }
        // Between two failures lies at least half of the doubled wait. Times are of the supervisor's own records.
        let at = |index: usize| {
            let time = failures[index].time.as_ref().expect("a failure has its time");
            Duration::new(time.seconds.unsigned_abs(), time.nanos.unsigned_abs())
        };
        for (earlier, factor) in [(3, 1), (2, 2), (1, 4)] {
            let gap = at(earlier - 1).saturating_sub(at(earlier));
            assert!(gap >= FIRST * factor / 2, "after failure {}: {gap:?}", 4 - earlier);
        }
        let seen = history.seen();
        let waiting = seen.iter().filter(|status| status.state() == PluginState::Waiting);
        assert!(waiting.clone().count() > 0 && waiting.clone().all(|status| status.retry_after.is_some()), "{seen:?}");

        // No ordinary start leads out, only a release; and what is released starts with a clean slate.
        let refused = world.start_plugin("crashing", false).await.expect_err("it is quarantined");
        assert!(refused.message().contains("quarantine"), "{refused:?}");
        std::fs::write(world.data_dir("crashing").join("mended"), "").expect("mend it");
        let released = world.start_plugin("crashing", true).await.expect("it is released and mended");
        assert_eq!((released.state(), released.generation, released.recent_failures), (PluginState::Ready, 5, 0));
        assert_eq!(world.call("crashing", &json!({})).await.short(), "go-on/allow");
    })
    .await;
}

/// Q2: the crash budget is one per window: failures with a stable time between them never quarantine.
#[tokio::test]
async fn q02_failures_apart_from_each_other_are_forgiven() {
    within(LIMIT, async {
        let setup = Setup::new().await.set("stable", "50ms").set_raw("quarantine_after", "2");
        let world = setup.plugin(Package::misbehaving("occasional", "exit", Phase::Hook)).start().await;
        for generation in 1..=4 {
            world
                .wait_until("it is ready again and has been for some time", |statuses| {
                    let status = statuses.get("occasional")?;
                    let good = status.state() == PluginState::Ready && status.recent_failures == 0;
                    (good && status.generation == generation).then_some(())
                })
                .await;
            assert_stopped(&world.call("occasional", &json!({})).await, "occasional", HandlerOutcome::Error);
        }
        // One more of them at once would have been one too many; each of the four is on record.
        assert_eq!(world.failed("occasional", 4).await.failures.len(), 4);
    })
    .await;
}

/// The supervisor's own restart: generations keep rising; a quarantine with its reason and the last failures survive (Q2);
/// an operator's stop does not, so that no guard stays down unnoticed (Q14). What is kept has a bound (Q20).
#[tokio::test]
async fn q02_q14_q20_a_supervisors_restart_keeps_generations_quarantines_and_failures_but_no_stop() {
    /// Failures kept of each plugin.
    const KEPT: usize = 10;
    within(LIMIT, async {
        let setup = Setup::new().await.set_raw("quarantine_after", "12").set("probe_first", "10m");
        let setup = setup.set("backoff_first", "1ms").set("backoff_max", "2ms");
        let mut world = setup
            .plugin(Package::misbehaving("crashing", "exit", Phase::Idle))
            .plugin(Package::well_behaved("serving"))
            .plugin(Package::well_behaved("stopped"))
            .start()
            .await;
        world.wait_for("crashing", PluginState::Quarantined).await;
        // The last failure is written down a moment after the state.
        let before = loop {
            let explained = world.failed("crashing", KEPT).await;
            if explained.failures[0].generation == 12 {
                break explained;
            }
        };
        assert_eq!(before.failures.len(), KEPT, "no more are kept");
        world.ready("serving").await;
        world.ready("stopped").await;

        // However it ends.
        for round in 1..=2 {
            assert_eq!(world.reload("serving").await.expect("reload it").previous_generation, 2 * round - 1);
            world.stop("stopped").await.expect("stop it");
            let called = world.call("stopped", &json!({ "block": true })).await;
            assert_eq!(called.short(), "go-on/unasked", "its guard is lifted: {called:?}");
            if round == 1 {
                world.kill();
            } else {
                assert!(world.terminate().await.success());
            }
            world.start().await;

            let served = world.ready("serving").await;
            assert_eq!(served.generation, 2 * round + 1, "it served as {} before", 2 * round);
            let started = world.ready("stopped").await;
            assert_eq!(started.generation, round + 1, "{started:?}");
            assert_stopped(&world.call("stopped", &json!({ "block": true })).await, "stopped", HandlerOutcome::Deny);

            let after = world.explain("crashing").await;
            let (plugin, known) = (after.plugin.unwrap_or_default(), before.plugin.clone().unwrap_or_default());
            assert_eq!((plugin.state(), plugin.pid), (PluginState::Quarantined, 0), "{plugin:?}");
            assert_eq!((plugin.message, plugin.generation), (known.message, 12));
            let told = |failures: &[outrigger_proto::admin::v1::explain_plugin_response::Failure]| {
                let one = |failure: &outrigger_proto::admin::v1::explain_plugin_response::Failure| {
                    (failure.generation, failure.cause_name.clone(), failure.exit_status, failure.stderr_tail.clone())
                };
                failures.iter().map(one).collect::<Vec<_>>()
            };
            assert_eq!(told(&after.failures), told(&before.failures));
            assert_stopped(&world.call("crashing", &json!({})).await, "crashing", HandlerOutcome::Absent);
        }
    })
    .await;
}
