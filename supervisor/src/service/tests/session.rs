//! The open conversation: every order in which answers, deadlines, cancels and ends can come.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::types::v1::SessionRef;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;

use crate::domain::guard::Tools;
use crate::domain::hook::Hook;
use crate::domain::ids::Generation;
use crate::service::registration::{Handler, Registration};
use crate::service::session::{Answered, Ask, Fault, InvokeError, OUTBOX, Session};
use crate::service::testing::{Heard, allow, block, now, settle, within};

const SECOND: Duration = Duration::from_secs(1);

/// A session whose frames the test reads.
struct Bench {
    session: Arc<Session>,
    frames: mpsc::Receiver<Result<wire::SessionResponse, Status>>,
}

fn registration(max: usize, caps: &[usize]) -> Registration {
    let handler = |(index, cap): (usize, &usize)| Handler {
        id: format!("h{index}"),
        hook: Hook::BeforeToolCall,
        tools: Tools::All,
        priority: 0,
        timeout: SECOND,
        max_concurrency: *cap,
        wants_messages: false,
        side_effect_free: false,
        policy: false,
        triggers: Vec::new(),
        dispatch_kinds: Vec::new(),
        tool_authority: false,
        conversation: false,
        pending_approvals: 8,
    };
    Registration {
        tools: Default::default(),
        max_in_flight: max,
        serial: false,
        handlers: caps.iter().enumerate().map(handler).collect(),
        verdicts: Vec::new(),
        subscriptions: Default::default(),
        unserved: Vec::new(),
    }
}

fn bench_with(max: usize, caps: &[usize], receive: usize) -> Bench {
    let (out, frames) = mpsc::channel(OUTBOX);
    Bench { session: Session::new(Generation(1), registration(max, caps), receive, out, Arc::default()), frames }
}

fn bench(max: usize, caps: &[usize]) -> Bench {
    bench_with(max, caps, 4 * 1024 * 1024)
}

fn ask(handler: usize, within: Duration, bytes: usize) -> Ask {
    let hook = wire::HookCall { event_json: Bytes::from(vec![b' '; bytes]), ..Default::default() };
    asks(handler, within, hook, None)
}

fn asks(handler: usize, within: Duration, hook: wire::HookCall, session: Option<SessionRef>) -> Ask {
    let call = Some(wire::invocation::Call::Hook(hook));
    let now = Instant::now();
    Ask::new(handler, now, now + within, wire::Invocation { call, session, ..Default::default() })
}

type Pending = JoinHandle<Result<Outcome, InvokeError>>;

impl Bench {
    /// Calls a handler, in a task of its own.
    fn call(&self, handler: usize, within: Duration, bytes: usize) -> Pending {
        let session = Arc::clone(&self.session);
        let ask = ask(handler, within, bytes);
        tokio::spawn(async move { session.invoke(ask).await })
    }

    /// What was written by now.
    async fn heard(&mut self) -> Vec<Heard> {
        settle().await;
        let mut heard = Vec::new();
        while let Ok(frame) = self.frames.try_recv() {
            let frame = frame.expect("no status was written");
            heard.extend(frame.invocations.into_iter().map(Box::new).map(Heard::Call));
            heard.extend(frame.cancels.into_iter().map(Heard::Cancel));
            heard.extend(frame.control.map(Heard::Control));
        }
        heard
    }

    /// Ids of the invocations that were written by now.
    async fn ids(&mut self) -> Vec<u64> {
        let heard = self.heard().await;
        heard
            .into_iter()
            .filter_map(|heard| match heard {
                Heard::Call(call) => Some(call.invocation_id),
                _ => None,
            })
            .collect()
    }

    fn answer(&self, invocation_id: u64, outcome: Outcome) -> Answered {
        self.session.answer(wire::InvocationResult { invocation_id, outcome: Some(outcome) })
    }
}

