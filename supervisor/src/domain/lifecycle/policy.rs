//! What decides besides events.

use std::time::Duration;

use crate::domain::backoff::Backoff;
use crate::domain::settings::Settings;
use crate::domain::spec::{PluginSpec, RestartPolicy};

/// What a plugin's life depends on besides events: the supervisor's settings and the plugin's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Time from a launch to Registered, and again for a canary.
    pub startup: Duration,
    /// Time to drain.
    pub drain: Duration,
    /// Time between Shutdown and SIGTERM.
    pub shutdown: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub terminate: Duration,
    /// Time for a killed tree to be empty.
    pub empty: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
    /// So many failures without a stable time between them quarantine. At least 1.
    pub quarantine_after: u32,
    /// Ready for so long is stable.
    pub stable: Duration,
    /// Waits until a probe.
    pub probe: Backoff,
    /// Whether it is started again.
    pub restart: RestartPolicy,
}

impl Policy {
    /// The policy of one plugin; without a spec, of an entry that cannot be started.
    #[must_use]
    pub fn new(settings: &Settings, spec: Option<&PluginSpec>) -> Self {
        Self {
            startup: spec.and_then(|spec| spec.limits.startup).unwrap_or(settings.startup),
            drain: settings.drain,
            shutdown: settings.shutdown,
            terminate: settings.terminate,
            empty: settings.empty,
            backoff: Backoff { first: settings.backoff_first, max: settings.backoff_max },
            quarantine_after: settings.quarantine_after.max(1),
            stable: settings.stable,
            probe: Backoff { first: settings.probe_first, max: settings.probe_max },
            restart: spec.map_or(RestartPolicy::OnFailure, |spec| spec.restart),
        }
    }
}
