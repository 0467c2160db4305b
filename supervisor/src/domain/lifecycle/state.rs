//! What a plugin does.

use std::time::{Duration, Instant};

use crate::domain::ids::Generation;

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

    pub(super) fn deadline(&self) -> Option<Instant> {
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

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Due { at } => Some(*at),
            Self::Starting(attempt) => attempt.deadline(),
            Self::Trying { deadline, .. } => Some(*deadline),
        }
    }
}
