//! Observers cost nobody anything but themselves.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::types::v1::{self as types, HandlerOutcome as Fared};
use tokio::time::Instant;

use super::bench::{Bench, able, call, handler, hangs, one, says};
use crate::domain::hook::{CATALOGUE, Hook, Kind, Row};
use crate::domain::spec::PluginSpec;
use crate::service::dispatch::{Call, Verdict};
use crate::service::testing::{settle, within};

/// Calls that run at once, and that run or wait (host-hooks §1.9).
const RUNNING: usize = 16;
const TAKEN: usize = RUNNING + 256;

fn observed() -> impl Iterator<Item = &'static Row> {
    CATALOGUE.iter().filter(|row| row.kind == Kind::Observe)
}

/// A call whose caller does not wait.
fn told(row: &Row) -> Call {
    let mut call = call(row);
    call.asked.wait_for_observers = false;
    call.asked.report_handlers = false;
    call
}

fn count(bench: &Bench, plugin: &str, hook: Hook, fared: Fared) -> u64 {
    let counts = bench.views[plugin].handler(hook, false, "h").snapshot();
    counts.outcomes.get(&(fared as i32)).copied().unwrap_or_default()
}

/// A plugin that takes all calls at once.
fn wide(hook: Hook) -> (PluginSpec, plugin::Register) {
    let options = plugin::HandlerOptions { max_concurrency: 64, ..Default::default() };
    let item = plugin::HookRegistration { options: Some(options), ..handler(hook, "h") };
    (able("p"), plugin::Register { max_in_flight: 64, ..one(item) })
}

#[tokio::test(start_paused = true)]
async fn the_caller_goes_on_at_once_unless_it_waits() {
    within(async {
        for row in observed() {
            let mut bench = Bench::new();
            bench.sit(&able("hangs"), 0, 1, &one(handler(row.hook, "h")), hangs());
            bench.sit(&able("fine"), 1, 1, &one(handler(row.hook, "h")), says(Answer::Completed(plugin::Completed {})));
            let started = Instant::now();
            let outcome = bench.call(told(row)).await;
            assert_eq!((outcome.verdict, outcome.handlers.len()), (Verdict::GoOn, 0), "{}", row.name);
            assert_eq!(started.elapsed(), Duration::ZERO, "{}", row.name);
            settle().await;
            assert_eq!(count(&bench, "fine", row.hook, Fared::Allow), 1, "{}: the other is not delayed", row.name);
            tokio::time::sleep(row.timeout).await;
            settle().await;
            assert_eq!(count(&bench, "hangs", row.hook, Fared::Timeout), 1, "{}", row.name);
            assert_eq!(bench.cancelled(), ["hangs"], "{}", row.name);
            // Who waits waits for all, and hears of all, in order.
            let mut waits = told(row);
            waits.asked.wait_for_observers = true;
            let started = Instant::now();
            let outcome = bench.call(waits).await;
            let fared: Vec<_> = outcome.handlers.iter().map(types::HandlerReport::outcome).collect();
            assert_eq!(
                (outcome.verdict, &fared[..]),
                (Verdict::GoOn, &[Fared::Timeout, Fared::Allow][..]),
                "{}",
                row.name
            );
            assert_eq!(started.elapsed(), row.timeout, "{}", row.name);
        }
    })
    .await;
}

/// Q20: the table has its bound, and what is over it is counted.
#[tokio::test(start_paused = true)]
async fn q20_so_many_run_so_many_wait_and_the_rest_is_skipped_and_counted() {
    within(async {
        let row = Hook::LlmOutput.row();
        let (spec, register) = wide(row.hook);
        let mut bench = Bench::new();
        bench.sit(&spec, 0, 1, &register, hangs());
        for _ in 0..TAKEN {
            bench.call(told(row)).await;
        }
        settle().await;
        assert_eq!(bench.asked().len(), RUNNING);
        assert_eq!(count(&bench, "p", row.hook, Fared::Skipped), 0);
        for _ in 0..5 {
            let started = Instant::now();
            assert_eq!(bench.call(told(row)).await.verdict, Verdict::GoOn);
            assert_eq!(started.elapsed(), Duration::ZERO);
        }
        assert_eq!(count(&bench, "p", row.hook, Fared::Skipped), 5);
        // What nobody observes takes no place, and what somebody waits for needs none.
        bench.call(told(Hook::AgentEnd.row())).await;
        let mut bench_waits = told(row);
        bench_waits.asked.wait_for_observers = true;
        assert_eq!(bench.call(bench_waits).await.handlers.len(), 1);
    })
    .await;
}

/// Those that wait have their turn, once each.
#[tokio::test(start_paused = true)]
async fn those_that_wait_are_asked_in_their_turn() {
    within(async {
        let row = Hook::LlmOutput.row();
        let (spec, register) = wide(row.hook);
        let mut bench = Bench::new();
        let late = Duration::from_millis(10);
        let answer = Answer::Completed(plugin::Completed {});
        bench.sit(&spec, 0, 1, &register, Arc::new(move |_| (late, Some(answer.clone()))));
        for _ in 0..3 * RUNNING {
            bench.call(told(row)).await;
        }
        for turn in 1..=3_u64 {
            settle().await;
            assert_eq!(bench.asked().len(), RUNNING, "{turn}");
            tokio::time::sleep(late).await;
            settle().await;
            assert_eq!(count(&bench, "p", row.hook, Fared::Allow), turn * RUNNING as u64);
        }
    })
    .await;
}

