//! Calls: decisions, failures, cancels, and many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_sdk::proto::plugin::v1::{CancelReason, FailureReason, SessionState, invocation};
use outrigger_sdk::proto::types::v1::{ApprovalSeverity, Hook, RunRef, SessionRef, TraceContext};
use outrigger_sdk::testkit::{CallError, LIMIT, TestHost};
use outrigger_sdk::{Approval, Context, Decision, HandlerError, Launch, Plugin, ToolCall};
use serde_json::json;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

/// Holds a call until the test lets it go, and tells when it is held.
#[derive(Default)]
struct Gate {
    arrived: Notify,
    open: Notify,
}

/// A plugin whose only handler is this one.
async fn host<F, Fut>(handler: F) -> TestHost
where
    F: Fn(ToolCall, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Decision, HandlerError>> + Send + 'static,
{
    TestHost::start(Plugin::new().before_tool_call("guard", handler)).await.expect("ready")
}

fn failure(result: Result<Decision, CallError>) -> (FailureReason, String) {
    match result {
        Err(CallError::Failed { reason, message }) => (reason, message),
        other => unreachable!("not a failure: {other:?}"),
    }
}

#[tokio::test]
async fn every_decision_arrives_as_it_was_made() {
    let approval = Approval::new("Delete?")
        .description("one file")
        .detail("a.txt")
        .severity(ApprovalSeverity::Critical)
        .timeout(Duration::from_secs(9));
    let params = json!({"command": "ls -l"}).as_object().expect("an object").clone();
    let asked = approval.clone();
    let rewritten = params.clone();
    let host = host(move |call: ToolCall, _| {
        let (asked, rewritten) = (asked.clone(), rewritten.clone());
        async move {
            Ok(match call.tool() {
                "block" => Decision::block("because"),
                "long" => Decision::block("x".repeat(5_000)),
                "rewrite" => Decision::rewrite(rewritten),
                "ask" => Decision::ask(asked),
                "proceed" => Decision::proceed(),
                _ => Decision::declined(),
            })
        }
    })
    .await;
    let decide = |tool: &'static str| host.before_tool_call(tool, json!({}));
    assert_eq!(decide("block").await, Ok(Decision::block("because")));
    assert_eq!(decide("long").await, Ok(Decision::block("x".repeat(2_000))));
    assert_eq!(decide("rewrite").await, Ok(Decision::rewrite(params)));
    assert_eq!(decide("ask").await, Ok(Decision::ask(approval)));
    assert_eq!(decide("proceed").await, Ok(Decision::proceed()));
    assert_eq!(decide("else").await, Ok(Decision::Declined));
    host.shutdown().await.expect("in order");
}

#[tokio::test]
async fn handlers_share_the_state_that_the_start_made() {
    #[derive(serde::Deserialize)]
    struct Config {
        word: String,
    }
    struct State {
        word: String,
        calls: AtomicUsize,
    }
    async fn guard(_: ToolCall, cx: Context<State>) -> Result<Decision, HandlerError> {
        let call = cx.state().calls.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Decision::block(format!("{} {call}", cx.state().word)))
    }
    let plugin = Plugin::on_start(|launch: Launch| async move {
        let config: Config = launch.config()?;
        Ok(State { word: config.word, calls: AtomicUsize::new(0) })
    })
    .before_tool_call("guard", guard);
    let host = TestHost::builder().config(json!({"word": "no"})).start(plugin).await.expect("ready");
    assert_eq!(host.before_tool_call("a", json!({})).await, Ok(Decision::block("no 1")));
    assert_eq!(host.before_tool_call("a", json!({})).await, Ok(Decision::block("no 2")));
}

