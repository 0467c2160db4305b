//! Tools that a plugin serves: what a handler gets besides its arguments, and what it answers.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use outrigger_proto::plugin::v1::ToolCall;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::types::v1::tool_content::{File, Image, Part};
use outrigger_proto::types::v1::{ToolContent, ToolProgress, ToolResult};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::sealed;
use crate::context::Context;
use crate::error::InputError;
use crate::hooks;
use crate::outbox::Outbox;
use crate::wire;

/// Longest line of progress, in characters (`ToolProgress.message`).
const MOST_PROGRESS: usize = 512;

/// A tool call's surroundings: everything of the [`Context`], the tool call, and the way to tell of progress.
///
/// Session and run are the context's; a session or agent in the arguments is only data. Cloning is cheap.
pub struct ToolContext<S = ()> {
    context: Context<S>,
    call: ToolCall,
    outbox: Outbox,
}

impl<S> ToolContext<S> {
    pub(crate) fn new(context: Context<S>, call: ToolCall, outbox: Outbox) -> Self {
        Self { context, call, outbox }
    }

    /// The tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.call.name
    }

    /// The runtime's id of the tool call.
    #[must_use]
    pub fn tool_call_id(&self) -> &str {
        &self.call.tool_call_id
    }

    /// The call's context: workspace, channel, requester and so on.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn call_context<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        hooks::parse("the context", &self.call.context_json)
    }

    /// Tells how far the call has come: `done` of `total` in the tool's own unit, and a line for people, cut at 512
    /// characters and perhaps empty. `done` is finite, at least 0 and never less than before; a `total` of 0 is not known.
    ///
    /// Never waits. While the last one waits to be sent a newer one takes its place, and after the answer or a cancel
    /// nothing is sent.
    pub fn progress(&self, done: f64, total: f64, message: impl Into<String>) {
        let progress = ToolProgress { done, total, message: wire::cut(message.into(), MOST_PROGRESS) };
        self.outbox.progress(self.context.invocation_id(), progress);
    }
}

impl<S> Deref for ToolContext<S> {
    type Target = Context<S>;

    fn deref(&self) -> &Context<S> {
        &self.context
    }
}

impl<S> Clone for ToolContext<S> {
    fn clone(&self) -> Self {
        Self { context: self.context.clone(), call: self.call.clone(), outbox: self.outbox.clone() }
    }
}

impl<S> fmt::Debug for ToolContext<S> {
    /// Without the arguments: they may be long, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext").field("tool", &self.call.name).field("context", &self.context).finish()
    }
}

/// What a tool answers: an answer also where it says that something went wrong ([`ToolAnswer::error`]). A handler's own
/// failure is its `Err`: the call then fails, with a general text for the model.
///
/// A handler may return a text in its place.
///
/// ```
/// use outrigger_sdk::ToolAnswer;
/// use serde_json::json;
///
/// let answer = ToolAnswer::text("3 words").structured(&json!({"words": 3}));
/// assert_eq!(answer.wire().content.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolAnswer(ToolResult);

impl ToolAnswer {
    /// An answer without a part, for instance before [`structured`](Self::structured): the model then gets that as text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A text, at most 262,144 characters.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().and_text(text)
    }

    /// A JSON value.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::new().and_json(value)
    }

    /// Something that went wrong, in words for the model.
    pub fn error(text: impl Into<String>) -> Self {
        let mut answer = Self::text(text);
        answer.0.is_error = true;
        answer
    }

    /// Adds a text; an answer has at most 32 parts.
    #[must_use]
    pub fn and_text(self, text: impl Into<String>) -> Self {
        self.and(Part::Text(text.into()))
    }

    /// Adds a JSON value.
    #[must_use]
    pub fn and_json(self, value: &Value) -> Self {
        self.and(Part::ValueJson(value.to_string().into()))
    }

    /// Adds a picture of 1 to 786,432 bytes, `image/png`, `image/jpeg`, `image/gif` or `image/webp`. A larger one is a
    /// [file](Self::and_file).
    #[must_use]
    pub fn and_image(self, media_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.and(Part::Image(Image { data: data.into(), media_type: media_type.into() }))
    }

    /// Adds a file that was uploaded ([`Host::upload`](crate::Host::upload)) and is used up by this. An empty name is the
    /// upload's.
    #[must_use]
    pub fn and_file(self, upload_id: impl Into<String>, file_name: impl Into<String>) -> Self {
        self.and(Part::File(File { upload_id: upload_id.into(), file_name: file_name.into(), ..Default::default() }))
    }

    /// The value for programs; it must satisfy the tool's output schema, if it has one.
    #[must_use]
    pub fn structured(mut self, value: &Value) -> Self {
        self.0.structured_json = value.to_string().into();
        self
    }

    /// The model is to see it as an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.0.is_error
    }

    /// The answer as it is sent.
    #[must_use]
    pub fn wire(&self) -> &ToolResult {
        &self.0
    }

    fn and(mut self, part: Part) -> Self {
        self.0.content.push(ToolContent { part: Some(part) });
        self
    }
}

impl From<String> for ToolAnswer {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for ToolAnswer {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl sealed::Answer for ToolAnswer {
    fn into_outcome(self) -> Outcome {
        Outcome::Tool(self.0)
    }

    fn from_outcome(outcome: Outcome) -> Option<Self> {
        if let Outcome::Tool(result) = outcome { Some(Self(result)) } else { None }
    }
}
