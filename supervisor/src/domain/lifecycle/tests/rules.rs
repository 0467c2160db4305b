//! The rules of architecture §5, one test each.

use std::time::Duration;

use super::super::{
    Attempt, Effect, Event, Lifecycle, Next, Policy, Progress, Purpose, Reason, Refusal, Standing, State, StopHow, Then,
};
use super::{Life, SECOND, crash, policy};
use crate::domain::backoff::Backoff;
use crate::domain::failure::{FailureCause, FatalReason};
use crate::domain::ids::Generation;
use crate::domain::launch::ExitStatus;
use crate::domain::spec::{ReloadMode, RestartPolicy};

const MINUTE: Duration = Duration::from_secs(60);

/// Fails the launch under way and starts the next, as often as given; the last leaves it waiting or quarantined.
fn fail(life: &mut Life, generations: std::ops::RangeInclusive<u64>) -> Vec<Effect> {
    let mut last = Vec::new();
    for generation in generations {
        if matches!(life.state(), State::Waiting { .. }) {
            life.wait_for_deadline();
        }
        life.begun(generation);
        last = life.gone(generation, crash());
    }
    last
}

#[test]
fn waits_double_from_200_ms() {
    let mut life = Life::serving();
    life.gone(1, crash());
    for (generation, wait_ms) in [(2, 200_u64), (3, 400), (4, 800), (5, 1_600)] {
        let wait = life.wait_left().expect("it waits");
        let longest = Duration::from_millis(wait_ms);
        assert!(wait <= longest && wait > longest - Duration::from_millis(1), "{wait:?} after {longest:?}");
        assert!(life.wait(wait - Duration::from_nanos(1)).is_empty());
        assert_eq!(life.wait(Duration::from_nanos(1)), [Effect::Launch(Reason::Start)]);
        life.begun(generation);
        life.gone(generation, crash());
    }
}

#[test]
fn the_sixth_failure_quarantines() {
    let mut life = Life::new();
    life.send(Event::Tick);
    assert!(!fail(&mut life, 1..=5).iter().any(|effect| matches!(effect, Effect::EnterQuarantine { .. })));
    let probe_at = Some(life.machine.deadline().expect("it waits") + MINUTE);
    let effects = fail(&mut life, 6..=6);
    assert!(effects.contains(&Effect::EnterQuarantine { probe_at, failed_probes: 0, cause: crash() }), "{effects:?}");
    assert_eq!(life.state(), &State::Quarantined { probe_at });
}

#[test]
fn a_minute_of_ready_forgets_failures() {
    let mut life = Life::new();
    life.send(Event::Tick);
    fail(&mut life, 1..=5);
    life.wait_for_deadline();
    life.ready(6);
    assert_eq!(life.machine.standing(), Standing::Good { failures: 5 });
    life.wait(MINUTE - Duration::from_nanos(1));
    assert_eq!(life.machine.standing(), Standing::Good { failures: 5 });
    // The tick that forgets may come late, or not at all.
    life.now += Duration::from_nanos(1);
    life.gone(6, crash());
    assert_eq!(life.machine.standing(), Standing::Good { failures: 1 });
}

#[test]
fn probes_double_to_an_hour() {
    let mut life = Life::new();
    life.send(Event::Tick);
    fail(&mut life, 1..=6);
    for (failed, minutes) in [1_u32, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        let probe_at = Some(life.now + minutes * MINUTE);
        assert_eq!(life.state(), &State::Quarantined { probe_at });
        assert!(life.wait(minutes * MINUTE - Duration::from_nanos(1)).is_empty());
        assert_eq!(life.wait_for_deadline(), [Effect::Launch(Reason::Probe)]);
        // One failure is enough, ready or not.
        let generation = 7 + failed as u64;
        life.begun(generation);
        if failed % 2 == 0 {
            life.registered(generation);
        }
        life.gone(generation, crash());
    }
}

