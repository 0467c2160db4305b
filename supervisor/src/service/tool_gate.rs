//! What handlers of `before_tool_call` can answer, and how parameters are merged.

use bytes::Bytes;
use outrigger_proto::types::v1 as types;

use crate::domain::json::{self, PAYLOAD_DEPTH, ValueLimits};
use crate::domain::text;

/// What one answer says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decided {
    /// No opinion.
    Pass,
    /// Do not run it.
    Block(String),
    /// Run it with these parameters, a JSON object.
    Params(Bytes),
}

/// Reads an answer.
///
/// # Errors
/// What is wrong with it: the handler has failed.
pub(crate) fn decide(result: &types::HookResult, handler: &str) -> Result<Decided, String> {
    use types::hook_result::Result as Kind;
    use types::tool_call_decision::Decision;
    let decision = match &result.result {
        Some(Kind::ToolCall(decision)) => decision,
        Some(_) => return Err("a result of another hook".to_owned()),
        None => return Err("a result without a kind that is known here".to_owned()),
    };
    match &decision.decision {
        Some(Decision::Block(block)) => {
            if text::units(&block.reason) > 2000 {
                return Err("a reason longer than 2,000 characters".to_owned());
            }
            let reason = text::clean(&block.reason, 2000);
            Ok(Decided::Block(if reason.is_empty() { format!("blocked by {handler}") } else { reason }))
        }
        Some(Decision::Proceed(proceed)) => {
            if proceed.approval.is_some() {
                // Nobody can be asked here: as where no route leads to a person.
                return Ok(Decided::Block("asks for an approval, and there is nobody to ask".to_owned()));
            }
            if proceed.params_json.is_empty() {
                return Ok(Decided::Pass);
            }
            match json::validate_value(&proceed.params_json, &ValueLimits::payload(PAYLOAD_DEPTH).object()) {
                Ok(()) => Ok(Decided::Params(proceed.params_json.clone())),
                Err(error) => Err(format!("params_json: {error}")),
            }
        }
        None => Err("a decision without a branch that is known here".to_owned()),
    }
}

/// Merges parameters key by key, the later ones over the earlier.
pub(crate) fn merge(before: &Bytes, over: &Bytes) -> Option<Bytes> {
    json::shallow_merge(before, over).ok()
}

/// The event with these parameters merged over its own, and the merged parameters.
pub(crate) fn with_params(event: &Bytes, params: &Bytes) -> (Bytes, Bytes) {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        params: Option<&'a serde_json::value::RawValue>,
    }
    let own = serde_json::from_slice::<Event<'_>>(event).ok().and_then(|event| event.params);
    let own = Bytes::copy_from_slice(own.map_or(b"{}".as_slice(), |raw| raw.get().as_bytes()));
    let merged = merge(&own, params).unwrap_or_else(|| params.clone());
    let mut member = Vec::with_capacity(merged.len() + 12);
    member.extend_from_slice(b"{\"params\":");
    member.extend_from_slice(&merged);
    member.push(b'}');
    let event = merge(event, &Bytes::from(member)).unwrap_or_else(|| event.clone());
    (event, merged)
}

/// The merged answer of a call that is blocked.
pub(crate) fn block(reason: String) -> types::HookResult {
    result(types::tool_call_decision::Decision::Block(types::Block { reason, ..Default::default() }))
}

/// The merged answer of a call that goes on with changed parameters.
pub(crate) fn proceed(params: Bytes) -> types::HookResult {
    result(types::tool_call_decision::Decision::Proceed(types::Proceed { params_json: params, approval: None }))
}

fn result(decision: types::tool_call_decision::Decision) -> types::HookResult {
    let tool_call = types::ToolCallDecision { decision: Some(decision) };
    types::HookResult { result: Some(types::hook_result::Result::ToolCall(tool_call)) }
}
