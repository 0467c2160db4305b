//! Who is asked about a call, in which order, and what their answers come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::types::v1::{self as types, HandlerOutcome as Fared};
use proptest::prelude::*;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::domain::guard::{Guard, OnAbsent};
use crate::domain::hook::Hook;
use crate::domain::ids::Generation;
use crate::domain::rights::Tier;
use crate::domain::spec::{HookSetting, PluginSpec};
use crate::service::conversation::outbox;
use crate::service::dispatch::{Dispatcher, Outcome, Verdict};
use crate::service::events::Bus;
use crate::service::registration;
use crate::service::registry::{Part, Registry};
use crate::service::runs::Runs;
use crate::service::session::Session;
use crate::service::testing::{
    allow, before_tool_call, block, failed, guard, hook, params, register, settings, spec, within,
};
use crate::service::view::View;

/// A registry whose plugins are tables of answers.
struct Desk {
    registry: Arc<Registry>,
    dispatcher: Arc<Dispatcher>,
    views: BTreeMap<String, Arc<View>>,
    asked: Arc<Mutex<Vec<Question>>>,
}

/// Who was asked: plugin, handler, parameters, recheck.
type Question = (String, String, String, bool);

/// A plugin of a desk.
struct Seat {
    spec: PluginSpec,
    hooks: Vec<wire::HookRegistration>,
    position: usize,
    absent: bool,
    receive: usize,
}

fn seat(id: &str, hooks: Vec<wire::HookRegistration>) -> Seat {
    Seat { spec: spec(id), hooks, position: 0, absent: false, receive: 4 * 1024 * 1024 }
}

impl Seat {
    fn at(mut self, position: usize) -> Self {
        self.position = position;
        self
    }

    fn absent(mut self) -> Self {
        self.absent = true;
        self
    }

    fn guards(mut self, guards: Vec<Guard>) -> Self {
        self.spec.guards = guards;
        self
    }

    fn skips(mut self) -> Self {
        let setting = HookSetting { timeout: None, on_absent: OnAbsent::Skip };
        self.spec.hooks.insert(Hook::BeforeToolCall, setting);
        self
    }
}

/// What a handler answers to an event; `None`: nothing.
type Table = fn(&str, &serde_json::Value, bool) -> Option<Answer>;

impl Desk {
    fn new() -> Self {
        let registry = Registry::new();
        let (bus, tasks) = (Bus::new(1), TaskTracker::new());
        let runs = Runs::new(Arc::clone(&bus), tasks.clone());
        let dispatcher = Dispatcher::new(Arc::clone(&registry), runs, bus, tasks);
        Self { registry, dispatcher, views: BTreeMap::new(), asked: Arc::default() }
    }

    /// Seats a plugin as a generation, whose session it gives back.
    fn sit(&mut self, seat: &Seat, generation: u64, answers: Table) -> Arc<Session> {
        let id = seat.spec.id.to_string();
        let (out, mut frames) = outbox();
        let registration =
            registration::check(&register(seat.hooks.clone()), &seat.spec).expect("nothing must be accepted");
        let session = Session::new(Generation(generation), registration, seat.receive, out, Arc::default());
        let (answering, asked, plugin) = (Arc::clone(&session), Arc::clone(&self.asked), id.clone());
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.recv().await {
                for call in frame.invocations {
                    let Some(wire::invocation::Call::Hook(event)) = call.call else {
                        unreachable!("only hooks are called")
                    };
                    let json: serde_json::Value = serde_json::from_slice(&event.event_json).expect("JSON");
                    let line = (plugin.clone(), call.handler_id.clone(), json["params"].to_string(), event.recheck);
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    if let Some(outcome) = answers(&call.handler_id, &json["params"], event.recheck) {
                        let result =
                            wire::InvocationResult { invocation_id: call.invocation_id, outcome: Some(outcome) };
                        answering.answer(result);
                    }
                }
                for cancel in frame.cancels {
                    let result = wire::InvocationResult { invocation_id: cancel.invocation_id, outcome: Some(allow()) };
                    answering.answer(result);
                }
            }
        });
        self.contribute(seat, (!seat.absent).then(|| Arc::clone(&session)));
        session
    }

    fn contribute(&mut self, seat: &Seat, session: Option<Arc<Session>>) {
        let id = seat.spec.id.clone();
        let view = self.views.entry(id.to_string()).or_insert_with(|| View::new(id, Arc::new(settings())));
        self.registry.set(Part {
            view: Arc::clone(view),
            name: seat.spec.name.clone(),
            bundled: seat.spec.rights.tier() == Tier::Bundled,
            position: seat.position,
            guards: seat.spec.guards.clone(),
            hooks: seat.spec.hooks.clone(),
            session,
        });
    }

    async fn call(&self, tool: &str, params: &str) -> Outcome {
        self.dispatcher.dispatch(before_tool_call(tool, params)).await
    }

    /// Who was asked, as `plugin/handler`; rechecks end with `!`.
    fn order(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .drain(..)
            .map(|(plugin, handler, _, recheck)| format!("{plugin}/{handler}{}", if recheck { "!" } else { "" }))
            .collect()
    }
}

