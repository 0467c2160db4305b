//! A plugin at a glance, and in full.

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::types::v1 as types;
use serde::Serialize;

use super::handler::Handler;
use super::{hex, item_kind, micros, millis, name, nonzero, text, tier, time};

/// A plugin at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Plugin {
    /// Id.
    pub(crate) plugin_id: String,
    /// Name for people.
    pub(crate) name: String,
    /// Version from the manifest.
    pub(crate) version: Option<String>,
    /// Tier.
    pub(crate) tier: String,
    /// State.
    pub(crate) state: String,
    /// Since when.
    pub(crate) since: Option<String>,
    /// Why. `null`: on request.
    pub(crate) message: Option<String>,
    /// The operator lets it run.
    pub(crate) enabled: bool,
    /// Serving or latest generation. `null`: never launched.
    pub(crate) generation: Option<u64>,
    /// Process id. `null`: no process.
    pub(crate) pid: Option<u32>,
    /// When it is started again. `null`: not by itself.
    pub(crate) retry_after_ms: Option<u64>,
    /// Failures since it was last stable.
    pub(crate) recent_failures: u32,
    /// Launches after a failure since the supervisor started.
    pub(crate) restarts: u32,
    /// Guards that count.
    pub(crate) guards: u32,
    /// Guards that are declared and not granted.
    pub(crate) ungranted_guards: u32,
    /// Its manifest cannot be read.
    pub(crate) manifest_unreadable: bool,
    /// Items refused at registration.
    pub(crate) refused_items: u32,
    /// Accepted hooks that no attached runtime calls.
    pub(crate) uncalled_hooks: u32,
    /// Calls denied by it, or because it was absent.
    pub(crate) denials: u64,
    /// Median time of its calls in the last minute.
    pub(crate) p50_us: Option<u64>,
    /// 99th percentile of the same.
    pub(crate) p99_us: Option<u64>,
    /// Events it has not acknowledged.
    pub(crate) event_lag: u64,
    /// Events it will not get, as it was too slow or away for too long.
    pub(crate) events_dropped: u64,
    /// Events it emitted that were refused for their rate.
    pub(crate) events_refused: u64,
    /// Highest memory of its tree in any launch.
    pub(crate) peak_memory_bytes: Option<u64>,
    /// Use of resources. `null`: no process.
    pub(crate) resources: Option<Resources>,
}

/// Use of resources of a process tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Resources {
    /// Processor time since the launch.
    pub(crate) cpu_time_ms: Option<u64>,
    /// Memory now.
    pub(crate) memory_bytes: u64,
    /// Highest memory since the launch.
    pub(crate) peak_memory_bytes: u64,
    /// Limit. `null`: none.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// Open descriptors.
    pub(crate) descriptors: u32,
    /// Processes.
    pub(crate) processes: u32,
    /// Threads.
    pub(crate) threads: u32,
    /// Invocations in flight.
    pub(crate) invocations_in_flight: u32,
    /// Bytes queued for it.
    pub(crate) queued_bytes: u64,
    /// When the supervisor looked, since the epoch. `None`: it does not tell.
    #[serde(skip)]
    pub(crate) sampled_at: Option<std::time::Duration>,
}

impl From<admin::PluginStatus> for Plugin {
    fn from(wire: admin::PluginStatus) -> Self {
        Self {
            plugin_id: wire.plugin_id,
            name: wire.plugin_name,
            version: text(wire.version),
            tier: tier(wire.tier),
            state: super::state(wire.state),
            since: time(wire.state_since),
            message: text(wire.message),
            enabled: wire.enabled,
            generation: nonzero(wire.generation),
            pid: nonzero(wire.pid),
            retry_after_ms: millis(wire.retry_after),
            recent_failures: wire.recent_failures,
            restarts: wire.restarts,
            guards: wire.guards,
            ungranted_guards: wire.ungranted_guards,
            manifest_unreadable: wire.manifest_unreadable,
            refused_items: wire.refused_items,
            uncalled_hooks: wire.uncalled_hooks,
            denials: wire.denials,
            p50_us: micros(wire.p50),
            p99_us: micros(wire.p99),
            event_lag: wire.event_lag,
            events_dropped: wire.events_dropped,
            events_refused: wire.events_refused,
            peak_memory_bytes: nonzero(wire.peak_memory_bytes),
            resources: wire.resources.map(Resources::from),
        }
    }
}