#[tokio::test]
async fn a_context_tells_all_of_the_call() {
    let host = host(|call: ToolCall, cx: Context| async move {
        assert_eq!(call.params::<serde_json::Value>()?, json!({"path": "a"}));
        assert_eq!(call.event_as::<serde_json::Value>()?["toolName"], "write");
        assert_eq!(call.context::<serde_json::Value>()?["agentId"], "main");
        assert!(call.is_recheck());
        assert_eq!(cx.invocation_id(), 1);
        assert_eq!(cx.host().invocation_id(), 1);
        assert!(cx.remaining() > Duration::from_secs(1) && cx.remaining() <= Duration::from_secs(7));
        assert_eq!(cx.session().map(|session| session.handle.as_str()), Some("s1"));
        assert_eq!(cx.run().map(|run| run.handle.as_str()), Some("r1"));
        assert_eq!(cx.states()[0].version, 4);
        assert_eq!(cx.trace().map(|trace| trace.traceparent.as_str()), Some("00-ab-cd-01"));
        assert!(cx.is_canary() && !cx.is_cancelled());
        Ok(Decision::block("seen"))
    })
    .await;
    let call = host.call("guard").tool("write").params(json!({"path": "a"})).context(json!({"agentId": "main"}));
    let call = call.session(SessionRef { handle: "s1".into(), ..Default::default() });
    let call = call.run(RunRef { handle: "r1".into(), ..Default::default() });
    let call = call.state(SessionState { version: 4, ..Default::default() });
    let call = call.trace(TraceContext { traceparent: "00-ab-cd-01".into(), ..Default::default() });
    let call = call.canary().recheck().timeout(Duration::from_secs(7));
    assert_eq!(call.send().decision().await, Ok(Decision::block("seen")));
}

#[tokio::test]
async fn an_error_is_a_failure_with_its_class() {
    let host = host(|call: ToolCall, _| async move {
        match call.tool() {
            "io" => Err(std::io::Error::other("disk gone"))?,
            "own" => Err(HandlerError::overloaded("later"))?,
            _ => {}
        }
        let _: u32 = call.params()?;
        Ok(Decision::declined())
    })
    .await;
    let (reason, message) = failure(host.before_tool_call("io", json!({})).await);
    assert_eq!((reason, message.as_str()), (FailureReason::Error, "disk gone"));
    let (reason, _) = failure(host.before_tool_call("own", json!({})).await);
    assert_eq!(reason, FailureReason::Overloaded);
    let (reason, message) = failure(host.before_tool_call("input", json!({})).await);
    assert_eq!(reason, FailureReason::InputInvalid);
    assert!(message.contains("parameters"), "{message}");
}

#[tokio::test]
async fn a_panic_is_a_failure_of_its_call_only() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "dropped");
        }
    }
    let host = host(|call: ToolCall, _| {
        assert_ne!(call.tool(), "before");
        async move {
            assert_ne!(call.tool(), "at-once");
            tokio::task::yield_now().await;
            assert_ne!(call.tool(), "later");
            let _held = call.tool().ends_with("in-drop").then(|| PanicsInDrop);
            if call.tool() == "cancelled-in-drop" {
                std::future::pending::<()>().await;
            }
            Ok(Decision::proceed())
        }
    })
    .await;
    for tool in ["before", "at-once", "later", "in-drop"] {
        let (reason, message) = failure(host.before_tool_call(tool, json!({})).await);
        assert_eq!(reason, FailureReason::Error, "{tool}");
        assert!(message.contains("panicked"), "{tool}: {message}");
    }
    let cancelled = host.call("guard").tool("cancelled-in-drop").send();
    host.ping().await;
    cancelled.cancel(CancelReason::CallerGone);
    assert_eq!(cancelled.decision().await, Ok(Decision::Declined));
    assert_eq!(host.before_tool_call("fine", json!({})).await, Ok(Decision::proceed()));
    host.shutdown().await.expect("in order");
}

#[tokio::test]
async fn what_the_plugin_does_not_know_is_unsupported() {
    let host = host(|_, _| async { Ok(Decision::declined()) }).await;
    let unknown_handler = host.call("nobody").send().decision().await;
    assert_eq!(failure(unknown_handler).0, FailureReason::Unsupported);
    let other_hook = host.call("guard").invocation(|_, hook| hook.hook = Hook::AfterToolCall.into()).send();
    assert_eq!(failure(other_hook.decision().await).0, FailureReason::Unsupported);
    let command = host.call("guard").invocation(|invocation, _| {
        invocation.call = Some(invocation::Call::Command(Default::default()));
    });
    assert_eq!(failure(command.send().decision().await).0, FailureReason::Unsupported);
}

