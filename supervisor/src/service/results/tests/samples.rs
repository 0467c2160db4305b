//! Answers of every kind: plain ones, and whatever a plugin may send.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::evaluation::{Completed, Skipped, Verdict};
use types::finalize_decision::RetryCandidate;
use types::gate_decision::{Decision as GateOr, Pass};
use types::message_rewrite::Replacement;
use types::subagent_spawn::{Ready, Status};
use types::tool_call_decision::Decision as ToolOr;

use super::*;

/// Every kind of answer.
pub(super) const KINDS: [ResultKind; 11] = [
    ResultKind::ToolCall,
    ResultKind::Prompt,
    ResultKind::Message,
    ResultKind::Gate,
    ResultKind::Claim,
    ResultKind::Finalize,
    ResultKind::Model,
    ResultKind::ExecEnvironment,
    ResultKind::Evaluation,
    ResultKind::SubagentSpawn,
    ResultKind::SubagentDelivery,
];

pub(super) fn block(reason: &str) -> types::Block {
    types::Block { reason: reason.to_owned(), ..types::Block::default() }
}

pub(super) fn tool_block(reason: &str) -> Kind {
    Kind::ToolCall(types::ToolCallDecision { decision: Some(ToolOr::Block(block(reason))) })
}

pub(super) fn params(text: &str) -> Kind {
    proceed(types::Proceed { params_json: json(text), approval: None })
}

pub(super) fn proceed(proceed: types::Proceed) -> Kind {
    Kind::ToolCall(types::ToolCallDecision { decision: Some(ToolOr::Proceed(proceed)) })
}

pub(super) fn approval(title: &str) -> types::ApprovalRequest {
    types::ApprovalRequest { title: title.to_owned(), ..types::ApprovalRequest::default() }
}

pub(super) fn gate(decision: GateOr, findings: &[&str]) -> Kind {
    let findings_json = findings.iter().map(|finding| json(finding)).collect();
    Kind::Gate(types::GateDecision { decision: Some(decision), findings_json })
}

pub(super) fn gate_pass() -> Kind {
    gate(GateOr::Pass(Pass {}), &[])
}

pub(super) fn gate_block(reason: &str) -> Kind {
    gate(GateOr::Block(block(reason)), &[])
}

pub(super) fn message(text: &str) -> Kind {
    let replacement = Some(Replacement::MessageJson(json(text)));
    Kind::Message(types::MessageRewrite { replacement, ..types::MessageRewrite::default() })
}

pub(super) fn retry(instruction: &str, key: &str, max_attempts: u32) -> RetryCandidate {
    RetryCandidate { instruction: instruction.to_owned(), idempotency_key: key.to_owned(), max_attempts }
}

pub(super) fn finalize(action: types::FinalizeAction, reason: &str, retries: Vec<RetryCandidate>) -> Kind {
    Kind::Finalize(types::FinalizeDecision { action: action as i32, reason: reason.to_owned(), retries })
}

pub(super) fn verdict(block: bool, reason: &str, detail: &str) -> Kind {
    let completed = Completed { block, reason: reason.to_owned(), detail_json: json(detail) };
    Kind::Evaluation(types::Evaluation { verdict: Some(Verdict::Completed(completed)) })
}

pub(super) fn ready(thread_binding_ready: bool) -> Kind {
    Kind::SubagentSpawn(types::SubagentSpawn { status: Some(Status::Ok(Ready { thread_binding_ready })) })
}

pub(super) fn spawn_error(error: &str) -> Kind {
    Kind::SubagentSpawn(types::SubagentSpawn { status: Some(Status::Error(error.to_owned())) })
}

pub(super) fn variables(variables: &[(&str, &str)]) -> Kind {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Kind::ExecEnvironment(types::ExecEnvironment { variables })
}

