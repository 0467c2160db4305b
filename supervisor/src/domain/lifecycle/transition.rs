//! The transition function.
//!
//! One method for each event, each naming every state: a new event or state does not compile until someone decides.

use std::mem;
use std::time::{Duration, Instant};

use super::standing::Verdict;
use super::{
    Attempt, Effect, Event, Leaving, Lifecycle, Next, Policy, Progress, Purpose, Reason, Refusal, Rung, Standing,
    State, StopHow, Then,
};
use crate::domain::backoff::later;
use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;
use crate::domain::launch::ExitStatus;
use crate::domain::spec::ReloadMode;

/// What one application sees and makes.
struct Turn<'a> {
    now: Instant,
    policy: &'a Policy,
    random: u64,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn after(&self, wait: Duration) -> Instant {
        later(self.now, wait)
    }

    /// A program has begun to run.
    fn begun(&self, generation: Generation) -> Attempt {
        Attempt::Running { generation, deadline: self.after(self.policy.startup) }
    }
}

impl Lifecycle {
    /// Applies one event. Pure: no I/O, clock or task; the owner performs the effects in order. `random` are 64 random
    /// bits for the jitter of a wait.
    #[must_use]
    pub fn apply(mut self, event: Event, now: Instant, policy: &Policy, random: u64) -> (Self, Vec<Effect>) {
        let mut turn = Turn { now, policy, random, effects: Vec::new() };
        // Whatever happens now happens to a plugin that was stable already, though its tick may be late.
        self.forget_if_stable(&mut turn);
        match event {
            Event::Tick => self.tick(&mut turn),
            Event::LaunchBegun { generation } => self.launch_begun(generation, &mut turn),
            Event::LaunchFailed { cause } => self.launch_failed(cause, &mut turn),
            Event::Registered { generation } => self.registered(generation, &mut turn),
            Event::CanaryPassed { generation } => self.canary_passed(generation, &mut turn),
            Event::Drained { generation } => self.drained(generation, &mut turn),
            Event::LaunchEnded { generation, cause } => self.launch_ended(generation, cause, &mut turn),
            Event::TreeEmpty { generation } => self.tree_empty(generation, &mut turn),
            Event::StartRequested { reset } => self.start(reset, &mut turn),
            Event::StopRequested { how } => self.stop(how, &mut turn),
            Event::RestartRequested => self.restart(&mut turn),
            Event::ReloadRequested { mode, drain } => self.reload(mode, drain, &mut turn),
            Event::RecycleRequested { generation } => self.recycle(generation, &mut turn),
            Event::Condemned { cause } => self.condemn(cause, &mut turn),
            Event::ShutdownRequested { how } => self.shut_down(how, &mut turn),
        }
        self.settle(&mut turn);
        (self, turn.effects)
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        for generation in
            self.leaving.iter().filter(|tree| tree.deadline <= turn.now).map(|tree| tree.generation).collect::<Vec<_>>()
        {
            self.climb(generation, turn);
        }
        match &mut self.state {
            State::Starting { attempt: Attempt::Running { generation, deadline } } if *deadline <= turn.now => {
                let generation = *generation;
                self.launch_ended(generation, FailureCause::StartupTimeout(turn.policy.startup), turn);
            }
            State::Ready { next: Some(next), .. } => match next.progress {
                Progress::Due { at } if at <= turn.now => {
                    next.progress = Progress::Starting(Attempt::Queued);
                    turn.emit(Effect::Launch(Reason::Recycle));
                }
                Progress::Starting(Attempt::Running { generation, deadline }) if deadline <= turn.now => {
                    self.launch_ended(generation, FailureCause::StartupTimeout(turn.policy.startup), turn);
                }
                Progress::Trying { generation, deadline } if deadline <= turn.now => {
                    let limit = turn.policy.startup;
                    let cause = FailureCause::CanaryFailed(format!("no answer within {limit:?}"));
                    self.launch_ended(generation, cause, turn);
                }
                Progress::Due { .. } | Progress::Starting(_) | Progress::Trying { .. } => {}
            },
            // What is due in these `settle` sees after every event.
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
    }

    fn launch_begun(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        if self.knows(generation) {
            return;
        }
        self.host_faults = 0;
        match &mut self.state {
            State::Starting { attempt: attempt @ Attempt::Queued }
            | State::Ready {
                next: Some(Next { progress: Progress::Starting(attempt @ Attempt::Queued), .. }), ..
            } => {
                *attempt = turn.begun(generation);
            }
            // Nobody wants it any more: its abandoning came too late.
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => self.leave(generation, Rung::Kill, None, turn),
        }
    }

    fn launch_failed(&mut self, cause: FailureCause, turn: &mut Turn<'_>) {
        match &self.state {
            State::Starting { attempt: Attempt::Queued } => self.fail(None, cause, turn),
            State::Ready { next: Some(Next { progress: Progress::Starting(Attempt::Queued), .. }), .. } => {
                self.next_failed(None, cause, turn);
            }
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
    }

    fn registered(&mut self, registered: Generation, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Starting { attempt: Attempt::Running { generation, .. } } if *generation == registered => {
                self.serve(registered, turn);
                turn.emit(Effect::Serve(registered));
            }
            State::Ready { next: Some(Next { progress, .. }), .. } if matches!(*progress, Progress::Starting(attempt) if attempt.generation() == Some(registered)) =>
            {
                let deadline = turn.after(turn.policy.startup);
                *progress = Progress::Trying { generation: registered, deadline };
                turn.emit(Effect::TryCanary(registered));
            }
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
    }

    fn canary_passed(&mut self, passed: Generation, turn: &mut Turn<'_>) {
        match &self.state {
            State::Ready {
                generation: old,
                next: Some(Next { purpose, progress: Progress::Trying { generation: new, .. } }),
                ..
            } if *new == passed => {
                let (old, purpose) = (*old, *purpose);
                self.serve(passed, turn);
                turn.emit(Effect::Swap { old, new: passed });
                match purpose {
                    Purpose::Reload { drain } => self.leave(old, Rung::Drain, drain, turn),
                    Purpose::Recycle => self.leave(old, Rung::Kill, None, turn),
                }
            }
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
    }

    fn drained(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        if self.leaving.iter().any(|tree| tree.generation == generation && tree.rung == Rung::Drain) {
            self.climb(generation, turn);
        }
    }

    fn launch_ended(&mut self, ended: Generation, cause: FailureCause, turn: &mut Turn<'_>) {
        if let Some(tree) = self.leaving.iter().find(|tree| tree.generation == ended) {
            // It was asked to. What is left of its tree goes with it.
            if tree.rung < Rung::Kill {
                self.raise(ended, Rung::Kill, turn);
            }
            return;
        }
        match &self.state {
            State::Starting { attempt: Attempt::Running { generation, .. } } if *generation == ended => {
                self.leave(ended, Rung::Kill, None, turn);
                self.fail(Some(ended), cause, turn);
            }
            State::Ready { generation, .. } if *generation == ended => {
                self.leave(ended, Rung::Kill, None, turn);
                self.serving_failed(ended, cause, turn);
            }
            State::Ready { next: Some(next), .. } if next.progress.generation() == Some(ended) => {
                self.leave(ended, Rung::Kill, None, turn);
                self.next_failed(Some(ended), cause, turn);
            }
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
    }

    fn tree_empty(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        // A tree that is empty has ended, even if nobody could say how.
        self.launch_ended(generation, FailureCause::Crashed(ExitStatus::Unknown), turn);
        self.leaving.retain(|tree| tree.generation != generation);
    }

    fn start(&mut self, reset: bool, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Draining { then: Then::Close } | State::Closed => {
                return turn.emit(Effect::Refuse(Refusal::Closing));
            }
            State::Quarantined { .. } if !reset => return turn.emit(Effect::Refuse(Refusal::Quarantined)),
            State::Waiting { .. } => self.launch_now(turn),
            State::Stopped | State::Quarantined { .. } => self.launch_when_gone(turn),
            State::Draining { then: then @ (Then::Stop | Then::Launch) } => *then = Then::Launch,
            State::Starting { .. } | State::Ready { .. } => {}
        }
        if reset {
            self.forgive(turn);
        }
    }

    fn stop(&mut self, how: StopHow, turn: &mut Turn<'_>) {
        match self.state {
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { then: Then::Stop | Then::Launch }
            | State::Quarantined { .. } => self.retire(how, Then::Stop, turn),
            State::Draining { then: then @ Then::Close } => self.retire(how, then, turn),
            State::Stopped | State::Closed => {}
        }
    }

    fn shut_down(&mut self, how: StopHow, turn: &mut Turn<'_>) {
        match self.state {
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. } => self.retire(how, Then::Close, turn),
            State::Closed => {}
        }
    }

    fn restart(&mut self, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Starting { .. } | State::Ready { .. } => self.retire(StopHow::Drain(None), Then::Launch, turn),
            State::Waiting { .. } => self.launch_now(turn),
            State::Stopped => self.launch_when_gone(turn),
            State::Draining { then: then @ (Then::Stop | Then::Launch) } => *then = Then::Launch,
            State::Quarantined { .. } => turn.emit(Effect::Refuse(Refusal::Quarantined)),
            State::Draining { then: Then::Close } | State::Closed => turn.emit(Effect::Refuse(Refusal::Closing)),
        }
    }

    fn reload(&mut self, mode: ReloadMode, drain: Option<Duration>, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Ready { next, .. } => match (mode, next) {
                (ReloadMode::Overlap, next @ None) => {
                    let progress = Progress::Starting(Attempt::Queued);
                    *next = Some(Next { purpose: Purpose::Reload { drain }, progress });
                    turn.emit(Effect::Launch(Reason::Reload));
                }
                // The old one still has to be killed, so this stays a recycle, only earlier.
                (ReloadMode::Overlap, Some(Next { progress: progress @ Progress::Due { .. }, .. })) => {
                    *progress = Progress::Starting(Attempt::Queued);
                    turn.emit(Effect::Launch(Reason::Recycle));
                }
                (ReloadMode::Overlap, Some(_)) => turn.emit(Effect::Refuse(Refusal::NextUnderWay)),
                (ReloadMode::StopFirst, _) => self.retire(StopHow::Drain(drain), Then::Launch, turn),
            },
            // It started with what it was before.
            State::Starting { .. } => self.retire(StopHow::Drain(drain), Then::Launch, turn),
            State::Waiting { .. } => self.launch_now(turn),
            State::Draining { then: Then::Launch } => {}
            State::Draining { then: Then::Stop } | State::Stopped => turn.emit(Effect::Refuse(Refusal::Stopped)),
            State::Quarantined { .. } => turn.emit(Effect::Refuse(Refusal::Quarantined)),
            State::Draining { then: Then::Close } | State::Closed => turn.emit(Effect::Refuse(Refusal::Closing)),
        }
    }

