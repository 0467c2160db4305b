//! A new generation in the place of one that serves.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1::PluginState as State;

use crate::domain::ids::Generation;
use crate::domain::launch::{ExitStatus, Usage};
use crate::domain::lifecycle::Refusal;
use crate::domain::settings::Settings;
use crate::domain::spec::{Entry, PluginSpec, ReloadMode};
use crate::service::actor::Request;
use crate::service::dispatch::Verdict;
use crate::service::testing::{
    FakeLaunch, World, allow, before_tool_call, block, guard, hook, of_another_kind, register, settings, settle, spec,
    within,
};

const SECOND: Duration = Duration::from_secs(1);

fn changed(spec: PluginSpec) -> Request {
    Request::Reload { entry: Some(Entry::Sound(Box::new(spec))), drain: None }
}

fn reload() -> Request {
    Request::Reload { entry: None, drain: None }
}

async fn world(first: PluginSpec, settings: Settings) -> (World, FakeLaunch) {
    let world = World::new(settings, vec![Entry::Sound(Box::new(first))]).await;
    let launch = world.launched().await;
    (world, launch)
}

async fn serving() -> (World, FakeLaunch) {
    let (world, launch) = world(spec("p"), settings()).await;
    launch.serves(|_| Some(block("old"))).await;
    world.until_state("p", State::Ready).await;
    (world, launch)
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_finishes_on_the_old_and_the_next_goes_to_the_new() {
    within(async {
        let (world, old) = world(spec("p"), settings()).await;
        let mut talk = old.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", State::Ready).await;
        let dispatcher = Arc::clone(world.dispatcher());
        let in_flight = tokio::spawn(async move { dispatcher.dispatch(before_tool_call("exec", "{}")).await });
        let asked = talk.call().await;
        world.plugin("p").request(reload()).await.expect("it is not refused");
        let new = world.launched().await;
        let (mut next, welcome) = new.welcomed().await;
        assert_eq!(welcome.launch_reason(), wire::LaunchReason::Reload);
        next.register(register(vec![hook("h", &[])])).await.expect("registered");
        let canary = next.call().await;
        assert!(canary.canary, "it is tried before it serves");
        assert_eq!(world.until_state("p", State::Ready).await.generation, Generation(1));
        next.answer(canary.invocation_id, allow()).await;
        let called = next.serve(&new.tree, |_| Some(block("new")));
        world.until("p", |status| status.generation == Generation(2)).await;
        assert_eq!(world.call("exec", "{}").await.reason, "p: new");
        assert_eq!(called.calls().len(), 1);
        assert!(!in_flight.is_finished());
        talk.answer(asked.invocation_id, block("old")).await;
        assert_eq!(in_flight.await.expect("no panic").reason, "p: old");
        let _old = talk.serve(&old.tree, |_| None);
        tokio::time::sleep(SECOND).await;
        assert!(old.tree.dead.is_cancelled(), "it was asked to exit and did");
        assert_eq!(world.until_state("p", State::Ready).await.generation, Generation(2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_canary_keeps_the_old_serving() {
    within(async {
        let (world, old) = serving().await;
        let ways: [fn(&wire::Invocation) -> Option<wire::invocation_result::Outcome>; 2] =
            [|_| Some(of_another_kind()), |_| None];
        for (index, way) in ways.into_iter().enumerate() {
            world.plugin("p").request(reload()).await.expect("it is not refused");
            let new = world.launched().await;
            new.serves(way).await;
            let mut details = world.plugin("p").watch_details();
            details.wait_for(|details| details.next_failures == index as u64 + 1).await.expect("it lives");
            settle().await;
            assert!(new.tree.killed() && !old.tree.killed());
            assert_eq!(world.call("exec", "{}").await.reason, "p: old");
            let status = world.until_state("p", State::Ready).await;
            assert_eq!((status.generation, status.recent_failures), (Generation(1), 0));
        }
        assert_eq!(world.store.record("p").failures[0].cause, "canary-failed");
    })
    .await;
}

/// The guards of files that could not be put to work do not hold while the old generation goes on.
#[tokio::test(start_paused = true)]
async fn a_failed_reload_leaves_the_old_guards_in_force() {
    within(async {
        let mut first = spec("p");
        first.guards = vec![guard(&["exec"])];
        let (world, old) = world(first, settings()).await;
        let talk = old.registered(register(vec![hook("h", &["exec"])])).await;
        let _old = talk.serve(&old.tree, |_| Some(allow()));
        world.until_state("p", State::Ready).await;
        let mut wider = spec("p");
        wider.guards = vec![guard(&["exec", "write"])];
        world.plugin("p").request(changed(wider)).await.expect("it is not refused");
        let failing = world.launched().await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn);
        failing.tree.die(ExitStatus::Exited(1));
        let mut details = world.plugin("p").watch_details();
        details.wait_for(|details| details.next_failures == 1).await.expect("it lives");
        settle().await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn);
        let outcome = world.call("write", "{}").await;
        assert_eq!(outcome.verdict, Verdict::GoOn, "{}", outcome.reason);
        // What serves is also what is started again.
        old.tree.die(ExitStatus::Exited(1));
        world.until_state("p", State::Waiting).await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop);
    })
    .await;
}

/// Between two generations no guard of either is without effect.
#[tokio::test(start_paused = true)]
async fn a_reload_that_narrows_guards_narrows_them_at_the_swap() {
    within(async {
        let mut first = spec("p");
        first.guards = vec![guard(&["exec", "write"])];
        let (world, old) = world(first, settings()).await;
        let talk = old.registered(register(vec![hook("h", &["exec", "write"])])).await;
        let _old = talk.serve(&old.tree, |_| Some(allow()));
        world.until_state("p", State::Ready).await;
        let mut narrower = spec("p");
        narrower.guards = vec![guard(&["exec"])];
        world.plugin("p").request(changed(narrower.clone())).await.expect("it is not refused");
        let new = world.launched().await;
        assert_eq!(world.plugin("p").details().guards, [guard(&["exec", "write"])]);
        let talk = new.registered(register(vec![hook("h", &["exec"])])).await;
        let _new = talk.serve(&new.tree, |_| Some(allow()));
        world.until("p", |status| status.generation == Generation(2)).await;
        assert_eq!(world.plugin("p").details().guards, [guard(&["exec"])]);
        assert_eq!(world.call("write", "{}").await.verdict, Verdict::GoOn);
        settle().await;
        assert_eq!(world.store.record("p").remembered.map(|remembered| remembered.guards), Some(narrower.guards));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn resources_are_those_of_what_serves() {
    within(async {
        let (world, old) = world(spec("p"), Settings { sample: SECOND, ..settings() }).await;
        old.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        old.tree.usage.lock().expect("no test panics with it").memory_bytes = 111;
        world.plugin("p").request(reload()).await.expect("it is not refused");
        let new = world.launched().await;
        *new.tree.usage.lock().expect("no test panics with it") = Usage { memory_bytes: 222, ..Usage::default() };
        tokio::time::sleep(3 * SECOND).await;
        let memory = || world.plugin("p").details().resources.expect("it runs").borrow().now.memory_bytes;
        assert_eq!(memory(), 111);
        new.tree.die(ExitStatus::Exited(1));
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(memory(), 111);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_next_generation_at_a_time() {
    within(async {
        let (world, _old) = serving().await;
        world.plugin("p").request(reload()).await.expect("it is not refused");
        assert_eq!(world.plugin("p").request(reload()).await, Err(Refusal::NextUnderWay));
        world.launched().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stop_first_denies_meanwhile() {
    within(async {
        let mut first = spec("p");
        first.reload = ReloadMode::StopFirst;
        let (world, old) = world(first, settings()).await;
        let talk = old.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", State::Ready).await;
        world.plugin("p").request(reload()).await.expect("it is not refused");
        let outcome = world.call("exec", "{}").await;
        assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Stop, "p: is draining"));
        let old_called = talk.serve(&old.tree, |_| Some(allow()));
        let new = world.launched().await;
        assert!(old.tree.dead.is_cancelled(), "the old one is gone before the new one comes");
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop);
        let called = new.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn);
        assert_eq!((old_called.calls().len(), called.calls().len()), (0, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_old_one_may_crash_while_the_new_one_starts() {
    within(async {
        let (world, old) = serving().await;
        world.plugin("p").request(reload()).await.expect("it is not refused");
        let new = world.launched().await;
        old.tree.die(ExitStatus::Exited(1));
        world.until_state("p", State::Starting).await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop);
        new.serves(|_| Some(block("new"))).await;
        world.until_state("p", State::Ready).await;
        assert_eq!(world.call("exec", "{}").await.reason, "p: new");
    })
    .await;
}

/// What the operator grants changed: the next generation is decided anew and told, and the old one goes on as it was.
#[tokio::test(start_paused = true)]
async fn grants_that_changed_count_from_the_swap_on() {
    within(async {
        use std::collections::{BTreeMap, BTreeSet};

        use crate::domain::rights::{Grant, Rights, Scope, Tier};
        let granted = |grants: &[Scope], denied: &[Scope]| {
            let requested = BTreeSet::from([Scope::HooksTools, Scope::HooksMessages]);
            let grants: BTreeMap<Scope, Grant> = grants.iter().map(|scope| (*scope, Grant::default())).collect();
            let rights = Rights::new(Tier::Community, requested, &grants, denied.iter().copied().collect());
            PluginSpec { rights, ..spec("p") }
        };
        let offered = || {
            let sending = wire::HookRegistration {
                handler_id: "m".to_owned(),
                hook: outrigger_proto::types::v1::Hook::MessageSending as i32,
                ..Default::default()
            };
            register(vec![hook("h", &[]), sending])
        };
        let verdicts =
            |registered: &wire::Registered| registered.verdicts.iter().map(wire::Verdict::reason).collect::<Vec<_>>();
        let scopes =
            |welcome: &wire::Welcome| welcome.grants.iter().map(|grant| grant.scope.clone()).collect::<Vec<_>>();
        use wire::VerdictReason::{Accepted, NotGranted};
        let (world, old) = world(granted(&[], &[]), settings()).await;
        let (mut talk, welcome) = old.welcomed().await;
        assert_eq!(scopes(&welcome), ["hooks.tools"]);
        let registered = talk.register(offered()).await.expect("none must be accepted");
        assert_eq!(verdicts(&registered), [Accepted, NotGranted]);
        let _old = talk.serve(&old.tree, |_| Some(block("old")));
        world.until_state("p", State::Ready).await;
        let epoch = world.dispatcher().epoch();

        // Granted more: the item that was refused is accepted. Then everything is taken away: its guard is lifted, too.
        let steps = [
            (granted(&[Scope::HooksMessages], &[]), vec!["hooks.messages", "hooks.tools"], [Accepted, Accepted]),
            (granted(&[], &[Scope::HooksTools]), vec![], [NotGranted, NotGranted]),
        ];
        for (index, (next_spec, expected, verdicts_of)) in steps.into_iter().enumerate() {
            world.plugin("p").request(changed(next_spec)).await.expect("it is not refused");
            let new = world.launched().await;
            let (mut next, welcome) = new.welcomed().await;
            let mut got = scopes(&welcome);
            got.sort();
            assert_eq!(got, expected);
            assert_eq!(world.call("exec", "{}").await.reason, if index == 0 { "p: old" } else { "p: new" });
            let registered = next.register(offered()).await.expect("none must be accepted");
            assert_eq!(verdicts(&registered), verdicts_of);
            let _next = next.serve(&new.tree, |call| Some(if call.canary { allow() } else { block("new") }));
            world.until("p", |status| status.generation == Generation(index as u64 + 2)).await;
            settle().await;
        }
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn, "a revoked right lifts the guard");
        assert!(world.dispatcher().epoch() > epoch + 1, "runtimes were told of each");
    })
    .await;
}
