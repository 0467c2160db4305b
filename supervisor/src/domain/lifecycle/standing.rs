//! How a plugin's failures stand, and what one more means.

use std::time::{Duration, Instant};

use super::Policy;
use crate::domain::backoff::later;
use crate::domain::failure::FailureCause;
use crate::domain::spec::RestartPolicy;

/// What is remembered of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Failures are counted.
    Good {
        /// Since the plugin was last stable.
        failures: u32,
    },
    /// It was quarantined, and has not been stable since: one failure is enough.
    Probation {
        /// Probes that failed.
        failed_probes: u32,
    },
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another launch, after this wait.
    Retry(Duration),
    /// None before the probe, if there is one.
    Quarantine {
        /// When it is probed.
        probe_at: Option<Instant>,
    },
}

impl Standing {
    /// There is something a stable time would make forgotten.
    pub(super) fn is_tainted(self) -> bool {
        self != Self::Good { failures: 0 }
    }

    /// Probes that failed since the plugin was quarantined.
    #[must_use]
    pub fn failed_probes(self) -> u32 {
        match self {
            Self::Good { .. } => 0,
            Self::Probation { failed_probes } => failed_probes,
        }
    }

    /// Counts a failure of the plugin itself.
    pub(super) fn fail(&mut self, cause: &FailureCause, now: Instant, policy: &Policy, random: u64) -> Verdict {
        if cause.is_final() || policy.restart == RestartPolicy::Never {
            *self = Self::Probation { failed_probes: self.failed_probes() };
            return Verdict::Quarantine { probe_at: None };
        }
        match *self {
            Self::Good { failures } if failures.saturating_add(1) < policy.quarantine_after => {
                *self = Self::Good { failures: failures + 1 };
                Verdict::Retry(policy.backoff.delay(failures, random))
            }
            Self::Good { .. } => self.quarantine(0, now, policy),
            Self::Probation { failed_probes } => self.quarantine(failed_probes.saturating_add(1), now, policy),
        }
    }

    fn quarantine(&mut self, failed_probes: u32, now: Instant, policy: &Policy) -> Verdict {
        *self = Self::Probation { failed_probes };
        Verdict::Quarantine { probe_at: Some(later(now, policy.probe.base(failed_probes))) }
    }
}