#[test]
fn a_stable_probe_leaves_quarantine() {
    let mut life = Life::new();
    life.machine = Lifecycle::quarantined(Some(life.now), 3);
    assert_eq!(life.send(Event::Tick), [Effect::Launch(Reason::Probe)], "it was due while the supervisor was away");
    life.ready(9);
    assert!(!life.wait(MINUTE - Duration::from_nanos(1)).contains(&Effect::LeaveQuarantine));
    assert_eq!(life.wait_for_deadline(), [Effect::LeaveQuarantine]);
    assert_eq!(life.machine.standing(), Standing::Good { failures: 0 });
    assert_eq!(life.machine.deadline(), None);
}

#[test]
fn final_causes_and_never_are_not_probed() {
    let fatal = |reason| FailureCause::Fatal { reason, message: "no".into() };
    let finals = [
        FailureCause::FinalExit(78),
        fatal(FatalReason::ConfigInvalid),
        fatal(FatalReason::HostUnsuitable),
        FailureCause::ConfigInvalid("no command".into()),
    ];
    for cause in finals {
        let mut life = Life::serving();
        let effects = life.gone(1, cause.clone());
        assert!(effects.contains(&Effect::EnterQuarantine { probe_at: None, failed_probes: 0, cause }), "{effects:?}");
        assert_eq!((life.state(), life.machine.deadline()), (&State::Quarantined { probe_at: None }, None));
    }
    let mut life = Life::serving();
    life.policy = Policy { restart: RestartPolicy::Never, ..policy() };
    life.gone(1, FailureCause::ExitedUnasked);
    assert_eq!(life.state(), &State::Quarantined { probe_at: None });
}

#[test]
fn quarantine_ends_only_with_reset() {
    let mut life = Life::serving();
    life.gone(1, FailureCause::FinalExit(78));
    assert_eq!(life.send(Event::StartRequested { reset: false }), [Effect::Refuse(Refusal::Quarantined)]);
    assert_eq!(life.send(Event::RestartRequested), [Effect::Refuse(Refusal::Quarantined)]);
    let effects = life.send(Event::StartRequested { reset: true });
    assert_eq!(effects, [Effect::LeaveQuarantine, Effect::Launch(Reason::Start)]);
    assert_eq!(life.machine.standing(), Standing::Good { failures: 0 });
}

#[test]
fn stopping_does_not_wash_a_quarantine_off() {
    let mut life = Life::serving();
    life.gone(1, FailureCause::FinalExit(78));
    life.send(Event::StopRequested { how: StopHow::Drain(None) });
    assert_eq!(life.state(), &State::Stopped);
    assert_eq!(life.send(Event::StartRequested { reset: false }), [Effect::Launch(Reason::Probe)]);
    life.ready(2);
    life.gone(2, crash());
    assert!(matches!(life.state(), State::Quarantined { .. }), "one failure is enough");
}

#[test]
fn the_ladder_has_four_rungs() {
    let mut life = Life::serving();
    let one = Generation(1);
    let effects = life.send(Event::StopRequested { how: StopHow::Drain(None) });
    assert_eq!(effects, [Effect::Drain(one, 5 * SECOND)]);
    assert_eq!(life.wait(5 * SECOND), [Effect::Shutdown(one, 3 * SECOND)]);
    assert_eq!(life.wait(3 * SECOND), [Effect::Terminate(one)]);
    assert_eq!(life.wait(2 * SECOND), [Effect::Kill(one)]);
    assert_eq!(life.state(), &State::Draining { then: Then::Stop });
    let given_up = Effect::RecordFailure { generation: Some(one), cause: FailureCause::TreeNotEmpty };
    assert_eq!(life.wait(2 * SECOND), [given_up]);
    assert_eq!(life.state(), &State::Stopped);
}

