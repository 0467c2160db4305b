//! Every state and every event: what is not in `table.txt` changes nothing.
//!
//! The file is the specification: a change of the machine that changes it is reviewed there. Times are relative to the
//! moment of the event; the jitter is the longest.

use std::fmt::Write as _;
use std::time::Instant;

use super::super::{Attempt, Effect, Event, Lifecycle, Next, Progress, Purpose, Standing, State, StopHow, Then};
use super::{Life, SECOND, crash};
use crate::domain::failure::FailureCause;
use crate::domain::ids::Generation;
use crate::domain::spec::ReloadMode;

const TABLE: &str = include_str!("table.txt");

/// One life in every state that differs. Generation 1 is the one that serves or started first, 2 the next.
fn states() -> Vec<(&'static str, Life)> {
    let queued = {
        let mut life = Life::new();
        life.send(Event::Tick);
        life
    };
    let running = with(&queued, |life| {
        life.begun(1);
    });
    let ready = Life::serving();
    let waiting = with(&ready, |life| {
        life.gone(1, crash());
    });
    let dying = with(&ready, |life| {
        life.ended(1, crash());
    });
    let proven = with(&waiting, |life| {
        life.wait_for_deadline();
        life.ready(1);
    });
    let reload = with(&ready, |life| {
        life.send(Event::ReloadRequested { mode: ReloadMode::Overlap, drain: None });
    });
    let reload_running = with(&reload, |life| {
        life.begun(2);
    });
    let trying = with(&reload_running, |life| {
        life.registered(2);
    });
    let swapped = with(&trying, |life| {
        life.send(Event::CanaryPassed { generation: Generation(2) });
    });
    let recycle = with(&ready, |life| {
        life.send(Event::RecycleRequested { generation: Generation(1) });
        life.begun(2);
    });
    let recycle_due = with(&recycle, |life| {
        life.gone(2, crash());
    });
    let stopping = with(&ready, |life| {
        life.send(Event::StopRequested { how: StopHow::Drain(None) });
    });
    let restarting = with(&ready, |life| {
        life.send(Event::RestartRequested);
    });
    let closing = with(&ready, |life| {
        life.send(Event::ShutdownRequested { how: StopHow::Drain(None) });
    });
    let stopped = with(&stopping, |life| {
        life.empty(1);
    });
    let closed = with(&closing, |life| {
        life.empty(1);
    });
    let given_up = with(&ready, |life| {
        life.gone(1, FailureCause::FinalExit(78));
    });
    let to_probe = with(&ready, |life| {
        life.machine = Lifecycle::quarantined(Some(life.now + 60 * SECOND), 0);
    });
    let probing = with(&to_probe, |life| {
        life.wait_for_deadline();
        life.ready(1);
    });
    vec![
        ("waiting", waiting),
        ("dying", dying),
        ("queued", queued),
        ("running", running),
        ("ready", ready),
        ("ready, failed before", proven),
        ("ready, on probation", probing),
        ("reload queued", reload),
        ("reload running", reload_running),
        ("reload trying", trying),
        ("swapped", swapped),
        ("recycle running", recycle),
        ("recycle due", recycle_due),
        ("stopping", stopping),
        ("restarting", restarting),
        ("closing", closing),
        ("stopped", stopped),
        ("quarantined, to probe", to_probe),
        ("quarantined for good", given_up),
        ("closed", closed),
    ]
}

fn with(life: &Life, change: impl FnOnce(&mut Life)) -> Life {
    let mut life = life.clone();
    change(&mut life);
    life
}

/// The events, each twice where a generation makes a difference. `None`: a tick at the next deadline.
fn events() -> Vec<(&'static str, Option<Event>)> {
    let (one, two, other) = (Generation(1), Generation(2), Generation(9));
    let config = FailureCause::ConfigInvalid("no command".into());
    vec![
        ("tick, too early", Some(Event::Tick)),
        ("tick", None),
        ("begun 1", Some(Event::LaunchBegun { generation: one })),
        ("begun 9", Some(Event::LaunchBegun { generation: other })),
        ("launch failed", Some(Event::LaunchFailed { cause: crash() })),
        ("registered 1", Some(Event::Registered { generation: one })),
        ("registered 2", Some(Event::Registered { generation: two })),
        ("canary passed 2", Some(Event::CanaryPassed { generation: two })),
        ("drained 1", Some(Event::Drained { generation: one })),
        ("ended 1", Some(Event::LaunchEnded { generation: one, cause: crash() })),
        ("ended 2", Some(Event::LaunchEnded { generation: two, cause: crash() })),
        ("ended 1 for good", Some(Event::LaunchEnded { generation: one, cause: FailureCause::FinalExit(78) })),
        ("ended 9", Some(Event::LaunchEnded { generation: other, cause: crash() })),
        ("empty 1", Some(Event::TreeEmpty { generation: one })),
        ("empty 2", Some(Event::TreeEmpty { generation: two })),
        ("start", Some(Event::StartRequested { reset: false })),
        ("start, reset", Some(Event::StartRequested { reset: true })),
        ("stop", Some(Event::StopRequested { how: StopHow::Drain(None) })),
        ("stop, kill", Some(Event::StopRequested { how: StopHow::Kill })),
        ("restart", Some(Event::RestartRequested)),
        ("reload", Some(Event::ReloadRequested { mode: ReloadMode::Overlap, drain: None })),
        ("reload, stop first", Some(Event::ReloadRequested { mode: ReloadMode::StopFirst, drain: None })),
        ("recycle 1", Some(Event::RecycleRequested { generation: one })),
        ("condemned", Some(Event::Condemned { cause: config })),
        ("shutdown", Some(Event::ShutdownRequested { how: StopHow::Drain(None) })),
        ("shutdown, kill", Some(Event::ShutdownRequested { how: StopHow::Kill })),
    ]
}

