//! A trial of every guard of a generation before it serves, and of all guards on request.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use tokio::time::Instant;

use super::dispatch::{Asking, outcome};
use super::session::{Ask, Session};

/// The tool of a canary where the handler wants every tool.
const TOOL: &str = "outrigger_canary";

/// Asks one handler with a canary.
pub(crate) async fn try_one(session: &Arc<Session>, index: usize) -> Asking {
    let started = Instant::now();
    let handler = &session.registration.handlers[index];
    let tool = handler.tools.to_list().into_iter().next().unwrap_or_else(|| TOOL.to_owned());
    let event = serde_json::json!({"toolName": tool, "params": {}, "toolCallId": "canary"}).to_string();
    let invocation = wire::Invocation {
        handler_id: handler.id.clone(),
        canary: true,
        call: Some(wire::invocation::Call::Hook(wire::HookCall {
            hook: super::wire::hook(handler.hook) as i32,
            event_json: Bytes::from(event),
            context_json: Bytes::new(),
            tool_name: tool,
            tool_call_id: "canary".to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let ask = Ask::new(index, started, started + handler.timeout, invocation);
    outcome(session.invoke(ask).await, session, index, started).await
}

/// Asks every guard; any answer will do, none is a failure.
///
/// # Errors
/// Which handler did not answer, and why.
pub(crate) async fn try_all(session: &Arc<Session>) -> Result<(), String> {
    for (index, handler) in session.registration.handlers.iter().enumerate() {
        if !handler.hook.is_guard() {
            continue;
        }
        let asking = try_one(session, index).await;
        // A handler that fails on a made-up call has answered; for a real one its failure blocks.
        if !asking.answered {
            return Err(format!("handler `{}` {}", handler.id, asking.message));
        }
    }
    Ok(())
}