#[test]
fn each_rung_ends_early() {
    let mut life = Life::serving();
    let one = Generation(1);
    life.send(Event::StopRequested { how: StopHow::Drain(Some(30 * SECOND)) });
    assert_eq!(life.machine.deadline(), Some(life.now + 30 * SECOND));
    assert_eq!(life.send(Event::Drained { generation: one }), [Effect::Shutdown(one, 3 * SECOND)]);
    assert_eq!(life.send(Event::Drained { generation: one }), [], "it has left that rung");
    assert_eq!(life.ended(1, FailureCause::ExitedUnasked), [Effect::Kill(one)], "and it is no failure: it was asked");
    assert_eq!(life.ended(1, FailureCause::ExitedUnasked), [], "once is enough");
    assert_eq!(life.empty(1), []);
    assert_eq!((life.state(), life.machine.standing()), (&State::Stopped, Standing::Good { failures: 0 }));
}

#[test]
fn a_half_started_plugin_is_stopped() {
    let mut life = Life::new();
    life.send(Event::Tick);
    let mut queued = life.clone();
    assert_eq!(queued.send(Event::StopRequested { how: StopHow::Drain(None) }), [Effect::AbandonLaunch]);
    assert_eq!(queued.state(), &State::Stopped);
    assert_eq!(queued.begun(1), [Effect::Kill(Generation(1))], "what begins all the same is killed");

    life.begun(1);
    assert_eq!(life.send(Event::StopRequested { how: StopHow::Drain(None) }), [Effect::Terminate(Generation(1))]);
    assert_eq!(life.registered(1), [], "too late");
    life.gone(1, crash());
    assert_eq!(life.state(), &State::Stopped);
}

#[test]
fn kill_is_a_stop_without_a_ladder() {
    let mut life = Life::serving();
    assert_eq!(life.send(Event::StopRequested { how: StopHow::Kill }), [Effect::Kill(Generation(1))]);
    let mut life = Life::serving();
    life.send(Event::StopRequested { how: StopHow::Drain(None) });
    assert_eq!(life.send(Event::StopRequested { how: StopHow::Kill }), [Effect::Kill(Generation(1))]);
    life.empty(1);
    assert_eq!(life.state(), &State::Stopped);
}

#[test]
fn the_next_launch_waits_for_the_dead_tree() {
    let mut life = Life::serving();
    assert_eq!(life.ended(1, crash())[0], Effect::Kill(Generation(1)));
    assert_eq!(life.wait(SECOND), [], "the backoff is over, the tree is not");
    assert_eq!(life.empty(1), [Effect::Launch(Reason::Start)]);

    let mut life = Life::serving();
    life.ended(1, crash());
    let named = Effect::RecordFailure { generation: Some(Generation(1)), cause: FailureCause::TreeNotEmpty };
    assert_eq!(life.wait(2 * SECOND), [named, Effect::Launch(Reason::Start)]);
    assert_eq!(life.machine.standing(), Standing::Good { failures: 1 }, "one launch, one failure");
}

#[test]
fn startup_has_a_deadline() {
    let mut life = Life::new();
    life.send(Event::Tick);
    assert_eq!(life.wait(60 * SECOND), [], "waiting for its turn is not starting");
    life.begun(1);
    assert_eq!(life.wait(10 * SECOND - Duration::from_nanos(1)), []);
    let cause = FailureCause::StartupTimeout(10 * SECOND);
    let record = Effect::RecordFailure { generation: Some(Generation(1)), cause };
    assert_eq!(life.wait_for_deadline(), [Effect::Kill(Generation(1)), record]);
    assert!(matches!(life.state(), State::Waiting { .. }));
}

#[test]
fn a_fault_of_the_host_never_quarantines() {
    let mut life = Life::new();
    life.policy.restart = RestartPolicy::Never;
    life.send(Event::Tick);
    let fault = || Event::LaunchFailed { cause: FailureCause::HostFault("the disk is full".into()) };
    let mut waits = Vec::new();
    for _ in 0..20 {
        life.send(fault());
        waits.push(life.wait_left().expect("it waits"));
        assert_eq!(life.wait_for_deadline(), [Effect::Launch(Reason::Start)]);
    }
    assert!(waits.is_sorted() && waits[19] > 29 * SECOND, "{waits:?}");
    life.begun(1);
    assert_eq!(life.machine.standing(), Standing::Good { failures: 0 });
}