/// A plain answer of a kind, without a field that some hook does not take.
pub(super) fn plain(kind: ResultKind) -> Kind {
    match kind {
        ResultKind::Nothing => unreachable!("there is no such answer"),
        ResultKind::ToolCall => params("{\"a\":1}"),
        ResultKind::Prompt => {
            Kind::Prompt(types::PromptContribution { prepend_context: "x".to_owned(), ..Default::default() })
        }
        ResultKind::Message => Kind::Message(types::MessageRewrite { reason: "x".to_owned(), ..Default::default() }),
        ResultKind::Gate => gate_pass(),
        ResultKind::Claim => Kind::Claim(types::Claim { reason: "x".to_owned(), ..Default::default() }),
        ResultKind::Finalize => finalize(types::FinalizeAction::Revise, "x", Vec::new()),
        ResultKind::Model => Kind::Model(types::ModelOverride { model: Some("m".to_owned()), provider: None }),
        ResultKind::ExecEnvironment => variables(&[("A", "1")]),
        ResultKind::Evaluation => verdict(false, "x", ""),
        ResultKind::SubagentSpawn => ready(true),
        ResultKind::SubagentDelivery => {
            Kind::SubagentDelivery(types::SubagentDelivery { origin_json: json("{\"a\":1}") })
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]{0,3}",
        2 => "[ \\n\\ta\u{1b}\u{202e}é😀]{0,6}",
        1 => (0..4usize).prop_map(|n| "é".repeat([2_000, 2_001, 65_536, 65_537][n])),
    ]
}

fn object() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        6 => prop::collection::btree_map("[a-c]|trusted(A|_x)?", 0..9u8, 0..4)
            .prop_map(|map| serde_json::to_vec(&map).expect("a map of numbers").into()),
        1 => Just(json("{\"a\":{\"\\u0074rustedLocalMedia\":true,\"b\":[{\"trusted\":{}}]}}")),
    ]
}

fn any_json() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        6 => object(),
        1 => Just(Bytes::new()),
        1 => prop::sample::select(vec!["null", "[]", "1", "{", "{\"a\":1,\"a\":2}", "\"\\ud800\""]).prop_map(json),
        1 => prop::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from),
    ]
}

fn tool() -> impl Strategy<Value = String> {
    prop_oneof![9 => "[a-d]", 1 => prop::sample::select(vec!["Exec", "*", "bash", ""]).prop_map(str::to_owned)]
}

fn any_block() -> impl Strategy<Value = types::Block> {
    (text(), text(), text(), any_json()).prop_map(|(reason, message, category, metadata_json)| types::Block {
        reason,
        message,
        category,
        metadata_json,
    })
}

fn any_approval() -> impl Strategy<Value = types::ApprovalRequest> {
    let timeout =
        prop::option::of((-2..1_000i64, any::<i32>()).prop_map(|(seconds, nanos)| prost_types::Duration {
            seconds,
            nanos: if nanos % 2 == 0 { 0 } else { nanos },
        }));
    (text(), text(), text(), -1..5i32, timeout, prop::collection::vec(0..5i32, 0..4), any_json()).prop_map(
        |(title, description, detail, severity, timeout, allowed, context_json)| types::ApprovalRequest {
            title: format!("t{title}"),
            description,
            detail,
            severity,
            timeout,
            allowed,
            context_json,
        },
    )
}

fn any_prompt() -> impl Strategy<Value = types::PromptContribution> {
    let tools = prop::option::of(prop::collection::vec(tool(), 0..5));
    ((text(), text(), text(), text()), prop::option::of(text()), tools).prop_map(|(texts, system_prompt, tools)| {
        types::PromptContribution {
            prepend_context: texts.0,
            append_context: texts.1,
            prepend_system_context: texts.2,
            append_system_context: texts.3,
            system_prompt,
            tools_allow: tools.map(|names| types::ToolList { names }),
        }
    })
}

fn any_message() -> impl Strategy<Value = types::MessageRewrite> {
    let replacement = prop_oneof![
        Just(None),
        text().prop_map(|text| Some(Replacement::Content(text))),
        any_json().prop_map(|text| Some(Replacement::MessageJson(text))),
    ];
    (replacement, prop::bool::weighted(0.2), text(), any_json()).prop_map(
        |(replacement, cancel, reason, metadata_json)| types::MessageRewrite {
            replacement,
            cancel,
            reason,
            metadata_json,
        },
    )
}