fn at(moment: Instant, now: Instant) -> String {
    let wait = moment.saturating_duration_since(now).as_secs_f64();
    format!("{:.1}s", wait)
}

fn attempt(attempt: &Attempt, now: Instant) -> String {
    match attempt {
        Attempt::Queued => "queued".into(),
        Attempt::Running { generation, deadline } => format!("{generation} {}", at(*deadline, now)),
    }
}

fn machine(machine: &Lifecycle, now: Instant) -> String {
    let mut text = match machine.state() {
        State::Waiting { not_before } => format!("waiting {}", at(*not_before, now)),
        State::Starting { attempt: how } => format!("starting {}", attempt(how, now)),
        State::Ready { generation, stable_at, next, .. } => {
            let mut text = format!("ready {generation}");
            if let Some(stable_at) = stable_at {
                write!(text, ", stable {}", at(*stable_at, now)).expect("a string takes all");
            }
            if let Some(Next { purpose, progress }) = next {
                let purpose = match purpose {
                    Purpose::Reload { .. } => "reload",
                    Purpose::Recycle => "recycle",
                };
                let progress = match progress {
                    Progress::Due { at: due } => format!("due {}", at(*due, now)),
                    Progress::Starting(how) => attempt(how, now),
                    Progress::Trying { generation, deadline } => format!("trying {generation} {}", at(*deadline, now)),
                };
                write!(text, ", {purpose} {progress}").expect("a string takes all");
            }
            text
        }
        State::Draining { then: Then::Stop } => "draining to stop".into(),
        State::Draining { then: Then::Launch } => "draining to launch".into(),
        State::Draining { then: Then::Close } => "draining to close".into(),
        State::Stopped => "stopped".into(),
        State::Quarantined { probe_at: Some(probe_at) } => format!("quarantined {}", at(*probe_at, now)),
        State::Quarantined { probe_at: None } => "quarantined".into(),
        State::Closed => "closed".into(),
    };
    for tree in machine.leaving() {
        let rung = format!("{:?}", tree.rung).to_lowercase();
        write!(text, " [{} {rung} {}]", tree.generation, at(tree.deadline, now)).expect("a string takes all");
    }
    match machine.standing() {
        Standing::Good { failures: 0 } => {}
        Standing::Good { failures } => write!(text, " ({failures} failed)").expect("a string takes all"),
        Standing::Probation { failed_probes } => {
            write!(text, " (probation, {failed_probes} failed)").expect("a string takes all");
        }
    }
    text
}

fn effect(effect: &Effect, now: Instant) -> String {
    match effect {
        Effect::Launch(reason) => format!("launch {reason:?}").to_lowercase(),
        Effect::AbandonLaunch => "abandon".into(),
        Effect::Serve(generation) => format!("serve {generation}"),
        Effect::TryCanary(generation) => format!("canary {generation}"),
        Effect::Swap { old, new } => format!("swap {old} {new}"),
        Effect::Drain(generation, _) => format!("drain {generation}"),
        Effect::Shutdown(generation, _) => format!("shutdown {generation}"),
        Effect::Terminate(generation) => format!("terminate {generation}"),
        Effect::Kill(generation) => format!("kill {generation}"),
        Effect::RecordFailure { generation, cause } => {
            format!("record {} {}", generation.unwrap_or_default(), cause.name())
        }
        Effect::NextFailed => "next failed".into(),
        Effect::EnterQuarantine { probe_at: Some(probe_at), .. } => format!("quarantine {}", at(*probe_at, now)),
        Effect::EnterQuarantine { probe_at: None, .. } => "quarantine".into(),
        Effect::LeaveQuarantine => "release".into(),
        Effect::Refuse(refusal) => format!("refuse: {refusal}"),
    }
}

fn table() -> String {
    let mut table = String::new();
    for (name, life) in states() {
        writeln!(table, "{name}: {}", machine(&life.machine, life.now)).expect("a string takes all");
        for (name, event) in events() {
            let mut life = life.clone();
            let before = (life.machine.clone(), life.now);
            let effects = match event {
                Some(event) => life.send(event),
                None if life.machine.deadline().is_none() => continue,
                None => life.wait_for_deadline(),
            };
            if effects.is_empty() && life.machine == before.0 {
                continue;
            }
            let effects: Vec<_> = effects.iter().map(|made| effect(made, life.now)).collect();
            let line = format!("    {name:20} -> {} | {}", machine(&life.machine, life.now), effects.join(", "));
            writeln!(table, "{}", line.trim_end_matches([' ', '|'])).expect("a string takes all");
        }
    }
    table
}

#[test]
fn every_state_meets_every_event() {
    let table = table();
    for (number, (now, known)) in table.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(now, known, "line {} of table.txt", number + 1);
    }
    assert_eq!(table.lines().count(), TABLE.lines().count(), "{table}");
}
