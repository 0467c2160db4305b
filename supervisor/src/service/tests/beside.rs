//! Handlers side by side, one after the other, and once more: time and order of arrival change nothing but the time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::types::v1::{self as types, HandlerOutcome as Fared};
use proptest::prelude::*;
use tokio::time::Instant;
use types::hook_result::Result as Kind;

use super::bench::{Bench, Script, able, call, handler, hangs, hook, one, policy, says, with_rights};
use crate::domain::hook::{CATALOGUE, Hook, Kind as Calling};
use crate::domain::rights::{Scope, Tier};
use crate::service::dispatch::Verdict;
use crate::service::testing::{allow, block, failed, params, settle, within};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn gate() -> &'static crate::domain::hook::Row {
    Hook::BeforeToolCall.row()
}

/// A handler that may run beside others.
fn free(hook: Hook) -> wire::Register {
    one(wire::HookRegistration { side_effect_free: true, ..handler(hook, "h") })
}

fn after(wait: Duration, answer: Answer) -> Script {
    Arc::new(move |question| (wait, Some(if question.call.recheck { allow() } else { answer.clone() })))
}

fn message(text: &'static str) -> Answer {
    let replacement = types::message_rewrite::Replacement::MessageJson(Bytes::from_static(text.as_bytes()));
    hook(Kind::Message(types::MessageRewrite { replacement: Some(replacement), ..Default::default() }))
}

/// Blocks what removes something.
fn careful() -> Script {
    Arc::new(|question| {
        let bad = question.event()["params"]["command"].as_str().is_some_and(|command| command.starts_with("rm"));
        (Duration::ZERO, Some(if bad { block("that removes something") } else { allow() }))
    })
}