#[test]
fn a_reload_swaps_and_drains_the_old() {
    let mut life = Life::serving();
    let (one, two) = (Generation(1), Generation(2));
    let drain = Some(7 * SECOND);
    let reload = Event::ReloadRequested { mode: ReloadMode::Overlap, drain };
    assert_eq!(life.send(reload.clone()), [Effect::Launch(Reason::Reload)]);
    assert_eq!(life.send(reload), [Effect::Refuse(Refusal::NextUnderWay)]);
    assert_eq!(life.begun(2), []);
    assert_eq!(life.registered(2), [Effect::TryCanary(two)]);
    assert_eq!(life.machine.serving(), Some(one));
    let effects = life.send(Event::CanaryPassed { generation: two });
    assert_eq!(effects, [Effect::Swap { old: one, new: two }, Effect::Drain(one, 7 * SECOND)]);
    assert_eq!(life.machine.serving(), Some(two));
    assert_eq!(life.gone(1, FailureCause::ExitedUnasked), [Effect::Kill(one)]);
    assert_eq!((life.machine.serving(), life.machine.leaving()), (Some(two), &[][..]));
}

#[test]
fn a_failed_reload_leaves_the_old_serving() {
    let cases: [fn(&mut Life) -> Vec<Effect>; 5] = [
        |life| life.send(Event::LaunchFailed { cause: crash() }),
        |life| {
            life.begun(2);
            life.ended(2, crash())
        },
        |life| {
            life.begun(2);
            life.wait(10 * SECOND)
        },
        |life| {
            life.begun(2);
            life.registered(2);
            life.ended(2, FailureCause::CanaryFailed("it said no".into()))
        },
        |life| {
            life.begun(2);
            life.registered(2);
            life.wait(10 * SECOND)
        },
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let mut life = Life::serving();
        life.send(Event::ReloadRequested { mode: ReloadMode::Overlap, drain: None });
        let effects = case(&mut life);
        assert_eq!(effects.last(), Some(&Effect::NextFailed), "case {index}");
        assert!(matches!(effects[effects.len() - 2], Effect::RecordFailure { .. }), "case {index}");
        assert_eq!(life.machine.serving(), Some(Generation(1)), "case {index}");
        assert!(matches!(life.state(), State::Ready { next: None, stable_at: None, .. }), "case {index}");
        assert_eq!(life.machine.standing(), Standing::Good { failures: 0 }, "case {index}");
    }
}

#[test]
fn the_new_generation_goes_on_when_the_old_crashes() {
    for cause in [crash(), FailureCause::FinalExit(78)] {
        let mut life = Life::serving();
        life.send(Event::ReloadRequested { mode: ReloadMode::Overlap, drain: None });
        let mut queued = life.clone();
        queued.ended(1, cause.clone());
        assert_eq!(queued.state(), &State::Starting { attempt: Attempt::Queued }, "{cause}");

        life.begun(2);
        let mut trying = life.clone();
        trying.registered(2);
        assert_eq!(trying.ended(1, cause.clone()).last(), Some(&Effect::Serve(Generation(2))), "{cause}");

        life.ended(1, cause.clone());
        assert!(matches!(life.state(), State::Starting { attempt: Attempt::Running { .. } }), "{cause}");
        assert_eq!(life.registered(2), [Effect::Serve(Generation(2))], "{cause}");
    }
}

#[test]
fn a_stop_during_a_reload_stops_both() {
    let mut life = Life::serving();
    life.send(Event::ReloadRequested { mode: ReloadMode::Overlap, drain: None });
    let mut queued = life.clone();
    let effects = queued.send(Event::StopRequested { how: StopHow::Drain(None) });
    assert_eq!(effects, [Effect::Drain(Generation(1), 5 * SECOND), Effect::AbandonLaunch]);

    life.begun(2);
    let effects = life.send(Event::StopRequested { how: StopHow::Drain(None) });
    assert_eq!(effects, [Effect::Drain(Generation(1), 5 * SECOND), Effect::Terminate(Generation(2))]);
    life.gone(1, crash());
    assert_eq!(life.state(), &State::Draining { then: Then::Stop });
    life.gone(2, crash());
    assert_eq!(life.state(), &State::Stopped);
}

