//! The supervisor as `status` shows it.

use std::collections::BTreeMap;

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use super::{text, time};

/// The supervisor.
#[derive(Debug, Serialize)]
pub(crate) struct Supervisor {
    /// Version.
    pub(crate) version: String,
    /// Process id.
    pub(crate) pid: u32,
    /// Start.
    pub(crate) started_at: Option<String>,
    /// Configuration file in force.
    pub(crate) config_path: Option<String>,
    /// Plugins by state.
    pub(crate) plugins_by_state: BTreeMap<String, u32>,
    /// Attached runtimes.
    pub(crate) runtimes: Vec<Runtime>,
    /// Directives not yet acknowledged.
    pub(crate) pending_directives: u64,
    /// Contribution epoch.
    pub(crate) contribution_epoch: u64,
    /// Epoch of event numbers.
    pub(crate) event_epoch: u64,
    /// Versions of the plugin protocol.
    pub(crate) plugin_protocol: Option<Range>,
    /// Versions of the runtime protocol.
    pub(crate) runtime_protocol: Option<Range>,
}

/// Versions, both ends included.
#[derive(Debug, Serialize)]
pub(crate) struct Range {
    min: u32,
    max: u32,
}

/// One runtime.
#[derive(Debug, Serialize)]
pub(crate) struct Runtime {
    /// Its id.
    pub(crate) runtime_id: String,
    /// Its incarnation.
    pub(crate) incarnation: u64,
    /// Product and version.
    pub(crate) software: Option<String>,
    /// Its directive stream is open.
    pub(crate) connected: bool,
    /// Runs going on.
    pub(crate) live_runs: u32,
}

impl From<admin::GetSupervisorResponse> for Supervisor {
    fn from(wire: admin::GetSupervisorResponse) -> Self {
        let range = |range: outrigger_proto::types::v1::ProtocolRange| Range { min: range.min, max: range.max };
        Self {
            version: wire.version,
            pid: wire.pid,
            started_at: time(wire.started_at),
            config_path: text(wire.config_path),
            plugins_by_state: wire.plugins.into_iter().map(|entry| (super::state(entry.state), entry.count)).collect(),
            runtimes: wire
                .runtimes
                .into_iter()
                .map(|runtime| Runtime {
                    runtime_id: runtime.runtime_id,
                    incarnation: runtime.incarnation,
                    software: text(runtime.software),
                    connected: runtime.connected,
                    live_runs: runtime.live_runs,
                })
                .collect(),
            pending_directives: wire.pending_directives,
            contribution_epoch: wire.contribution_epoch,
            event_epoch: wire.event_epoch,
            plugin_protocol: wire.plugin_protocol.map(range),
            runtime_protocol: wire.runtime_protocol.map(range),
        }
    }
}
