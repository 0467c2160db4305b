//! Plugins that do not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::{FailureCause, PluginStatus};
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, within};
use serde_json::json;

use crate::look::{self, History};
use crate::{LIMIT, NEIGHBOUR, arrange};

/// Time for one call of those who have a short one.
const DEADLINE: Duration = Duration::from_millis(300);

/// X2: a plugin hangs in the hook: deadline, cancel sent, then recycled if it never answers; other plugins' calls
/// unaffected.
///
/// Q6: every call has a deadline, configurable per plugin and hook; no unlimited value.
///
/// Q7: a passed deadline cancels the call; a plugin that ignores the cancel for a grace time is recycled: the next
/// generation first, then the old one's whole tree is killed. The host records it.
#[tokio::test]
async fn x02_q06_q07_a_hang_meets_the_deadline_then_the_cancel_then_the_next_generation() {
    within(LIMIT, async {
        let setup = Setup::new().await.set("cancel_grace", "400ms").set("backoff_first", "10m");
        let world = setup
            .set("backoff_max", "10m")
            .plugin(Package::well_behaved(NEIGHBOUR))
            // Ends a held call when it is cancelled.
            .plugin(Package::well_behaved("obedient").timeout("300ms"))
            // Answers pings but neither call nor cancel.
            .plugin(arrange::at_first("stuck", "never-answer", Phase::Hook).timeout("300ms"))
            // Answers nothing at all.
            .plugin(Package::misbehaving("hung", "hang", Phase::Hook).timeout("20s"))
            .plugin(Package::well_behaved("by-plugin").entry("timeout = \"2s\""))
            .plugin(Package::well_behaved("by-hook").entry("timeout = \"2s\"").timeout("1s"))
            .plugin(Package::well_behaved("unlimited").timeout("0s"))
            .plugin(Package::well_behaved("too-long").entry("timeout = \"11m\""))
            .start()
            .await;
        let then = world.ready(NEIGHBOUR).await;
        let neighbour = Neighbour::watch(&world.runtime(), NEIGHBOUR);

        // The cancel is obeyed: one late answer costs one answer, and no more.
        let obedient = world.ready("obedient").await;
        let called = world.call("obedient", &json!({ "hold": true })).await;
        assert_stopped(&called, "obedient", HandlerOutcome::Timeout);
        assert!(called.elapsed >= DEADLINE, "{called:?}");
        while world.status("obedient").await.resources.is_none_or(|resources| resources.invocations_in_flight > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(world.call("obedient", &json!({})).await.short(), "go-on/allow");
        let stats = look::stats(&world, "obedient").await;
        assert_eq!(look::count(&stats, HandlerOutcome::Timeout), 1, "{stats:?}");
        assert_eq!(stats.violations, 1, "the late answer was dropped and counted: {stats:?}");
        look::assert_untouched(&world, "obedient", &obedient).await;

        // The cancel is ignored.
        let stuck = world.ready("stuck").await;
        assert_eq!(world.processes_of("stuck").len(), 2, "itself and a child");
        let history = History::of(&world, "stuck").await;
        let called = world.call("stuck", &json!({})).await;
        assert_stopped(&called, "stuck", HandlerOutcome::Timeout);
        let is_next = |statuses: &BTreeMap<String, PluginStatus>| {
            statuses.get("stuck").filter(|status| status.generation > stuck.generation).cloned()
        };
        let next = world.wait_until("the next generation of stuck serves", is_next).await;
        assert_eq!((next.state(), next.generation), (PluginState::Ready, 2), "{next:?}");
        assert_eq!(world.call("stuck", &json!({})).await.short(), "go-on/allow");
        let states: Vec<_> = history.seen().iter().map(|status| (status.generation, status.state())).collect();
        assert!(states.iter().all(|(_, state)| *state == PluginState::Ready), "a moment with nobody: {states:?}");
        look::assert_only_launch(&world, "stuck", next.pid).await;
        let failures = world.explain("stuck").await.failures;
        let told: Vec<_> = failures.iter().map(|failure| (failure.cause(), failure.generation)).collect();
        assert_eq!(told, [(FailureCause::Recycled, 1)]);
        assert!(called.handlers[0].elapsed.is_some() && called.handlers[0].handler_id == "guard", "{called:?}");
        let told = world.told("stuck", "was cancelled").await;
        assert!(told.contains("invocation 1 ") && told.contains("has not ended"), "{told}");
        world.told("stuck", "generation 2 serves in the place of 1").await;

        // One that answers not even pings is killed at once, long before its deadline.
        world.ready("hung").await;
        let called = world.call("hung", &json!({})).await;
        assert_stopped(&called, "hung", HandlerOutcome::Error);
        world.wait_for("hung", PluginState::Waiting).await;
        assert_eq!(world.failed("hung", 1).await.failures[0].cause(), FailureCause::Unresponsive);
        world.assert_empty("hung").await;

        // Per hook is stronger than per plugin is stronger than the catalogue, and nothing is without limit.
        for (plugin, timeout) in [("by-hook", 1), ("by-plugin", 2), (NEIGHBOUR, 15)] {
            world.ready(plugin).await;
            let hooks = look::hooks(&world, plugin).await;
            assert_eq!(
                hooks[0].timeout.as_ref().map(|time| (time.seconds, time.nanos)),
                Some((timeout, 0)),
                "{plugin}"
            );
        }
        for plugin in ["unlimited", "too-long"] {
            let refused = world.wait_for(plugin, PluginState::Quarantined).await;
            assert!(refused.message.contains("timeout"), "{refused:?}");
        }

        neighbour.finish().await.assert_unharmed();
        look::assert_untouched(&world, NEIGHBOUR, &then).await;
    })
    .await;
}
