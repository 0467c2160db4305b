//! Plugins that take more than they may.

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::FailureCause;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, within};
use serde_json::json;

use crate::{LIMIT, NEIGHBOUR, look};

/// The limit of the one that leaks.
const MEMORY: u64 = 48 << 20;

/// X8: memory limit hit: only that plugin dies; backoff, then quarantine after N in a window.
///
/// Q4: limits per plugin process tree; over the limit, only that tree dies; peak and current use are visible per plugin.
#[tokio::test]
async fn x08_q04_a_tree_over_its_limit_dies_alone_and_is_quarantined_after_some_times() {
    within(LIMIT, async {
        let setup = Setup::new().await.set_raw("quarantine_after", "3").set("probe_first", "10m");
        let leaking = Package::misbehaving("leaking", "leak", Phase::Idle).entry("limits = { memory = \"48MiB\" }");
        let many = Package::misbehaving("many", "many-processes", Phase::Idle).entry("limits = { processes = 16 }");
        let world = setup.plugin(Package::well_behaved(NEIGHBOUR)).plugin(leaking).plugin(many).start().await;
        let then = world.ready(NEIGHBOUR).await;
        let neighbour = Neighbour::watch(&world.runtime(), NEIGHBOUR);

        for (plugin, resource) in [("leaking", "memory"), ("many", "process")] {
            let quarantined = world.wait_for(plugin, PluginState::Quarantined).await;
            assert_eq!((quarantined.recent_failures, quarantined.generation), (3, 3), "{quarantined:?}");
            let explained = world.failed(plugin, 3).await;
            let causes: Vec<_> =
                explained.failures.iter().map(|failure| (failure.generation, failure.cause())).collect();
            assert_eq!(causes, [3, 2, 1].map(|generation| (generation, FailureCause::ResourceLimit)));
            for failure in &explained.failures {
                assert!(failure.message.to_lowercase().contains(resource), "{failure:?}");
            }
            assert!(quarantined.message.to_lowercase().contains(resource), "{quarantined:?}");
            world.assert_empty(plugin).await;
            let called = world.call(plugin, &json!({})).await;
            assert_stopped(&called, plugin, HandlerOutcome::Absent);
            assert!(called.reason.contains("is quarantined"), "{}", called.reason);
        }
        let status = world.status("leaking").await;
        // Where the kernel keeps the limit, the peak is at it and not above.
        assert!(status.peak_memory_bytes > MEMORY / 10 * 9, "the peak outlives the process: {status:?}");
        assert!(status.resources.is_none(), "{status:?}");

        // Of one that lives current use is seen beside the peak.
        let resources = world
            .wait_until("a sample of the neighbour", |statuses| {
                statuses.get(NEIGHBOUR)?.resources.filter(|resources| resources.memory_bytes > 0)
            })
            .await;
        assert!(resources.peak_memory_bytes >= resources.memory_bytes, "{resources:?}");
        assert!(resources.processes >= 1 && resources.descriptors > 0 && resources.threads > 0, "{resources:?}");
        neighbour.finish().await.assert_unharmed();
        look::assert_untouched(&world, NEIGHBOUR, &then).await;
    })
    .await;
}