impl Plugin {
    /// It serves.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == "ready"
    }
}

impl From<admin::ResourceUse> for Resources {
    fn from(wire: admin::ResourceUse) -> Self {
        Self {
            cpu_time_ms: millis(wire.cpu_time),
            memory_bytes: wire.memory_bytes,
            peak_memory_bytes: wire.peak_memory_bytes,
            memory_limit_bytes: nonzero(wire.memory_limit_bytes),
            descriptors: wire.descriptors,
            processes: wire.processes,
            threads: wire.threads,
            invocations_in_flight: wire.invocations_in_flight,
            queued_bytes: wire.queued_bytes,
            sampled_at: wire.sampled_at.and_then(|at| {
                let seconds = u64::try_from(at.seconds).ok()?;
                Some(std::time::Duration::new(seconds, u32::try_from(at.nanos).ok()?))
            }),
        }
    }
}

/// A declared guard.
#[derive(Debug, Serialize)]
pub(crate) struct Guard {
    /// The hook.
    pub(crate) hook: String,
    /// Tools it guards. Empty: all.
    pub(crate) tools: Vec<String>,
    /// It is a trusted tool policy.
    pub(crate) tool_policy: bool,
}

impl From<types::Guard> for Guard {
    fn from(wire: types::Guard) -> Self {
        Self { hook: super::hook(wire.hook), tools: wire.tool_names, tool_policy: wire.tool_policy }
    }
}

impl Guard {
    /// `before_tool_call of exec, write`.
    pub(crate) fn sentence(&self) -> String {
        let policy = if self.tool_policy { " (trusted policy)" } else { "" };
        match (self.hook.as_str(), self.tools.as_slice()) {
            ("before_tool_call", []) => format!("{} of every tool{policy}", self.hook),
            (_, []) => format!("{}{policy}", self.hook),
            (_, tools) => format!("{} of {}{policy}", self.hook, tools.join(", ")),
        }
    }
}

/// A declared guard and whether it guards.
#[derive(Debug, Serialize)]
pub(crate) struct GuardStatus {
    /// The plugin.
    pub(crate) plugin_id: String,
    /// The guard.
    #[serde(flatten)]
    pub(crate) guard: Guard,
    /// `served`, `denying`, `skipped`, `not_granted` or `lifted`.
    pub(crate) state: String,
    /// The scope that is missing, for `not_granted`.
    pub(crate) missing_scope: Option<String>,
    /// The manifest cannot be read: this is as it last was.
    pub(crate) remembered: bool,
}

impl From<admin::GuardStatus> for GuardStatus {
    fn from(wire: admin::GuardStatus) -> Self {
        Self {
            plugin_id: wire.plugin_id,
            guard: wire.guard.unwrap_or_default().into(),
            state: name!(admin::GuardState, "GUARD_STATE_", wire.state),
            missing_scope: text(wire.missing_scope),
            remembered: wire.remembered,
        }
    }
}

impl GuardStatus {
    /// What its state means, in words.
    pub(crate) fn meaning(&self) -> String {
        let mut words = guard_meaning(&self.state).to_owned();
        if self.state == "not_granted" {
            words += &format!(" (needs {})", self.missing_scope.as_deref().unwrap_or("its scope"));
        }
        if self.remembered { format!("{words}; as last known, for the manifest cannot be read") } else { words }
    }
}

/// What the state of a guard means, in words.
pub(crate) fn guard_meaning(state: &str) -> &str {
    match state {
        "served" => "guards, and a handler serves it",
        "denying" => "no handler serves it now: what it guards is denied",
        "skipped" => "no handler serves it now, and on_absent = \"skip\": what it guards passes",
        "not_granted" => "declared, not granted: does not guard",
        "lifted" => "its plugin was stopped or disabled by an operator: does not guard",
        other => other,
    }
}