#[tokio::test(start_paused = true)]
async fn n_handlers_without_side_effects_take_the_slowest_ones_time() {
    within(async {
        for row in CATALOGUE {
            if row.hook == Hook::InboundClaim {
                continue;
            }
            let mut bench = Bench::new();
            for number in 0..8_u64 {
                let script = after(MS(100 - number), allow());
                bench.sit(&able(&format!("p{number}")), number as usize, 1, &free(row.hook), script);
            }
            let started = Instant::now();
            assert_eq!(bench.call(call(row)).await.verdict, Verdict::GoOn, "{}", row.name);
            // Those that see each other's output cannot.
            let expected = if row.kind == Calling::Chained { (93..=100).sum() } else { 100 };
            assert_eq!(started.elapsed(), MS(expected), "{}", row.name);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_with_side_effects_waits_for_those_before_it() {
    within(async {
        let mut bench = Bench::new();
        for (number, register) in
            [free(gate().hook), free(gate().hook), one(handler(gate().hook, "h"))].iter().enumerate()
        {
            bench.sit(&able(&format!("p{number}")), number, 1, register, after(MS(100), allow()));
        }
        bench.sit(&able("p3"), 3, 1, &free(gate().hook), after(MS(100), allow()));
        let started = Instant::now();
        assert_eq!(bench.call(call(gate())).await.verdict, Verdict::GoOn);
        assert_eq!(started.elapsed(), MS(300));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_block_cancels_later_ones_and_waits_for_earlier_ones() {
    within(async {
        let mut bench = Bench::new();
        bench.sit(&able("p0"), 0, 1, &free(gate().hook), after(MS(500), allow()));
        bench.sit(&able("p1"), 1, 1, &free(gate().hook), after(MS(10), block("no")));
        bench.sit(&able("p2"), 2, 1, &free(gate().hook), hangs());
        bench.sit(&able("p3"), 3, 1, &one(handler(gate().hook, "h")), says(allow()));
        let started = Instant::now();
        let outcome = bench.call(call(gate())).await;
        assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Stop, "p1: no"));
        assert_eq!(started.elapsed(), MS(500));
        settle().await;
        assert_eq!(bench.cancelled(), ["p2"]);
        assert!(!bench.order().contains(&"p3".to_owned()));
        // What was cancelled is not the handler's failure.
        let counts = bench.views["p2"].handler(gate().hook, false, "h").snapshot();
        assert!(counts.outcomes.is_empty(), "{:?}", counts.outcomes);
    })
    .await;
}

/// The earlier refusal stands, though the later one came first.
#[tokio::test(start_paused = true)]
async fn of_two_refusals_the_earlier_handlers_stands() {
    within(async {
        let mut bench = Bench::new();
        bench.sit(&able("p0"), 0, 1, &free(gate().hook), after(MS(300), block("first")));
        bench.sit(&able("p1"), 1, 1, &free(gate().hook), after(MS(1), block("second")));
        assert_eq!(bench.call(call(gate())).await.reason, "p0: first");
    })
    .await;
}

/// An answer that comes beside the one that ends the call still settles the one call that tries a breaker.
#[tokio::test(start_paused = true)]
async fn a_breakers_try_is_settled_though_another_ends_the_call() {
    within(async {
        let mut bench = Bench::new();
        let hook = Hook::BeforeToolCall;
        bench.sit(&able("p1"), 1, 1, &free(hook), says(failed("")));
        for _ in 0..5 {
            assert_eq!(bench.call(call(gate())).await.verdict, Verdict::Stop);
        }
        bench.sit(&able("p1"), 1, 2, &free(hook), says(allow()));
        bench.sit(&able("p0"), 0, 1, &free(hook), after(MS(10), block("no")));
        tokio::time::advance(Duration::from_secs(5)).await;
        // It answers at once; then the other ends the call.
        assert_eq!(bench.call(call(gate())).await.reason, "p0: no");
        bench.sit(&able("p0"), 0, 2, &free(hook), says(allow()));
        let outcome = bench.call(call(gate())).await;
        assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::GoOn, ""));
    })
    .await;
}

/// Time that another plugin used up is not held against one that was not asked.
#[tokio::test(start_paused = true)]
async fn one_that_was_not_asked_in_time_has_not_failed() {
    within(async {
        let row = Hook::BeforeModelResolve.row();
        let mut bench = Bench::new();
        bench.sit(&able("slow"), 0, 1, &one(handler(row.hook, "h")), hangs());
        bench.sit(&able("fine"), 1, 1, &one(handler(row.hook, "h")), says(allow()));
        for _ in 0..5 {
            let mut call = call(row);
            call.deadline = Some(Instant::now() + MS(100));
            let outcome = bench.call(call).await;
            let fine = outcome.handlers.iter().find(|report| report.plugin_id == "fine");
            assert_eq!(fine.map(|report| report.outcome()), Some(Fared::Skipped));
        }
        let counts = bench.views["fine"].handler(row.hook, false, "h").snapshot();
        assert!(!counts.breaker.is_open(Instant::now()), "its breaker opened for another's time");
        // A guard that was not asked has not let it pass.
        let mut bench = Bench::new();
        bench.sit(&able("p"), 0, 1, &one(handler(gate().hook, "h")), says(allow()));
        let mut late = call(gate());
        late.deadline = Some(Instant::now());
        assert_eq!(bench.call(late).await.verdict, Verdict::Stop);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn chained_handlers_see_what_the_one_before_made() {
    within(async {
        for row in CATALOGUE.iter().filter(|row| row.kind == Calling::Chained) {
            let place = if row.hook == Hook::ReplyPayloadSending { "payload" } else { "message" };
            let mut bench = Bench::new();
            let answers = [message(r#"{"n":1}"#), allow(), message(r#"{"n":2}"#), allow()];
            for (number, answer) in answers.into_iter().enumerate() {
                bench.sit(&able(&format!("p{number}")), number, 1, &free(row.hook), after(MS(100), answer));
            }
            bench.call(call(row)).await;
            let seen: Vec<_> = bench.asked().iter().map(|question| question.event()[place]["n"].clone()).collect();
            assert_eq!(seen, [0, 1, 1, 2], "{}", row.name);
        }
    })
    .await;
}

/// Whatever position and priority: policies first, those of bundled plugins before all, and what a policy makes of
/// parameters is what everybody after it sees.
#[tokio::test(start_paused = true)]
async fn policies_come_first_and_rewrite_wholesale() {
    within(async {
        let mut bench = Bench::new();
        let all: Vec<Scope> = Scope::all().collect();
        let high = wire::HookRegistration { priority: i32::MAX, ..handler(gate().hook, "h") };
        bench.sit(&able("hook"), 0, 1, &one(high), after(MS(0), params(r#"{"mine":1}"#)));
        bench.sit(&able("second"), 1, 1, &policy("limits"), after(MS(0), params(r#"{"b":2}"#)));
        let bundled = with_rights("first", Tier::Bundled, &all);
        bench.sit(&bundled, 9, 1, &policy("limits"), after(MS(0), params(r#"{"a":1}"#)));
        let outcome = bench.call(call(gate())).await;
        let asked = bench.asked();
        let of = |recheck: bool| -> Vec<(String, bool, String)> {
            let asked = asked.iter().filter(|question| question.call.recheck == recheck);
            asked.map(|it| (it.plugin.clone(), it.policy, it.event()["params"].to_string())).collect()
        };
        let line = |plugin: &str, policy, params: &str| (plugin.to_owned(), policy, params.to_owned());
        assert_eq!(
            of(false),
            [
                line("first", true, r#"{"command":"ls"}"#),
                line("second", true, r#"{"a":1}"#),
                line("hook", false, r#"{"b":2}"#)
            ]
        );
        let last = r#"{"b":2,"mine":1}"#;
        assert_eq!(of(true), [line("first", true, last), line("second", true, last)]);
        assert_eq!((outcome.verdict, outcome.rechecked), (Verdict::GoOn, 2));
        let subject = crate::service::decisions::digest(last.as_bytes()).expect("JSON");
        assert_eq!(outcome.decision.expect("it may run").params_sha256, subject[..]);
    })
    .await;
}

/// Q: two plugins, the first allows `ls`, the second makes `rm -rf` of it.
#[tokio::test(start_paused = true)]
async fn a_rewrite_after_an_allowance_is_shown_to_who_allowed() {
    within(async {
        for first in [one(handler(gate().hook, "h")), policy("h")] {
            for second in [one(handler(gate().hook, "h")), policy("h")] {
                let mut bench = Bench::new();
                bench.sit(&able("careful"), 0, 1, &first, careful());
                bench.sit(&able("rewriter"), 1, 1, &second, after(MS(0), params(r#"{"command":"rm -rf"}"#)));
                let outcome = bench.call(call(gate())).await;
                assert_eq!((outcome.verdict, outcome.decision), (Verdict::Stop, None));
                assert_eq!(outcome.reason, "careful: that removes something");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_recheck_changes_does_not_count() {
    within(async {
        let mut bench = Bench::new();
        let again: Script = Arc::new(|question| {
            let answer = if question.call.recheck { params(r#"{"command":"rm -rf"}"#) } else { allow() };
            (Duration::ZERO, Some(answer))
        });
        bench.sit(&able("p0"), 0, 1, &one(handler(gate().hook, "h")), again);
        bench.sit(&able("p1"), 1, 1, &one(handler(gate().hook, "h")), after(MS(0), params(r#"{"x":1}"#)));
        let outcome = bench.call(call(gate())).await;
        let expected = crate::service::decisions::digest(br#"{"command":"ls","x":1}"#).expect("JSON");
        assert_eq!(outcome.decision.expect("it may run").params_sha256, expected[..]);
        assert_eq!(bench.order(), ["p0", "p1", "p0!"]);
    })
    .await;
}

/// A guard that fails, hangs or goes when it is asked once more has not let it pass.
#[tokio::test(start_paused = true)]
async fn a_recheck_that_fails_blocks() {
    within(async {
        for (answer, fared) in [(Some(failed("kaput")), Fared::Error), (None, Fared::Timeout)] {
            let mut bench = Bench::new();
            let again: Script =
                Arc::new(move |asked| (MS(0), if asked.call.recheck { answer.clone() } else { Some(allow()) }));
            bench.sit(&able("p0"), 0, 1, &one(handler(gate().hook, "h")), again);
            bench.sit(&able("p1"), 1, 1, &one(handler(gate().hook, "h")), after(MS(0), params(r#"{"x":1}"#)));
            let outcome = bench.call(call(gate())).await;
            let report = outcome.decided_by.expect("somebody did");
            assert_eq!((outcome.verdict, outcome.decision), (Verdict::Stop, None));
            assert_eq!((report.plugin_id.as_str(), report.outcome(), report.recheck), ("p0", fared, true));
        }
    })
    .await;
}

/// One whose parameters came too late, as an earlier handler had asked a person already, allowed something else than
/// what will run.
#[tokio::test(start_paused = true)]
async fn one_whose_change_came_too_late_is_asked_about_what_will_run() {
    within(async {
        let ask = types::ApprovalRequest { title: "May it?".to_owned(), ..Default::default() };
        let proceed = types::Proceed { params_json: Bytes::new(), approval: Some(ask) };
        let decision = Some(types::tool_call_decision::Decision::Proceed(proceed));
        let asks = hook(Kind::ToolCall(types::ToolCallDecision { decision }));
        // It lets nothing pass but what it has made harmless.
        let tames: Script = Arc::new(|question| {
            let answer = match question.call.recheck {
                true => block("that is not what was allowed"),
                false => params(r#"{"command":"ls --harmless"}"#),
            };
            (Duration::ZERO, Some(answer))
        });
        let mut bench = Bench::new();
        bench.sit(&able("asks"), 0, 1, &one(handler(gate().hook, "h")), after(MS(0), asks));
        bench.sit(&able("tames"), 1, 1, &one(handler(gate().hook, "h")), tames);
        let outcome = bench.call(call(gate())).await;
        assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Stop, "tames: that is not what was allowed"));
        assert_eq!(bench.order(), ["asks", "tames", "tames!"]);
    })
    .await;
}

/// One of the things a handler of a tool call may say.
fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(allow()),
        2 => "[a-c]".prop_map(|key| params(&format!(r#"{{"{key}":"{key}"}}"#))),
        1 => Just(block("no")),
        1 => Just(failed("kaput")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whichever answer comes first, the outcome is that of the handlers' order.
    #[test]
    fn the_order_of_arrival_changes_nothing(
        answers in prop::collection::vec((any_answer(), any::<bool>()), 1..6),
        waits in prop::collection::vec(0_u64..50, 6),
        others in prop::collection::vec(0_u64..50, 6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(within(async {
            let mut outcomes = Vec::new();
            for waits in [waits, others] {
                let mut bench = Bench::new();
                for (number, ((answer, is_free), wait)) in answers.iter().zip(&waits).enumerate() {
                    let item = wire::HookRegistration { side_effect_free: *is_free, ..handler(gate().hook, "h") };
                    bench.sit(&able(&format!("p{number}")), number, 1, &one(item), after(MS(*wait), answer.clone()));
                }
                let outcome = bench.call(call(gate())).await;
                let handlers: Vec<_> = outcome
                    .handlers
                    .iter()
                    .map(|report| (report.plugin_id.clone(), report.outcome(), report.message.clone(), report.recheck))
                    .collect();
                let digest = outcome.decision.map(|decision| decision.params_sha256);
                outcomes.push((outcome.verdict, outcome.result, outcome.reason, digest, outcome.rechecked, handlers));
            }
            assert_eq!(outcomes[0], outcomes[1]);
        }));
    }
}
