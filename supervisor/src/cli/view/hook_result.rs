//! What a handler answered to a hook, as JSON: `{"MEMBER": {…}}` with the member's name of `HookResult` in the contract.

use outrigger_proto::types::v1 as types;
use serde_json::{Map, Value, json};
use types::hook_result::Result as Answer;

use super::{json as parsed, length, name};

/// The answer; `null` where the handler had none of a kind that is known.
pub(crate) fn value(result: types::HookResult) -> Value {
    let Some(answer) = result.result else { return Value::Null };
    let (member, value) = match answer {
        Answer::ToolCall(decision) => ("tool_call", tool_call(decision)),
        Answer::Prompt(prompt) => (
            "prompt",
            object([
                ("prepend_context", text(prompt.prepend_context)),
                ("append_context", text(prompt.append_context)),
                ("prepend_system_context", text(prompt.prepend_system_context)),
                ("append_system_context", text(prompt.append_system_context)),
                ("system_prompt", prompt.system_prompt.map(Value::from)),
                ("tools_allow", prompt.tools_allow.map(|list| json!(list.names))),
            ]),
        ),
        Answer::Message(message) => ("message", message_rewrite(message)),
        Answer::Gate(gate) => ("gate", gate_decision(gate)),
        Answer::Claim(claim) => (
            "claim",
            object([
                ("reply", parsed(&claim.reply_json)),
                ("text", text(claim.text)),
                ("reason", text(claim.reason)),
                ("queued_final", claim.queued_final.then_some(Value::Bool(true))),
                ("counts", (!claim.counts.is_empty()).then(|| json!(claim.counts))),
            ]),
        ),
        Answer::Finalize(finalize) => ("finalize", finalize_decision(finalize)),
        Answer::Model(model) => {
            ("model", object([("model", model.model.map(Value::from)), ("provider", model.provider.map(Value::from))]))
        }
        Answer::ExecEnvironment(environment) => ("exec_environment", json!({ "variables": environment.variables })),
        Answer::Evaluation(evaluation) => ("evaluation", self::evaluation(evaluation)),
        Answer::SubagentSpawn(spawn) => {
            use types::subagent_spawn::Status;
            let status = match spawn.status {
                Some(Status::Ok(ready)) => json!({ "ok": { "thread_binding_ready": ready.thread_binding_ready } }),
                Some(Status::Error(error)) => json!({ "error": error }),
                None => Value::Null,
            };
            ("subagent_spawn", status)
        }
        Answer::SubagentDelivery(delivery) => {
            ("subagent_delivery", object([("origin", parsed(&delivery.origin_json))]))
        }
    };
    object([(member, Some(value))])
}

/// The block in an answer, where there is one: `true`, with its reason.
pub(crate) fn block(result: Option<&types::HookResult>) -> Option<String> {
    let block = match result?.result.as_ref()? {
        Answer::ToolCall(types::ToolCallDecision {
            decision: Some(types::tool_call_decision::Decision::Block(block)),
        }) => block,
        Answer::Gate(types::GateDecision { decision: Some(types::gate_decision::Decision::Block(block)), .. }) => block,
        _ => return None,
    };
    Some(block.reason.clone())
}

/// New parameters in an answer to a tool call, where there are some.
pub(crate) fn changed_params(result: Option<&types::HookResult>) -> Option<Value> {
    match result?.result.as_ref()? {
        Answer::ToolCall(types::ToolCallDecision {
            decision: Some(types::tool_call_decision::Decision::Proceed(proceed)),
        }) => parsed(&proceed.params_json),
        _ => None,
    }
}

fn tool_call(decision: types::ToolCallDecision) -> Value {
    use types::tool_call_decision::Decision;
    match decision.decision {
        Some(Decision::Block(block)) => json!({ "block": self::blocked(block) }),
        Some(Decision::Proceed(proceed)) => json!({
            "proceed": object([
                ("params", parsed(&proceed.params_json)),
                ("approval", proceed.approval.map(approval)),
            ])
        }),
        None => Value::Null,
    }
}

/// A question to a person.
pub(crate) fn approval(request: types::ApprovalRequest) -> Value {
    let allowed: Vec<_> =
        request.allowed.iter().map(|allowed| name!(types::ApprovalOutcome, "APPROVAL_OUTCOME_", *allowed)).collect();
    object([
        ("title", text(request.title)),
        ("description", text(request.description)),
        ("detail", text(request.detail)),
        ("severity", Some(name!(types::ApprovalSeverity, "APPROVAL_SEVERITY_", request.severity).into())),
        ("timeout_ms", length(request.timeout).map(|timeout| json!(timeout.as_millis() as u64))),
        ("allowed", (!allowed.is_empty()).then(|| json!(allowed))),
    ])
}

fn blocked(block: types::Block) -> Value {
    object([
        ("reason", text(block.reason)),
        ("message", text(block.message)),
        ("category", text(block.category)),
        ("metadata", parsed(&block.metadata_json)),
    ])
}

fn message_rewrite(message: types::MessageRewrite) -> Value {
    use types::message_rewrite::Replacement;
    let (content, payload) = match message.replacement {
        Some(Replacement::Content(content)) => (Some(Value::from(content)), None),
        Some(Replacement::MessageJson(payload)) => (None, parsed(&payload)),
        None => (None, None),
    };
    object([
        ("content", content),
        ("message", payload),
        ("cancel", message.cancel.then_some(Value::Bool(true))),
        ("reason", text(message.reason)),
        ("metadata", parsed(&message.metadata_json)),
    ])
}

