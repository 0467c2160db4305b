//! Properties of any sequence of events, honest or not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Attempt, Effect, Event, Lifecycle, Next, Progress, Rung, Standing, State, StopHow, Then};
use super::{SECOND, crash, policy};
use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;
use crate::domain::launch::ExitStatus;
use crate::domain::spec::{ReloadMode, RestartPolicy};

/// What can happen next. Generations are picked among those that fit, so that most steps mean something.
#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    NextDeadline,
    Begin,
    FailToBegin(bool),
    Register(usize),
    Canary(usize),
    Drained(usize),
    End(usize, Ending),
    Empty(usize),
    Start(bool),
    Stop(bool),
    Restart,
    Reload(bool),
    Recycle,
    Condemn,
    Shutdown(bool),
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Crash,
    Final,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..8_usize;
    let step = prop_oneof![
        3 => (0..90_000_u64).prop_map(Step::Advance),
        4 => Just(Step::NextDeadline),
        8 => Just(Step::Begin),
        1 => any::<bool>().prop_map(Step::FailToBegin),
        8 => which.clone().prop_map(Step::Register),
        4 => which.clone().prop_map(Step::Canary),
        1 => which.clone().prop_map(Step::Drained),
        4 => which.clone().prop_map(|index| Step::End(index, Ending::Crash)),
        1 => which.clone().prop_map(|index| Step::End(index, Ending::Final)),
        6 => which.prop_map(Step::Empty),
        2 => any::<bool>().prop_map(Step::Start),
        1 => any::<bool>().prop_map(Step::Stop),
        1 => Just(Step::Restart),
        3 => any::<bool>().prop_map(Step::Reload),
        2 => Just(Step::Recycle),
        1 => Just(Step::Condemn),
    ];
    let shutdown = prop_oneof![9 => Just(None), 1 => any::<bool>().prop_map(|kill| Some(Step::Shutdown(kill)))];
    (proptest::collection::vec(step, 1..80), shutdown).prop_map(|(mut steps, shutdown)| {
        // In the middle, so that what follows is tried too.
        if let Some(shutdown) = shutdown {
            steps.insert(steps.len() / 2, shutdown);
        }
        steps
    })
}

/// An owner that keeps its promises, and what it would have in hand.
struct Owner {
    machine: Lifecycle,
    now: Instant,
    restart: RestartPolicy,
    taken: u64,
    launch_pending: bool,
    /// Begun and not known to be empty.
    trees: BTreeSet<Generation>,
    /// Those of them told to go.
    told: BTreeSet<Generation>,
    serving: Option<Generation>,
    launches: usize,
}

impl Owner {
    fn new(restart: RestartPolicy) -> Self {
        let now = Instant::now();
        Self {
            machine: Lifecycle::new(now),
            now,
            restart,
            taken: 0,
            launch_pending: false,
            trees: BTreeSet::new(),
            told: BTreeSet::new(),
            serving: None,
            launches: 0,
        }
    }

    fn pick(&self, index: usize) -> Option<Generation> {
        self.trees.iter().copied().nth(index % self.trees.len().max(1))
    }

    fn event(&mut self, step: &Step) -> Option<Event> {
        let how = |kill: &bool| if *kill { StopHow::Kill } else { StopHow::Drain(None) };
        Some(match step {
            Step::Advance(ms) => {
                self.now += Duration::from_millis(*ms);
                Event::Tick
            }
            Step::NextDeadline => {
                self.now = self.now.max(self.machine.deadline()?);
                Event::Tick
            }
            Step::Begin => {
                if !std::mem::take(&mut self.launch_pending) {
                    return None;
                }
                self.taken += 1;
                self.trees.insert(Generation(self.taken));
                Event::LaunchBegun { generation: Generation(self.taken) }
            }
            Step::FailToBegin(host) => {
                if !std::mem::take(&mut self.launch_pending) {
                    return None;
                }
                let why = "it was to be".to_owned();
                let cause = if *host { FailureCause::HostFault(why) } else { FailureCause::SpawnFailed(why) };
                Event::LaunchFailed { cause }
            }
            Step::Register(index) => Event::Registered { generation: self.pick(*index)? },
            Step::Canary(index) => Event::CanaryPassed { generation: self.pick(*index)? },
            Step::Drained(index) => Event::Drained { generation: self.pick(*index)? },
            Step::End(index, ending) => {
                let cause = match ending {
                    Ending::Crash => crash(),
                    Ending::Final => FailureCause::of_exit(ExitStatus::Exited(78), &[78]),
                };
                Event::LaunchEnded { generation: self.pick(*index)?, cause }
            }
            Step::Empty(index) => {
                let generation = self.pick(*index)?;
                self.trees.remove(&generation);
                self.told.remove(&generation);
                Event::TreeEmpty { generation }
            }
            Step::Start(reset) => Event::StartRequested { reset: *reset },
            Step::Stop(kill) => Event::StopRequested { how: how(kill) },
            Step::Restart => Event::RestartRequested,
            Step::Reload(overlap) => {
                let mode = if *overlap { ReloadMode::Overlap } else { ReloadMode::StopFirst };
                Event::ReloadRequested { mode, drain: None }
            }
            Step::Recycle => Event::RecycleRequested { generation: self.serving? },
            Step::Condemn => Event::Condemned { cause: FailureCause::ConfigInvalid("it was to be".into()) },
            Step::Shutdown(kill) => Event::ShutdownRequested { how: how(kill) },
        })
    }

