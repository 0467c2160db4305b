//! Checks what a runtime asks before any plugin sees it.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::ErrorReason;
use tokio::time::Instant;

use super::dispatch::Call;
use super::runtimes::Runtime;
use super::status::Failure;
use crate::domain::hook::Hook;
use crate::domain::json::{self, JsonError, PAYLOAD_DEPTH, ValueLimits};
use crate::domain::names;
use crate::domain::text;

/// Event and context of a call together (architecture §14).
pub(crate) const MAX_PAYLOAD: usize = 3 * 1024 * 1024;
/// Texts longer than this are scanned off the data thread (architecture §15).
pub(crate) const SCAN_HERE: usize = 64 * 1024;

/// Checks one call.
///
/// # Errors
/// What is wrong, as the contract names it; no handler ran.
pub(crate) async fn check(mut invocation: Box<wire::HookInvocation>, runtime: &Runtime) -> Result<Call, Failure> {
    let Some(hook) = Hook::from_number(invocation.hook) else {
        return Err(Failure::field("invocation.hook", format!("{} is no hook that is known here", invocation.hook)));
    };
    let own_rpc = match hook {
        Hook::AgentTurnPrepare | Hook::HeartbeatPromptContribution => Some("PrepareTurn"),
        Hook::BeforeAgentFinalize => Some("FinalizeTurn"),
        _ => None,
    };
    if let Some(rpc) = own_rpc {
        let why = format!("`{}` is called by {rpc}", hook.name());
        return Err(Failure::new(ErrorReason::HookNotInvocable, why).meta("hook", hook.name()).meta("rpc", rpc));
    }
    let deadline = match &invocation.timeout {
        None => None,
        Some(timeout) => match super::wire::to_duration(timeout) {
            Some(timeout) if timeout > Duration::ZERO => Some(Instant::now() + timeout.min(Duration::from_secs(3600))),
            _ => return Err(Failure::field("invocation.timeout", "wants more than zero")),
        },
    };
    if hook.row().by_tool
        && let Err(error) = names::tool(&invocation.tool_name)
    {
        let wrong = format!("`{}` {error}", text::clean(&invocation.tool_name, 64));
        return Err(Failure::field("invocation.tool_name", wrong));
    }
    let id = text::units(&invocation.tool_call_id);
    if id > 256 || (id == 0 && hook == Hook::BeforeToolCall) {
        return Err(Failure::field("invocation.tool_call_id", "wants 1 to 256 characters"));
    }
    if text::units(&invocation.tool_authority) > 512 {
        return Err(Failure::field("invocation.tool_authority", "wants at most 512 characters"));
    }
    let size = invocation.event_json.len() + invocation.context_json.len();
    if size > MAX_PAYLOAD {
        let why = format!("event and context have {size} bytes, at most {MAX_PAYLOAD}");
        return Err(Failure::field("invocation.event_json", why));
    }
    if invocation.event_json.is_empty() {
        return Err(Failure::field("invocation.event_json", "wants a JSON object"));
    }
    if size + invocation.messages_json.len() <= SCAN_HERE {
        check_texts(&invocation, hook)?;
    } else {
        let scanned = tokio::task::spawn_blocking(move || check_texts(&invocation, hook).map(|()| invocation)).await;
        let lost = |_| Err(Failure::new(ErrorReason::Unspecified, "the scan of the payload was lost"));
        invocation = scanned.unwrap_or_else(lost)?;
    }
    if let Some(session) = &mut invocation.session {
        runtime.announce(session)?;
    }
    if let Some(run) = &invocation.run
        && (run.id.is_empty() || text::units(&run.id) > 256 || !run.handle.is_empty())
    {
        return Err(Failure::field("invocation.run", "wants an id of 1 to 256 characters, and no handle"));
    }
    Ok(Call { runtime_id: Arc::clone(&runtime.id), hook, asked: invocation, deadline, canary: false })
}

fn check_texts(invocation: &wire::HookInvocation, hook: Hook) -> Result<(), Failure> {
    let params = check_text("invocation.event_json", &invocation.event_json, true)?;
    // `params` must be there and an object: what is approved and digested is always one.
    if hook == Hook::BeforeToolCall && params.and_then(|at| invocation.event_json.get(at)) != Some(&b'{') {
        let right = "wants an object; `{}` where the tool got none or something else";
        return Err(Failure::field("invocation.event_json.params", right));
    }
    check_text("invocation.context_json", &invocation.context_json, true)?;
    check_text("invocation.messages_json", &invocation.messages_json, false)?;
    Ok(())
}

/// Checks one text; where the value of its member `params` begins.
fn check_text(field: &str, text: &[u8], object: bool) -> Result<Option<usize>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let limits = ValueLimits::payload(PAYLOAD_DEPTH);
    let limits = if object { limits.object() } else { limits };
    let params = json::validate_member(text, &limits, "params").map_err(|JsonError { rule, offset }| {
        Failure::new(ErrorReason::JsonInvalid, format!("{field}, byte {offset}: {rule}"))
            .meta("field", field)
            .meta("rule", rule.to_string())
            .meta("offset", offset.to_string())
    })?;
    if !object && text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return Err(Failure::field(field, "wants a JSON array"));
    }
    Ok(params)
}
