//! The transition function.
//!
//! One method for each event, each naming every state: a new event or state does not compile until someone decides.

use std::time::Instant;

use super::step::Turn;
use super::{Attempt, Effect, Event, Lifecycle, Next, Policy, Progress, Purpose, Reason, Rung, State};
use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;
use crate::domain::launch::ExitStatus;

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
}