#[test]
fn a_reload_after_the_old_one() {
    let mut life = Life::serving();
    let effects = life.send(Event::ReloadRequested { mode: ReloadMode::StopFirst, drain: None });
    assert_eq!(effects, [Effect::Drain(Generation(1), 5 * SECOND)]);
    assert_eq!(life.gone(1, FailureCause::ExitedUnasked).last(), Some(&Effect::Launch(Reason::Start)));
    assert_eq!(life.machine.standing(), Standing::Good { failures: 0 });
}

#[test]
fn a_recycle_starts_the_next_first_and_then_kills() {
    let mut life = Life::serving();
    let (one, two) = (Generation(1), Generation(2));
    let record = Effect::RecordFailure { generation: Some(one), cause: FailureCause::Recycled };
    assert_eq!(life.send(Event::RecycleRequested { generation: one }), [record, Effect::Launch(Reason::Recycle)]);
    assert_eq!(life.machine.standing(), Standing::Good { failures: 1 });
    assert_eq!(life.send(Event::RecycleRequested { generation: one }), [], "it is under way");
    life.begun(2);
    life.registered(2);
    let effects = life.send(Event::CanaryPassed { generation: two });
    assert_eq!(effects, [Effect::Swap { old: one, new: two }, Effect::Kill(one)]);
    assert_eq!(life.send(Event::RecycleRequested { generation: one }), [], "it serves no more");
}

#[test]
fn a_failed_recycle_is_tried_again() {
    let mut life = Life::serving();
    life.send(Event::RecycleRequested { generation: Generation(1) });
    life.begun(2);
    life.gone(2, crash());
    let progress = Progress::Due { at: life.now + 30 * SECOND };
    let next = Some(Next { purpose: Purpose::Recycle, progress });
    assert!(matches!(life.state(), State::Ready { next: now, .. } if *now == next), "{:?}", life.state());
    assert_eq!(life.machine.standing(), Standing::Good { failures: 1 });
    let mut reloaded = life.clone();
    let reload = Event::ReloadRequested { mode: ReloadMode::Overlap, drain: None };
    assert_eq!(reloaded.send(reload), [Effect::Launch(Reason::Recycle)], "an operator need not wait");
    assert_eq!(life.wait(30 * SECOND), [Effect::Launch(Reason::Recycle)]);
}

#[test]
fn recycles_quarantine_too() {
    let mut life = Life::serving();
    for generation in 1..=5 {
        life.send(Event::RecycleRequested { generation: Generation(generation) });
        life.begun(generation + 1);
        life.registered(generation + 1);
        life.send(Event::CanaryPassed { generation: Generation(generation + 1) });
        life.empty(generation);
    }
    let effects = life.send(Event::RecycleRequested { generation: Generation(6) });
    assert!(effects.contains(&Effect::Kill(Generation(6))), "{effects:?}");
    assert_eq!(life.state(), &State::Quarantined { probe_at: Some(life.now + MINUTE) });
}

#[test]
fn a_recycle_in_time_keeps_the_failures() {
    let mut life = Life::serving();
    life.gone(1, crash());
    life.wait_for_deadline();
    life.ready(2);
    life.wait(59 * SECOND);
    life.send(Event::RecycleRequested { generation: Generation(2) });
    life.wait(2 * SECOND);
    assert_eq!(life.machine.standing(), Standing::Good { failures: 2 }, "the recycle was a failure a moment ago");
}

