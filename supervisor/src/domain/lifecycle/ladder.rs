//! The stop ladder: Drain, Shutdown, SIGTERM, SIGKILL, each with its time.

use std::time::{Duration, Instant};

use super::{Effect, Policy};
use crate::domain::backoff::later;
use crate::domain::ids::Generation;

/// A tree on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// Its generation.
    pub generation: Generation,
    /// Where on the ladder it is.
    pub rung: Rung,
    /// When the next rung comes; after the last one the tree is given up.
    pub deadline: Instant,
}

/// A step of the stop ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// It finishes its calls.
    Drain,
    /// It was asked to exit.
    Shutdown,
    /// SIGTERM was sent.
    Terminate,
    /// SIGKILL was sent to the whole tree.
    Kill,
}

impl Leaving {
    /// Puts a tree on a rung. `drain`: the time to drain where it is not the policy's.
    pub(super) fn enter(
        generation: Generation,
        rung: Rung,
        drain: Option<Duration>,
        now: Instant,
        policy: &Policy,
    ) -> (Self, Effect) {
        let (time, effect) = match rung {
            Rung::Drain => {
                let time = drain.unwrap_or(policy.drain);
                (time, Effect::Drain(generation, time))
            }
            Rung::Shutdown => (policy.shutdown, Effect::Shutdown(generation, policy.shutdown)),
            Rung::Terminate => (policy.terminate, Effect::Terminate(generation)),
            Rung::Kill => (policy.empty, Effect::Kill(generation)),
        };
        (Self { generation, rung, deadline: later(now, time) }, effect)
    }

    /// The rung after this one; `None`: the ladder is over.
    pub(super) fn next_rung(&self) -> Option<Rung> {
        match self.rung {
            Rung::Drain => Some(Rung::Shutdown),
            Rung::Shutdown => Some(Rung::Terminate),
            Rung::Terminate => Some(Rung::Kill),
            Rung::Kill => None,
        }
    }
}
