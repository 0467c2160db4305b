//! Questions to a person about a tool call, from the hook that asks to the decision that runs it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::{self as types, ApprovalOutcome, HandlerOutcome as Fared};
use tonic::Code;
use types::hook_result::Result as Kind;

use super::bench::{Bench, Question, Script, able, call, handler, hook, one, policy, with_rights};
use crate::domain::hook::Hook;
use crate::domain::rights::{Scope, Tier};
use crate::service::decisions::digest;
use crate::service::dispatch::{Outcome, Verdict};
use crate::service::hook_stream::redeem;
use crate::service::testing::{allow, params, settle, within};

const RUNTIME: &str = "default";

fn request() -> types::ApprovalRequest {
    types::ApprovalRequest {
        title: "May it?".to_owned(),
        context_json: Bytes::from_static(br#"{"mine":1}"#),
        ..Default::default()
    }
}

fn asks(params: &str, request: types::ApprovalRequest) -> Answer {
    let proceed = types::Proceed { params_json: Bytes::copy_from_slice(params.as_bytes()), approval: Some(request) };
    let decision = Some(types::tool_call_decision::Decision::Proceed(proceed));
    hook(Kind::ToolCall(types::ToolCallDecision { decision }))
}

/// Asks about every call, and notes what it hears.
fn asking(answer: Answer) -> Script {
    Arc::new(move |question| {
        let quiet = question.call.recheck || question.news.is_some();
        (Duration::ZERO, Some(if quiet { allow() } else { answer.clone() }))
    })
}

async fn ask(bench: &Bench) -> Outcome {
    bench.call(call(Hook::BeforeToolCall.row())).await
}

/// A policy that rewrites and asks, and the question it leads to.
async fn pending() -> (Bench, wire::PendingApproval) {
    let mut bench = Bench::new();
    bench.sit(&able("gate"), 0, 1, &policy("limits"), asking(asks(r#"{"command":"ls -l"}"#, request())));
    let outcome = ask(&bench).await;
    assert_eq!((outcome.verdict, outcome.decision), (Verdict::Ask, None));
    let approval = *outcome.approval.expect("it asks");
    (bench, approval)
}

fn resolve(
    bench: &Bench,
    runtime: &str,
    id: &str,
    outcome: ApprovalOutcome,
) -> Result<wire::ResolveApprovalResponse, tonic::Status> {
    let request = wire::ResolveApprovalRequest {
        approval_id: id.to_owned(),
        outcome: outcome as i32,
        resolved_by: "a person".to_owned(),
    };
    bench.dispatcher.approvals.resolve(runtime, &request).map_err(Into::into)
}

fn redeems(bench: &Bench, decision: &wire::Decision, params: &str) -> bool {
    let request = wire::RedeemDecisionRequest {
        decision_id: decision.decision_id.clone(),
        tool_call_id: "1".to_owned(),
        params_sha256: Bytes::copy_from_slice(&digest(params.as_bytes()).expect("JSON")),
    };
    redeem(&bench.dispatcher, RUNTIME, &request).is_ok()
}

/// What the asking plugin heard.
async fn heard(bench: &Bench) -> Vec<Question> {
    settle().await;
    bench.asked().into_iter().filter(|question| question.news.is_some()).collect()
}

fn news(question: &Question) -> &plugin::ApprovalCall {
    question.news.as_ref().expect("it is news")
}

/// Q13: what runs is what the person saw, once.
#[tokio::test(start_paused = true)]
async fn q13_what_was_rewritten_and_approved_runs_once() {
    within(async {
        let (bench, approval) = pending().await;
        assert_eq!((approval.plugin_id.as_str(), approval.plugin_name.as_str()), ("gate", "gate"));
        let shown = approval.request.clone().expect("what is asked");
        assert_eq!((shown.title.as_str(), shown.context_json.as_ref()), ("May it?", &b""[..]), "shown to nobody");
        let answer = resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::AllowedOnce).expect("it is open");
        let decision = answer.decision.clone().expect("it may run");
        let rewritten = digest(br#"{"command":"ls -l"}"#).expect("JSON");
        assert_eq!((answer.outcome(), &decision.params_sha256[..]), (ApprovalOutcome::AllowedOnce, &rewritten[..]));
        assert_eq!(answer.tool_call_id, "1");
        // The first resolution stands and is answered again, whatever comes.
        let again = resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::Denied).expect("it is known");
        assert_eq!(again, answer);
        assert!(!redeems(&bench, &decision, r#"{"command":"ls"}"#), "not what was approved");
        assert!(redeems(&bench, &decision, r#"{"command":"ls -l"}"#));
        assert!(!redeems(&bench, &decision, r#"{"command":"ls -l"}"#), "twice");
        let heard = heard(&bench).await;
        assert_eq!(heard.len(), 1, "told once");
        let news = news(&heard[0]);
        assert_eq!(
            (news.approval_id.as_str(), news.outcome()),
            (approval.approval_id.as_str(), ApprovalOutcome::AllowedOnce)
        );
        assert_eq!((news.tool_name.as_str(), news.tool_call_id.as_str()), ("exec", "1"));
        assert_eq!((&news.context_json[..], news.asked_by_generation), (&br#"{"mine":1}"#[..], 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_way_an_approval_ends_is_told_apart() {
    use ApprovalOutcome as Out;
    within(async {
        // What the runtime says, what it counts as, and whether the tool may run.
        let cases = [
            (Out::AllowedOnce, Out::AllowedOnce, true),
            (Out::AllowedAlways, Out::TimedOut, false),
            (Out::Denied, Out::Denied, false),
            (Out::TimedOut, Out::TimedOut, false),
            (Out::Cancelled, Out::Cancelled, false),
            (Out::NoRoute, Out::NoRoute, false),
        ];
        for (said, counts, runs) in cases {
            let mut bench = Bench::new();
            let request =
                types::ApprovalRequest { allowed: vec![Out::AllowedOnce as i32, Out::Denied as i32], ..request() };
            bench.sit(&able("p"), 0, 1, &one(handler(Hook::BeforeToolCall, "h")), asking(asks("", request)));
            let approval = ask(&bench).await.approval.expect("it asks");
            let answer = resolve(&bench, RUNTIME, &approval.approval_id, said).expect("it is open");
            assert_eq!((answer.outcome(), answer.decision.is_some()), (counts, runs), "{said:?}");
            assert_eq!(answer.message.is_empty(), said == counts, "{said:?}: {}", answer.message);
            // The event's own parameters, where nobody changed them.
            let own = digest(br#"{"command":"ls"}"#).expect("JSON");
            assert!(answer.decision.is_none_or(|decision| decision.params_sha256 == own[..]));
            let heard = heard(&bench).await;
            assert_eq!(heard.iter().map(|it| news(it).outcome()).collect::<Vec<_>>(), [counts]);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_in_time() {
    within(async {
        let (bench, approval) = pending().await;
        tokio::time::sleep(Duration::from_millis(119_999)).await;
        assert!(heard(&bench).await.is_empty());
        tokio::time::sleep(Duration::from_millis(1)).await;
        let heard = heard(&bench).await;
        assert_eq!(heard.iter().map(|it| news(it).outcome()).collect::<Vec<_>>(), [ApprovalOutcome::TimedOut]);
        // An answer that comes too late is told so, and lets nothing run.
        let late = resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::AllowedOnce).expect("it is known");
        assert_eq!((late.outcome(), late.decision), (ApprovalOutcome::TimedOut, None));
        assert!(!late.message.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_approval_belongs_to_its_runtime() {
    within(async {
        let (bench, approval) = pending().await;
        let id = &approval.approval_id;
        for (runtime, id) in [("other", id.as_str()), (RUNTIME, ""), (RUNTIME, "x-1")] {
            let status = resolve(&bench, runtime, id, ApprovalOutcome::AllowedOnce).expect_err("not its own");
            assert_eq!(status.code(), Code::NotFound);
        }
        let wrong = wire::ResolveApprovalRequest { approval_id: id.clone(), outcome: 99, ..Default::default() };
        for request in [wire::ResolveApprovalRequest { outcome: 0, ..wrong.clone() }, wrong] {
            let status: tonic::Status =
                bench.dispatcher.approvals.resolve(RUNTIME, &request).expect_err("no outcome").into();
            assert_eq!(status.code(), Code::InvalidArgument);
        }
        assert!(resolve(&bench, RUNTIME, id, ApprovalOutcome::AllowedOnce).is_ok(), "none of these ended it");
        assert_eq!(
            resolve(&bench, "other", id, ApprovalOutcome::Denied).expect_err("ended, too").code(),
            Code::NotFound
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_its_run_cancels_it() {
    within(async {
        let mut bench = Bench::new();
        bench.sit(&able("p"), 0, 1, &policy("limits"), asking(asks("", request())));
        let mut ids = Vec::new();
        for run in ["one", "two"] {
            let mut call = call(Hook::BeforeToolCall.row());
            call.run = Some(bench.dispatcher.runs.begin(RUNTIME, run).unwrap_or_else(|_| unreachable!("it is new")));
            ids.push(bench.call(call).await.approval.expect("it asks").approval_id);
        }
        bench.dispatcher.runs.end("other", "one", wire::RunEnd::Completed);
        bench.dispatcher.runs.end(RUNTIME, "one", wire::RunEnd::Completed);
        // The task that watches it has its turn.
        settle().await;
        let [one, two] = [0, 1].map(|at: usize| resolve(&bench, RUNTIME, &ids[at], ApprovalOutcome::AllowedOnce));
        let one = one.expect("it is known");
        assert_eq!((one.outcome(), one.decision), (ApprovalOutcome::Cancelled, None));
        assert!(two.expect("it is open").decision.is_some());
    })
    .await;
}

/// Quota of a community plugin: eight.
#[tokio::test(start_paused = true)]
async fn q20_too_many_pending_ones_are_refused_and_named() {
    within(async {
        let mut bench = Bench::new();
        let community = with_rights("p", Tier::Community, &[Scope::HooksTools]);
        let register = one(handler(Hook::BeforeToolCall, "h"));
        bench.sit(&community, 0, 1, &register, asking(asks(r#"{"command":"ls -l"}"#, request())));
        let mut first = String::new();
        for _ in 0..8 {
            first = ask(&bench).await.approval.expect("it asks").approval_id;
        }
        let outcome = ask(&bench).await;
        assert_eq!((outcome.verdict, outcome.decision, outcome.result), (Verdict::Stop, None, None));
        assert_eq!(outcome.reason, "p: asks for an approval, and 8 of it are pending, at most 8");
        let report = outcome.decided_by.expect("it did");
        assert_eq!((report.plugin_id.as_str(), report.outcome()), ("p", Fared::Error));
        resolve(&bench, RUNTIME, &first, ApprovalOutcome::Denied).expect("it is open");
        assert_eq!(ask(&bench).await.verdict, Verdict::Ask, "there is room again");
    })
    .await;
}

/// The plugin was replaced, or away, while the person thought.
#[tokio::test(start_paused = true)]
async fn a_later_generation_hears_of_it() {
    within(async {
        let (mut bench, approval) = pending().await;
        // The asking generation ends; nobody is there when the person answers.
        bench.contribute(&able("gate"), 0, None);
        bench.views["gate"].update(|status| status.state = types::PluginState::Waiting);
        resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::Denied).expect("it is open");
        assert!(heard(&bench).await.is_empty());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        bench.sit(&able("gate"), 0, 2, &policy("limits"), asking(asks("", request())));
        bench.views["gate"].update(|status| status.state = types::PluginState::Ready);
        let heard = heard(&bench).await;
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].generation, news(&heard[0]).asked_by_generation), (2, 1));
    })
    .await;
}

/// It crashed on the news: the next generation is told, and only it.
#[tokio::test(start_paused = true)]
async fn news_that_a_generation_did_not_survive_go_to_the_next() {
    within(async {
        let mut bench = Bench::new();
        let silent: Script = Arc::new(|question| {
            let answer = question.news.is_none().then(|| asks("", request()));
            (Duration::ZERO, answer)
        });
        let session = bench.sit(&able("gate"), 0, 1, &policy("limits"), silent);
        let approval = ask(&bench).await.approval.expect("it asks");
        resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::AllowedOnce).expect("it is open");
        assert_eq!(heard(&bench).await.len(), 1);
        session.end("it crashed");
        bench.sit(&able("gate"), 0, 2, &policy("limits"), asking(allow()));
        bench.views["gate"].update(|status| status.state = types::PluginState::Ready);
        assert_eq!(heard(&bench).await.iter().map(|it| it.generation).collect::<Vec<_>>(), [2]);
        bench.sit(&able("gate"), 0, 3, &policy("limits"), asking(allow()));
        bench.views["gate"].update(|status| status.state = types::PluginState::Draining);
        assert!(heard(&bench).await.is_empty(), "told already");
    })
    .await;
}

/// News that end every generation that hears them are dropped, and the log says so.
#[tokio::test(start_paused = true)]
async fn news_that_nobody_survives_are_dropped_in_the_end() {
    within(async {
        let mut bench = Bench::new();
        let silent: Script = Arc::new(|question| {
            let answer = question.news.is_none().then(|| asks("", request()));
            (Duration::ZERO, answer)
        });
        let mut session = bench.sit(&able("gate"), 0, 1, &policy("limits"), Arc::clone(&silent));
        let approval = ask(&bench).await.approval.expect("it asks");
        resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::AllowedOnce).expect("it is open");
        for generation in 1..=3 {
            assert_eq!(heard(&bench).await.iter().map(|it| it.generation).collect::<Vec<_>>(), [generation]);
            session.end("it crashed");
            session = bench.sit(&able("gate"), 0, generation + 1, &policy("limits"), Arc::clone(&silent));
            bench.views["gate"].update(|status| status.pid = generation as u32);
        }
        assert!(heard(&bench).await.is_empty(), "three times are enough");
        let log = bench.views["gate"].logs.read(0, 100).lines;
        let told = format!("approval {} has ended, and 3 generations ended as they were told so", approval.approval_id);
        assert!(log.iter().any(|line| line.text == told), "{log:?}");
    })
    .await;
}

/// A block of a later handler beats the question; nobody is asked.
#[tokio::test(start_paused = true)]
async fn a_later_block_beats_the_question_and_a_later_change_does_not_count() {
    within(async {
        let mut bench = Bench::new();
        let register = one(handler(Hook::BeforeToolCall, "h"));
        bench.sit(&able("a"), 0, 1, &register, asking(asks(r#"{"x":1}"#, request())));
        bench.sit(&able("b"), 1, 1, &register, asking(asks(r#"{"x":2}"#, request())));
        let outcome = ask(&bench).await;
        let approval = outcome.approval.expect("the first asks");
        assert_eq!(approval.plugin_id, "a");
        let answer = resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::AllowedOnce).expect("it is open");
        let frozen = digest(br#"{"command":"ls","x":1}"#).expect("JSON");
        assert_eq!(answer.decision.expect("it may run").params_sha256, frozen[..]);
        bench.sit(&able("b"), 1, 2, &register, asking(crate::service::testing::block("no")));
        let outcome = ask(&bench).await;
        assert_eq!((outcome.verdict, outcome.approval), (Verdict::Stop, None));
        assert_eq!(outcome.reason, "b: no");
        // What is not JSON of an object is a failure, asked or not.
        bench.sit(&able("b"), 1, 3, &register, asking(params("[]")));
        assert_eq!(ask(&bench).await.verdict, Verdict::Stop);
    })
    .await;
}

/// Architecture §7: quarantine cancels what the plugin asked; the runtime is told to take the question away.
#[tokio::test(start_paused = true)]
async fn the_quarantine_of_its_plugin_cancels_it() {
    within(async {
        let (mut bench, approval) = pending().await;
        let mut withdrawn = bench.dispatcher.approvals.withdrawn();
        // A crash alone, and a stop, leave the question as it is.
        for state in [types::PluginState::Waiting, types::PluginState::Stopped] {
            bench.contribute(&able("gate"), 0, None);
            bench.views["gate"].update(|status| status.state = state);
            settle().await;
            assert!(withdrawn.try_recv().is_err(), "{state:?}");
        }
        bench.views["gate"].update(|status| status.state = types::PluginState::Quarantined);
        settle().await;
        let (runtime, told) = withdrawn.try_recv().expect("it is told");
        let subject = Some(wire::withdrawn::Subject::ApprovalId(approval.approval_id.clone()));
        assert_eq!(
            (&*runtime, told.subject, told.reason.as_str()),
            (RUNTIME, subject, "the plugin that asked is quarantined")
        );
        let late = resolve(&bench, RUNTIME, &approval.approval_id, ApprovalOutcome::AllowedOnce).expect("it is known");
        assert_eq!((late.outcome(), late.decision), (ApprovalOutcome::Cancelled, None), "nothing may run");
        // Back from quarantine, the plugin hears how it ended.
        bench.sit(&able("gate"), 0, 2, &policy("limits"), asking(asks("", request())));
        bench.views["gate"].update(|status| status.state = types::PluginState::Ready);
        assert_eq!(
            heard(&bench).await.iter().map(|it| news(it).outcome()).collect::<Vec<_>>(),
            [ApprovalOutcome::Cancelled]
        );
    })
    .await;
}

/// What ends without the runtime is told to the runtime that has the question, and to no other.
#[tokio::test(start_paused = true)]
async fn a_runtime_is_told_of_what_ends_without_it() {
    within(async {
        use crate::service::testing::{World, hook as item, register};
        let world = World::with(vec![crate::service::testing::spec("p")]).await;
        let launch = world.launched().await;
        let served = launch.registered(register(vec![item("h", &[])])).await;
        let _called = served.serve(&launch.tree, |_| Some(asks("", request())));
        world.until_state("p", types::PluginState::Ready).await;
        let mut stream = super::news::attach(&world, 1, &[], &[]).await;
        let first = world.call("exec", "{}").await.approval.expect("it asks");
        let second = world.call("exec", "{}").await.approval.expect("it asks");
        // One is ended by the runtime itself, which needs no telling.
        let request = wire::ResolveApprovalRequest {
            approval_id: first.approval_id,
            outcome: ApprovalOutcome::Denied as i32,
            ..Default::default()
        };
        world.runtime().await.resolve_approval(request).await.expect("it is open");
        let withdrawn = loop {
            let message = stream.message().await.expect("it goes on").expect("it goes on");
            let kinds = message.directives.into_iter().filter_map(|directive| directive.kind);
            let found = kinds.filter_map(|kind| match kind {
                wire::directive::Kind::Withdrawn(withdrawn) => Some(withdrawn),
                _ => None,
            });
            if let Some(withdrawn) = found.last() {
                break withdrawn;
            }
        };
        assert_eq!(withdrawn.subject, Some(wire::withdrawn::Subject::ApprovalId(second.approval_id)));
        assert_eq!(withdrawn.reason, "nobody answered in time");
    })
    .await;
}
