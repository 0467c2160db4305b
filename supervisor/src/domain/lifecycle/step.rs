//! The steps that transitions are made of.

use std::mem;
use std::time::{Duration, Instant};

use super::standing::Verdict;
use super::{
    Attempt, Effect, Leaving, Lifecycle, Next, Policy, Progress, Purpose, Reason, Rung, Standing, State, StopHow, Then,
};
use crate::domain::backoff::later;
use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;

/// What one application sees and makes.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) policy: &'a Policy,
    pub(super) random: u64,
    pub(super) effects: Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn after(&self, wait: Duration) -> Instant {
        later(self.now, wait)
    }

    /// A program has begun to run.
    pub(super) fn begun(&self, generation: Generation) -> Attempt {
        Attempt::Running { generation, deadline: self.after(self.policy.startup) }
    }
}

impl Lifecycle {
    /// Takes the steps that need no further event.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Draining { then } if self.leaving.is_empty() => match then {
                Then::Stop => self.state = State::Stopped,
                Then::Close => self.state = State::Closed,
                Then::Launch => self.launch_now(turn),
            },
            State::Quarantined { probe_at: Some(probe_at) } if probe_at <= turn.now => self.launch_when_gone(turn),
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
        if let State::Waiting { not_before } = self.state
            && not_before <= turn.now
            && !self.is_blocked()
        {
            self.state = State::Starting { attempt: Attempt::Queued };
            turn.emit(Effect::Launch(match self.standing {
                Standing::Good { .. } => Reason::Start,
                Standing::Probation { .. } => Reason::Probe,
            }));
        }
    }

    /// Launches as soon as no killed tree is left; `settle` does it.
    pub(super) fn launch_now(&mut self, turn: &Turn<'_>) {
        self.state = State::Waiting { not_before: turn.now };
    }

    /// Launches as soon as nothing of it is left, be it killed or draining.
    pub(super) fn launch_when_gone(&mut self, turn: &Turn<'_>) {
        self.state = if self.leaving.is_empty() {
            State::Waiting { not_before: turn.now }
        } else {
            State::Draining { then: Then::Launch }
        };
    }

    pub(super) fn serve(&mut self, generation: Generation, turn: &Turn<'_>) {
        let stable_at = self.standing.is_tainted().then(|| turn.after(turn.policy.stable));
        self.state = State::Ready { generation, since: turn.now, stable_at, next: None };
    }

    pub(super) fn forget_if_stable(&mut self, turn: &mut Turn<'_>) {
        if let State::Ready { stable_at: Some(stable_at), .. } = self.state
            && stable_at <= turn.now
        {
            self.forgive(turn);
        }
    }

    pub(super) fn forgive(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.standing, Standing::Probation { .. }) {
            turn.emit(Effect::LeaveQuarantine);
        }
        self.standing = Standing::Good { failures: 0 };
        self.host_faults = 0;
        if let State::Ready { stable_at, .. } = &mut self.state {
            *stable_at = None;
        }
    }

    /// A launch failed while nothing served.
    pub(super) fn fail(&mut self, generation: Option<Generation>, cause: FailureCause, turn: &mut Turn<'_>) {
        let verdict = self.judge(generation, &cause, turn);
        self.follow(verdict, cause, turn);
    }

    /// The generation that served failed, and has left already.
    pub(super) fn serving_failed(&mut self, generation: Generation, cause: FailureCause, turn: &mut Turn<'_>) {
        let verdict = self.judge(Some(generation), &cause, turn);
        let next = match &mut self.state {
            State::Ready { next, .. } => next.take(),
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => None,
        };
        let Some(Next { purpose, progress }) = next else { return self.follow(verdict, cause, turn) };
        // What an operator asked for is not taken away by a failure of what it was to replace.
        let goes_on = matches!((purpose, verdict), (Purpose::Reload { .. }, _) | (Purpose::Recycle, Verdict::Retry(_)));
        match progress {
            Progress::Starting(attempt) if goes_on => self.state = State::Starting { attempt },
            Progress::Trying { generation, .. } if goes_on => {
                self.serve(generation, turn);
                turn.emit(Effect::Serve(generation));
            }
            Progress::Due { .. } | Progress::Starting(_) | Progress::Trying { .. } => {
                self.give_up(progress, Rung::Kill, turn);
                self.follow(verdict, cause, turn);
            }
        }
    }

    /// The generation that was to serve next failed, and has left already. No failure of the one that serves.
    pub(super) fn next_failed(&mut self, generation: Option<Generation>, cause: FailureCause, turn: &mut Turn<'_>) {
        turn.emit(Effect::RecordFailure { generation, cause });
        turn.emit(Effect::NextFailed);
        if let State::Ready { next, .. } = &mut self.state {
            *next = match next.take() {
                // The slot is still held: tried again, seldom, and not counted, as the old one serves meanwhile.
                Some(Next { purpose: Purpose::Recycle, .. }) => {
                    let at = turn.after(turn.policy.backoff.max);
                    Some(Next { purpose: Purpose::Recycle, progress: Progress::Due { at } })
                }
                Some(Next { purpose: Purpose::Reload { .. }, .. }) | None => None,
            };
        }
    }

    /// Records a failure and says what follows.
    pub(super) fn judge(
        &mut self,
        generation: Option<Generation>,
        cause: &FailureCause,
        turn: &mut Turn<'_>,
    ) -> Verdict {
        turn.emit(Effect::RecordFailure { generation, cause: cause.clone() });
        if cause.counts() {
            return self.standing.fail(cause, turn.now, turn.policy, turn.random);
        }
        let wait = turn.policy.backoff.delay(self.host_faults, turn.random);
        self.host_faults = self.host_faults.saturating_add(1);
        Verdict::Retry(wait)
    }

    pub(super) fn follow(&mut self, verdict: Verdict, cause: FailureCause, turn: &mut Turn<'_>) {
        self.state = match verdict {
            Verdict::Retry(wait) => State::Waiting { not_before: turn.after(wait) },
            Verdict::Quarantine { probe_at } => {
                let failed_probes = self.standing.failed_probes();
                turn.emit(Effect::EnterQuarantine { probe_at, failed_probes, cause });
                State::Quarantined { probe_at }
            }
        };
    }

    /// Sends everything that runs down the ladder; what comes then, `settle` decides when all is gone.
    pub(super) fn retire(&mut self, how: StopHow, then: Then, turn: &mut Turn<'_>) {
        // Without a registration there is nothing to drain, and perhaps no Session to ask over.
        let (serving, other, drain) = match how {
            StopHow::Drain(drain) => (Rung::Drain, Rung::Terminate, drain),
            StopHow::Kill => (Rung::Kill, Rung::Kill, None),
        };
        match mem::replace(&mut self.state, State::Draining { then }) {
            State::Starting { attempt } => self.give_up(Progress::Starting(attempt), other, turn),
            State::Ready { generation, next, .. } => {
                self.leave(generation, serving, drain, turn);
                if let Some(next) = next {
                    self.give_up(next.progress, other, turn);
                }
            }
            State::Waiting { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
        match how {
            // What was already draining for longer has no more time than the rest.
            StopHow::Drain(_) => {
                let limit = turn.after(drain.unwrap_or(turn.policy.drain));
                for tree in self.leaving.iter_mut().filter(|tree| tree.rung == Rung::Drain) {
                    tree.deadline = tree.deadline.min(limit);
                }
            }
            StopHow::Kill => {
                let alive = self.leaving.iter().filter(|tree| tree.rung < Rung::Kill);
                for generation in alive.map(|tree| tree.generation).collect::<Vec<_>>() {
                    self.raise(generation, Rung::Kill, turn);
                }
            }
        }
    }

    /// Ends a launch that does not serve yet.
    pub(super) fn give_up(&mut self, progress: Progress, rung: Rung, turn: &mut Turn<'_>) {
        match progress {
            Progress::Due { .. } => {}
            Progress::Starting(Attempt::Queued) => turn.emit(Effect::AbandonLaunch),
            Progress::Starting(Attempt::Running { generation, .. }) | Progress::Trying { generation, .. } => {
                self.leave(generation, rung, None, turn);
            }
        }
    }

    /// Puts a generation that has not left yet on the ladder.
    pub(super) fn leave(&mut self, generation: Generation, rung: Rung, drain: Option<Duration>, turn: &mut Turn<'_>) {
        let (tree, effect) = Leaving::enter(generation, rung, drain, turn.now, turn.policy);
        self.leaving.push(tree);
        turn.emit(effect);
    }

    /// Moves a leaving generation to a rung.
    pub(super) fn raise(&mut self, generation: Generation, rung: Rung, turn: &mut Turn<'_>) {
        if let Some(tree) = self.leaving.iter_mut().find(|tree| tree.generation == generation) {
            let (entered, effect) = Leaving::enter(generation, rung, None, turn.now, turn.policy);
            *tree = entered;
            turn.emit(effect);
        }
    }

    /// Moves a leaving generation to its next rung, or forgets it where that was the last.
    pub(super) fn climb(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        let Some(tree) = self.leaving.iter().find(|tree| tree.generation == generation) else { return };
        if let Some(rung) = tree.next_rung() {
            self.raise(generation, rung, turn);
        } else {
            self.leaving.retain(|tree| tree.generation != generation);
            let generation = Some(generation);
            turn.emit(Effect::RecordFailure { generation, cause: FailureCause::TreeNotEmpty });
        }
    }

    pub(super) fn knows(&self, generation: Generation) -> bool {
        let own = match &self.state {
            State::Starting { attempt } => attempt.generation() == Some(generation),
            State::Ready { generation: serving, next, .. } => {
                *serving == generation || next.as_ref().and_then(|next| next.progress.generation()) == Some(generation)
            }
            State::Waiting { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => false,
        };
        own || self.leaving.iter().any(|tree| tree.generation == generation)
    }
}
