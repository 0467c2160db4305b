//! What has to be done for a plugin.

use std::time::{Duration, Instant};

use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;

/// Something the owner has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Take a generation from the store and start it.
    Launch(Reason),
    /// Drop the launch that was asked for and has not begun.
    AbandonLaunch,
    /// It serves from now on, and nothing did before.
    Serve(Generation),
    /// Send it a canary.
    TryCanary(Generation),
    /// `new` serves from now on, in one step.
    Swap {
        /// It served so far.
        old: Generation,
        /// It serves from now on.
        new: Generation,
    },
    /// No more calls for it; those in flight have so much time.
    Drain(Generation, Duration),
    /// Ask it to exit within this time.
    Shutdown(Generation, Duration),
    /// SIGTERM to its process group.
    Terminate(Generation),
    /// Kill its whole tree, end its Session, fail its calls in flight.
    Kill(Generation),
    /// Add to its failures. No generation: the launch never began (the owner may know the number taken for it).
    RecordFailure {
        /// Which.
        generation: Option<Generation>,
        /// Why.
        cause: FailureCause,
    },
    /// The next generation failed; the old one goes on serving. Follows its `RecordFailure`.
    NextFailed,
    /// Keep the quarantine. Follows its `RecordFailure`.
    EnterQuarantine {
        /// When it is probed.
        probe_at: Option<Instant>,
        /// Probes that failed since it was entered first.
        failed_probes: u32,
        /// Why.
        cause: FailureCause,
    },
    /// Lift the quarantine in the store: reset, or a probe that was stable.
    LeaveQuarantine,
    /// The operator's request is refused; nothing changed.
    Refuse(Refusal),
}

/// Why there is a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is to run, and nothing does.
    Start,
    /// As `Start`, out of a quarantine that holds until it was stable.
    Probe,
    /// A reload beside the generation that serves.
    Reload,
    /// A recycle beside the generation that serves.
    Recycle,
}

/// Why an operator's request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only `reset` releases it.
    #[error("it is quarantined: start it with reset")]
    Quarantined,
    /// There is nothing to reload.
    #[error("it is stopped: start it")]
    Stopped,
    /// One at a time.
    #[error("a next generation is starting already: wait for it")]
    NextUnderWay,
    /// Nothing is started any more.
    #[error("the supervisor is stopping")]
    Closing,
}
