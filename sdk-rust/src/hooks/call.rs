//! One call of a hook.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use outrigger_proto::plugin::v1::HookCall;
use outrigger_proto::types::v1::Hook;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::event;
use crate::error::InputError;

/// A call of a hook, with an event of type `E`.
///
/// The event is parsed only when it is asked for, and only into what is asked for.
pub struct Call<E> {
    wire: HookCall,
    event: PhantomData<fn() -> E>,
}

impl<E> Call<E> {
    pub(crate) fn new(wire: HookCall) -> Self {
        Self { wire, event: PhantomData }
    }

    /// The hook.
    #[must_use]
    pub fn hook(&self) -> Hook {
        self.wire.hook()
    }

    /// The event as a type of the plugin's, or a [`serde_json::Value`].
    ///
    /// # Errors
    /// It is not a `T`. Returned from a handler with `?`, the call is answered as a failure.
    pub fn event_as<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        parse("the event", &self.wire.event_json)
    }

    /// The event's JSON text, as it came.
    #[must_use]
    pub fn event_json(&self) -> &Bytes {
        &self.wire.event_json
    }

    /// The call's context: workspace, channel, requester, model and so on.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        parse("the context", &self.wire.context_json)
    }

    /// The conversation, for a handler registered with [`wants_messages`](crate::Plugin::wants_messages). `None`: the hook
    /// has none, or it was left out, see [`messages_omitted`](Self::messages_omitted).
    ///
    /// # Errors
    /// A message is not a `T`.
    pub fn messages<T: DeserializeOwned>(&self) -> Result<Option<Vec<T>>, InputError> {
        match self.wire.messages_json.is_empty() {
            true => Ok(None),
            false => parse("the messages", &self.wire.messages_json).map(Some),
        }
    }

    /// The conversation was wanted and left out, because it was too long or the runtime could not send it.
    #[must_use]
    pub fn messages_omitted(&self) -> bool {
        self.wire.messages_omitted
    }

    /// The message as it came.
    #[must_use]
    pub fn raw(&self) -> &HookCall {
        &self.wire
    }
}

impl<E: DeserializeOwned> Call<E> {
    /// The event, with the members the hook's contract names. Those a runtime left out are empty.
    ///
    /// # Errors
    /// A member is of another type than the contract says. Returned from a handler with `?`, the call is answered as a
    /// failure.
    pub fn event(&self) -> Result<E, InputError> {
        self.event_as()
    }
}

impl<E: event::OfTool> Call<E> {
    /// The tool: canonical, lower-case, for instance `exec`.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.wire.tool_name
    }

    /// The runtime's id of the tool call. Empty: none.
    #[must_use]
    pub fn tool_call_id(&self) -> &str {
        &self.wire.tool_call_id
    }

    /// The tool's parameters, as a type of the plugin's or a [`serde_json::Value`].
    ///
    /// # Errors
    /// They are not a `T`. Returned from a guard with `?`, the call is answered as a failure, and so is blocked.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        #[derive(Deserialize)]
        struct Event<T> {
            params: T,
        }
        parse::<Event<T>>("the parameters", &self.wire.event_json).map(|event| event.params)
    }
}

impl Call<event::BeforeToolCall> {
    /// This handler allowed the call and another changed its parameters since: these are the final ones. Only a block
    /// counts now, anything else lets them pass.
    #[must_use]
    pub fn is_recheck(&self) -> bool {
        self.wire.recheck
    }
}

impl Call<event::BeforePromptBuild> {
    /// The authority of a handler registered with
    /// [`requires_tool_authority`](crate::Plugin::requires_tool_authority); dead once the call is answered. Else empty.
    #[must_use]
    pub fn tool_authority(&self) -> &str {
        &self.wire.tool_authority
    }
}

pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, json: &Bytes) -> Result<T, InputError> {
    let json: &[u8] = if json.is_empty() { b"{}" } else { json };
    serde_json::from_slice(json).map_err(|source| InputError { what, source })
}

impl<E> Clone for Call<E> {
    fn clone(&self) -> Self {
        Self::new(self.wire.clone())
    }
}

impl<E> fmt::Debug for Call<E> {
    /// Without event and context: they may be long, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("hook", &self.hook())
            .field("tool", &self.wire.tool_name)
            .field("tool_call_id", &self.wire.tool_call_id)
            .finish_non_exhaustive()
    }
}
