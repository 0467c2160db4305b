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

mod effect;
mod event;
mod ladder;
mod operator;
mod policy;
mod standing;
mod state;
mod step;
mod transition;

#[cfg(test)]
mod tests;

use std::time::Instant;

use super::ids::Generation;

pub use effect::{Effect, Reason, Refusal};
pub use event::{Event, StopHow};
pub use ladder::{Leaving, Rung};
pub use policy::Policy;
pub use standing::Standing;
pub use state::{Attempt, Next, Progress, Purpose, State, Then};

/// Where a plugin's life stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifecycle {
    state: State,
    standing: Standing,
    /// Launches in a row that failed by the host's fault; makes their backoff grow.
    host_faults: u32,
    leaving: Vec<Leaving>,
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
