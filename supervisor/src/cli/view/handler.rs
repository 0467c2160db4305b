//! Handlers: how they fare over time, and how one fared in one call.

use std::collections::BTreeMap;

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::types::v1 as types;
use serde::Serialize;

use super::{item_kind, micros, millis, name, outcome, text, time};

/// One handler, or a declared guard that no handler serves.
#[derive(Debug, Serialize)]
pub(crate) struct Handler {
    /// Plugin.
    pub(crate) plugin_id: String,
    /// Hook; `unknown` where it is a handler of something else.
    pub(crate) hook: String,
    /// Handler. `null`: no handler serves this guard now.
    pub(crate) handler_id: Option<String>,
    /// What it is a handler of.
    pub(crate) kind: Option<String>,
    /// Tools. Empty: all, or not a tool hook.
    pub(crate) tools: Vec<String>,
    /// Priority.
    pub(crate) priority: i32,
    /// Whether it guards. `null`: it is not a guard, or not told here.
    pub(crate) guard: Option<String>,
    /// It is a trusted tool policy.
    pub(crate) tool_policy: bool,
    /// Time for one call.
    pub(crate) timeout_ms: Option<u64>,
    /// Calls in all.
    pub(crate) calls: u64,
    /// Calls by outcome.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Last call. `null`: never called.
    pub(crate) last_called_at: Option<String>,
    /// Median time.
    pub(crate) p50_us: Option<u64>,
    /// 99th percentile.
    pub(crate) p99_us: Option<u64>,
    /// Its breaker is open: it counts as absent.
    pub(crate) breaker_open: bool,
    /// Late, duplicate and invalid answers.
    pub(crate) violations: u64,
    /// Attached runtimes that do not call the hook.
    pub(crate) not_called_by: Vec<String>,
}

impl Handler {
    /// A handler of which only the statistics are told.
    pub(crate) fn from_stats(plugin_id: String, stats: admin::HandlerStats) -> Self {
        admin::list_hooks_response::Handler { plugin_id, hook: stats.hook, stats: Some(stats), ..Default::default() }
            .into()
    }

    /// Calls with this outcome.
    pub(crate) fn with_outcome(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }
}

impl From<admin::list_hooks_response::Handler> for Handler {
    fn from(wire: admin::list_hooks_response::Handler) -> Self {
        let stats = wire.stats;
        let mut outcomes = BTreeMap::new();
        for entry in stats.iter().flat_map(|stats| &stats.outcomes) {
            let count: &mut u64 = outcomes.entry(outcome(entry.outcome)).or_default();
            *count = count.saturating_add(entry.count);
        }
        Self {
            plugin_id: wire.plugin_id,
            hook: super::hook(wire.hook),
            handler_id: stats.as_ref().and_then(|stats| text(stats.handler_id.clone())),
            kind: stats.as_ref().map(|stats| item_kind(stats.kind)),
            tools: wire.tool_names,
            priority: wire.priority,
            guard: (wire.guard != 0).then(|| name!(admin::GuardState, "GUARD_STATE_", wire.guard)),
            tool_policy: wire.tool_policy,
            timeout_ms: millis(wire.timeout),
            calls: outcomes.values().fold(0, |all: u64, count| all.saturating_add(*count)),
            outcomes,
            last_called_at: stats.as_ref().and_then(|stats| time(stats.last_called_at)),
            p50_us: stats.as_ref().and_then(|stats| micros(stats.p50)),
            p99_us: stats.as_ref().and_then(|stats| micros(stats.p99)),
            breaker_open: stats.as_ref().is_some_and(|stats| stats.breaker_open),
            violations: stats.as_ref().map_or(0, |stats| stats.violations),
            not_called_by: wire.not_called_by,
        }
    }
}

/// How one handler fared in one call.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Plugin.
    pub(crate) plugin_id: String,
    /// Handler in that plugin.
    pub(crate) handler_id: String,
    /// `allow`, `deny`, `error`, `timeout`, `absent` or `skipped`.
    pub(crate) outcome: String,
    /// Time until the answer, or until the supervisor went on.
    pub(crate) elapsed_us: Option<u64>,
    /// One sentence.
    pub(crate) message: Option<String>,
    /// It is a trusted tool policy.
    pub(crate) tool_policy: bool,
    /// It was asked once more about the final parameters.
    pub(crate) recheck: bool,
    /// What the plugin was doing instead, for `absent`.
    pub(crate) plugin_state: Option<String>,
}

impl From<types::HandlerReport> for Report {
    fn from(wire: types::HandlerReport) -> Self {
        Self {
            plugin_id: wire.plugin_id,
            handler_id: wire.handler_id,
            outcome: outcome(wire.outcome),
            elapsed_us: micros(wire.elapsed),
            message: text(wire.message),
            tool_policy: wire.tool_policy,
            recheck: wire.recheck,
            plugin_state: (wire.plugin_state != 0).then(|| super::state(wire.plugin_state)),
        }
    }
}
