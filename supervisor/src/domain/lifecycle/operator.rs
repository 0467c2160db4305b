//! What operators, and the supervisor itself, ask for.

use std::time::Duration;

use super::standing::Verdict;
use super::step::Turn;
use super::{
    Attempt, Effect, Lifecycle, Next, Progress, Purpose, Reason, Refusal, Rung, Standing, State, StopHow, Then,
};
use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;
use crate::domain::spec::ReloadMode;

impl Lifecycle {
    pub(super) fn start(&mut self, reset: bool, turn: &mut Turn<'_>) {
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

    pub(super) fn stop(&mut self, how: StopHow, turn: &mut Turn<'_>) {
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

    pub(super) fn shut_down(&mut self, how: StopHow, turn: &mut Turn<'_>) {
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

    pub(super) fn restart(&mut self, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Starting { .. } | State::Ready { .. } => self.retire(StopHow::Drain(None), Then::Launch, turn),
            State::Waiting { .. } => self.launch_now(turn),
            State::Stopped => self.launch_when_gone(turn),
            State::Draining { then: then @ (Then::Stop | Then::Launch) } => *then = Then::Launch,
            State::Quarantined { .. } => turn.emit(Effect::Refuse(Refusal::Quarantined)),
            State::Draining { then: Then::Close } | State::Closed => turn.emit(Effect::Refuse(Refusal::Closing)),
        }
    }

    pub(super) fn reload(&mut self, mode: ReloadMode, drain: Option<Duration>, turn: &mut Turn<'_>) {
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

    pub(super) fn recycle(&mut self, stuck: Generation, turn: &mut Turn<'_>) {
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

    pub(super) fn condemn(&mut self, cause: FailureCause, turn: &mut Turn<'_>) {
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
}
