//! Turns: what is added to a prompt, and whether an answer may go out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::{self as types, FinalizeAction, Trigger};
use tokio_util::task::TaskTracker;
use tonic::Code;
use types::hook_result::Result as Kind;

use super::bench::{Bench, Script, able, handler, hook, one, says, with_rights};
use crate::domain::hook::Hook;
use crate::domain::rights::{Scope, Tier};
use crate::service::runtimes::{Runtime, Runtimes};
use crate::service::testing::{failed, settle, within};
use crate::service::turns::Turns;

fn adds(before: &str, after: &str) -> Answer {
    let (prepend_context, append_context) = (before.to_owned(), after.to_owned());
    hook(Kind::Prompt(types::PromptContribution { prepend_context, append_context, ..Default::default() }))
}

fn session() -> Option<types::SessionRef> {
    Some(types::SessionRef { key: "agent:main".to_owned(), ..Default::default() })
}

fn run(id: &str) -> Option<types::RunRef> {
    Some(types::RunRef { id: id.to_owned(), ..Default::default() })
}

fn prepare(trigger: Trigger) -> wire::PrepareTurnRequest {
    wire::PrepareTurnRequest {
        session: session(),
        run: run("r"),
        trigger: trigger as i32,
        event_json: Bytes::from_static(br#"{"prompt":"what was said"}"#),
        ..Default::default()
    }
}

fn finalize(attempt: u32) -> wire::FinalizeTurnRequest {
    wire::FinalizeTurnRequest {
        session: session(),
        run: run("r"),
        attempt,
        event_json: Bytes::from_static(br#"{"lastAssistantMessage":"TODO"}"#),
        ..Default::default()
    }
}

struct Desk {
    bench: Bench,
    turns: Turns,
    runtime: Arc<Runtime>,
}

impl Desk {
    fn new(bench: Bench) -> Self {
        Self { bench, turns: Turns::new(TaskTracker::new()), runtime: Runtimes::default().of("default") }
    }

    async fn prepare(&self, request: wire::PrepareTurnRequest) -> Result<wire::PrepareTurnResponse, tonic::Status> {
        self.turns.prepare(&self.runtime, &self.bench.dispatcher, request).await.map_err(Into::into)
    }

    async fn finalize(&self, request: wire::FinalizeTurnRequest) -> wire::FinalizeTurnResponse {
        let told = self.turns.finalize(&self.runtime, &self.bench.dispatcher, request).await;
        told.map_err(tonic::Status::from).expect("a sound request")
    }
}

#[tokio::test(start_paused = true)]
async fn texts_are_folded_in_order_and_a_heartbeat_is_asked_at_heartbeats_only() {
    within(async {
        let mut bench = Bench::new();
        assert!(!Turns::prepares(&bench.registry.snapshot()));
        // Its place is before the other's, and its hook comes after.
        bench.sit(&able("a"), 0, 1, &one(handler(Hook::HeartbeatPromptContribution, "h")), says(adds("beat", "beats")));
        assert!(Turns::prepares(&bench.registry.snapshot()));
        bench.sit(&able("b"), 1, 1, &one(handler(Hook::AgentTurnPrepare, "h")), says(adds("one", "first")));
        bench.sit(&able("c"), 2, 1, &one(handler(Hook::AgentTurnPrepare, "h")), says(adds("two", "")));
        bench.sit(&able("d"), 3, 1, &one(handler(Hook::AgentTurnPrepare, "h")), says(failed("kaput")));
        let desk = Desk::new(bench);
        for trigger in [Trigger::Unspecified, Trigger::User, Trigger::Cron] {
            let turn = desk.prepare(prepare(trigger)).await.expect("a sound request");
            assert_eq!((turn.prepend_context.as_str(), turn.append_context.as_str()), ("one\n\ntwo", "first"));
            assert!(!desk.bench.order().contains(&"a".to_owned()));
        }
        let request =
            wire::PrepareTurnRequest { heartbeat_name: " morning ".to_owned(), ..prepare(Trigger::Heartbeat) };
        let turn = desk.prepare(request).await.expect("a sound request");
        assert_eq!(
            (turn.prepend_context.as_str(), turn.append_context.as_str()),
            ("one\n\ntwo\n\nbeat", "first\n\nbeats")
        );
        assert_eq!(turn.contribution_epoch, desk.bench.dispatcher.epoch());
        let asked = desk.bench.asked();
        let order: Vec<_> = asked.iter().map(|question| question.plugin.as_str()).collect();
        assert_eq!(order, ["b", "c", "d", "a"]);
        assert_eq!(asked[3].event()["heartbeatName"], "morning");
        assert_eq!(asked[0].event()["queuedInjections"], serde_json::json!([]));
        assert_eq!(asked[0].event()["prompt"], "what was said");
    })
    .await;
}

/// Q11: neither the prompt nor what was left for it.
#[tokio::test(start_paused = true)]
async fn q11_a_turn_shows_a_stranger_no_conversation() {
    within(async {
        let mut bench = Bench::new();
        let stranger = with_rights("p", Tier::Community, &[Scope::HooksPrompt]);
        bench.sit(&stranger, 0, 1, &one(handler(Hook::AgentTurnPrepare, "h")), says(adds("x", "")));
        let desk = Desk::new(bench);
        let request = wire::PrepareTurnRequest {
            messages_json: Bytes::from_static(br#"["what was said"]"#),
            context_json: Bytes::from_static(br#"{"channel":"c","prompt":"what was said"}"#),
            ..prepare(Trigger::User)
        };
        desk.prepare(request).await.expect("a sound request");
        let asked = desk.bench.asked();
        assert!(!asked[0].text().contains("what was said"), "{}", asked[0].text());
        assert_eq!(asked[0].event().get("queuedInjections"), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_names_its_session_and_run() {
    within(async {
        let desk = Desk::new(Bench::new());
        for request in [
            wire::PrepareTurnRequest { session: None, ..prepare(Trigger::User) },
            wire::PrepareTurnRequest { run: None, ..prepare(Trigger::User) },
            wire::PrepareTurnRequest { event_json: Bytes::new(), ..prepare(Trigger::User) },
            wire::PrepareTurnRequest { heartbeat_name: "x".repeat(129), ..prepare(Trigger::Heartbeat) },
        ] {
            assert_eq!(desk.prepare(request).await.expect_err("it is wrong").code(), Code::InvalidArgument);
        }
        let request = finalize(0);
        let refused = desk.turns.finalize(&desk.runtime, &desk.bench.dispatcher, request).await;
        assert_eq!(tonic::Status::from(refused.expect_err("attempts count from 1")).code(), Code::InvalidArgument);
    })
    .await;
}

/// A reviewer that wants another pass whenever it is asked.
fn reviewer(key: &'static str, most: u32) -> Script {
    let retry = types::finalize_decision::RetryCandidate {
        instruction: format!("Finish {key}."),
        idempotency_key: key.to_owned(),
        max_attempts: most,
    };
    says(hook(Kind::Finalize(types::FinalizeDecision {
        action: FinalizeAction::Revise as i32,
        reason: format!("{key} is not done"),
        retries: vec![retry],
    })))
}

fn action(response: &wire::FinalizeTurnResponse) -> FinalizeAction {
    response.decision.as_ref().map_or(FinalizeAction::Unspecified, types::FinalizeDecision::action)
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_sent_back_within_the_budget_and_an_attempt_has_one_answer() {
    within(async {
        let mut bench = Bench::new();
        bench.sit(&able("a"), 0, 1, &one(handler(Hook::BeforeAgentFinalize, "h")), reviewer("tests", 1));
        bench.sit(&able("b"), 1, 1, &one(handler(Hook::BeforeAgentFinalize, "h")), reviewer("docs", 2));
        let desk = Desk::new(bench);
        let first = desk.finalize(finalize(1)).await;
        let decision = first.decision.clone().expect("a decision");
        assert_eq!((action(&first), first.plugin_id.as_str(), first.budget_used), (FinalizeAction::Revise, "a", 1));
        assert_eq!(decision.retries.len(), 1);
        assert_eq!(decision.retries[0].instruction, "Finish tests.");
        assert!(decision.reason.contains("tests is not done") && decision.reason.contains("docs is not done"));
        // The same attempt once more: the same answer, and nobody is asked again.
        assert_eq!(desk.bench.order(), ["a", "b"]);
        assert_eq!(desk.finalize(finalize(1)).await, first);
        assert_eq!(desk.bench.order(), [""; 0]);
        for (attempt, used) in [(2, 1), (3, 2)] {
            let next = desk.finalize(finalize(attempt)).await;
            assert_eq!((action(&next), next.plugin_id.as_str(), next.budget_used), (FinalizeAction::Revise, "b", used));
        }
        let spent = desk.finalize(finalize(4)).await;
        assert_eq!((action(&spent), spent.retry_withheld), (FinalizeAction::Continue, true));
        // Another run has budgets of its own; one that has ended has none.
        let other = wire::FinalizeTurnRequest { run: run("other"), ..finalize(1) };
        assert_eq!(desk.finalize(other).await.plugin_id, "a");
        desk.bench.dispatcher.runs.end("default", "r", wire::RunEnd::Completed);
        settle().await;
        let late = desk.turns.finalize(&desk.runtime, &desk.bench.dispatcher, finalize(1)).await;
        assert!(late.is_err(), "it has ended");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_after_side_effects() {
    within(async {
        let mut bench = Bench::new();
        bench.sit(&able("a"), 0, 1, &one(handler(Hook::BeforeAgentFinalize, "h")), reviewer("tests", 9));
        let desk = Desk::new(bench);
        let committed = wire::FinalizeTurnRequest { side_effects_committed: true, ..finalize(1) };
        let answer = desk.finalize(committed).await;
        assert_eq!((action(&answer), answer.retry_withheld, answer.budget_used), (FinalizeAction::Continue, true, 0));
        assert!(answer.decision.is_some_and(|decision| decision.retries.is_empty()));
    })
    .await;
}

/// It fails open: an answer goes out though its reviewer failed or hangs.
#[tokio::test(start_paused = true)]
async fn a_reviewer_that_fails_holds_no_answer_back() {
    within(async {
        for script in [says(failed("kaput")), super::bench::hangs()] {
            let mut bench = Bench::new();
            bench.sit(&able("a"), 0, 1, &one(handler(Hook::BeforeAgentFinalize, "h")), script);
            let desk = Desk::new(bench);
            let timeout = Some(prost_types::Duration { seconds: 1, nanos: 0 });
            let started = tokio::time::Instant::now();
            let answer = desk.finalize(wire::FinalizeTurnRequest { timeout, ..finalize(1) }).await;
            assert_eq!((action(&answer), answer.retry_withheld), (FinalizeAction::Continue, false));
            assert!(started.elapsed() <= Duration::from_secs(1));
        }
    })
    .await;
}
