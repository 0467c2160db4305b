//! What is counted, as it is at one moment.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use outrigger_proto::admin::v1::PluginStatus;
use tokio::time::Instant;

use crate::domain::hook::Hook;
use crate::service::actor::Plugin;
use crate::service::admin_views;
use crate::service::core::Core;
use crate::service::latency;
use crate::service::view::HandlerStats;

/// Everything.
pub(super) struct Samples {
    pub(super) started_at: SystemTime,
    /// Runtimes that are attached and connected.
    pub(super) runtimes: usize,
    pub(super) plugins: Vec<PluginSamples>,
}

/// One plugin.
pub(super) struct PluginSamples {
    pub(super) status: PluginStatus,
    /// By hook: handlers have names of the plugin's choice, of which there could be ever more.
    pub(super) hooks: BTreeMap<Hook, HookSamples>,
}

/// One hook of one plugin, all its handlers together.
#[derive(Default)]
pub(super) struct HookSamples {
    /// Calls by outcome.
    pub(super) outcomes: BTreeMap<i32, u64>,
    /// Median and 99th percentile. Without calls in the last minute: none.
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
    /// Handlers whose breaker is open.
    pub(super) open_breakers: u64,
}

/// Looks at every plugin, and lets others work in between.
pub(super) async fn take(core: &Core) -> Samples {
    let runtimes = core.runtimes.attached(core.shared.settings.runtime_gone);
    let mut plugins = Vec::with_capacity(core.plugins.len());
    for plugin in core.plugins.values() {
        plugins.push(PluginSamples { status: admin_views::status(core, plugin), hooks: hooks(plugin) });
        tokio::task::yield_now().await;
    }
    let runtimes = runtimes.iter().filter(|runtime| runtime.connected).count();
    Samples { started_at: core.started_at, runtimes, plugins }
}

fn hooks(plugin: &Plugin) -> BTreeMap<Hook, HookSamples> {
    let now = Instant::now();
    let mut by_hook: BTreeMap<Hook, Vec<HandlerStats>> = BTreeMap::new();
    for (hook, _, _, stats) in plugin.view.handlers() {
        by_hook.entry(hook).or_default().push(stats);
    }
    let together = |mut handlers: Vec<HandlerStats>| {
        let mut samples = HookSamples::default();
        for stats in &handlers {
            for (outcome, count) in &stats.outcomes {
                *samples.outcomes.entry(*outcome).or_default() += count;
            }
            samples.open_breakers += u64::from(stats.breaker.is_open(now));
        }
        let mut latencies: Vec<_> = handlers.iter_mut().map(|stats| &mut stats.latencies).collect();
        samples.p50 = latency::merged(&mut latencies, now, 0.5);
        samples.p99 = latency::merged(&mut latencies, now, 0.99);
        samples
    };
    by_hook.into_iter().map(|(hook, handlers)| (hook, together(handlers))).collect()
}