/// A hanging observer holds up no call of another hook.
#[tokio::test(start_paused = true)]
async fn a_hanging_observer_delays_no_guard() {
    within(async {
        let mut bench = Bench::new();
        bench.sit(&able("p"), 0, 1, &one(handler(Hook::LlmOutput, "h")), hangs());
        let guard = one(handler(Hook::BeforeToolCall, "h"));
        bench.sit(&able("guard"), 1, 1, &guard, says(crate::service::testing::allow()));
        for _ in 0..RUNNING {
            bench.call(told(Hook::LlmOutput.row())).await;
        }
        settle().await;
        let started = Instant::now();
        let outcome = bench.call(call(Hook::BeforeToolCall.row())).await;
        assert_eq!(outcome.verdict, Verdict::GoOn);
        assert_eq!(started.elapsed(), Duration::ZERO, "the guard waited behind observers");
    })
    .await;
}

/// host-hooks §1.12: a state of the scheduler that a newer one has superseded is cancelled where it runs, and not
/// dispatched where it waits.
#[tokio::test(start_paused = true)]
async fn a_newer_state_of_the_scheduler_takes_the_place_of_the_older() {
    within(async {
        let row = Hook::CronReconciled.row();
        let (spec, register) = wide(row.hook);
        let mut bench = Bench::new();
        bench.sit(&spec, 0, 1, &register, hangs());
        bench.call(told(row)).await;
        settle().await;
        assert_eq!((bench.asked().len(), bench.cancelled().len()), (1, 0));
        // Another runtime's scheduler is none of its business.
        let mut other = told(row);
        other.runtime_id = "other".into();
        bench.call(other).await;
        settle().await;
        assert_eq!((bench.asked().len(), bench.cancelled().len()), (1, 0));
        bench.call(told(row)).await;
        settle().await;
        assert_eq!((bench.asked().len(), bench.cancelled().len()), (1, 1), "the older is cancelled");
        // Places are taken, so that these wait: only the last is left when there is room.
        let busy = Hook::LlmOutput.row();
        bench.sit(&able("busy"), 1, 1, &one(handler(busy.hook, "h")), hangs());
        for _ in 0..RUNNING {
            bench.call(told(busy)).await;
        }
        settle().await;
        bench.asked();
        let skipped = count(&bench, "p", row.hook, Fared::Skipped);
        for _ in 0..5 {
            bench.call(told(row)).await;
        }
        tokio::time::sleep(busy.timeout).await;
        settle().await;
        let asked: Vec<_> = bench.asked().into_iter().filter(|question| question.plugin == "p").collect();
        assert_eq!(asked.len(), 1, "stale ones are not dispatched");
        assert!(count(&bench, "p", row.hook, Fared::Skipped) >= skipped + 4);
        // The runtime closes.
        bench.cancelled();
        bench.call(told(Hook::GatewayStop.row())).await;
        settle().await;
        assert!(bench.cancelled().contains(&"p".to_owned()));
        // Who waits for the observers hears of it.
        let mut waits = told(row);
        waits.asked.wait_for_observers = true;
        let (first, second) = tokio::join!(bench.call(waits), async {
            settle().await;
            bench.call(told(row)).await
        });
        assert_eq!(first.handlers.iter().map(types::HandlerReport::outcome).collect::<Vec<_>>(), [Fared::Skipped]);
        assert_eq!(second.verdict, Verdict::GoOn);
    })
    .await;
}

/// host-hooks §1.9: while the runtime shuts down all ends of sessions together have 2 s.
#[tokio::test(start_paused = true)]
async fn ends_of_sessions_share_two_seconds_while_the_runtime_shuts_down() {
    within(async {
        let row = Hook::SessionEnd.row();
        let end = |reason: &str| {
            let mut call = super::bench::with_event(row, &format!(r#"{{"messageCount":1,"reason":"{reason}"}}"#));
            call.asked.wait_for_observers = true;
            call
        };
        let mut bench = Bench::new();
        bench.sit(&able("p"), 0, 1, &one(handler(row.hook, "h")), hangs());
        let started = Instant::now();
        bench.call(end("idle")).await;
        assert_eq!(started.elapsed(), row.timeout, "an ordinary one has its own time");
        let started = Instant::now();
        let pause = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            bench.call(end("shutdown")).await
        };
        let (first, second) = tokio::join!(bench.call(end("shutdown")), pause);
        assert_eq!(started.elapsed(), Duration::from_secs(2), "both, though the second began late");
        for outcome in [first, second] {
            assert_eq!(outcome.handlers[0].outcome(), Fared::Timeout);
        }
        let late = bench.call(end("shutdown")).await;
        assert_eq!(late.handlers[0].outcome(), Fared::Skipped, "the time is up, which is not held against it");
        // The next shutdown has its own.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let started = Instant::now();
        bench.call(end("shutdown")).await;
        assert_eq!(started.elapsed(), Duration::from_secs(2));
    })
    .await;
}
