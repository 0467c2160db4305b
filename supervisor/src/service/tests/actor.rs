//! The task that owns a plugin: launches, failures, restarts, quarantine, operators' wishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1::{HandlerOutcome as Fared, PluginState as State};
use tokio::time::Instant;

use crate::domain::ids::Generation;
use crate::domain::launch::{ExitStatus, LaunchError};
use crate::domain::lifecycle::{Refusal, StopHow};
use crate::domain::settings::Settings;
use crate::domain::spec::{Entry, PluginSpec, RestartPolicy};
use crate::domain::store::{Quarantine, Store as _};
use crate::service::actor::Request;
use crate::service::dispatch::Verdict;
use crate::service::testing::{
    FakeLaunch, MemoryStore, Mood, World, allow, block, broken, guard, hook, register, settings, settle, spec, within,
};

const SECOND: Duration = Duration::from_secs(1);

fn sound(spec: PluginSpec) -> Entry {
    Entry::Sound(Box::new(spec))
}

async fn one() -> (World, FakeLaunch) {
    let world = World::with(vec![spec("p")]).await;
    let launch = world.launched().await;
    (world, launch)
}

/// A world with one plugin that serves and allows everything.
async fn serving() -> (World, FakeLaunch) {
    let (world, launch) = one().await;
    launch.serves(|_| Some(allow())).await;
    world.until_state("p", State::Ready).await;
    (world, launch)
}

async fn ask(world: &World, request: Request) -> Result<(), Refusal> {
    world.plugin("p").request(request).await
}

fn start() -> Request {
    Request::Start { reset: false, entry: None }
}

fn stop() -> Request {
    Request::Stop { how: StopHow::Drain(None) }
}

fn reload() -> Request {
    Request::Reload { entry: None, drain: None }
}