    fn recycle(&mut self, stuck: Generation, turn: &mut Turn<'_>) {
        match &self.state {
            State::Ready { generation, next: None, .. } if *generation == stuck => {
                let verdict = self.judge(Some(stuck), &FailureCause::Recycled, turn);
                match verdict {
                    // The wait is for launches of a plugin that does not serve; this one does.
                    Verdict::Retry(_) => {
                        let soiled = turn.after(turn.policy.stable);
                        if let State::Ready { stable_at, next, .. } = &mut self.state {
                            *stable_at = Some(soiled);
                            *next =
                                Some(Next { purpose: Purpose::Recycle, progress: Progress::Starting(Attempt::Queued) });
                        }
                        turn.emit(Effect::Launch(Reason::Recycle));
                    }
                    Verdict::Quarantine { .. } => {
                        self.leave(stuck, Rung::Kill, None, turn);
                        self.follow(verdict, FailureCause::Recycled, turn);
                    }
                }
            }
            // Where a next generation is on its way already, it takes the stuck one's place.
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopped
            | State::Quarantined { .. }
            | State::Closed => {}
        }
    }

    fn condemn(&mut self, cause: FailureCause, turn: &mut Turn<'_>) {
        match self.state {
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { then: Then::Launch }
            | State::Quarantined { .. } => {
                self.retire(StopHow::Drain(None), Then::Launch, turn);
                turn.emit(Effect::RecordFailure { generation: None, cause: cause.clone() });
                self.standing = Standing::Probation { failed_probes: self.standing.failed_probes() };
                self.follow(Verdict::Quarantine { probe_at: None }, cause, turn);
            }
            // It is not to run anyway.
            State::Draining { then: Then::Stop | Then::Close } | State::Stopped | State::Closed => {}
        }
    }

