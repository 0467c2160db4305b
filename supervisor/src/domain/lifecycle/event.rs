//! What can happen to a plugin.

use std::time::Duration;

use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;
use crate::domain::spec::ReloadMode;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A deadline may have passed. Harmless at any time.
    Tick,
    /// The launch asked for has this generation, and its program runs.
    LaunchBegun {
        /// Its generation.
        generation: Generation,
    },
    /// The launch asked for never ran, and left nothing.
    LaunchFailed {
        /// Why.
        cause: FailureCause,
    },
    /// It registered.
    Registered {
        /// Which.
        generation: Generation,
    },
    /// It answered the canary as it should. (Where it did not: `LaunchEnded` with [`FailureCause::CanaryFailed`].)
    CanaryPassed {
        /// Which.
        generation: Generation,
    },
    /// It has nothing in flight any more, though its time to drain is not over.
    Drained {
        /// Which.
        generation: Generation,
    },
    /// It ended, or the owner judged it ended: exit, end of its Session, violation, unresponsive, over its limits.
    LaunchEnded {
        /// Which.
        generation: Generation,
        /// Why.
        cause: FailureCause,
    },
    /// No process of it is left.
    TreeEmpty {
        /// Which.
        generation: Generation,
    },
    /// An operator wants it to run. Ends waiting; from quarantine only with `reset`.
    StartRequested {
        /// Release it from quarantine and forget its failures.
        reset: bool,
    },
    /// An operator wants it stopped. Works from every state.
    StopRequested {
        /// How.
        how: StopHow,
    },
    /// An operator wants it stopped and started.
    RestartRequested,
    /// An operator wants a new generation.
    ReloadRequested {
        /// Beside the old one or after it.
        mode: ReloadMode,
        /// Time for the old one to drain. `None`: the policy's.
        drain: Option<Duration>,
    },
    /// A cancelled invocation of this generation kept its slot beyond its grace time.
    RecycleRequested {
        /// Which.
        generation: Generation,
    },
    /// Its entry cannot be started any more (or could not from the beginning).
    Condemned {
        /// Why.
        cause: FailureCause,
    },
    /// The supervisor stops.
    ShutdownRequested {
        /// How.
        how: StopHow,
    },
}

/// How a plugin is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopHow {
    /// Down the ladder, with so much time to drain. `None`: the policy's.
    Drain(Option<Duration>),
    /// SIGKILL at once.
    Kill,
}