fn exec(error: &str) -> LaunchError {
    LaunchError::Exec { program: "/packages/p/run".to_owned(), source: std::io::Error::other(error.to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_started_and_serves() {
    within(async {
        let (world, launch) = one().await;
        assert_eq!(world.call("exec", "{}").await.reason, "p: is starting");
        assert_eq!((launch.plan.generation, launch.plan.token.len(), launch.plan.nonce.len()), (Generation(1), 64, 32));
        let called = launch.serves(|_| Some(block("no"))).await;
        let status = world.until_state("p", State::Ready).await;
        assert_eq!((status.generation, status.message.as_str()), (Generation(1), ""));
        assert_eq!(world.call("exec", "{}").await.reason, "p: no");
        assert_eq!(called.calls().len(), 1);
        let record = world.store.record("p");
        assert_eq!(record.running.len(), 1);
        assert!(record.remembered.is_some());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_not_registered_in_time_is_killed() {
    within(async {
        let started = Instant::now();
        let (world, launch) = one().await;
        world.until_state("p", State::Waiting).await;
        assert_eq!(started.elapsed().as_secs(), 10);
        // First it is looked at, then it is killed.
        launch.tree.dead.cancelled().await;
        assert!(launch.tree.killed());
        let next = world.launched().await;
        assert_eq!(next.plan.generation, Generation(2));
        let record = world.store.record("p");
        assert_eq!(
            (record.failures[0].cause.as_str(), record.failures[0].phase.as_str()),
            ("startup-timeout", "hello")
        );
        assert!(!record.failures[0].evidence.is_empty());
        assert_eq!(record.running.len(), 1, "the first has ended");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_it_waits_and_starts_again_and_a_stable_time_forgets() {
    within(async {
        let (world, launch) = serving().await;
        let crashed = Instant::now();
        launch.tree.die(ExitStatus::Signalled(11));
        let status = world.until_state("p", State::Waiting).await;
        assert!(status.message.contains("signal 11"), "{}", status.message);
        assert_eq!(status.recent_failures, 1);
        let outcome = world.call("exec", "{}").await;
        assert!(outcome.reason.starts_with("p: is waiting: "), "{}", outcome.reason);
        let next = world.launched().await;
        let waited = crashed.elapsed();
        assert!((Duration::from_millis(100)..=Duration::from_millis(200)).contains(&waited), "{waited:?}");
        let (mut talk, welcome) = next.welcomed().await;
        assert_eq!(welcome.launch_reason(), wire::LaunchReason::Restart);
        talk.register(register(vec![hook("h", &[])])).await.expect("registered");
        let _called = talk.serve(&next.tree, |_| Some(allow()));
        let status = world.until_state("p", State::Ready).await;
        assert_eq!((status.recent_failures, status.restarts), (1, 1));
        world.until("p", |status| status.recent_failures == 0).await;
        assert!(crashed.elapsed() >= 60 * SECOND);
        assert_eq!(world.store.record("p").failures.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_sixth_failure_quarantines_a_probe_tries_and_a_stable_time_releases() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        for _ in 0..6 {
            world.launched().await.tree.die(ExitStatus::Exited(1));
        }
        let status = world.until_state("p", State::Quarantined).await;
        let entered = Instant::now();
        assert_eq!(status.recent_failures, 6);
        let kept = world.store.record("p").quarantine.expect("it is kept");
        assert_eq!(kept.failed_probes, 0);
        assert_eq!(ask(&world, start()).await, Err(Refusal::Quarantined));
        assert_eq!(ask(&world, reload()).await, Err(Refusal::Quarantined));
        assert!(world.call("exec", "{}").await.reason.starts_with("p: is quarantined"));
        // The first probe comes after a minute, the second two minutes after it failed.
        let probe = world.launched().await;
        assert_eq!(entered.elapsed().as_secs(), 60);
        probe.tree.die(ExitStatus::Exited(1));
        world.until("p", |status| status.state == State::Quarantined && status.generation == Generation(7)).await;
        let again = Instant::now();
        let probe = world.launched().await;
        assert_eq!(again.elapsed().as_secs(), 120);
        let (mut talk, welcome) = probe.welcomed().await;
        assert_eq!(welcome.launch_reason(), wire::LaunchReason::Probe);
        talk.register(register(vec![hook("h", &[])])).await.expect("registered");
        let _called = talk.serve(&probe.tree, |_| Some(allow()));
        world.until_state("p", State::Ready).await;
        assert!(world.store.record("p").quarantine.is_some(), "not before it was stable");
        world.until("p", |status| status.recent_failures == 0).await;
        settle().await;
        assert_eq!(world.store.record("p").quarantine, None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_releases_a_quarantine() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        world.launched().await.tree.die(ExitStatus::Exited(78));
        let status = world.until_state("p", State::Quarantined).await;
        assert_eq!(status.next_start, None, "a final exit is not probed");
        tokio::time::sleep(10_000 * SECOND).await;
        assert!(world.launcher.waiting().is_none());
        assert_eq!(ask(&world, Request::Start { reset: true, entry: None }).await, Ok(()));
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        settle().await;
        assert_eq!(world.store.record("p").quarantine, None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_survives_the_supervisor_and_a_clock_that_was_set_back() {
    within(async {
        for wait in [0, 30, 3600 * 24 * 365 * 1000] {
            let store = MemoryStore::new();
            let probe_at = SystemTime::now().checked_add(Duration::from_secs(wait));
            let quarantine =
                Quarantine { since: SystemTime::now(), probe_at, failed_probes: 0, reason: "it lied".to_owned() };
            store.set_quarantine("p".parse().expect("an id"), Some(quarantine)).await.expect("it is kept");
            let world = World::on(store, settings(), vec![sound(spec("p"))]).await;
            let started = Instant::now();
            if wait > 0 {
                assert_eq!(world.call("exec", "{}").await.reason, "p: is quarantined: it lied");
            }
            let _probe = world.launched().await;
            let elapsed = started.elapsed().as_secs();
            assert!(elapsed <= 3600 && elapsed + 1 >= wait.min(29), "{wait}: {elapsed}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn never_means_never() {
    within(async {
        let mut never = spec("p");
        never.restart = RestartPolicy::Never;
        let world = World::with(vec![never]).await;
        let launch = world.launched().await;
        launch.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        launch.tree.die(ExitStatus::Exited(0));
        let status = world.until_state("p", State::Quarantined).await;
        assert_eq!(status.next_start, None);
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop, "no way of exiting lifts a guard");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_launched_is_tried_again() {
    within(async {
        let world = World::with(vec![spec("p"), spec("q")]).await;
        // The first launches of both have begun; the next ones fail.
        let (p, _q) = (world.launched().await, world.launched().await);
        world.launcher.refuse(exec("no such file"));
        p.tree.die(ExitStatus::Exited(1));
        world.until("p", |status| status.message.contains("no such file")).await;
        let status = world.until_state("p", State::Waiting).await;
        assert_eq!(status.recent_failures, 2);
        assert_eq!(status.generation, Generation(2));
        world.launcher.refuse(LaunchError::Keeper(std::io::Error::other("no processes left")));
        world.until("p", |status| status.message.contains("no processes left")).await;
        assert_eq!(world.until_state("p", State::Waiting).await.recent_failures, 2, "not its fault");
        assert_eq!(world.launched().await.plan.generation, Generation(4));
        assert_eq!(world.store.record("p").running.len(), 1, "what never ran is not noted as running");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_hangs_is_given_up() {
    within(async {
        let (world, launch) = one().await;
        world.launcher.open.send_replace(false);
        launch.tree.die(ExitStatus::Exited(1));
        world.until("p", |status| status.message.contains("did not run within 10s")).await;
        world.launcher.open.send_replace(true);
        world.launched().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn starts_are_limited() {
    within(async {
        let entries = ["a", "b", "c"].map(|id| sound(spec(id)));
        let world = World::new(Settings { starts_at_once: 2, ..settings() }, entries.to_vec()).await;
        let first = world.launched().await;
        let second = world.launched().await;
        settle().await;
        assert!(world.launcher.waiting().is_none());
        first.serves(|_| Some(allow())).await;
        let _third = world.launched().await;
        // A failure gives its place back, too.
        second.tree.die(ExitStatus::Exited(1));
        world.launched().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_climbs_the_ladder_as_far_as_it_must() {
    within(async {
        // Drain, Shutdown, exit.
        let (world, launch) = serving().await;
        ask(&world, stop()).await.expect("it is not refused");
        world.until_state("p", State::Stopped).await;
        let summary = world.plugin("p").details().last_stop.expect("it was stopped");
        assert_eq!((summary.step, summary.exit, summary.generation), (2, Some(ExitStatus::Exited(0)), Generation(1)));
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn, "the operator lifted its guards");
        assert_eq!(world.store.record("p").running, []);
        assert!(!launch.tree.terminations.load(Ordering::Relaxed) > 0);

        // One that does nothing it is asked to.
        let (world, launch) = one().await;
        let _talk = launch.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", State::Ready).await;
        let started = Instant::now();
        ask(&world, stop()).await.expect("it is not refused");
        world.until_state("p", State::Stopped).await;
        assert_eq!(started.elapsed().as_secs(), 5, "nothing to drain, 3 s, 2 s");
        let summary = world.plugin("p").details().last_stop.expect("it was stopped");
        assert_eq!((summary.step, summary.exit), (4, Some(ExitStatus::Signalled(9))));
        assert_eq!(launch.tree.terminations.load(Ordering::Relaxed), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_calls_finish_and_cuts_off_what_does_not() {
    within(async {
        let (world, launch) = one().await;
        let mut talk = launch.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", State::Ready).await;
        let dispatcher = Arc::clone(world.dispatcher());
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let dispatcher = Arc::clone(&dispatcher);
                tokio::spawn(async move {
                    dispatcher.dispatch(crate::service::testing::before_tool_call("exec", "{}")).await
                })
            })
            .collect();
        let (first, _second) = (talk.call().await, talk.call().await);
        ask(&world, stop()).await.expect("it is not refused");
        talk.answer(first.invocation_id, allow()).await;
        let called = talk.serve(&launch.tree, |_| None);
        world.until_state("p", State::Stopped).await;
        let mut calls = calls.into_iter();
        assert_eq!(calls.next().expect("two").await.expect("no panic").verdict, Verdict::GoOn);
        let cut = calls.next().expect("two").await.expect("no panic");
        assert_eq!(cut.verdict, Verdict::Stop);
        assert_eq!(world.plugin("p").details().last_stop.expect("it was stopped").cut_off, 1);
        assert!(matches!(called.controls()[..], [wire::session_response::Control::Drain(_), ..]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_works_from_every_state() {
    within(async {
        for how in [StopHow::Drain(None), StopHow::Kill] {
            // Starting.
            let (world, launch) = one().await;
            ask(&world, Request::Stop { how }).await.expect("it is not refused");
            world.until_state("p", State::Stopped).await;
            assert!(launch.tree.killed());
            // Stopped.
            ask(&world, Request::Stop { how }).await.expect("it is not refused");
            assert_eq!(world.until_state("p", State::Stopped).await.state, State::Stopped);
            // Waiting.
            let (world, launch) = one().await;
            launch.tree.die(ExitStatus::Exited(1));
            world.until_state("p", State::Waiting).await;
            ask(&world, Request::Stop { how }).await.expect("it is not refused");
            world.until_state("p", State::Stopped).await;
            tokio::time::sleep(100 * SECOND).await;
            assert!(world.launcher.waiting().is_none());
            // Quarantined.
            let (world, launch) = one().await;
            launch.tree.die(ExitStatus::Exited(78));
            world.until_state("p", State::Quarantined).await;
            ask(&world, Request::Stop { how }).await.expect("it is not refused");
            world.until_state("p", State::Stopped).await;
            // Draining.
            let (world, launch) = one().await;
            let _talk = launch.registered(register(vec![hook("h", &[])])).await;
            world.until_state("p", State::Ready).await;
            ask(&world, stop()).await.expect("it is not refused");
            ask(&world, Request::Stop { how }).await.expect("it is not refused");
            world.until_state("p", State::Stopped).await;
            // Asked for, and not begun.
            let (world, launch) = one().await;
            world.launcher.open.send_replace(false);
            launch.tree.die(ExitStatus::Exited(1));
            world.until("p", |status| status.state == State::Starting && status.restarts == 1).await;
            ask(&world, Request::Stop { how }).await.expect("it is not refused");
            world.until_state("p", State::Stopped).await;
            world.launcher.open.send_replace(true);
            tokio::time::sleep(100 * SECOND).await;
            assert!(world.launcher.waiting().is_none(), "a start that was given up leaves nothing");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_start_forgets_that_it_was_stopped() {
    within(async {
        let (world, _launch) = serving().await;
        ask(&world, stop()).await.expect("it is not refused");
        world.until_state("p", State::Stopped).await;
        ask(&world, start()).await.expect("it is not refused");
        assert_eq!(world.until_state("p", State::Starting).await.message, "");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_starts_what_the_files_say_now() {
    within(async {
        let (world, _launch) = serving().await;
        let mut changed = spec("p");
        changed.command = vec!["/packages/p/new".to_owned()];
        changed.guards = vec![guard(&["exec"])];
        ask(&world, Request::Restart { entry: Some(sound(changed)) }).await.expect("it is not refused");
        let next = world.launched().await;
        assert_eq!((next.plan.generation, next.plan.command[0].as_str()), (Generation(2), "/packages/p/new"));
        assert_eq!(world.until_state("p", State::Starting).await.message, "");
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop);
        assert_eq!(world.call("read", "{}").await.verdict, Verdict::GoOn);
        let (mut talk, welcome) = next.welcomed().await;
        assert_eq!(welcome.launch_reason(), wire::LaunchReason::Start);
        talk.register(register(vec![hook("h", &["exec"])])).await.expect("registered");
        world.until_state("p", State::Ready).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn files_that_say_what_they_said_are_not_kept_again() {
    within(async {
        let (world, _launch) = serving().await;
        let written = || world.store.guards_written.load(Ordering::Relaxed);
        let before = written();
        ask(&world, Request::Restart { entry: Some(sound(spec("p"))) }).await.expect("it is not refused");
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        assert_eq!(written(), before);
        ask(&world, stop()).await.expect("it is not refused");
        world.until_state("p", State::Stopped).await;
        let again = Request::Start { reset: true, entry: Some(sound(spec("p"))) };
        ask(&world, again).await.expect("it is not refused");
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop, "it guards again before it runs");
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        assert_eq!(written(), before);
        let mut changed = spec("p");
        changed.guards = vec![guard(&["read"])];
        ask(&world, Request::Restart { entry: Some(sound(changed)) }).await.expect("it is not refused");
        assert_eq!(written(), before + 1);
        assert_eq!(world.call("read", "{}").await.verdict, Verdict::Stop);
    })
    .await;
}

/// A start that was under way with the old files has nothing to do with what was asked for since.
#[tokio::test(start_paused = true)]
async fn a_start_that_was_overtaken_is_not_taken_for_the_new_one() {
    within(async {
        let (world, _launch) = serving().await;
        ask(&world, stop()).await.expect("it is not refused");
        world.until_state("p", State::Stopped).await;
        world.launcher.open.send_replace(false);
        ask(&world, start()).await.expect("it is not refused");
        settle().await;
        // While the actor is busy with the restart the old start comes through.
        world.store.mood.send_replace(Mood::Stuck);
        let mut changed = spec("p");
        changed.command = vec!["/packages/p/new".to_owned()];
        let plugin = world.plugin("p").clone();
        let restart =
            tokio::spawn(async move { plugin.request(Request::Restart { entry: Some(sound(changed)) }).await });
        settle().await;
        world.launcher.open.send_replace(true);
        let old = world.launched().await;
        assert_eq!(old.plan.command[0], "/packages/p/run");
        settle().await;
        world.store.mood.send_replace(Mood::Well);
        restart.await.expect("no panic").expect("it is not refused");
        let new = world.launched().await;
        assert_eq!(new.plan.command[0], "/packages/p/new");
        old.tree.dead.cancelled().await;
        assert!(old.tree.killed() && !new.tree.killed());
        new.serves(|_| Some(allow())).await;
        let status = world.until_state("p", State::Ready).await;
        assert_eq!(status.generation, new.plan.generation);
        assert_eq!(status.recent_failures, 0);
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(world.store.record("p").running.len(), 1, "{:?}", world.store.record("p").running);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_started_guards_and_waits_for_its_files() {
    within(async {
        let world = World::new(settings(), vec![Entry::Broken(broken("p"))]).await;
        let status = world.until_state("p", State::Quarantined).await;
        assert!(status.message.contains("no such key"), "{}", status.message);
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop, "one never read guards everything");
        assert_eq!(world.store.record("p").quarantine, None, "the next supervisor reads the files again");
        ask(&world, Request::Start { reset: true, entry: None }).await.expect("it is not refused");
        world.until_state("p", State::Quarantined).await;
        let mended = Request::Start { reset: true, entry: Some(sound(spec("p"))) };
        ask(&world, mended).await.expect("it is not refused");
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_call_has_its_plugin_recycled() {
    within(async {
        let (world, launch) = one().await;
        launch.serves(|_| None).await;
        world.until_state("p", State::Ready).await;
        let mut call = crate::service::testing::before_tool_call("exec", "{}");
        call.deadline = Some(Instant::now() + SECOND);
        assert_eq!(
            world.dispatcher().dispatch(call).await.decided_by.map(|report| report.outcome()),
            Some(Fared::Timeout)
        );
        let next = world.launched().await;
        assert!(!launch.tree.killed(), "the next comes first");
        assert_eq!(world.until_state("p", State::Ready).await.generation, Generation(1));
        next.serves(|_| Some(allow())).await;
        world.until("p", |status| status.generation == Generation(2) && status.state == State::Ready).await;
        settle().await;
        assert!(launch.tree.killed());
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn);
        assert_eq!(world.store.record("p").failures[0].cause, "recycled");
    })
    .await;
}

/// A reload was under way when the call turned out to be stuck, and failed: the plugin must be recycled all the same.
#[tokio::test(start_paused = true)]
async fn a_stuck_call_is_not_forgotten_when_a_reload_fails() {
    within(async {
        let (world, launch) = one().await;
        launch.serves(|call| call.canary.then(allow)).await;
        world.until_state("p", State::Ready).await;
        let mut call = crate::service::testing::before_tool_call("exec", "{}");
        call.deadline = Some(Instant::now() + SECOND);
        world.dispatcher().dispatch(call).await;
        tokio::time::sleep(5 * SECOND).await;
        ask(&world, reload()).await.expect("it is not refused");
        let failing = world.launched().await;
        tokio::time::sleep(8 * SECOND).await;
        failing.tree.die(ExitStatus::Exited(1));
        let next = tokio::time::timeout(60 * SECOND, world.launched()).await.expect("it is recycled in the end");
        next.serves(|_| Some(allow())).await;
        world.until("p", |status| status.generation == Generation(3)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_stops_nothing() {
    within(async {
        let (world, launch) = serving().await;
        world.store.mood.send_replace(Mood::Full);
        launch.tree.die(ExitStatus::Exited(1));
        // No generation can be taken: that is the host's fault, and tried again.
        world.until("p", |status| status.message.contains("disk is full")).await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop);
        world.store.mood.send_replace(Mood::Well);
        world.launched().await.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        world.store.mood.send_replace(Mood::Full);
        ask(&world, stop()).await.expect("it is not refused");
        world.until_state("p", State::Stopped).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_kept_to_their_number_with_what_is_known() {
    within(async {
        let world = World::new(Settings { quarantine_after: 100, ..settings() }, vec![sound(spec("p"))]).await;
        for number in 0..12 {
            let launch = world.launched().await;
            launch.tree.print_error(&format!("number {number}\n")).await;
            launch.tree.die(ExitStatus::Exited(number));
        }
        world.launched().await;
        let failures = world.plugin("p").details().failures;
        assert_eq!(failures.len(), 10);
        assert_eq!(failures, world.store.record("p").failures);
        let last = failures.last().expect("there are ten");
        assert_eq!((last.exit.as_str(), last.generation), ("exited with status 11", Generation(12)));
        assert_eq!(last.stderr_tail, ["number 11"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_does_not_die_holds_nobody_up_for_good() {
    within(async {
        let (world, launch) = serving().await;
        launch.tree.immortal.store(true, Ordering::Relaxed);
        launch.tree.leave(ExitStatus::Exited(1));
        let crashed = Instant::now();
        let _next = world.launched().await;
        let waited = crashed.elapsed();
        assert!((2 * SECOND..3 * SECOND).contains(&waited), "{waited:?}");
        let causes: Vec<_> = world.store.record("p").failures.iter().map(|failure| failure.cause.clone()).collect();
        assert!(causes.contains(&"tree-not-empty".to_owned()), "{causes:?}");
        launch.tree.empty();
        settle().await;
        assert_eq!(world.store.record("p").running.len(), 1);
    })
    .await;
}
