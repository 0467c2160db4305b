//! A changed or withheld message.

use std::marker::PhantomData;

use bytes::Bytes;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::message_rewrite::Replacement;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::decision::MOST_REASON;
use super::{Opinion, json, sealed};
use crate::wire;

/// What becomes of a message on its way. `K` says which hook's, and so what can be done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite<K>(Opinion<types::MessageRewrite>, PhantomData<fn() -> K>);

/// For `message_sending`: the text can be replaced or withheld.
pub type TextRewrite = Rewrite<Text>;
/// For `reply_payload_sending` and `before_message_write`: the message can be replaced or withheld.
pub type MessageRewrite = Rewrite<Message>;
/// For `tool_result_persist`: the message can be replaced.
pub type ToolResultRewrite = Rewrite<ToolResult>;

/// Kind of [`TextRewrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text;
/// Kind of [`MessageRewrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message;
/// Kind of [`ToolResultRewrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolResult;

/// A kind of rewrite.
pub trait Kind: 'static {
    /// It replaces JSON, not text.
    #[doc(hidden)]
    const JSON: bool;
    /// It can withhold the message.
    #[doc(hidden)]
    const CANCELS: bool;
}
/// A kind that replaces JSON.
pub trait OfJson: Kind {}
/// A kind that can withhold the message.
pub trait Withholds: Kind {}

impl Kind for Text {
    const JSON: bool = false;
    const CANCELS: bool = true;
}
impl Withholds for Text {}

impl Kind for Message {
    const JSON: bool = true;
    const CANCELS: bool = true;
}
impl OfJson for Message {}
impl Withholds for Message {}

impl Kind for ToolResult {
    const JSON: bool = true;
    const CANCELS: bool = false;
}
impl OfJson for ToolResult {}

impl<K> Rewrite<K> {
    /// Leaves the message as it is.
    #[must_use]
    pub fn keep() -> Self {
        Self(Opinion::declined(), PhantomData)
    }

    fn set(self, set: impl FnOnce(&mut types::MessageRewrite)) -> Self {
        Self(self.0.with(set), PhantomData)
    }

    /// Why, for the record; cut at 2,000 characters.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        self.set(|wire| wire.reason = wire::cut(reason.into(), MOST_REASON))
    }

    /// The message stays as it is.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        self.wire().is_none_or(|wire| wire.replacement.is_none() && !wire.cancel)
    }

    /// The message is withheld.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        self.wire().is_some_and(|wire| wire.cancel)
    }

    /// The new text, for `message_sending`.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.wire()?.replacement.as_ref()? {
            Replacement::Content(text) => Some(text),
            Replacement::MessageJson(_) => None,
        }
    }

    /// The new message, for the other hooks. `None`: there is none, or it is not a `T`.
    #[must_use]
    pub fn message<T: DeserializeOwned>(&self) -> Option<T> {
        match self.wire()?.replacement.as_ref()? {
            Replacement::Content(_) => None,
            Replacement::MessageJson(json) => serde_json::from_slice(json).ok(),
        }
    }

    /// The answer as it is sent. `None`: the message stays as it is.
    #[must_use]
    pub fn wire(&self) -> Option<&types::MessageRewrite> {
        self.0.wire()
    }
}

impl Rewrite<Text> {
    /// Sends this text, at most 65,536 characters, in place of the message's.
    pub fn replace(text: impl Into<String>) -> Self {
        Self::keep().set(|wire| wire.replacement = Some(Replacement::Content(text.into())))
    }

    /// An object for the record.
    #[must_use]
    pub fn metadata(self, metadata: &Value) -> Self {
        self.set(|wire| wire.metadata_json = json(metadata))
    }
}

impl<K: Withholds> Rewrite<K> {
    /// Does not send or store it; no later handler is asked.
    #[must_use]
    pub fn cancel() -> Self {
        Self::keep().set(|wire| wire.cancel = true)
    }
}

impl<K: OfJson> Rewrite<K> {
    /// Sends or stores this payload or message in place of the one that came. It must fit into a message of the
    /// session, 1 MiB, with what else is in it.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn replace(message: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(message).map(|json| Self::replace_json(json.into()))
    }

    /// As [`replace`](Self::replace), with JSON that is written already.
    #[must_use]
    pub fn replace_json(json: Bytes) -> Self {
        Self::keep().set(|wire| wire.replacement = Some(Replacement::MessageJson(json)))
    }
}

impl<K> Default for Rewrite<K> {
    fn default() -> Self {
        Self::keep()
    }
}

impl<K: Kind> sealed::Answer for Rewrite<K> {
    fn into_outcome(self) -> Outcome {
        self.0.into_outcome()
    }

    /// An answer of another kind is none to this hook.
    fn from_outcome(outcome: Outcome) -> Option<Self> {
        let opinion = Opinion::<types::MessageRewrite>::from_outcome(outcome)?;
        let fits = |wire: &types::MessageRewrite| {
            let json = wire.replacement.as_ref().map(|replacement| matches!(replacement, Replacement::MessageJson(_)));
            json.is_none_or(|json| json == K::JSON) && (K::CANCELS || !wire.cancel)
        };
        opinion.wire().is_none_or(fits).then_some(Self(opinion, PhantomData))
    }
}

impl sealed::Wire for types::MessageRewrite {
    fn wrap(self) -> Shape {
        Shape::Message(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::Message(wire) = shape { Some(wire) } else { None }
    }
}
