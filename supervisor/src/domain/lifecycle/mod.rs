//! The life of one plugin: a pure state machine (architecture §5).
//!
//! ```text
//!             due, nothing dying            Registered
//!   Waiting ─────────────────────▶ Starting ──────────▶ Ready ◀─┐ swap: next generation's canary passed
//!      ▲  ▲                           │ failed            │  └──┘
//!      │  └───────── backoff ─────────┴───────────────────┤ ended, nobody asked
//!      │                                                  │
//!      │ start                     sixth failure, failed probe, final cause
//!   Stopped ◀──┐                                          ▼
//!              │ all trees empty    start with reset, probe due
//!   Closed ◀── Draining ◀── stop, ─┐ ┌──────────────── Quarantined
//!              │          restart, │ ▼
//!              │          shutdown └ any state
//!              └──▶ Waiting (restart, reload after the old one)
//! ```
//!
//! Beside the state stand the *leaving* trees: every generation that was begun, serves no more, and is not empty yet.
//! Each is on its own [`Rung`] of the stop ladder with its own deadline; a crashed one stands on the last rung at once.
//! So a reload's old generation drains while the new one is Ready, a restart after a crash waits for the dead tree to be
//! empty, and a stop is over when nothing leaves any more. There are few: each is forgotten, with a named failure, when
//! its ladder is over.
//!
//! The owner (one task for each plugin) does three things: it turns what happens into [`Event`]s, performs the
//! [`Effect`]s in order, and sends [`Event::Tick`] once [`Lifecycle::deadline`] has passed. It keeps one handle for each
//! generation and no state of its own about life.
//!
//! What the owner promises: [`Effect::Launch`] is answered by exactly one [`Event::LaunchBegun`] or
//! [`Event::LaunchFailed`], unless [`Effect::AbandonLaunch`] came first; every generation begun gets a
//! [`Event::TreeEmpty`] at last, and before it, at most one [`Event::LaunchEnded`]. An event about a generation that is
//! not known (late, double) changes nothing.

mod ladder;
mod standing;
mod transition;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::failure::FailureCause;
use super::ids::Generation;
use super::settings::Settings;
use super::spec::{PluginSpec, ReloadMode, RestartPolicy};

pub use ladder::{Leaving, Rung};
pub use standing::Standing;

/// Where a plugin's life stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifecycle {
    state: State,
    standing: Standing,
    /// Launches in a row that failed by the host's fault; makes their backoff grow.
    host_faults: u32,
    leaving: Vec<Leaving>,
}

/// What a plugin does now.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Nothing runs for it; the next launch happens at `not_before`, or when no killed tree is left, whatever is later.
    Waiting {
        /// Not before then.
        not_before: Instant,
    },
    /// A launch is on its way, and not registered.
    Starting {
        /// How far it is.
        attempt: Attempt,
    },
    /// Serving.
    Ready {
        /// The generation that serves.
        generation: Generation,
        /// Since when it does.
        since: Instant,
        /// When its failures are forgotten. `None`: there is nothing to forget.
        stable_at: Option<Instant>,
        /// The generation that will take its place.
        next: Option<Next>,
    },
    /// Nothing serves; what is leaving is waited for.
    Draining {
        /// What comes when all is gone.
        then: Then,
    },
    /// Stopped on request. Only an operator leaves it.
    Stopped,
    /// Given up on for now.
    Quarantined {
        /// When it is probed. `None`: only an operator leaves it.
        probe_at: Option<Instant>,
    },
    /// The supervisor stops. Nothing leaves it.
    Closed,
}

/// How far a launch is that does not serve yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Asked for, not running yet: it waits for its turn or is being started. The owner bounds it.
    Queued,
    /// Its program runs.
    Running {
        /// Its generation.
        generation: Generation,
        /// When it has failed if it is not registered.
        deadline: Instant,
    },
}

/// The next generation beside one that serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// What it is for.
    pub purpose: Purpose,
    /// How far it is.
    pub progress: Progress,
}

/// What a next generation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An operator asked for it; the old generation drains.
    Reload {
        /// Time to drain. `None`: the policy's.
        drain: Option<Duration>,
    },
    /// The old one holds a slot that it will not give back; it is killed.
    Recycle,
}

/// How far a next generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// An earlier recycle failed; tried again then.
    Due {
        /// When.
        at: Instant,
    },
    /// As an ordinary start.
    Starting(Attempt),
    /// Registered; the canary is out.
    Trying {
        /// Its generation.
        generation: Generation,
        /// When it has failed if the canary is not back.
        deadline: Instant,
    },
}

/// What comes after draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// [`State::Stopped`].
    Stop,
    /// The next launch.
    Launch,
    /// [`State::Closed`].
    Close,
}

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

impl Lifecycle {
    /// A plugin that is to run; [`Event::Tick`] starts it.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::with(State::Waiting { not_before: now }, Standing::Good { failures: 0 })
    }

    /// A plugin that was quarantined when the supervisor ended. A probe that is due already starts with the first tick.
    #[must_use]
    pub fn quarantined(probe_at: Option<Instant>, failed_probes: u32) -> Self {
        Self::with(State::Quarantined { probe_at }, Standing::Probation { failed_probes })
    }

    fn with(state: State, standing: Standing) -> Self {
        Self { state, standing, host_faults: 0, leaving: Vec::new() }
    }

    /// What the plugin does now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How its failures stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Trees on their way out.
    #[must_use]
    pub fn leaving(&self) -> &[Leaving] {
        &self.leaving
    }

    /// The generation that serves.
    #[must_use]
    pub fn serving(&self) -> Option<Generation> {
        match self.state {
            State::Ready { generation, .. } => Some(generation),
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => None,
        }
    }

    /// When a [`Event::Tick`] is needed. `None`: nothing is to be done before another event.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            // A tree that still dies has a deadline of its own, below.
            State::Waiting { not_before } => (!self.is_blocked()).then_some(*not_before),
            State::Starting { attempt } => attempt.deadline(),
            State::Ready { stable_at, next, .. } => {
                [*stable_at, next.as_ref().and_then(|next| next.progress.deadline())].into_iter().flatten().min()
            }
            State::Quarantined { probe_at } => *probe_at,
            State::Draining { .. } | State::Stopped | State::Closed => None,
        };
        self.leaving.iter().map(|tree| tree.deadline).chain(own).min()
    }

    /// A killed tree has to be empty before the next launch.
    fn is_blocked(&self) -> bool {
        self.leaving.iter().any(|tree| tree.rung == Rung::Kill)
    }
}

impl State {
    /// Its name in listings and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Draining { .. } => "draining",
            Self::Stopped => "stopped",
            Self::Quarantined { .. } => "quarantined",
            Self::Closed => "closed",
        }
    }
}

impl Attempt {
    /// Its generation, if it has begun.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Self::Queued => None,
            Self::Running { generation, .. } => Some(*generation),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Queued => None,
            Self::Running { deadline, .. } => Some(*deadline),
        }
    }
}

impl Progress {
    /// Its generation, if it has begun.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Self::Due { .. } => None,
            Self::Starting(attempt) => attempt.generation(),
            Self::Trying { generation, .. } => Some(*generation),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Due { at } => Some(*at),
            Self::Starting(attempt) => attempt.deadline(),
            Self::Trying { deadline, .. } => Some(*deadline),
        }
    }
}