async fn done(call: Pending) -> Result<Outcome, InvokeError> {
    call.await.expect("the call did not panic")
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_any_order() {
    within(async {
        let mut bench = bench(16, &[16]);
        let calls: Vec<Pending> = (0..3).map(|_| bench.call(0, SECOND, 1)).collect();
        assert_eq!(bench.ids().await, [1, 2, 3]);
        for id in [3, 1, 2] {
            assert_eq!(bench.answer(id, block(&id.to_string())), Answered::InTime);
        }
        for (index, call) in calls.into_iter().enumerate() {
            assert_eq!(done(call).await, Ok(block(&(index + 1).to_string())));
        }
        assert_eq!(bench.session.in_flight(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_known_branch_is_the_handlers_failure() {
    within(async {
        let mut bench = bench(16, &[16]);
        let call = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [1]);
        let answer = wire::InvocationResult { invocation_id: 1, outcome: None };
        assert_eq!(bench.session.answer(answer), Answered::InTime);
        assert!(matches!(done(call).await, Ok(Outcome::Failed(_))));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_dropped_and_counted_and_costs_one_answer() {
    within(async {
        let mut bench = bench(1, &[1]);
        let call = bench.call(0, SECOND, 1);
        assert_eq!(done(call).await, Err(InvokeError::TimedOut { sent: true }));
        let heard = bench.heard().await;
        assert!(
            matches!(&heard[..], [Heard::Call(_), Heard::Cancel(cancel)]
            if cancel.invocation_id == 1 && cancel.reason == wire::CancelReason::TimedOut as i32),
            "{heard:?}"
        );
        // The place is kept until the plugin reports the end.
        assert_eq!(bench.session.in_flight(), 1);
        let second = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [0; 0]);
        assert_eq!(bench.answer(1, block("late")), Answered::Late);
        assert_eq!(bench.ids().await, [2]);
        assert_eq!(bench.answer(2, allow()), Answered::InTime);
        assert_eq!(done(second).await, Ok(allow()));
        assert_eq!(bench.session.counters.late.load(Ordering::Relaxed), 1);
        assert_eq!(bench.session.counters.violations.load(Ordering::Relaxed), 0);
        // Another answer to the same is a duplicate.
        assert_eq!(bench.answer(1, allow()), Answered::Duplicate);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_tenth_duplicate_ends_the_session() {
    within(async {
        let mut bench = bench(16, &[16]);
        let _call = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [1]);
        assert_eq!(bench.answer(1, allow()), Answered::InTime);
        for _ in 0..9 {
            assert_eq!(bench.answer(1, allow()), Answered::Duplicate);
        }
        assert!(matches!(bench.answer(1, allow()), Answered::Fatal(why) if why.contains("10 violations")));
        assert_eq!(bench.session.counters.violations.load(Ordering::Relaxed), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_never_given_ends_at_once() {
    within(async {
        let mut bench = bench(16, &[16]);
        let _call = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [1]);
        for id in [0, 2, u64::MAX] {
            assert!(matches!(bench.answer(id, allow()), Answered::Fatal(_)), "{id}");
        }
        // A call that waits has no id yet.
        assert_eq!(bench.answer(1, allow()), Answered::InTime);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_cancels() {
    within(async {
        let mut bench = bench(1, &[1]);
        let first = bench.call(0, SECOND, 1);
        let second = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [1]);
        // One that waits leaves without a trace, one in flight with a cancel.
        second.abort();
        first.abort();
        let heard = bench.heard().await;
        assert!(
            matches!(&heard[..], [Heard::Cancel(cancel)]
            if cancel.invocation_id == 1 && cancel.reason == wire::CancelReason::CallerGone as i32),
            "{heard:?}"
        );
        assert_eq!(bench.session.in_flight(), 1);
        assert!(bench.session.oldest_cancel().is_some());
        assert_eq!(bench.answer(1, allow()), Answered::Late);
        assert_eq!(bench.session.in_flight(), 0);
        assert_eq!(bench.heard().await, []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_order_each_until_its_own_deadline() {
    within(async {
        let mut bench = bench(1, &[1]);
        let started = Instant::now();
        let first = bench.call(0, 60 * SECOND, 1);
        let waiting: Vec<Pending> = [3, 1, 5].into_iter().map(|time| bench.call(0, time * SECOND, 1)).collect();
        assert_eq!(bench.ids().await, [1]);
        let mut waiting = waiting.into_iter();
        let mut next = || waiting.next().expect("three wait");
        let (long, short, longest) = (next(), next(), next());
        assert_eq!(done(short).await, Err(InvokeError::TimedOut { sent: false }));
        assert_eq!(started.elapsed().as_secs(), 1);
        assert_eq!(bench.answer(1, allow()), Answered::InTime);
        assert_eq!(done(first).await, Ok(allow()));
        assert_eq!(bench.ids().await, [2]);
        bench.answer(2, block("long"));
        assert_eq!(done(long).await, Ok(block("long")));
        assert_eq!(bench.ids().await, [3]);
        bench.answer(3, block("longest"));
        assert_eq!(done(longest).await, Ok(block("longest")));
        assert_eq!(bench.session.in_flight(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn beyond_256_that_wait_nobody_waits() {
    within(async {
        let mut bench = bench(1, &[1]);
        let calls: Vec<Pending> = (0..257).map(|_| bench.call(0, SECOND, 1)).collect();
        assert_eq!(bench.ids().await, [1]);
        assert!(calls.iter().all(|call| !call.is_finished()));
        assert_eq!(done(bench.call(0, SECOND, 1)).await, Err(InvokeError::Overloaded));
        drop(calls);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn beyond_8_mib_that_wait_nobody_waits() {
    within(async {
        let mut bench = bench(64, &[64]);
        // Two of nearly 4 MiB in flight, two that wait.
        let large = 4 * 1024 * 1024 - 2048;
        let calls: Vec<Pending> = (0..4).map(|_| bench.call(0, SECOND, large)).collect();
        assert_eq!(bench.ids().await, [1, 2]);
        assert_eq!(done(bench.call(0, SECOND, 64 * 1024)).await, Err(InvokeError::Overloaded));
        assert!(bench.session.queued_bytes() <= 16 * 1024 * 1024);
        drop(calls);
    })
    .await;
}

/// The whole message counts for the bounds, not the event alone: the conversation may be most of it.
#[tokio::test(start_paused = true)]
async fn the_conversation_counts_for_the_bound_on_bytes() {
    within(async {
        let mut bench = bench(64, &[64]);
        let call = || {
            let messages_json = Bytes::from(vec![b' '; 3 * 1024 * 1024]);
            let ask = asks(0, SECOND, wire::HookCall { messages_json, ..Default::default() }, None);
            let session = Arc::clone(&bench.session);
            tokio::spawn(async move { session.invoke(ask).await })
        };
        let calls: Vec<Pending> = (0..3).map(|_| call()).collect();
        assert_eq!(bench.ids().await, [1, 2], "three times 3 MiB are more than the 8 MiB that may be in flight");
        drop(calls);
    })
    .await;
}

/// What is longer than the plugin can receive would end its connection, and look like its crash.
#[tokio::test(start_paused = true)]
async fn no_frame_is_longer_than_the_plugin_can_receive() {
    within(async {
        let mut bench = bench_with(16, &[16], 65_536);
        let with = |bytes: usize| {
            let hook = wire::HookCall { event_json: Bytes::from(vec![b' '; bytes]), ..Default::default() };
            asks(0, SECOND, hook, Some(SessionRef { key: "k".repeat(4096), ..Default::default() }))
        };
        let (fits, over) = (with(60_000), with(64_000));
        let session = Arc::clone(&bench.session);
        let _call = tokio::spawn(async move { session.invoke(fits).await });
        let refused = bench.session.invoke(over).await;
        assert!(matches!(refused, Err(InvokeError::TooLarge { max: 65_536, .. })), "{refused:?}");
        settle().await;
        while let Ok(Ok(frame)) = bench.frames.try_recv() {
            assert!(frame.encoded_len() <= 65_536, "{}", frame.encoded_len());
            assert_eq!(frame.invocations.len(), 1);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_moves_those_who_wait_and_lets_the_rest_finish() {
    within(async {
        let mut bench = bench(1, &[1]);
        let first = bench.call(0, SECOND, 1);
        let second = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [1]);
        bench.session.stop_accepting();
        assert_eq!(done(second).await, Err(InvokeError::NotServing));
        assert_eq!(done(bench.call(0, SECOND, 1)).await, Err(InvokeError::NotServing));
        let session = Arc::clone(&bench.session);
        let drained = tokio::spawn(async move { session.drained().await });
        settle().await;
        assert!(!drained.is_finished());
        bench.answer(1, allow());
        assert_eq!(done(first).await, Ok(allow()));
        settle().await;
        assert!(drained.is_finished());
        assert_eq!(bench.heard().await, []);
    })
    .await;
}

/// A call that has been granted a place and not yet been sent goes elsewhere, and the drain must see that.
#[tokio::test(start_paused = true)]
async fn a_drain_sees_a_place_that_is_given_back() {
    within(async {
        let mut bench = bench(1, &[1]);
        let first = bench.call(0, SECOND, 1);
        let second = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [1]);
        // All in one step: the second has its place, and has not run since.
        bench.answer(1, allow());
        bench.session.stop_accepting();
        let drained = bench.session.drained();
        tokio::pin!(drained);
        assert_eq!(futures_util::poll!(drained.as_mut()), std::task::Poll::Pending);
        let started = Instant::now();
        drained.await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(done(second).await, Err(InvokeError::NotServing));
        assert_eq!(done(first).await, Ok(allow()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_end_tells_everybody_at_once() {
    within(async {
        let mut bench = bench(2, &[2]);
        let calls: Vec<Pending> = (0..2).map(|_| bench.call(0, SECOND, 1)).collect();
        let waiting = bench.call(0, SECOND, 1);
        assert_eq!(bench.ids().await, [1, 2]);
        let started = Instant::now();
        bench.session.end("it crashed");
        for call in calls {
            assert_eq!(done(call).await, Err(InvokeError::Ended("it crashed".to_owned())));
        }
        assert_eq!(done(waiting).await, Err(InvokeError::NotServing));
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(bench.session.counters.cut_off.load(Ordering::Relaxed), 2);
        assert_eq!(bench.session.in_flight(), 0);
        assert_eq!(now(bench.session.drained()), Some(()));
        bench.session.end("again");
        assert_eq!(bench.session.counters.cut_off.load(Ordering::Relaxed), 2);
    })
    .await;
}

/// Whoever waits for the stream's end before it exits must see it.
#[tokio::test(start_paused = true)]
async fn the_end_closes_the_stream() {
    within(async {
        let mut bench = bench(2, &[2]);
        bench.session.end("it is over");
        assert!(bench.frames.recv().await.is_none());
        assert!(!bench.session.push(wire::SessionResponse::default()));
        assert_eq!(*bench.session.faults().borrow(), None, "an ended session is no fault");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_does_not_read_is_found_out() {
    within(async {
        let bench = bench(64, &[64]);
        for _ in 0..OUTBOX {
            assert!(bench.session.push(wire::SessionResponse::default()));
        }
        assert_eq!(*bench.session.faults().borrow(), None);
        assert_eq!(done(bench.call(0, SECOND, 1)).await, Err(InvokeError::NotServing));
        assert_eq!(*bench.session.faults().borrow(), Some(Fault::NotReading));
        assert_eq!(bench.session.in_flight(), 0);
    })
    .await;
}

/// Where the connection is gone the stream's reader finds out why; that is no plugin which does not read.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_gone_is_not_taken_for_one_that_does_not_read() {
    within(async {
        let Bench { session, frames } = bench(64, &[64]);
        drop(frames);
        assert_eq!(session.invoke(ask(0, SECOND, 1)).await, Err(InvokeError::NotServing));
        assert!(!session.push(wire::SessionResponse::default()));
        assert_eq!(*session.faults().borrow(), None);
        assert_eq!(session.in_flight(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn notices_are_at_most_ten_a_second_and_leave_room() {
    within(async {
        let mut bench = bench(64, &[64]);
        let notice = |session: &Session| session.notice(wire::NoticeKind::LateResult, 1, "", "late".to_owned());
        for _ in 0..50 {
            notice(&bench.session);
        }
        assert_eq!(bench.heard().await.len(), 10);
        tokio::time::advance(SECOND).await;
        notice(&bench.session);
        assert_eq!(bench.heard().await.len(), 1);
        for _ in 0..100 {
            tokio::time::advance(SECOND).await;
            for _ in 0..10 {
                notice(&bench.session);
            }
        }
        assert!(bench.heard().await.len() <= OUTBOX / 2, "half of the queue is for what matters more");
    })
    .await;
}

/// A call whose time is over before it has a place is not sent only to be cancelled.
#[tokio::test(start_paused = true)]
async fn a_call_without_time_is_not_sent() {
    within(async {
        let mut bench = bench(1, &[1]);
        assert_eq!(done(bench.call(0, Duration::ZERO, 1)).await, Err(InvokeError::TimedOut { sent: false }));
        assert_eq!(bench.heard().await, []);
        assert_eq!(bench.session.in_flight(), 0);
    })
    .await;
}

/// Small schedules of everything that can race: grants, deadlines, dropped callers, answers, a drain, the end. Whatever
/// happened, every caller has one outcome, the plugin never has more than it takes, and at the end nothing is taken and
/// nobody waits for a wake-up that was lost.
#[tokio::test(start_paused = true)]
async fn no_schedule_loses_a_place_or_a_caller() {
    within(async {
        for seed in 0..3_000 {
            schedule(seed).await;
        }
    })
    .await;
}

async fn schedule(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let max = 1 + random.below(2);
    let mut bench = bench(max, &[max, 1]);
    let mut calls: Vec<Option<Pending>> = Vec::new();
    let (mut open, mut cancelled, mut sent): (Vec<u64>, Vec<u64>, u64) = (Vec::new(), Vec::new(), 0);
    let mut ended = false;
    for _ in 0..12 {
        match random.below(9) {
            0..=2 if calls.len() < 5 => {
                let time = [SECOND / 2, SECOND, 3600 * SECOND][random.below(3)];
                calls.push(Some(bench.call(random.below(2), time, 1)));
            }
            3 if !open.is_empty() => {
                let id = open.swap_remove(random.below(open.len()));
                let answered = bench.answer(id, allow());
                assert!(
                    matches!(answered, Answered::InTime | Answered::Late | Answered::Duplicate),
                    "{seed}: {answered:?}"
                );
                assert!(ended || answered != Answered::Duplicate, "{seed}");
            }
            4 if !calls.is_empty() => {
                let index = random.below(calls.len());
                if let Some(call) = calls[index].take() {
                    call.abort();
                }
            }
            5 => tokio::time::advance(SECOND / 2).await,
            6 if random.below(4) == 0 => {
                bench.session.stop_accepting();
            }
            7 if random.below(6) == 0 => {
                bench.session.end("over");
                ended = true;
            }
            _ => {}
        }
        for _ in 0..random.below(4) {
            tokio::task::yield_now().await;
        }
        while let Ok(Ok(frame)) = bench.frames.try_recv() {
            for invocation in frame.invocations {
                sent += 1;
                assert_eq!(invocation.invocation_id, sent, "{seed}: ids rise by one");
                open.push(invocation.invocation_id);
            }
            cancelled.extend(frame.cancels.iter().map(|cancel| cancel.invocation_id));
        }
        assert!(open.len() <= max, "{seed}: {open:?}");
    }
    // From now on the plugin answers all it gets, and no deadline passes: whoever has a deadline far away must be served.
    let started = Instant::now();
    loop {
        let progress = bench.ids().await;
        open.extend(&progress);
        if open.is_empty() {
            break;
        }
        for id in open.drain(..) {
            bench.answer(id, allow());
        }
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "{seed}");
    assert_eq!(bench.session.in_flight(), 0, "{seed}");
    assert_eq!(bench.session.queued_bytes(), 0, "{seed}");
    assert!(calls.iter().flatten().all(JoinHandle::is_finished), "{seed}: a caller waits for nothing");
    bench.session.stop_accepting();
    assert_eq!(now(bench.session.drained()), Some(()), "{seed}");
    cancelled.sort_unstable();
    assert!(cancelled.windows(2).all(|pair| pair[0] != pair[1]), "{seed}: one cancel for each, {cancelled:?}");
}

/// A small generator, so that a seed names a schedule.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("the limit is small")
    }
}
