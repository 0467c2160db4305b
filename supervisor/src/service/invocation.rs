//! Checks what a runtime asks before any plugin sees it.

use std::time::Duration;

use bytes::Bytes;
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
const SCAN_HERE: usize = 64 * 1024;

/// Checks one call.
///
/// # Errors
/// What is wrong, as the contract names it; no handler ran.
pub(crate) async fn check(invocation: wire::HookInvocation, runtime: &Runtime) -> Result<Call, Failure> {
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
    check_texts(&invocation, hook).await?;
    let session = invocation.session.map(|session| runtime.announce(session)).transpose()?;
    if let Some(run) = &invocation.run
        && (run.id.is_empty() || text::units(&run.id) > 256 || !run.handle.is_empty())
    {
        return Err(Failure::field("invocation.run", "wants an id of 1 to 256 characters, and no handle"));
    }
    Ok(Call {
        runtime_id: runtime.id.clone(),
        hook,
        tool_name: invocation.tool_name,
        tool_call_id: invocation.tool_call_id,
        event_json: invocation.event_json,
        context_json: invocation.context_json,
        messages_json: invocation.messages_json,
        messages_omitted: invocation.messages_omitted,
        session,
        run: invocation.run,
        trace: invocation.trace,
        deadline,
        report_handlers: invocation.report_handlers,
        canary: false,
    })
}

async fn check_texts(invocation: &wire::HookInvocation, hook: Hook) -> Result<(), Failure> {
    let texts = [
        ("invocation.event_json", invocation.event_json.clone(), true),
        ("invocation.context_json", invocation.context_json.clone(), true),
        ("invocation.messages_json", invocation.messages_json.clone(), false),
    ];
    if invocation.event_json.is_empty() {
        return Err(Failure::field("invocation.event_json", "wants a JSON object"));
    }
    let long = texts.iter().map(|(_, text, _)| text.len()).sum::<usize>() > SCAN_HERE;
    let scan = move || {
        for (field, text, object) in &texts {
            if !text.is_empty() {
                check_text(field, text, *object)?;
            }
        }
        if hook == Hook::BeforeToolCall { check_params(&texts[0].1) } else { Ok(()) }
    };
    if !long {
        return scan();
    }
    let scanned = tokio::task::spawn_blocking(scan).await;
    scanned.unwrap_or_else(|_| Err(Failure::new(ErrorReason::Unspecified, "the scan of the payload was lost")))
}

fn check_text(field: &str, text: &[u8], object: bool) -> Result<(), Failure> {
    let limits = ValueLimits::payload(PAYLOAD_DEPTH);
    let limits = if object { limits.object() } else { limits };
    json::validate_value(text, &limits).map_err(|JsonError { rule, offset }| {
        Failure::new(ErrorReason::JsonInvalid, format!("{field}, byte {offset}: {rule}"))
            .meta("field", field)
            .meta("rule", rule.to_string())
            .meta("offset", offset.to_string())
    })?;
    if !object && text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return Err(Failure::field(field, "wants a JSON array"));
    }
    Ok(())
}

/// `params` must be there and an object: what is approved and digested is always one.
fn check_params(event: &Bytes) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        params: Option<&'a serde_json::value::RawValue>,
    }
    let object = serde_json::from_slice::<Event<'_>>(event)
        .ok()
        .and_then(|event| event.params)
        .is_some_and(|params| params.get().starts_with('{'));
    if object {
        return Ok(());
    }
    Err(Failure::field(
        "invocation.event_json.params",
        "wants an object; `{}` where the tool got none or something else",
    ))
}