/// A plugin in full.
#[derive(Debug, Serialize)]
pub(crate) struct Detail {
    /// At a glance.
    #[serde(flatten)]
    pub(crate) plugin: Plugin,
    /// Command line.
    pub(crate) command: Vec<String>,
    /// SHA-256 of the package's tree. `null`: not pinned.
    pub(crate) tree_sha256: Option<String>,
    /// Effective rights.
    pub(crate) grants: Vec<Grant>,
    /// Declared guards.
    pub(crate) declared_guards: Vec<GuardStatus>,
    /// Registered items with their verdicts.
    pub(crate) items: Vec<Item>,
    /// How its handlers fare.
    pub(crate) handlers: Vec<Handler>,
    /// Rungs of the sandbox as applied.
    pub(crate) sandbox: Vec<Rung>,
    /// Names of the variables it got.
    pub(crate) environment_names: Vec<String>,
    /// Library it said it uses.
    pub(crate) sdk: Option<String>,
    /// Protocol in force. `null`: no session.
    pub(crate) protocol_version: Option<u32>,
    /// What does not hold for this plugin, one sentence each.
    pub(crate) exposures: Vec<String>,
}

/// One right.
#[derive(Debug, Serialize)]
pub(crate) struct Grant {
    /// The scope.
    pub(crate) scope: String,
    /// Its quotas.
    pub(crate) quotas: Vec<Quota>,
    /// What it is for, where it is a right by name.
    pub(crate) names: Vec<String>,
}

/// One quota.
#[derive(Debug, Serialize)]
pub(crate) struct Quota {
    /// Name.
    pub(crate) name: String,
    /// Limit.
    pub(crate) limit: u64,
    /// Use now.
    pub(crate) used: u64,
}

impl From<types::ScopeGrant> for Grant {
    fn from(wire: types::ScopeGrant) -> Self {
        let quota = |quota: types::Quota| Quota { name: quota.name, limit: quota.limit, used: quota.used };
        Self { scope: wire.scope, quotas: wire.quotas.into_iter().map(quota).collect(), names: wire.names }
    }
}

/// One registered item.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    /// What it is.
    pub(crate) kind: String,
    /// Its id.
    pub(crate) id: String,
    /// It was accepted.
    pub(crate) accepted: bool,
    /// Why not.
    pub(crate) message: Option<String>,
    /// What would be right.
    pub(crate) remedy: Option<String>,
}

/// One rung of the sandbox.
#[derive(Debug, Serialize)]
pub(crate) struct Rung {
    /// Its name.
    pub(crate) name: String,
    /// As configured.
    pub(crate) mode: String,
    /// It is applied.
    pub(crate) applied: bool,
    /// What exactly, or why not.
    pub(crate) detail: Option<String>,
}

impl From<admin::GetPluginResponse> for Detail {
    fn from(wire: admin::GetPluginResponse) -> Self {
        let plugin: Plugin = wire.status.unwrap_or_default().into();
        let handlers =
            wire.handlers.into_iter().map(|stats| Handler::from_stats(plugin.plugin_id.clone(), stats)).collect();
        Self {
            plugin,
            command: wire.command,
            tree_sha256: hex(&wire.tree_sha256),
            grants: wire.grants.into_iter().map(Grant::from).collect(),
            declared_guards: wire.guards.into_iter().map(GuardStatus::from).collect(),
            items: wire
                .items
                .into_iter()
                .map(|item| Item {
                    kind: item_kind(item.kind),
                    id: item.id,
                    accepted: item.accepted,
                    message: text(item.message),
                    remedy: text(item.remedy),
                })
                .collect(),
            handlers,
            sandbox: wire
                .sandbox
                .into_iter()
                .map(|rung| Rung { name: rung.name, mode: rung.mode, applied: rung.applied, detail: text(rung.detail) })
                .collect(),
            environment_names: wire.environment_names,
            sdk: text(wire.sdk),
            protocol_version: nonzero(wire.protocol_version),
            exposures: wire.exposures,
        }
    }
}