    /// Takes the steps that need no further event.
    fn settle(&mut self, turn: &mut Turn<'_>) {
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
    fn launch_now(&mut self, turn: &Turn<'_>) {
        self.state = State::Waiting { not_before: turn.now };
    }

    /// Launches as soon as nothing of it is left, be it killed or draining.
    fn launch_when_gone(&mut self, turn: &Turn<'_>) {
        self.state = if self.leaving.is_empty() {
            State::Waiting { not_before: turn.now }
        } else {
            State::Draining { then: Then::Launch }
        };
    }

    fn serve(&mut self, generation: Generation, turn: &Turn<'_>) {
        let stable_at = self.standing.is_tainted().then(|| turn.after(turn.policy.stable));
        self.state = State::Ready { generation, since: turn.now, stable_at, next: None };
    }

    fn forget_if_stable(&mut self, turn: &mut Turn<'_>) {
        if let State::Ready { stable_at: Some(stable_at), .. } = self.state
            && stable_at <= turn.now
        {
            self.forgive(turn);
        }
    }

    fn forgive(&mut self, turn: &mut Turn<'_>) {
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
    fn fail(&mut self, generation: Option<Generation>, cause: FailureCause, turn: &mut Turn<'_>) {
        let verdict = self.judge(generation, &cause, turn);
        self.follow(verdict, cause, turn);
    }

    /// The generation that served failed, and has left already.
    fn serving_failed(&mut self, generation: Generation, cause: FailureCause, turn: &mut Turn<'_>) {
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
    fn next_failed(&mut self, generation: Option<Generation>, cause: FailureCause, turn: &mut Turn<'_>) {
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
    fn judge(&mut self, generation: Option<Generation>, cause: &FailureCause, turn: &mut Turn<'_>) -> Verdict {
        turn.emit(Effect::RecordFailure { generation, cause: cause.clone() });
        if cause.counts() {
            return self.standing.fail(cause, turn.now, turn.policy, turn.random);
        }
        let wait = turn.policy.backoff.delay(self.host_faults, turn.random);
        self.host_faults = self.host_faults.saturating_add(1);
        Verdict::Retry(wait)
    }

    fn follow(&mut self, verdict: Verdict, cause: FailureCause, turn: &mut Turn<'_>) {
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
    fn retire(&mut self, how: StopHow, then: Then, turn: &mut Turn<'_>) {
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
    fn give_up(&mut self, progress: Progress, rung: Rung, turn: &mut Turn<'_>) {
        match progress {
            Progress::Due { .. } => {}
            Progress::Starting(Attempt::Queued) => turn.emit(Effect::AbandonLaunch),
            Progress::Starting(Attempt::Running { generation, .. }) | Progress::Trying { generation, .. } => {
                self.leave(generation, rung, None, turn);
            }
        }
    }

    /// Puts a generation that has not left yet on the ladder.
    fn leave(&mut self, generation: Generation, rung: Rung, drain: Option<Duration>, turn: &mut Turn<'_>) {
        let (tree, effect) = Leaving::enter(generation, rung, drain, turn.now, turn.policy);
        self.leaving.push(tree);
        turn.emit(effect);
    }

    /// Moves a leaving generation to a rung.
    fn raise(&mut self, generation: Generation, rung: Rung, turn: &mut Turn<'_>) {
        if let Some(tree) = self.leaving.iter_mut().find(|tree| tree.generation == generation) {
            let (entered, effect) = Leaving::enter(generation, rung, None, turn.now, turn.policy);
            *tree = entered;
            turn.emit(effect);
        }
    }

    /// Moves a leaving generation to its next rung, or forgets it where that was the last.
    fn climb(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        let Some(tree) = self.leaving.iter().find(|tree| tree.generation == generation) else { return };
        if let Some(rung) = tree.next_rung() {
            self.raise(generation, rung, turn);
        } else {
            self.leaving.retain(|tree| tree.generation != generation);
            let generation = Some(generation);
            turn.emit(Effect::RecordFailure { generation, cause: FailureCause::TreeNotEmpty });
        }
    }

    fn knows(&self, generation: Generation) -> bool {
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