#[tokio::test]
async fn a_cancelled_handler_is_dropped_and_answered() {
    struct Told(mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (dropped, mut was_dropped) = mpsc::unbounded_channel();
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let host = host(move |_, _| {
        let (held, told) = (held.clone(), Told(dropped.clone()));
        async move {
            let _told = told;
            held.arrived.notify_one();
            held.open.notified().await;
            Ok(Decision::block("too late"))
        }
    })
    .await;
    let pending = host.call("guard").send();
    timeout(LIMIT, gate.arrived.notified()).await.expect("the call arrives");
    pending.cancel(CancelReason::Superseded);
    assert_eq!(pending.decision().await, Ok(Decision::Declined));
    timeout(LIMIT, was_dropped.recv()).await.expect("dropped").expect("told");
    assert_eq!(host.late_answers(), 1);
    assert!(host.violations().is_empty());
    host.shutdown().await.expect("in order");
}

#[tokio::test]
async fn a_call_whose_time_is_up_is_cancelled() {
    let host = host(|_, cx: Context| async move {
        std::future::pending::<()>().await;
        drop(cx);
        Ok(Decision::proceed())
    })
    .await;
    let pending = host.call("guard").timeout(Duration::from_millis(20)).send();
    assert_eq!(pending.decision().await, Ok(Decision::Declined));
    assert_eq!(host.late_answers(), 1);
}

#[tokio::test]
async fn a_handler_may_put_things_in_order_after_a_cancel() {
    let (told, mut hears) = mpsc::unbounded_channel();
    let plugin = Plugin::new()
        .before_tool_call("guard", move |_, cx: Context| {
            let told = told.clone();
            async move {
                told.send(None).expect("the test listens");
                let reason = cx.cancelled().await;
                tokio::task::yield_now().await;
                told.send(Some(reason)).expect("the test listens");
                assert_eq!(cx.cancel_reason(), Some(reason));
                Ok(Decision::block("in order"))
            }
        })
        .keep_running_on_cancel();
    let host = TestHost::start(plugin).await.expect("ready");
    let pending = host.call("guard").send();
    assert_eq!(timeout(LIMIT, hears.recv()).await.expect("in time"), Some(None));
    pending.cancel(CancelReason::RunEnded);
    assert_eq!(pending.decision().await, Ok(Decision::block("in order")));
    assert_eq!(hears.recv().await, Some(Some(CancelReason::RunEnded)));
    assert_eq!(host.late_answers(), 1);
}

#[tokio::test]
async fn sixty_four_calls_run_at_once_and_pings_are_answered_meanwhile() {
    let places = Arc::new(Semaphore::new(0));
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let held = places.clone();
    let plugin = Plugin::new()
        .max_in_flight(64)
        .before_tool_call("guard", move |call: ToolCall, _| {
            let (held, arrive) = (held.clone(), arrive.clone());
            async move {
                let number: u64 = call.params()?;
                arrive.send(()).expect("the test listens");
                held.acquire().await?.forget();
                Ok(Decision::block(number.to_string()))
            }
        })
        .max_concurrency(64);
    let host = TestHost::start(plugin).await.expect("ready");
    assert_eq!(host.registered().max_in_flight, 64);
    let calls: Vec<_> = (0..64).map(|number| host.call("guard").params(json!(number)).send()).collect();
    for _ in 0..64 {
        timeout(LIMIT, arrived.recv()).await.expect("in time").expect("a call");
    }
    // All are held, so one more is too much, and the supervisor's ping still gets its pong.
    let one_more = host.call("guard").params(json!(64)).send().decision().await;
    assert_eq!(failure(one_more).0, FailureReason::Overloaded);
    host.ping().await;
    assert!(calls.iter().all(|call| !call.is_answered()));
    places.add_permits(64);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.decision().await, Ok(Decision::block(number.to_string())));
    }
    host.shutdown().await.expect("in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_on_several_threads_get_each_its_own_answer() {
    let host = host(|call: ToolCall, _| async move {
        let number: u64 = call.params()?;
        for _ in 0..number % 4 {
            tokio::task::yield_now().await;
        }
        Ok(Decision::block(number.to_string()))
    })
    .await;
    for round in 0..50 {
        let numbers = (0..16).map(|number| round * 16 + number);
        let calls: Vec<_> = numbers.map(|number| (number, host.call("guard").params(json!(number)).send())).collect();
        for (number, call) in calls {
            assert_eq!(call.decision().await, Ok(Decision::block(number.to_string())));
        }
    }
    assert!(host.violations().is_empty(), "{:?}", host.violations());
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_a_failure() {
    let host = host(|_, _| async {
        let long = json!({"text": "x".repeat(1_200_000)});
        Ok(Decision::rewrite(long.as_object().expect("an object").clone()))
    })
    .await;
    let (reason, message) = failure(host.before_tool_call("a", json!({})).await);
    assert_eq!(reason, FailureReason::Error);
    assert!(message.contains("bytes"), "{message}");
    assert_eq!(host.before_tool_call("a", json!({})).await.map_err(|_| ()), Err(()));
}
