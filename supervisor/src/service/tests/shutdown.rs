//! The end of the supervisor: guards hold to the last, and nothing can hold it up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_proto::types::v1::PluginState as State;
use tokio::time::Instant;

use crate::domain::launch::ExitStatus;
use crate::domain::lifecycle::StopHow;
use crate::service::actor::Request;
use crate::service::dispatch::Verdict;
use crate::service::testing::{Mood, World, allow, guard, hook, register, settle, spec, within};

const SECOND: Duration = Duration::from_secs(1);

/// Calls that still come while the supervisor stops are denied by guards whose plugins have ended already.
#[tokio::test(start_paused = true)]
async fn guards_hold_while_the_supervisor_stops() {
    within(async {
        let mut narrow = spec("slow");
        narrow.guards = vec![guard(&["other"])];
        let world = World::with(vec![spec("quick"), narrow]).await;
        for launch in [world.launched().await, world.launched().await] {
            if launch.plan.plugin.as_str() == "quick" {
                launch.serves(|_| Some(allow())).await;
            } else {
                tokio::spawn(async move {
                    // It does nothing it is asked to.
                    let mut talk = launch.registered(register(vec![hook("h", &["other"])])).await;
                    let _ = talk.end().await;
                });
            }
        }
        world.until_state("quick", State::Ready).await;
        world.until_state("slow", State::Ready).await;
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::GoOn);
        let asking = async {
            world.until_state("quick", State::Stopped).await;
            assert_eq!(world.until("slow", |_| true).await.state, State::Draining);
            world.call("exec", "{}").await
        };
        let (_, outcome) = tokio::join!(world.service.stop(), asking);
        assert_eq!(outcome.verdict, Verdict::Stop, "absent is not a way through");
        assert!(outcome.reason.starts_with("quick: is "), "{}", outcome.reason);
        assert_eq!(world.call("exec", "{}").await.verdict, Verdict::Stop);
        world.stopping.cancel();
        world.tasks.close();
        tokio::time::timeout(SECOND, world.tasks.wait()).await.expect("no task is left");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn all_stop_side_by_side_and_who_does_not_is_killed_and_named() {
    within(async {
        let world = World::with(vec![spec("a"), spec("b"), spec("c")]).await;
        let launches = [world.launched().await, world.launched().await, world.launched().await];
        for launch in &launches {
            let talk = launch.registered(register(vec![hook("h", &[])])).await;
            match launch.plan.plugin.as_str() {
                "b" => {
                    // It does nothing it is asked to.
                    tokio::spawn(async move {
                        let mut talk = talk;
                        let _ = talk.end().await;
                    });
                }
                _ => drop(talk.serve(&launch.tree, |_| Some(allow()))),
            }
        }
        for id in ["a", "b", "c"] {
            world.until_state(id, State::Ready).await;
        }
        let started = Instant::now();
        let report = world.service.stop().await;
        assert_eq!(report.killed, ["b"]);
        assert_eq!(started.elapsed().as_secs(), 5);
        assert_eq!(world.store.record("a").running, []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_budget_for_all_is_kept() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let launch = world.launched().await;
        launch.tree.immortal.store(true, Ordering::Relaxed);
        let _talk = launch.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", State::Ready).await;
        let started = Instant::now();
        world.service.stop().await;
        assert!(started.elapsed() <= 17 * SECOND, "{:?}", started.elapsed());
        launch.tree.die(ExitStatus::Signalled(9));
    })
    .await;
}

/// A disk that hangs is no reason for plugins to live on.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hold_up_the_end() {
    within(async {
        let world = World::with(vec![spec("p"), spec("q")]).await;
        let (p, q) = (world.launched().await, world.launched().await);
        p.serves(|_| Some(allow())).await;
        q.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        world.until_state("q", State::Ready).await;
        world.store.mood.send_replace(Mood::Stuck);
        p.tree.die(ExitStatus::Exited(1));
        settle().await;
        let stopped = tokio::time::timeout(30 * SECOND, world.service.stop()).await;
        assert!(stopped.is_ok(), "it stops in the end");
        assert!(q.tree.dead.is_cancelled());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_was_killed_long_ago_is_not_named() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let launch = world.launched().await;
        launch.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        world.plugin("p").request(Request::Stop { how: StopHow::Kill }).await.expect("it is not refused");
        world.until_state("p", State::Stopped).await;
        assert_eq!(world.service.stop().await.killed, [""; 0]);
    })
    .await;
}
