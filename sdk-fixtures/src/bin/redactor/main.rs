//! Keeps secrets out of what is stored and sent: replaces what looks like a key or token.
//!
//! It shows rewriting: JSON messages on their way to the disk (`before_message_write`, `tool_result_persist`), of which
//! only strings change, and texts on their way out (`message_sending`). These hooks fail open, so a message that cannot
//! be read stays as it is; nothing here may fail for another reason.

mod secrets;

use outrigger_sdk::hooks::{self, Call, event};
use outrigger_sdk::{Context, HandlerError, MessageRewrite, Plugin, TextRewrite, ToolResultRewrite, tracing};
use serde_json::Value;

fn main() -> outrigger_sdk::Result<()> {
    Plugin::new()
        .version(env!("CARGO_PKG_VERSION"))
        .on(hooks::BEFORE_MESSAGE_WRITE, "messages", stored)
        .description("Replaces secrets in messages before they are stored")
        .priority(-100)
        .on(hooks::TOOL_RESULT_PERSIST, "tool-results", results)
        .description("Replaces secrets in results of tools before they are stored")
        .priority(-100)
        .on(hooks::MESSAGE_SENDING, "outgoing", outgoing)
        .description("Replaces secrets in messages before they are sent")
        // Late: what the others leave is what counts.
        .priority(-100)
        .run_blocking()
}

async fn stored(call: Call<event::BeforeMessageWrite>, _: Context) -> Result<MessageRewrite, HandlerError> {
    match redacted(call.event()?.message) {
        Some(message) => Ok(MessageRewrite::replace(&message)?.reason("it had secrets")),
        None => Ok(MessageRewrite::keep()),
    }
}

async fn results(call: Call<event::ToolResultPersist>, _: Context) -> Result<ToolResultRewrite, HandlerError> {
    match redacted(call.event()?.message) {
        Some(message) => Ok(ToolResultRewrite::replace(&message)?.reason("it had secrets")),
        None => Ok(ToolResultRewrite::keep()),
    }
}

async fn outgoing(call: Call<event::MessageSending>, _: Context) -> Result<TextRewrite, HandlerError> {
    let text = call.event()?.content.unwrap_or_default();
    Ok(match secrets::redact(&text) {
        Some(text) => TextRewrite::replace(text).reason("it had secrets"),
        None => TextRewrite::keep(),
    })
}

/// The message with every secret replaced. `None`: it has none.
fn redacted(message: Option<Value>) -> Option<Value> {
    let mut message = message?;
    let found = redact_all(&mut message);
    if found > 0 {
        tracing::info!(strings = found, "secrets were replaced");
    }
    (found > 0).then_some(message)
}

/// Replaces the secrets in every string of a value, and tells how many strings had some. Its depth is bounded: the value
/// was parsed, and parsing is.
fn redact_all(value: &mut Value) -> usize {
    match value {
        Value::String(text) => match secrets::redact(text) {
            Some(redacted) => {
                *text = redacted;
                1
            }
            None => 0,
        },
        Value::Array(items) => items.iter_mut().map(redact_all).sum(),
        // Keys stay: they are the message's form.
        Value::Object(members) => members.values_mut().map(redact_all).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