fn passes(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
    Some(allow())
}

fn never(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
    None
}

/// Blocks what removes everything.
fn careful(_: &str, params: &serde_json::Value, _: bool) -> Option<Answer> {
    Some(if params["command"] == "rm -rf /" { block("that would remove everything") } else { allow() })
}

/// Makes something terrible of everything; asked again it does not mind.
fn rewriter(_: &str, _: &serde_json::Value, recheck: bool) -> Option<Answer> {
    Some(if recheck { allow() } else { params(r#"{"command":"rm -rf /"}"#) })
}

fn fared(outcome: &Outcome) -> Fared {
    outcome.decided_by.as_ref().map_or(Fared::Unspecified, |report| report.outcome())
}

fn run(outcome: &Outcome) -> Option<serde_json::Value> {
    match &outcome.result.as_ref()?.result {
        Some(types::hook_result::Result::ToolCall(types::ToolCallDecision {
            decision: Some(types::tool_call_decision::Decision::Proceed(proceed)),
        })) => serde_json::from_slice(&proceed.params_json).ok(),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_there_and_everything_goes_on() {
    within(async {
        let outcome = Desk::new().call("exec", "{}").await;
        assert_eq!((outcome.verdict, outcome.result, outcome.reason.as_str()), (Verdict::GoOn, None, ""));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_allowed_is_asked_about_what_will_run() {
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("careful", vec![hook("h", &[])]).at(0), 1, careful);
        desk.sit(&seat("rewriter", vec![hook("h", &[])]).at(1), 1, rewriter);
        let outcome = desk.call("exec", r#"{"command":"ls"}"#).await;
        assert_eq!(outcome.verdict, Verdict::Stop);
        assert_eq!(outcome.reason, "careful: that would remove everything");
        assert_eq!(desk.order(), ["careful/h", "rewriter/h", "careful/h!"]);
        assert_eq!((outcome.rechecked, fared(&outcome)), (1, Fared::Deny));
        assert!(outcome.decided_by.is_some_and(|report| report.recheck));
    })
    .await;
}

/// Every handler is asked about the event as it came, so one that stands after the rewriter has not seen the rewrite
/// either.
#[tokio::test(start_paused = true)]
async fn a_guard_after_the_rewriter_is_asked_about_what_will_run_too() {
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("rewriter", vec![hook("h", &[])]).at(0), 1, rewriter);
        desk.sit(&seat("careful", vec![hook("h", &[])]).at(1), 1, careful);
        let outcome = desk.call("exec", r#"{"command":"ls"}"#).await;
        assert_eq!(outcome.verdict, Verdict::Stop, "what ran was never shown to the guard");
        assert_eq!(outcome.reason, "careful: that would remove everything");
    })
    .await;
}

/// Two that change parameters: the second has not seen what the first made of them.
#[tokio::test(start_paused = true)]
async fn of_two_that_change_each_sees_the_others_change() {
    fn adds(_: &str, given: &serde_json::Value, recheck: bool) -> Option<Answer> {
        match (recheck, given["command"] == "rm -rf /") {
            (_, true) => Some(block("that would remove everything")),
            (true, false) => Some(allow()),
            (false, false) => Some(params(r#"{"timeout":5}"#)),
        }
    }
    within(async {
        for positions in [[0, 1], [1, 0]] {
            let mut desk = Desk::new();
            desk.sit(&seat("rewriter", vec![hook("h", &[])]).at(positions[0]), 1, rewriter);
            desk.sit(&seat("adds", vec![hook("h", &[])]).at(positions[1]), 1, adds);
            let outcome = desk.call("exec", r#"{"command":"ls"}"#).await;
            assert_eq!(outcome.verdict, Verdict::Stop, "{positions:?}");
            assert_eq!(outcome.reason, "adds: that would remove everything");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn parameters_are_merged_key_by_key() {
    fn first(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(params(r#"{"a":1,"b":{"x":1}}"#))
    }
    fn second(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(params(r#"{"b":{"y":2},"c":3}"#))
    }
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("one", vec![hook("h", &[])]).at(0), 1, first);
        desk.sit(&seat("two", vec![hook("h", &[])]).at(1), 1, second);
        let outcome = desk.call("exec", r#"{"a":0,"z":[1,2]}"#).await;
        assert_eq!(outcome.verdict, Verdict::GoOn);
        let merged = serde_json::json!({"a": 1, "b": {"y": 2}, "c": 3, "z": [1, 2]});
        assert_eq!(run(&outcome), Some(merged.clone()));
        let asked = desk.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rechecks: Vec<_> = asked.iter().filter(|(.., recheck)| *recheck).collect();
        assert!(!rechecks.is_empty());
        for (_, _, params, _) in rechecks {
            assert_eq!(serde_json::from_str::<serde_json::Value>(params).ok(), Some(merged.clone()));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_changes_alone_knows_what_will_run() {
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("rewriter", vec![hook("h", &[])]), 1, rewriter);
        let outcome = desk.call("exec", r#"{"command":"ls"}"#).await;
        assert_eq!((outcome.verdict, outcome.rechecked), (Verdict::GoOn, 0));
        assert_eq!(run(&outcome), Some(serde_json::json!({"command": "rm -rf /"})));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_that_blocks_ends_it() {
    fn blocks(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        let reason = "no\u{1b}[2J\u{202e}x";
        let extra = types::Block {
            reason: reason.to_owned(),
            message: "m".repeat(100_000),
            category: "c".repeat(100_000),
            metadata_json: vec![b'x'; 500_000].into(),
        };
        let decision = Some(types::tool_call_decision::Decision::Block(extra));
        let result = Some(types::hook_result::Result::ToolCall(types::ToolCallDecision { decision }));
        Some(Answer::Hook(types::HookResult { result }))
    }
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("one", vec![hook("h", &[])]).at(0), 1, blocks);
        desk.sit(&seat("two", vec![hook("h", &[])]).at(1), 1, passes);
        let outcome = desk.call("exec", "{}").await;
        assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, Fared::Deny));
        assert_eq!(outcome.reason, "one: no [2J x");
        assert_eq!(desk.order(), ["one/h"]);
        // What a plugin wrote reaches the runtime cleaned, and no more of it than the hook has a use for.
        let result = outcome.result.expect("a block is a result");
        assert!(prost::Message::encoded_len(&result) < 4096, "{}", prost::Message::encoded_len(&result));
        assert!(!format!("{result:?}").contains("\\u{1b}"), "{result:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn error_timeout_absent_and_deny_are_told_apart() {
    fn fails(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(failed("kaput"))
    }
    fn wrong(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(Answer::Command(wire::CommandResult::default()))
    }
    fn undecided(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(Answer::Hook(types::HookResult::default()))
    }
    fn no_object(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(params("[1]"))
    }
    fn no_json(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(params("{"))
    }
    fn denies(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(block(""))
    }
    fn long(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(block(&"x".repeat(2001)))
    }
    within(async {
        let cases: [(Table, Fared, &str); 8] = [
            (fails, Fared::Error, "p: its handler failed: kaput"),
            (wrong, Fared::Error, "p: gave an invalid answer: the answer is of another kind than the call"),
            (undecided, Fared::Error, "p: gave an invalid answer: a result without a kind that is known here"),
            (
                no_object,
                Fared::Error,
                "p: gave an invalid answer: params_json: accept JSON at byte 0: the root is not an object",
            ),
            (no_json, Fared::Error, "p: gave an invalid answer: params_json"),
            (denies, Fared::Deny, "p: blocked by h"),
            (long, Fared::Error, "p: gave an invalid answer: a reason longer than 2,000 characters"),
            (never, Fared::Timeout, "p: did not answer in time (15.0s)"),
        ];
        for (answers, expected, reason) in cases {
            let mut desk = Desk::new();
            desk.sit(&seat("p", vec![hook("h", &[])]), 1, answers);
            let outcome = desk.call("exec", "{}").await;
            assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, expected), "{reason}");
            assert!(outcome.reason.starts_with(reason), "{}", outcome.reason);
            assert_eq!(desk.views["p"].denials(), 1);
        }
        let mut desk = Desk::new();
        desk.sit(&seat("p", vec![hook("h", &[])]).absent(), 1, passes);
        let outcome = desk.call("exec", "{}").await;
        assert_eq!((fared(&outcome), outcome.reason.as_str()), (Fared::Absent, "p: is waiting"));
        let report = outcome.decided_by.expect("it decided");
        assert_eq!(report.plugin_state(), types::PluginState::Waiting);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_absent_guard_denies_before_anybody_is_asked() {
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("there", vec![hook("h", &[])]).at(0), 1, passes);
        desk.sit(&seat("away", vec![hook("h", &[])]).at(1).absent(), 1, passes);
        let outcome = desk.call("exec", "{}").await;
        assert_eq!(outcome.verdict, Verdict::Stop);
        assert_eq!(desk.order(), [""; 0]);
        // Unless the operator said that it may be passed over.
        desk.sit(&seat("away", vec![hook("h", &[])]).at(1).absent().skips(), 1, passes);
        let outcome = desk.call("exec", "{}").await;
        assert_eq!(outcome.verdict, Verdict::GoOn);
        let away: Vec<_> =
            outcome.handlers.iter().map(|report| (report.plugin_id.as_str(), report.outcome())).collect();
        assert_eq!(away, [("away", Fared::Absent), ("there", Fared::Allow)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_guard_declares_and_does_not_serve_is_denied() {
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("p", vec![hook("h", &["read"])]).guards(vec![guard(&["read", "write"])]), 1, passes);
        assert_eq!(desk.call("read", "{}").await.verdict, Verdict::GoOn);
        assert_eq!(desk.call("other", "{}").await.verdict, Verdict::GoOn);
        let outcome = desk.call("write", "{}").await;
        assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, Fared::Absent));
        assert!(outcome.reason.starts_with("p: serves no handler for this"), "{}", outcome.reason);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn matchers_choose_who_is_asked() {
    within(async {
        let mut desk = Desk::new();
        let hooks =
            vec![hook("all", &[]), hook("exec", &["exec"]), hook("both", &["exec", "read"]), hook("read", &["read"])];
        desk.sit(&seat("p", hooks), 1, passes);
        desk.call("exec", "{}").await;
        assert_eq!(desk.order(), ["p/all", "p/exec", "p/both"]);
        desk.call("read", "{}").await;
        assert_eq!(desk.order(), ["p/all", "p/both", "p/read"]);
        desk.call("write", "{}").await;
        assert_eq!(desk.order(), ["p/all"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_and_one_call_tries() {
    within(async {
        let mut desk = Desk::new();
        let seat = seat("p", vec![hook("h", &[])]);
        desk.sit(&seat, 1, |_, _, _| Some(failed("")));
        for _ in 0..5 {
            assert_eq!(fared(&desk.call("exec", "{}").await), Fared::Error);
        }
        let outcome = desk.call("exec", "{}").await;
        assert_eq!(fared(&outcome), Fared::Absent);
        assert!(outcome.reason.contains("breaker"), "{}", outcome.reason);
        assert_eq!(desk.order().len(), 5);
        // A new generation does not close it: the handler is the same.
        desk.sit(&seat, 2, never);
        assert_eq!(fared(&desk.call("exec", "{}").await), Fared::Absent);
        tokio::time::advance(Duration::from_secs(5)).await;
        let dispatcher = Arc::clone(&desk.dispatcher);
        let trying = tokio::spawn(async move { dispatcher.dispatch(before_tool_call("exec", "{}")).await });
        crate::service::testing::settle().await;
        assert_eq!(fared(&desk.call("exec", "{}").await), Fared::Absent, "one call tries");
        // A try that is given up can be made again.
        trying.abort();
        crate::service::testing::settle().await;
        desk.sit(&seat, 3, passes);
        assert_eq!(desk.call("exec", "{}").await.verdict, Verdict::GoOn);
        assert_eq!(desk.call("exec", "{}").await.verdict, Verdict::GoOn);
    })
    .await;
}

/// Calls that were let pass before the breaker opened say nothing about the one call that tries.
#[tokio::test(start_paused = true)]
async fn an_older_call_does_not_end_the_try_of_a_breaker() {
    within(async {
        let mut desk = Desk::new();
        let seat = seat("p", vec![hook("h", &[])]);
        let counts = {
            desk.sit(&seat, 1, passes);
            desk.views["p"].handler(Hook::BeforeToolCall, false, "h")
        };
        let now = Instant::now();
        let older = counts.admit(now).expect("it is closed");
        for _ in 0..5 {
            let pass = counts.admit(now).expect("it is closed");
            counts.record(pass.settle(), Fared::Error, now, Duration::ZERO);
        }
        let later = now + Duration::from_secs(5);
        let _trying = counts.admit(later).expect("one call tries");
        drop(older);
        assert!(counts.admit(later).is_none(), "the try is still under way");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_over_its_bounds_is_absent() {
    within(async {
        let mut desk = Desk::new();
        let mut seat = seat("p", vec![hook("h", &[])]);
        seat.spec.timeout = Some(Duration::from_secs(600));
        desk.sit(&seat, 1, never);
        let calls: Vec<_> = (0..16 + 256)
            .map(|_| {
                let dispatcher = Arc::clone(&desk.dispatcher);
                tokio::spawn(async move { dispatcher.dispatch(before_tool_call("exec", "{}")).await })
            })
            .collect();
        crate::service::testing::settle().await;
        assert!(calls.iter().all(|call| !call.is_finished()));
        let outcome = desk.call("exec", "{}").await;
        assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, Fared::Absent));
        assert!(outcome.reason.contains("over its bounds"), "{}", outcome.reason);
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_goes_to_the_new_generation_exactly_once() {
    within(async {
        let mut desk = Desk::new();
        let mut seat = seat(
            "p",
            vec![wire::HookRegistration {
                options: Some(wire::HandlerOptions { max_concurrency: 1, ..Default::default() }),
                ..hook("h", &[])
            }],
        );
        seat.spec.timeout = Some(Duration::from_secs(600));
        let old = desk.sit(&seat, 1, never);
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let dispatcher = Arc::clone(&desk.dispatcher);
                tokio::spawn(async move { dispatcher.dispatch(before_tool_call("exec", "{}")).await })
            })
            .collect();
        crate::service::testing::settle().await;
        assert_eq!(desk.order(), ["p/h"]);
        desk.sit(&seat, 2, passes);
        old.stop_accepting();
        crate::service::testing::settle().await;
        assert_eq!(desk.order(), ["p/h", "p/h"], "the two that waited");
        // The one in flight finishes on the old generation.
        old.answer(wire::InvocationResult { invocation_id: 1, outcome: Some(allow()) });
        for call in calls {
            assert_eq!(call.await.expect("no panic").verdict, Verdict::GoOn);
        }
    })
    .await;
}

/// The next generation's handler of the same name may be for other tools; then it is no answer for this call.
#[tokio::test(start_paused = true)]
async fn a_narrower_handler_of_the_next_generation_is_not_asked() {
    within(async {
        let mut desk = Desk::new();
        let old = seat("p", vec![hook("h", &[])]);
        let session = desk.sit(&old, 1, passes);
        // The registry still shows the old generation, as to a call that began just before the swap.
        session.stop_accepting();
        let next = seat("p", vec![hook("h", &["read"])]);
        let (out, _frames) = outbox();
        let registration = registration::check(&register(next.hooks.clone()), &next.spec).expect("sound");
        let current = Session::new(Generation(2), registration, 1 << 22, out, Arc::default());
        desk.views["p"].serve(Some(current));
        let outcome = desk.call("exec", "{}").await;
        assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, Fared::Absent), "{}", outcome.reason);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_is_not_called_ready() {
    within(async {
        let mut desk = Desk::new();
        let session = desk.sit(&seat("p", vec![hook("h", &[])]), 1, passes);
        desk.views["p"].update(|status| status.state = types::PluginState::Ready);
        session.end("it crashed");
        let outcome = desk.call("exec", "{}").await;
        assert_eq!(fared(&outcome), Fared::Absent);
        assert_ne!(outcome.reason, "p: is ready");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_bounds_all() {
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("p", vec![hook("h", &[])]), 1, never);
        let mut call = before_tool_call("exec", "{}");
        let started = Instant::now();
        call.deadline = Some(started + Duration::from_millis(200));
        let outcome = desk.dispatcher.dispatch(call).await;
        assert_eq!(fared(&outcome), Fared::Timeout);
        assert_eq!(started.elapsed().as_millis(), 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_too_long_for_a_plugin_is_its_failure_and_never_sent() {
    within(async {
        let mut desk = Desk::new();
        let mut small = seat("p", vec![hook("h", &[])]);
        small.receive = 65_536;
        desk.sit(&small, 1, passes);
        let outcome = desk.call("exec", &format!(r#"{{"x":"{}"}}"#, "y".repeat(70_000))).await;
        assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, Fared::Error));
        assert_eq!(desk.order(), [""; 0]);
    })
    .await;
}

/// What the handlers made of the parameters has the bound of a payload: neither a plugin nor the runtime could take more.
#[tokio::test(start_paused = true)]
async fn merged_parameters_have_the_bound_of_a_payload() {
    fn adds(_: &str, _: &serde_json::Value, _: bool) -> Option<Answer> {
        Some(params(&format!(r#"{{"added":"{}"}}"#, "z".repeat(900_000))))
    }
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("p", vec![hook("h", &[])]), 1, adds);
        let fits = desk.call("exec", &format!(r#"{{"x":"{}"}}"#, "y".repeat(2_000_000))).await;
        assert_eq!(fits.verdict, Verdict::GoOn);
        let over = desk.call("exec", &format!(r#"{{"x":"{}"}}"#, "y".repeat(2_900_000))).await;
        assert_eq!((over.verdict, fared(&over)), (Verdict::Stop, Fared::Error), "{}", over.reason);
        assert!(over.reason.starts_with("p: "), "{}", over.reason);
    })
    .await;
}

/// Parameters may be as deep as a payload, and are one deeper within the event. What cannot be shown does not run.
#[tokio::test(start_paused = true)]
async fn parameters_that_cannot_be_shown_do_not_run() {
    fn deep(_: &str, _: &serde_json::Value, recheck: bool) -> Option<Answer> {
        let (open, close) = ("[".repeat(128), "]".repeat(128));
        Some(if recheck { allow() } else { params(&format!(r#"{{"command":"rm -rf /","x":{open}{close}}}"#)) })
    }
    within(async {
        let mut desk = Desk::new();
        desk.sit(&seat("careful", vec![hook("h", &[])]).at(0), 1, careful);
        desk.sit(&seat("deep", vec![hook("h", &[])]).at(1), 1, deep);
        let outcome = desk.call("exec", r#"{"command":"ls"}"#).await;
        assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, Fared::Error), "{:?}", outcome.result);
        assert!(outcome.reason.starts_with("deep: gave an invalid answer: params_json:"), "{}", outcome.reason);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_epoch_rises_when_the_runtime_has_to_know() {
    within(async {
        let mut desk = Desk::new();
        let mut epochs = desk.registry.epochs();
        epochs.mark_unchanged();
        let before = desk.dispatcher.epoch();
        let seat = seat("p", vec![hook("h", &[])]);
        desk.sit(&seat, 1, passes);
        assert!(desk.dispatcher.epoch() > before && epochs.has_changed().expect("it lives"));
        epochs.mark_unchanged();
        let known = desk.dispatcher.epoch();
        desk.sit(&seat, 2, passes);
        assert_eq!(desk.dispatcher.epoch(), known, "another generation of the same says nothing new");
        assert!(!epochs.has_changed().expect("it lives"));
        desk.contribute(&seat.guards(vec![]), None);
        assert!(desk.dispatcher.epoch() > known, "nothing is wanted any more");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn counts_of_handlers_have_a_bound_and_keep_those_in_use() {
    within(async {
        let mut desk = Desk::new();
        let many = |letter: char| (0..256).map(|n| hook(&format!("{letter}{n:03}"), &["exec"])).collect::<Vec<_>>();
        for (generation, letter) in ['b', 'c', 'a'].into_iter().enumerate() {
            desk.sit(&seat("p", many(letter)), generation as u64, passes);
        }
        let known: BTreeSet<String> = desk.views["p"].handlers().into_iter().map(|(_, _, id, _)| id).collect();
        assert!(known.len() <= 520, "{}", known.len());
        assert!((0..256).all(|n| known.contains(&format!("a{n:03}"))), "those in use are kept");
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Priority, then position in the file, then place in the registration, whatever came first in time.
    #[test]
    fn the_order_of_asking_is_that_of_the_contract(
        plugins in prop::collection::vec(prop::collection::vec(-2i32..3, 1..4), 1..5),
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(within(async {
            let mut desk = Desk::new();
            let mut arrivals: Vec<usize> = (0..plugins.len()).collect();
            for index in (1..arrivals.len()).rev() {
                arrivals.swap(index, (seed.rotate_left(index as u32 * 7) % (index as u64 + 1)) as usize);
            }
            for position in arrivals {
                let hooks = plugins[position].iter().enumerate().map(|(index, priority)| wire::HookRegistration {
                    priority: *priority,
                    ..hook(&format!("{index}"), &[])
                });
                // The names are in another order than the positions.
                desk.sit(&seat(&format!("p{}", 9 - position), hooks.collect()).at(position), 1, passes);
            }
            let mut expected: Vec<(i32, usize, usize)> = plugins
                .iter()
                .enumerate()
                .flat_map(|(position, handlers)| {
                    handlers.iter().enumerate().map(move |(index, priority)| (-priority, position, index))
                })
                .collect();
            expected.sort_unstable();
            let expected: Vec<String> =
                expected.into_iter().map(|(_, position, index)| format!("p{}/{index}", 9 - position)).collect();
            desk.call("exec", "{}").await;
            assert_eq!(desk.order(), expected);
        }));
    }
}