    /// Applies an event and checks every effect against what the owner has in hand.
    fn send(&mut self, event: Event) -> Result<(), TestCaseError> {
        let policy = super::Policy { restart: self.restart, ..policy() };
        let before = self.machine.clone();
        if let Event::TreeEmpty { generation } = event
            && self.serving == Some(generation)
        {
            self.serving = None;
        }
        let (machine, effects) = self.machine.clone().apply(event.clone(), self.now, &policy, u64::MAX / 3);
        self.machine = machine;
        for effect in &effects {
            match effect {
                Effect::Launch(_) => {
                    prop_assert!(!self.launch_pending, "a second launch is asked for");
                    let by_operator = matches!(event, Event::StartRequested { .. } | Event::RestartRequested);
                    let at_rest = match before.state() {
                        State::Stopped | State::Quarantined { probe_at: None } => true,
                        State::Quarantined { probe_at: Some(at) } => *at > self.now,
                        State::Draining { then: Then::Close } | State::Closed => {
                            prop_assert!(false, "a launch while the supervisor stops");
                            true
                        }
                        _ => false,
                    };
                    prop_assert!(by_operator || !at_rest, "a launch that nobody asked for");
                    // What may run beside it: one that serves, and old ones that drain.
                    let beside = self.trees.difference(&self.told).count();
                    prop_assert!(beside <= usize::from(self.machine.serving().is_some()), "{beside} run beside it");
                    let dying = self.machine.leaving().iter().any(|tree| tree.rung == Rung::Kill);
                    prop_assert!(self.serving.is_some() || !dying, "a start beside a tree that dies");
                    self.launch_pending = true;
                    self.launches += 1;
                }
                Effect::AbandonLaunch => {
                    prop_assert!(std::mem::take(&mut self.launch_pending), "there was none to abandon");
                }
                Effect::Serve(generation) => {
                    prop_assert_eq!(self.serving.replace(*generation), None);
                    prop_assert!(!self.told.contains(generation));
                }
                Effect::Swap { old, new } => {
                    prop_assert_eq!(self.serving.replace(*new), Some(*old));
                    prop_assert!(!self.told.contains(new));
                }
                Effect::TryCanary(generation) => prop_assert!(!self.told.contains(generation)),
                Effect::Drain(generation, _)
                | Effect::Shutdown(generation, _)
                | Effect::Terminate(generation)
                | Effect::Kill(generation) => {
                    if self.trees.contains(generation) {
                        self.told.insert(*generation);
                    }
                    self.serving = self.serving.filter(|serving| serving != generation);
                }
                Effect::RecordFailure { generation, cause: FailureCause::TreeNotEmpty } => {
                    let generation = generation.expect("a tree has a generation");
                    prop_assert!(self.told.contains(&generation), "it was given up without being killed");
                }
                Effect::LeaveQuarantine => {
                    let on_probation = matches!(before.standing(), Standing::Probation { .. });
                    prop_assert!(on_probation, "there was none to leave");
                }
                Effect::Refuse(_) => {
                    prop_assert_eq!(effects.len(), 1);
                    prop_assert_eq!(&self.machine, &before);
                }
                Effect::RecordFailure { .. } | Effect::NextFailed | Effect::EnterQuarantine { .. } => {}
            }
        }
        self.check(&before, &event)
    }