fn any_finalize() -> impl Strategy<Value = Kind> {
    let retries = prop::collection::vec((text(), text(), 0..3u32), 0..10)
        .prop_map(|retries| retries.iter().map(|(text, key, max)| retry(text, key, *max)).collect::<Vec<_>>());
    (prop::sample::select(vec![0, 1, 1, 2, 2, 2, 2, 3, 9]), text(), retries)
        .prop_map(|(action, reason, retries)| Kind::Finalize(types::FinalizeDecision { action, reason, retries }))
}

/// Whatever a plugin may send as an answer of a kind; most of it valid.
pub(super) fn any_answer(kind: ResultKind) -> BoxedStrategy<Kind> {
    match kind {
        ResultKind::Nothing => unreachable!("there is no such answer"),
        ResultKind::ToolCall => prop_oneof![
            1 => Just(Kind::ToolCall(types::ToolCallDecision { decision: None })),
            3 => any_block().prop_map(|block| Kind::ToolCall(types::ToolCallDecision { decision: Some(ToolOr::Block(block)) })),
            12 => (any_json(), prop::option::weighted(0.2, any_approval()))
                .prop_map(|(params_json, approval)| proceed(types::Proceed { params_json, approval })),
        ]
        .boxed(),
        ResultKind::Prompt => any_prompt().prop_map(Kind::Prompt).boxed(),
        ResultKind::Message => any_message().prop_map(Kind::Message).boxed(),
        ResultKind::Gate => (
            prop_oneof![
                1 => Just(None),
                8 => Just(Some(GateOr::Pass(Pass {}))),
                2 => any_block().prop_map(|block| Some(GateOr::Block(block))),
            ],
            prop::collection::vec(object(), 0..4),
        )
            .prop_map(|(decision, findings_json)| Kind::Gate(types::GateDecision { decision, findings_json }))
            .boxed(),
        ResultKind::Claim => (any_json(), text(), text(), any::<bool>(), prop::collection::btree_map("tool|final|x", any::<u32>(), 0..3))
            .prop_map(|(reply_json, text, reason, queued_final, counts)| {
                Kind::Claim(types::Claim { reply_json, text, reason, queued_final, counts })
            })
            .boxed(),
        ResultKind::Finalize => any_finalize().boxed(),
        ResultKind::Model => (prop::option::of(text()), prop::option::of(text()))
            .prop_map(|(model, provider)| Kind::Model(types::ModelOverride { model, provider }))
            .boxed(),
        ResultKind::ExecEnvironment => prop::collection::btree_map("[A-D]|PATH|LD_A|-", text(), 0..6)
            .prop_map(|variables: BTreeMap<_, _>| Kind::ExecEnvironment(types::ExecEnvironment { variables }))
            .boxed(),
        ResultKind::Evaluation => prop_oneof![
            1 => Just(None),
            3 => text().prop_map(|reason| Some(Verdict::Skipped(Skipped { reason }))),
            6 => (any::<bool>(), text(), any_json()).prop_map(|(block, reason, detail_json)| {
                Some(Verdict::Completed(Completed { block, reason, detail_json }))
            }),
        ]
        .prop_map(|verdict| Kind::Evaluation(types::Evaluation { verdict }))
        .boxed(),
        ResultKind::SubagentSpawn => prop_oneof![
            1 => Just(Kind::SubagentSpawn(types::SubagentSpawn { status: None })),
            6 => any::<bool>().prop_map(ready),
            3 => text().prop_map(|error| spawn_error(&error)),
        ]
        .boxed(),
        ResultKind::SubagentDelivery => any_json()
            .prop_map(|origin_json| Kind::SubagentDelivery(types::SubagentDelivery { origin_json }))
            .boxed(),
    }
}

/// The hooks that take an answer.
pub(super) fn answered() -> Vec<Hook> {
    CATALOGUE.iter().filter(|row| row.result != ResultKind::Nothing).map(|row| row.hook).collect()
}