#[test]
fn the_last_word_of_an_operator_holds() {
    let mut life = Life::serving();
    life.send(Event::StopRequested { how: StopHow::Drain(None) });
    assert_eq!(life.send(Event::StartRequested { reset: false }), []);
    assert_eq!(life.state(), &State::Draining { then: Then::Launch });
    life.send(Event::StopRequested { how: StopHow::Drain(None) });
    assert_eq!(life.state(), &State::Draining { then: Then::Stop });
    life.send(Event::RestartRequested);
    assert_eq!(life.gone(1, crash()).last(), Some(&Effect::Launch(Reason::Start)));
}

#[test]
fn a_stop_ends_a_longer_drain() {
    let mut life = Life::serving();
    life.send(Event::ReloadRequested { mode: ReloadMode::Overlap, drain: Some(600 * SECOND) });
    life.begun(2);
    life.registered(2);
    life.send(Event::CanaryPassed { generation: Generation(2) });
    assert_eq!(life.machine.deadline(), Some(life.now + 600 * SECOND));
    life.send(Event::ShutdownRequested { how: StopHow::Drain(None) });
    assert!(life.machine.leaving().iter().all(|tree| tree.deadline == life.now + 5 * SECOND));
}

#[test]
fn a_shutdown_ends_every_state_and_nothing_leaves_it() {
    let mut life = Life::serving();
    life.send(Event::ShutdownRequested { how: StopHow::Drain(None) });
    for event in [Event::StartRequested { reset: true }, Event::RestartRequested] {
        assert_eq!(life.send(event), [Effect::Refuse(Refusal::Closing)]);
    }
    life.send(Event::StopRequested { how: StopHow::Kill });
    assert_eq!(life.state(), &State::Draining { then: Then::Close }, "guards hold: no operator stopped it for good");
    life.empty(1);
    assert_eq!(life.state(), &State::Closed);
}

#[test]
fn a_condemned_plugin_drains_into_quarantine() {
    let cause = || FailureCause::ConfigInvalid("`command` is missing".into());
    let mut life = Life::serving();
    let effects = life.send(Event::Condemned { cause: cause() });
    assert_eq!(effects[0], Effect::Drain(Generation(1), 5 * SECOND));
    assert_eq!(life.state(), &State::Quarantined { probe_at: None });
    let mut mended = life.clone();
    assert_eq!(
        mended.send(Event::StartRequested { reset: true }),
        [Effect::LeaveQuarantine],
        "the old one still drains"
    );
    assert_eq!(mended.gone(1, crash()).last(), Some(&Effect::Launch(Reason::Start)));
    life.gone(1, crash());
    assert_eq!(life.machine.deadline(), None);

    let mut life = Life::serving();
    life.send(Event::StopRequested { how: StopHow::Kill });
    life.empty(1);
    assert_eq!(life.send(Event::Condemned { cause: cause() }), []);
    assert_eq!(life.state(), &State::Stopped, "stopped stays stopped");
}

#[test]
fn an_empty_tree_has_ended() {
    let mut life = Life::serving();
    let effects = life.empty(1);
    let cause = FailureCause::Crashed(ExitStatus::Unknown);
    assert!(effects.contains(&Effect::RecordFailure { generation: Some(Generation(1)), cause }), "{effects:?}");
    assert!(matches!(life.state(), State::Waiting { .. }));
    assert_eq!(life.machine.leaving(), []);
}

#[test]
fn no_setting_overflows_a_clock() {
    let mut life = Life::new();
    let most = Duration::MAX;
    let waits = Backoff { first: most, max: most };
    life.policy = Policy {
        startup: most,
        drain: most,
        shutdown: most,
        terminate: most,
        empty: most,
        stable: most,
        backoff: waits,
        probe: waits,
        ..policy()
    };
    life.send(Event::Tick);
    life.ready(1);
    life.gone(1, crash());
    life.wait_for_deadline();
    life.ready(2);
    life.send(Event::RecycleRequested { generation: Generation(2) });
    life.send(Event::StopRequested { how: StopHow::Drain(Some(most)) });
    for _ in 0..4 {
        life.wait_for_deadline();
    }
    assert_eq!(life.state(), &State::Stopped);
}