    fn check(&self, before: &Lifecycle, event: &Event) -> Result<(), TestCaseError> {
        let machine = &self.machine;
        prop_assert_eq!(machine.serving(), self.serving);
        let asked_for = match machine.state() {
            State::Starting { attempt } => *attempt == Attempt::Queued,
            State::Ready { next: Some(Next { progress, .. }), .. } => *progress == Progress::Starting(Attempt::Queued),
            _ => false,
        };
        prop_assert_eq!(self.launch_pending, asked_for, "what is pending is what the state says");
        // Nothing is forgotten: a tree that was begun serves, starts, or leaves; or it was told to and given up.
        let mut held: BTreeSet<_> = machine.leaving().iter().map(|tree| tree.generation).collect();
        prop_assert_eq!(held.len(), machine.leaving().len(), "a tree leaves twice");
        match machine.state() {
            State::Starting { attempt } => held.extend(attempt.generation()),
            State::Ready { generation, next, .. } => {
                held.insert(*generation);
                held.extend(next.as_ref().and_then(|next| next.progress.generation()));
            }
            _ => {}
        }
        for tree in &self.trees {
            prop_assert!(held.contains(tree) || self.told.contains(tree), "{tree} runs and nobody knows");
        }
        // Every state goes on by itself, or rests on purpose.
        let waits = match machine.state() {
            State::Waiting { .. } | State::Draining { .. } | State::Quarantined { probe_at: Some(_) } => true,
            State::Starting { attempt } => attempt.generation().is_some(),
            State::Ready { .. } | State::Stopped | State::Quarantined { probe_at: None } | State::Closed => false,
        };
        prop_assert!(!waits || machine.deadline().is_some(), "{:?} waits for nothing", machine.state());
        if *event == Event::Tick {
            prop_assert!(machine.deadline().is_none_or(|at| at > self.now), "a tick leaves a deadline behind");
        }
        if matches!(before.state(), State::Closed) {
            prop_assert_eq!(machine.state(), &State::Closed);
        }
        if matches!(before.state(), State::Stopped) && !matches!(machine.state(), State::Stopped) {
            let asked = matches!(
                event,
                Event::StartRequested { .. } | Event::RestartRequested | Event::ShutdownRequested { .. }
            );
            prop_assert!(asked, "only an operator leaves Stopped");
        }
        if matches!(before.state(), State::Quarantined { probe_at: None })
            && !matches!(machine.state(), State::Quarantined { probe_at: None })
        {
            let asked = matches!(
                event,
                Event::StartRequested { reset: true } | Event::StopRequested { .. } | Event::ShutdownRequested { .. }
            );
            prop_assert!(asked, "only an operator leaves it");
        }
        if matches!(machine.state(), State::Stopped) && !matches!(before.state(), State::Stopped) {
            let stopping = matches!(before.state(), State::Draining { then: Then::Stop });
            prop_assert!(stopping || matches!(event, Event::StopRequested { .. }), "only an operator reaches Stopped");
        }
        Ok(())
    }
}

fn restart() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![4 => Just(RestartPolicy::OnFailure), 1 => Just(RestartPolicy::Never)]
}