fn gate_decision(gate: types::GateDecision) -> Value {
    use types::gate_decision::Decision;
    let findings: Vec<_> = gate.findings_json.iter().filter_map(|finding| parsed(finding)).collect();
    let (pass, block) = match gate.decision {
        Some(Decision::Pass(_)) => (Some(json!({})), None),
        Some(Decision::Block(block)) => (None, Some(blocked(block))),
        None => (None, None),
    };
    object([("pass", pass), ("block", block), ("findings", (!findings.is_empty()).then(|| json!(findings)))])
}

fn finalize_decision(finalize: types::FinalizeDecision) -> Value {
    let retries: Vec<_> = finalize
        .retries
        .into_iter()
        .map(|retry| {
            object([
                ("instruction", text(retry.instruction)),
                ("idempotency_key", text(retry.idempotency_key)),
                ("max_attempts", Some(json!(retry.max_attempts.max(1)))),
            ])
        })
        .collect();
    object([
        ("action", Some(name!(types::FinalizeAction, "FINALIZE_ACTION_", finalize.action).into())),
        ("reason", text(finalize.reason)),
        ("retries", (!retries.is_empty()).then(|| json!(retries))),
    ])
}

fn evaluation(evaluation: types::Evaluation) -> Value {
    use types::evaluation::Verdict;
    match evaluation.verdict {
        Some(Verdict::Completed(completed)) => json!({
            "completed": object([
                ("block", Some(completed.block.into())),
                ("reason", text(completed.reason)),
                ("detail", parsed(&completed.detail_json)),
            ])
        }),
        Some(Verdict::Skipped(skipped)) => json!({ "skipped": object([("reason", text(skipped.reason))]) }),
        None => Value::Null,
    }
}

fn text(text: String) -> Option<Value> {
    super::text(text).map(Value::from)
}

/// An object of the members that are there.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(members.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(answer: Answer) -> types::HookResult {
        types::HookResult { result: Some(answer) }
    }

    #[test]
    fn answers_keep_the_contracts_names() {
        use types::tool_call_decision::Decision;
        let blocked = answer(Answer::ToolCall(types::ToolCallDecision {
            decision: Some(Decision::Block(types::Block { reason: "no rm".into(), ..Default::default() })),
        }));
        assert_eq!(block(Some(&blocked)).as_deref(), Some("no rm"));
        assert_eq!(value(blocked), json!({ "tool_call": { "block": { "reason": "no rm" } } }));

        let changed = answer(Answer::ToolCall(types::ToolCallDecision {
            decision: Some(Decision::Proceed(types::Proceed {
                params_json: b"{\"a\":1}".to_vec().into(),
                approval: None,
            })),
        }));
        assert_eq!(changed_params(Some(&changed)), Some(json!({ "a": 1 })));
        assert_eq!(block(Some(&changed)), None);
        assert_eq!(value(changed), json!({ "tool_call": { "proceed": { "params": { "a": 1 } } } }));

        let prompt = answer(Answer::Prompt(types::PromptContribution {
            system_prompt: Some(String::new()),
            tools_allow: Some(types::ToolList::default()),
            ..Default::default()
        }));
        assert_eq!(value(prompt), json!({ "prompt": { "system_prompt": "", "tools_allow": [] } }));
        assert_eq!(value(types::HookResult { result: None }), Value::Null);
    }

    #[test]
    fn every_kind_of_answer_has_its_member() {
        let answers = [
            (
                Answer::Message(types::MessageRewrite { cancel: true, ..Default::default() }),
                json!({ "message": { "cancel": true } }),
            ),
            (
                Answer::Gate(types::GateDecision {
                    decision: Some(types::gate_decision::Decision::Pass(types::gate_decision::Pass {})),
                    findings_json: vec![b"{}".to_vec().into()],
                }),
                json!({ "gate": { "pass": {}, "findings": [{}] } }),
            ),
            (
                Answer::Claim(types::Claim { text: "hi".into(), ..Default::default() }),
                json!({ "claim": { "text": "hi" } }),
            ),
            (
                Answer::Finalize(types::FinalizeDecision { action: 2, ..Default::default() }),
                json!({ "finalize": { "action": "revise" } }),
            ),
            (
                Answer::Model(types::ModelOverride { model: Some("m".into()), provider: None }),
                json!({ "model": { "model": "m" } }),
            ),
            (
                Answer::ExecEnvironment(types::ExecEnvironment { variables: [("A".into(), "b".into())].into() }),
                json!({ "exec_environment": { "variables": { "A": "b" } } }),
            ),
            (
                Answer::Evaluation(types::Evaluation {
                    verdict: Some(types::evaluation::Verdict::Skipped(types::evaluation::Skipped {
                        reason: "x".into(),
                    })),
                }),
                json!({ "evaluation": { "skipped": { "reason": "x" } } }),
            ),
            (
                Answer::SubagentSpawn(types::SubagentSpawn {
                    status: Some(types::subagent_spawn::Status::Error("no".into())),
                }),
                json!({ "subagent_spawn": { "error": "no" } }),
            ),
            (
                Answer::SubagentDelivery(types::SubagentDelivery { origin_json: b"{\"c\":1}".to_vec().into() }),
                json!({ "subagent_delivery": { "origin": { "c": 1 } } }),
            ),
        ];
        for (given, expected) in answers {
            assert_eq!(value(answer(given)), expected);
        }
    }
}
