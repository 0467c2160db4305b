//! Every hook of the catalogue: what several plugins' answers come to, and what each way to fail does.
//!
//! All tests go over the catalogue itself, and what is expected of a hook is a match without a default: a new hook does
//! not compile until somebody has said how it behaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1::{self as types, HandlerOutcome as Fared};
use tokio::time::Instant;
use types::hook_result::Result as Kind;

use super::bench::{Bench, Script, able, call, handler, hangs, hook, one, policy, says, skipped};
use crate::domain::hook::{CATALOGUE, Hook, Kind as Calling, ResultKind, Row};
use crate::service::dispatch::{Call, Outcome, Verdict};
use crate::service::testing::{allow, failed, of_another_kind, settle, within};

const PLUGINS: [&str; 3] = ["p0", "p1", "p2"];

/// The answer of the plugin of this number; `None` where there is nothing to answer.
fn answer(row: &Row, number: u32) -> Option<Kind> {
    let json = |text: String| Bytes::from(text);
    Some(match row.result {
        ResultKind::Nothing => return None,
        ResultKind::ToolCall => params(&format!(r#"{{"k{number}":{number},"last":{number}}}"#)),
        ResultKind::Prompt => Kind::Prompt(types::PromptContribution {
            prepend_context: format!("before {number}"),
            append_context: format!("after {number}"),
            ..Default::default()
        }),
        ResultKind::Message if row.hook == Hook::MessageSending => Kind::Message(types::MessageRewrite {
            replacement: Some(types::message_rewrite::Replacement::Content(format!("text {number}"))),
            reason: if number == 2 { String::new() } else { format!("reason {number}") },
            ..Default::default()
        }),
        ResultKind::Message => message(&format!(r#"{{"n":{number}}}"#)),
        ResultKind::Gate => Kind::Gate(types::GateDecision {
            decision: Some(types::gate_decision::Decision::Pass(types::gate_decision::Pass {})),
            findings_json: if row.hook == Hook::BeforeInstall {
                vec![json(format!(r#"{{"f":{number}}}"#))]
            } else {
                vec![]
            },
        }),
        ResultKind::Claim => Kind::Claim(types::Claim { reason: format!("of {number}"), ..Default::default() }),
        ResultKind::Finalize => Kind::Finalize(types::FinalizeDecision {
            action: types::FinalizeAction::Revise as i32,
            reason: format!("reason {number}"),
            retries: vec![],
        }),
        ResultKind::Model => Kind::Model(types::ModelOverride {
            model: (number > 0).then(|| format!("model {number}")),
            provider: Some(format!("provider {number}")),
        }),
        ResultKind::ExecEnvironment => Kind::ExecEnvironment(types::ExecEnvironment {
            variables: [("A".to_owned(), number.to_string()), (format!("B{number}"), String::new())].into(),
        }),
        ResultKind::Evaluation => evaluation(false, &format!("reason {number}")),
        ResultKind::SubagentSpawn => Kind::SubagentSpawn(types::SubagentSpawn {
            status: Some(types::subagent_spawn::Status::Ok(types::subagent_spawn::Ready {
                thread_binding_ready: number == 1,
            })),
        }),
        ResultKind::SubagentDelivery => {
            Kind::SubagentDelivery(types::SubagentDelivery { origin_json: json(format!(r#"{{"o":{number}}}"#)) })
        }
    })
}

/// What the answers of these plugins come to; `None`: nobody has an opinion that counts.
fn merged(row: &Row, of: &[u32]) -> Option<Kind> {
    let first = *of.first()?;
    let last = *of.last()?;
    let joined = |word: &str| of.iter().map(|number| format!("{word} {number}")).collect::<Vec<_>>().join("\n\n");
    Some(match row.hook {
        Hook::ModelCallStarted
        | Hook::ModelCallEnded
        | Hook::LlmInput
        | Hook::LlmOutput
        | Hook::AgentEnd
        | Hook::BeforeCompaction
        | Hook::AfterCompaction
        | Hook::BeforeReset
        | Hook::ChannelPairingRequested
        | Hook::MessageReceived
        | Hook::MessageSent
        | Hook::AfterToolCall
        | Hook::SessionStart
        | Hook::SessionEnd
        | Hook::SubagentSpawned
        | Hook::SubagentProgress
        | Hook::SubagentEnded
        | Hook::GatewayStart
        | Hook::GatewayStop
        | Hook::CronReconciled
        | Hook::CronChanged
        | Hook::SkillProposalChanged
        | Hook::SkillChanged => return None,
        // A pass says nothing; verdicts and proposals are told apart from the result.
        Hook::BeforeAgentRun | Hook::SkillProposalEvaluate | Hook::BeforeAgentFinalize => return None,
        Hook::BeforeToolCall => {
            let keys: Vec<String> = of.iter().map(|number| format!(r#""k{number}":{number}"#)).collect();
            params(&format!(r#"{{"command":"ls",{},"last":{last}}}"#, keys.join(",")))
        }
        Hook::BeforeModelResolve => Kind::Model(types::ModelOverride {
            model: of.iter().find(|number| **number > 0).map(|number| format!("model {number}")),
            provider: Some(format!("provider {first}")),
        }),
        Hook::AgentTurnPrepare | Hook::BeforePromptBuild | Hook::HeartbeatPromptContribution => {
            Kind::Prompt(types::PromptContribution {
                prepend_context: joined("before"),
                append_context: joined("after"),
                ..Default::default()
            })
        }
        Hook::BeforeAgentReply | Hook::BeforeDispatch | Hook::ReplyDispatch | Hook::InboundClaim => {
            return answer(row, first);
        }
        Hook::MessageSending => {
            let reason = of.iter().rev().find(|number| **number != 2);
            Kind::Message(types::MessageRewrite {
                replacement: Some(types::message_rewrite::Replacement::Content(format!("text {last}"))),
                reason: reason.map(|number| format!("reason {number}")).unwrap_or_default(),
                ..Default::default()
            })
        }
        Hook::ReplyPayloadSending | Hook::ToolResultPersist | Hook::BeforeMessageWrite => return answer(row, last),
        Hook::BeforeInstall => Kind::Gate(types::GateDecision {
            decision: Some(types::gate_decision::Decision::Pass(types::gate_decision::Pass {})),
            findings_json: of.iter().map(|number| Bytes::from(format!(r#"{{"f":{number}}}"#))).collect(),
        }),
        Hook::ResolveExecEnv => {
            let mut variables: std::collections::BTreeMap<String, String> =
                of.iter().map(|number| (format!("B{number}"), String::new())).collect();
            variables.insert("A".to_owned(), last.to_string());
            Kind::ExecEnvironment(types::ExecEnvironment { variables })
        }
        Hook::SubagentSpawning => Kind::SubagentSpawn(types::SubagentSpawn {
            status: Some(types::subagent_spawn::Status::Ok(types::subagent_spawn::Ready {
                thread_binding_ready: of.contains(&1),
            })),
        }),
        Hook::SubagentDeliveryTarget => return answer(row, first),
    })
}

/// A refusal with a reason, where the hook has one.
fn refusal(row: &Row) -> Option<Kind> {
    let block = types::Block { reason: "no".to_owned(), ..Default::default() };
    Some(match row.result {
        ResultKind::ToolCall => Kind::ToolCall(types::ToolCallDecision {
            decision: Some(types::tool_call_decision::Decision::Block(block)),
        }),
        ResultKind::Gate => Kind::Gate(types::GateDecision {
            decision: Some(types::gate_decision::Decision::Block(block)),
            findings_json: vec![],
        }),
        ResultKind::Message if row.hook != Hook::ToolResultPersist => {
            Kind::Message(types::MessageRewrite { cancel: true, reason: "no".to_owned(), ..Default::default() })
        }
        ResultKind::Evaluation => evaluation(true, "no"),
        ResultKind::SubagentSpawn => Kind::SubagentSpawn(types::SubagentSpawn {
            status: Some(types::subagent_spawn::Status::Error("no".to_owned())),
        }),
        ResultKind::Nothing
        | ResultKind::Message
        | ResultKind::Prompt
        | ResultKind::Claim
        | ResultKind::Finalize
        | ResultKind::Model
        | ResultKind::ExecEnvironment
        | ResultKind::SubagentDelivery => return None,
    })
}

fn params(text: &str) -> Kind {
    let proceed = types::Proceed { params_json: Bytes::copy_from_slice(text.as_bytes()), approval: None };
    Kind::ToolCall(types::ToolCallDecision { decision: Some(types::tool_call_decision::Decision::Proceed(proceed)) })
}

fn message(text: &str) -> Kind {
    let json = Bytes::copy_from_slice(text.as_bytes());
    let replacement = Some(types::message_rewrite::Replacement::MessageJson(json));
    Kind::Message(types::MessageRewrite { replacement, ..Default::default() })
}

fn evaluation(block: bool, reason: &str) -> Kind {
    let completed = types::evaluation::Completed { block, reason: reason.to_owned(), detail_json: Bytes::new() };
    Kind::Evaluation(types::Evaluation { verdict: Some(types::evaluation::Verdict::Completed(completed)) })
}

/// What a plugin says to a call of a hook; asked once more it does not mind.
fn plain(row: &'static Row, number: u32) -> Script {
    Arc::new(move |question| {
        let answered = answer(row, number).map_or(Answer::Completed(wire::Completed {}), hook);
        (Duration::ZERO, Some(if question.call.recheck { allow() } else { answered }))
    })
}

/// The call; a claim that wants a target has the middle plugin.
fn called(row: &Row) -> Call {
    let mut call = call(row);
    if row.hook == Hook::InboundClaim {
        call.asked.target_plugin_id = PLUGINS[1].to_owned();
    }
    call
}

/// Who takes part in such a call, in order, while nobody fails.
fn takes_part(row: &Row) -> Vec<u32> {
    match (row.hook, row.kind) {
        (Hook::InboundClaim, _) => vec![1],
        (_, Calling::Claim) => vec![0],
        _ => vec![0, 1, 2],
    }
}

/// A row's plugins, the middle one with a script of its own.
fn seated(row: &'static Row, middle: Script) -> Bench {
    let mut bench = Bench::new();
    for (number, id) in (0..).zip(PLUGINS) {
        let script = if number == 1 { Arc::clone(&middle) } else { plain(row, number) };
        bench.sit(&able(id), number as usize, 1, &one(handler(row.hook, "h")), script);
    }
    bench
}

fn names(of: &[u32]) -> Vec<String> {
    of.iter().map(|number| format!("p{number}")).collect()
}

/// Who was asked first, without those who were asked once more; in the order of asking, where there is one.
fn asked(row: &Row, bench: &Bench) -> Vec<String> {
    let mut asked: Vec<String> = bench.order().into_iter().filter(|name| !name.ends_with('!')).collect();
    if matches!(row.kind, Calling::Observe | Calling::Evaluate) {
        asked.sort();
    }
    asked
}

fn fared(outcome: &Outcome) -> Option<(String, Fared)> {
    outcome.decided_by.as_ref().map(|report| (report.plugin_id.clone(), report.outcome()))
}

/// Everything that must come out where these plugins' answers count.
fn check_merged(row: &Row, outcome: &Outcome, of: &[u32]) {
    let name = row.name;
    assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::GoOn, ""), "{name}");
    let result = outcome.result.clone().and_then(|result| result.result);
    match (merged(row, of), result) {
        // Keys may come in any order.
        (Some(Kind::ToolCall(expected)), Some(Kind::ToolCall(result))) => {
            assert_eq!(values(&result), values(&expected), "{name}");
        }
        (expected, result) => assert_eq!(result, expected, "{name}"),
    }
    assert_eq!(outcome.decision.is_some(), row.hook == Hook::BeforeToolCall, "{name}");
    let evaluations: Vec<_> = outcome.evaluations.iter().filter_map(|of| of.evaluation.clone()).collect();
    let proposal = outcome.finalize.as_ref().map(|(proposal, _)| proposal.reason.clone());
    match row.hook {
        Hook::SkillProposalEvaluate => assert_eq!(evaluations.len(), of.len(), "{name}"),
        Hook::BeforeAgentFinalize => {
            let reasons: Vec<_> = of.iter().map(|number| format!("reason {number}")).collect();
            assert_eq!(proposal, (!of.is_empty()).then(|| reasons.join("\n\n")));
        }
        _ => assert_eq!((evaluations.len(), proposal), (0, None), "{name}"),
    }
}

fn values(decision: &types::ToolCallDecision) -> Option<serde_json::Value> {
    match &decision.decision {
        Some(types::tool_call_decision::Decision::Proceed(proceed)) => {
            serde_json::from_slice(&proceed.params_json).ok()
        }
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_several_plugins_are_merged_as_the_catalogue_says() {
    within(async {
        for row in CATALOGUE {
            let bench = seated(row, plain(row, 1));
            let outcome = bench.call(called(row)).await;
            let of = takes_part(row);
            check_merged(row, &outcome, &of);
            assert_eq!(asked(row, &bench), names(&of), "{}", row.name);
            let first: Vec<_> = outcome.handlers.iter().filter(|report| !report.recheck).collect();
            assert_eq!(first.len(), of.len(), "{}", row.name);
            assert!(first.iter().all(|report| report.outcome() == Fared::Allow), "{}", row.name);
            if row.kind == Calling::Claim {
                assert_eq!(fared(&outcome), Some((format!("p{}", of[0]), Fared::Allow)), "{}", row.name);
            }
        }
    })
    .await;
}

/// Priority first, then the place in the file, then in the registration.
#[tokio::test(start_paused = true)]
async fn every_hook_has_the_same_order() {
    within(async {
        for row in CATALOGUE {
            let mut bench = Bench::new();
            let with = |id: &str, priority| wire::HookRegistration { priority, ..handler(row.hook, id) };
            let seats = [("late", 2, vec![with("a", 0), with("b", 5)]), ("early", 1, vec![with("c", 0), with("d", 0)])];
            for (id, position, hooks) in seats {
                let register = wire::Register { hooks, ..Default::default() };
                bench.sit(&able(id), position, 1, &register, says(allow()));
            }
            let targets: &[&str] = if row.hook == Hook::InboundClaim { &["late", "early"] } else { &[""] };
            let mut order: Vec<String> = Vec::new();
            for target in targets {
                let mut call = call(row);
                call.asked.target_plugin_id = (*target).to_owned();
                let outcome = bench.call(call).await;
                order.extend(outcome.handlers.into_iter().map(|report| report.handler_id));
            }
            let expected = match row.hook {
                Hook::InboundClaim => ["b", "a", "c", "d"],
                _ => ["b", "c", "d", "a"],
            };
            assert_eq!(order, expected, "{}", row.name);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_middle_one_is_named_and_ends_what_it_ends() {
    within(async {
        for row in CATALOGUE {
            let Some(refusal) = refusal(row) else { continue };
            let bench = seated(row, says(hook(refusal)));
            let outcome = bench.call(called(row)).await;
            assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Stop, "p1: no"), "{}", row.name);
            assert_eq!(fared(&outcome), Some(("p1".to_owned(), Fared::Deny)), "{}", row.name);
            assert_eq!(outcome.decision, None, "{}", row.name);
            let ends = !matches!(row.result, ResultKind::Evaluation | ResultKind::SubagentSpawn);
            assert_eq!(asked(row, &bench), names(if ends { &[0, 1] } else { &[0, 1, 2] }), "{}", row.name);
            assert_eq!(bench.views["p1"].denials(), 1, "{}", row.name);
        }
    })
    .await;
}

/// A refusal that gives no reason is still one that people can read.
#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_reason_has_one() {
    within(async {
        for row in CATALOGUE {
            let silent = match refusal(row) {
                Some(Kind::Message(cancel)) => Kind::Message(types::MessageRewrite { reason: String::new(), ..cancel }),
                Some(Kind::Evaluation(_)) => evaluation(true, ""),
                _ => continue,
            };
            let bench = seated(row, says(hook(silent)));
            let outcome = bench.call(called(row)).await;
            assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Stop, "p1: blocked by h"), "{}", row.name);
        }
    })
    .await;
}

/// What must come out where the middle plugin did not answer.
fn check_failed(row: &Row, outcome: &Outcome, how: Fared, says: &str) {
    let name = row.name;
    if row.hook.is_guard() {
        assert_eq!(outcome.verdict, Verdict::Stop, "{name}");
        assert_eq!(fared(outcome), Some(("p1".to_owned(), how)), "{name}");
        assert!(outcome.reason.starts_with(&format!("p1: {says}")), "{name}: {}", outcome.reason);
        assert_eq!((outcome.decision.as_ref(), outcome.result.as_ref()), (None, None), "{name}");
        return;
    }
    let of: Vec<u32> = takes_part(row).into_iter().filter(|number| *number != 1).collect();
    check_merged(row, outcome, &of);
    // A claim that has its answer does not get as far as the one that fails.
    if row.kind == Calling::Claim && row.hook != Hook::InboundClaim {
        return;
    }
    let report = outcome.handlers.iter().find(|report| report.plugin_id == "p1");
    let reported = report.map(|report| report.outcome());
    assert_eq!(reported, Some(how), "{name}");
    if row.hook == Hook::InboundClaim {
        let miss = if how == Fared::Absent { runtime::ClaimMiss::PluginMissing } else { runtime::ClaimMiss::Error };
        assert_eq!(outcome.claim_miss, miss);
        assert_eq!(fared(outcome), Some(("p1".to_owned(), how)));
    }
    if row.kind == Calling::Evaluate {
        let of: Vec<_> = outcome.evaluations.iter().map(|one| (fares(one), one.evaluation.is_some())).collect();
        assert_eq!(of, [(Fared::Allow, true), (how, false), (Fared::Allow, true)]);
    }
}

fn fares(one: &runtime::HandlerEvaluation) -> Fared {
    one.handler.as_ref().map_or(Fared::Unspecified, types::HandlerReport::outcome)
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_passed_over_or_blocks() {
    within(async {
        for row in CATALOGUE {
            let wrong = [
                (failed("kaput"), "its handler failed: kaput"),
                (of_another_kind(), "gave an invalid answer"),
                (Answer::Hook(types::HookResult::default()), "gave an invalid answer"),
            ];
            for (answer, text) in wrong {
                let bench = seated(row, says(answer));
                check_failed(row, &bench.call(called(row)).await, Fared::Error, text);
                let claimed = row.kind == Calling::Claim && row.hook != Hook::InboundClaim;
                let log = bench.views["p1"].logs.read(0, 10).lines;
                let logged = log.iter().any(|line| line.text.contains(text));
                assert_eq!(logged, !claimed, "{}: {log:?}", row.name);
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn x2_a_plugin_that_hangs_in_any_hook_costs_its_time_and_is_cancelled() {
    within(async {
        for row in CATALOGUE {
            let bench = seated(row, hangs());
            let started = Instant::now();
            let outcome = bench.call(called(row)).await;
            check_failed(row, &outcome, Fared::Timeout, "did not answer in time");
            settle().await;
            if row.kind == Calling::Claim && row.hook != Hook::InboundClaim {
                continue;
            }
            assert_eq!(started.elapsed(), row.timeout, "{}", row.name);
            assert_eq!(bench.cancelled(), ["p1"], "{}", row.name);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn x1_a_plugin_that_ends_in_any_hook_fails_that_call() {
    within(async {
        for row in CATALOGUE {
            let mut bench = seated(row, says(allow()));
            let late = (Duration::from_millis(100), Some(allow()));
            let slow: Script = Arc::new(move |_| late.clone());
            let session = bench.sit(&able("p1"), 1, 2, &one(handler(row.hook, "h")), slow);
            let (dispatcher, call) = (Arc::clone(&bench.dispatcher), called(row));
            let calling = tokio::spawn(async move { dispatcher.dispatch(call).await });
            settle().await;
            session.end("it was killed by signal 9");
            let outcome = calling.await.expect("no panic");
            check_failed(row, &outcome, Fared::Error, "it was killed by signal 9");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_absent_plugin_is_passed_over_or_denies_with_its_state() {
    within(async {
        for row in CATALOGUE {
            // It has just gone: the snapshot of the call still has it.
            let mut bench = seated(row, says(allow()));
            let session = bench.sit(&able("p1"), 1, 2, &one(handler(row.hook, "h")), says(allow()));
            bench.views["p1"].update(|status| status.state = types::PluginState::Quarantined);
            session.end("gone");
            bench.views["p1"].serve(None);
            check_failed(row, &bench.call(called(row)).await, Fared::Absent, "is quarantined");
            // It does not contribute a handler any more.
            bench.contribute(&able("p1"), 1, None);
            let outcome = bench.call(called(row)).await;
            if row.hook.is_guard() {
                check_failed(row, &outcome, Fared::Absent, "is quarantined");
                let state = outcome.decided_by.map(|report| report.plugin_state());
                assert_eq!(state, Some(types::PluginState::Quarantined), "{}", row.name);
                assert!(asked(row, &bench).iter().filter(|name| *name == "p0").count() <= 1, "{}", row.name);
                // Unless the operator said that it may be passed over.
                bench.contribute(&skipped("p1", row.hook), 1, None);
                check_merged(row, &bench.call(called(row)).await, &[0, 2]);
            } else if row.hook == Hook::InboundClaim {
                assert_eq!(outcome.claim_miss, runtime::ClaimMiss::PluginMissing);
            } else {
                let of: Vec<u32> = takes_part(row).into_iter().filter(|number| *number != 1).collect();
                check_merged(row, &outcome, &of);
            }
        }
    })
    .await;
}

/// The operator's word holds for a plugin that goes in the middle of a call, too, and for policies.
#[tokio::test(start_paused = true)]
async fn one_that_may_be_skipped_is_skipped_whenever_it_is_absent() {
    within(async {
        for row in CATALOGUE {
            let mut bench = seated(row, says(allow()));
            let session = bench.sit(&skipped("p1", row.hook), 1, 2, &one(handler(row.hook, "h")), says(allow()));
            session.stop_accepting();
            bench.views["p1"].serve(None);
            let of: Vec<u32> = takes_part(row).into_iter().filter(|number| *number != 1).collect();
            check_merged(row, &bench.call(called(row)).await, &of);
        }
        let mut bench = Bench::new();
        let session = bench.sit(&able("gate"), 0, 1, &policy("limits"), says(allow()));
        session.stop_accepting();
        bench.views["gate"].serve(None);
        let row = Hook::BeforeToolCall.row();
        let outcome = bench.call(call(row)).await;
        assert_eq!((outcome.verdict, fared(&outcome)), (Verdict::Stop, Some(("gate".to_owned(), Fared::Absent))));
        bench.contribute(&skipped("gate", row.hook), 0, Some(session));
        assert_eq!(bench.call(call(row)).await.verdict, Verdict::GoOn);
    })
    .await;
}