/// Ticks through the whole ladder with a plugin that obeys nothing.
fn exhaust(owner: &mut Owner, end: &State) -> Result<(), TestCaseError> {
    let policy = policy();
    let started = owner.now;
    while owner.machine.state() != end {
        let at = owner.machine.deadline();
        let at = at.ok_or_else(|| TestCaseError::fail(format!("{:?} waits for ever", owner.machine)))?;
        owner.now = owner.now.max(at);
        owner.send(Event::Tick)?;
    }
    let longest = policy.drain + policy.shutdown + policy.terminate + policy.empty;
    prop_assert!(owner.now - started <= longest, "it took {:?}", owner.now - started);
    prop_assert_eq!(owner.machine.leaving(), &[]);
    prop_assert!(!owner.launch_pending);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_owner_sees_one_sane_life(steps in steps(), restart in restart()) {
        let mut owner = Owner::new(restart);
        owner.send(Event::Tick)?;
        for step in steps {
            if let Some(event) = owner.event(&step) {
                owner.send(event)?;
            }
        }
    }

    #[test]
    fn a_stop_is_over_in_its_time_whatever_the_plugin_does(steps in steps(), kill: bool) {
        let mut owner = Owner::new(RestartPolicy::OnFailure);
        owner.send(Event::Tick)?;
        for step in steps {
            if let Some(event) = owner.event(&step) {
                owner.send(event)?;
            }
        }
        let end = match owner.machine.state() {
            State::Draining { then: Then::Close } | State::Closed => State::Closed,
            _ => State::Stopped,
        };
        owner.send(Event::StopRequested { how: if kill { StopHow::Kill } else { StopHow::Drain(None) } })?;
        exhaust(&mut owner, &end)?;
    }

    #[test]
    fn a_stop_is_over_when_the_trees_are(steps in steps()) {
        let mut owner = Owner::new(RestartPolicy::OnFailure);
        owner.send(Event::Tick)?;
        for step in steps {
            if let Some(event) = owner.event(&step) {
                owner.send(event)?;
            }
        }
        owner.send(Event::ShutdownRequested { how: StopHow::Drain(None) })?;
        while let Some(event) = owner.event(&Step::Empty(0)) {
            owner.send(event)?;
        }
        prop_assert_eq!(owner.machine.state(), &State::Closed);
    }

    #[test]
    fn launches_of_a_plugin_that_always_fails_are_bounded(
        lives in proptest::collection::vec((0..3_u8, 0..59_000_u64), 60),
    ) {
        let mut owner = Owner::new(RestartPolicy::OnFailure);
        let begin = owner.now;
        owner.send(Event::Tick)?;
        for (kind, lasts) in lives {
            while !owner.launch_pending {
                let event = owner.event(&Step::NextDeadline).expect("it is tried again for ever");
                owner.send(event)?;
            }
            let begun = owner.event(&Step::Begin).expect("a launch is pending");
            owner.send(begun)?;
            let generation = Generation(owner.taken);
            if kind > 0 {
                owner.send(Event::Registered { generation })?;
                owner.now += Duration::from_millis(lasts);
            }
            if kind > 1 {
                // A recycle of a plugin whose next generation never begins, then a crash.
                owner.send(Event::RecycleRequested { generation })?;
                if let Some(event) = owner.event(&Step::FailToBegin(false)) {
                    owner.send(event)?;
                }
            }
            owner.send(Event::LaunchEnded { generation, cause: crash() })?;
            owner.trees.clear();
            owner.told.clear();
            owner.send(Event::TreeEmpty { generation })?;
        }
        // Six launches, each with one recycle at most, then probes after 1, 2, 4, 8, 16, 32 and then every 60 minutes.
        let hours = usize::try_from((owner.now - begin).as_secs() / 3_600).expect("few");
        prop_assert!(owner.launches <= 2 * (6 + 6 + hours + 1), "{} launches in {hours} hours", owner.launches);
    }

    #[test]
    fn a_careless_owner_cannot_break_it(events in proptest::collection::vec((0..15_u8, 0..6_u64, any::<bool>(), 0..20_000_u64), 1..120)) {
        let policy = policy();
        let mut now = Instant::now();
        let mut machine = Lifecycle::new(now);
        for (kind, number, flag, wait) in events {
            now += Duration::from_millis(wait);
            let generation = Generation(number);
            let how = if flag { StopHow::Kill } else { StopHow::Drain(Some(SECOND)) };
            let event = match kind {
                0 => Event::LaunchBegun { generation },
                1 => Event::LaunchFailed { cause: crash() },
                2 => Event::Registered { generation },
                3 => Event::CanaryPassed { generation },
                4 => Event::Drained { generation },
                5 => Event::LaunchEnded { generation, cause: crash() },
                6 => Event::TreeEmpty { generation },
                7 => Event::StartRequested { reset: flag },
                8 => Event::StopRequested { how },
                9 => Event::RestartRequested,
                10 => Event::ReloadRequested { mode: if flag { ReloadMode::Overlap } else { ReloadMode::StopFirst }, drain: None },
                11 => Event::RecycleRequested { generation },
                12 => Event::Condemned { cause: crash() },
                13 if flag => Event::ShutdownRequested { how },
                _ => Event::Tick,
            };
            machine = machine.apply(event, now, &policy, wait).0;
            machine = machine.apply(Event::Tick, now, &policy, wait).0;
            prop_assert!(machine.deadline().is_none_or(|at| at > now));
            let mut leaving: Vec<_> = machine.leaving().iter().map(|tree| tree.generation).collect();
            leaving.sort();
            prop_assert!(leaving.windows(2).all(|pair| pair[0] != pair[1]));
            let blocked = machine.leaving().iter().any(|tree| tree.rung == Rung::Kill);
            let idle = matches!(machine.state(), State::Waiting { not_before } if *not_before <= now && !blocked);
            prop_assert!(!idle, "it waits though nothing is in the way");
        }
    }
}
