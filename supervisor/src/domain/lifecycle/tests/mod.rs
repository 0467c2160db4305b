//! Tests of the life: a table of every state and event, the rules one by one, and properties of any sequence.

mod properties;
mod rules;
mod table;

use std::time::{Duration, Instant};

use super::{Effect, Event, Lifecycle, Policy, Reason, State};
use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;
use crate::domain::launch::ExitStatus;
use crate::domain::settings::Settings;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy::new(&Settings::default(), None)
}

fn crash() -> FailureCause {
    FailureCause::Crashed(ExitStatus::Exited(1))
}

/// A life with a clock that stands still until it is moved. The jitter is the longest.
#[derive(Clone)]
struct Life {
    machine: Lifecycle,
    now: Instant,
    policy: Policy,
}

impl Life {
    fn new() -> Self {
        let now = Instant::now();
        Self { machine: Lifecycle::new(now), now, policy: policy() }
    }

    fn send(&mut self, event: Event) -> Vec<Effect> {
        let (machine, effects) = self.machine.clone().apply(event, self.now, &self.policy, u64::MAX);
        self.machine = machine;
        effects
    }

    fn wait(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.send(Event::Tick)
    }

    /// Waits for the next deadline.
    fn wait_for_deadline(&mut self) -> Vec<Effect> {
        let deadline = self.machine.deadline().expect("the state waits for nothing");
        self.now = self.now.max(deadline);
        self.send(Event::Tick)
    }

    fn begun(&mut self, generation: u64) -> Vec<Effect> {
        self.send(Event::LaunchBegun { generation: Generation(generation) })
    }

    fn registered(&mut self, generation: u64) -> Vec<Effect> {
        self.send(Event::Registered { generation: Generation(generation) })
    }

    fn ended(&mut self, generation: u64, cause: FailureCause) -> Vec<Effect> {
        self.send(Event::LaunchEnded { generation: Generation(generation), cause })
    }

    fn empty(&mut self, generation: u64) -> Vec<Effect> {
        self.send(Event::TreeEmpty { generation: Generation(generation) })
    }

    /// Brings the launch asked for to Ready.
    fn ready(&mut self, generation: u64) {
        self.begun(generation);
        assert!(self.registered(generation).contains(&Effect::Serve(Generation(generation))));
    }

    /// Ends a launch and its tree.
    fn gone(&mut self, generation: u64, cause: FailureCause) -> Vec<Effect> {
        let mut effects = self.ended(generation, cause);
        effects.extend(self.empty(generation));
        effects
    }

    fn state(&self) -> &State {
        self.machine.state()
    }

    /// What is left of Waiting.
    fn wait_left(&self) -> Option<Duration> {
        match *self.state() {
            State::Waiting { not_before } => Some(not_before - self.now),
            _ => None,
        }
    }

    /// A plugin that serves as generation 1 and never failed.
    fn serving() -> Self {
        let mut life = Self::new();
        assert_eq!(life.send(Event::Tick), [Effect::Launch(Reason::Start)]);
        life.ready(1);
        life
    }
}
