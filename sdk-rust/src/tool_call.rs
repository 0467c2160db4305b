//! The hook `before_tool_call`: what a guard is asked and what it can answer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::{Declined, HookCall};
use outrigger_proto::types::v1::hook_result::Result as Answer;
use outrigger_proto::types::v1::tool_call_decision::Decision as WireDecision;
use outrigger_proto::types::v1::{
    ApprovalOutcome, ApprovalRequest, ApprovalSeverity, Block, HookResult, Proceed as WireProceed, ToolCallDecision,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::InputError;
use crate::wire;

/// Longest reason of a block, in characters (`Block.reason`).
const MOST_REASON: usize = 2_000;

/// A tool call about to happen.
///
/// The event is parsed only when it is asked for, and only into what is asked for.
#[derive(Clone)]
pub struct ToolCall(HookCall);

impl ToolCall {
    pub(crate) fn new(call: HookCall) -> Self {
        Self(call)
    }

    /// The tool: canonical, lower-case, for instance `exec`.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.0.tool_name
    }

    /// The runtime's id of the tool call. Empty: none.
    #[must_use]
    pub fn tool_call_id(&self) -> &str {
        &self.0.tool_call_id
    }

    /// The parameters the tool will be called with, as a type of the plugin's or a [`serde_json::Value`].
    ///
    /// # Errors
    /// They are not a `T`. Returned from a handler with `?`, the call is answered as a failure, and so is blocked.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        #[derive(Deserialize)]
        struct Event<T> {
            params: T,
        }
        parse::<Event<T>>("the parameters", &self.0.event_json).map(|event| event.params)
    }

    /// The whole event: `params`, `toolName`, `runId`, `derivedPaths` and so on.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn event<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        parse("the event", &self.0.event_json)
    }

    /// The call's context: workspace, channel, requester and so on.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        parse("the context", &self.0.context_json)
    }

    /// This handler allowed the call and another changed its parameters since: these are the final ones. Only a block
    /// counts now, anything else lets them pass.
    #[must_use]
    pub fn is_recheck(&self) -> bool {
        self.0.recheck
    }

    /// The message as it came.
    #[must_use]
    pub fn raw(&self) -> &HookCall {
        &self.0
    }
}

fn parse<T: DeserializeOwned>(what: &'static str, json: &Bytes) -> Result<T, InputError> {
    let json: &[u8] = if json.is_empty() { b"{}" } else { json };
    serde_json::from_slice(json).map_err(|source| InputError { what, source })
}

impl fmt::Debug for ToolCall {
    /// Without the parameters: they may be long, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall")
            .field("tool", &self.0.tool_name)
            .field("tool_call_id", &self.0.tool_call_id)
            .finish_non_exhaustive()
    }
}

/// What a guard says to a tool call.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// No opinion; the next handler is asked.
    Declined,
    /// Go on, as it is, changed, or after a person's approval; later handlers may still block.
    Proceed(Proceed),
    /// Do not run the tool; no later handler is asked.
    Block {
        /// Why, for the record and the model; cut at 2,000 characters. Empty: a general text.
        reason: String,
    },
}

impl Decision {
    /// No opinion.
    #[must_use]
    pub fn declined() -> Self {
        Self::Declined
    }

    /// Go on as it is.
    #[must_use]
    pub fn proceed() -> Self {
        Self::Proceed(Proceed::default())
    }

    /// Go on with these parameters, which are merged over the call's key by key.
    #[must_use]
    pub fn rewrite(params: Map<String, Value>) -> Self {
        Self::Proceed(Proceed { params: Some(params), approval: None })
    }

    /// Go on if a person says yes.
    #[must_use]
    pub fn ask(approval: Approval) -> Self {
        Self::Proceed(Proceed { params: None, approval: Some(approval) })
    }

    /// Do not run the tool, and why.
    pub fn block(reason: impl Into<String>) -> Self {
        Self::Block { reason: reason.into() }
    }

    /// It is a block.
    #[must_use]
    pub fn is_block(&self) -> bool {
        matches!(self, Self::Block { .. })
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        let decision = match self {
            Self::Declined => return Outcome::Declined(Declined {}),
            Self::Proceed(proceed) => WireDecision::Proceed(proceed.into_wire()),
            Self::Block { reason } => {
                WireDecision::Block(Block { reason: wire::cut(reason, MOST_REASON), ..Default::default() })
            }
        };
        let decision = ToolCallDecision { decision: Some(decision) };
        Outcome::Hook(HookResult { result: Some(Answer::ToolCall(decision)) })
    }

    /// The decision in an answer. `None`: the answer is none to this hook.
    #[cfg(feature = "testkit")]
    pub(crate) fn from_outcome(outcome: Outcome) -> Option<Self> {
        let result = match outcome {
            Outcome::Declined(_) => return Some(Self::Declined),
            Outcome::Hook(HookResult { result: Some(Answer::ToolCall(result)) }) => result,
            _ => return None,
        };
        match result.decision? {
            WireDecision::Block(block) => Some(Self::Block { reason: block.reason }),
            WireDecision::Proceed(proceed) => {
                let params = match proceed.params_json.is_empty() {
                    true => None,
                    false => Some(serde_json::from_slice(&proceed.params_json).ok()?),
                };
                Some(Self::Proceed(Proceed { params, approval: proceed.approval.map(Approval) }))
            }
        }
    }
}

/// How a tool call goes on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proceed {
    /// New parameters, merged over the call's key by key. `None`: unchanged.
    pub params: Option<Map<String, Value>>,
    /// A question to a person first. `None`: none.
    pub approval: Option<Approval>,
}

impl Proceed {
    fn into_wire(self) -> WireProceed {
        let write = |params| serde_json::to_vec(&params).expect("an object with string keys can always be written");
        let params = self.params.map(write);
        WireProceed { params_json: params.unwrap_or_default().into(), approval: self.approval.map(|a| a.0) }
    }
}

/// A question to a person. Running out of time denies, and so does everything but a yes.
///
/// The supervisor refuses what is out of bounds, and a refused answer blocks the call.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval(ApprovalRequest);

impl Approval {
    /// A question with this title, 1 to 80 characters.
    pub fn new(title: impl Into<String>) -> Self {
        Self(ApprovalRequest { title: title.into(), ..Default::default() })
    }

    /// What it is about, at most 512 characters.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.0.description = description.into();
        self
    }

    /// The particulars, at most 16,384 characters.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// How serious it looks. Default: a warning.
    #[must_use]
    pub fn severity(mut self, severity: ApprovalSeverity) -> Self {
        self.0.severity = severity.into();
        self
    }

    /// How long a person may take, 1 ms to 600 s. Default 120 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = Some(wire::to_duration(timeout));
        self
    }

    /// Answers offered. Default: yes once, yes always, no.
    #[must_use]
    pub fn offer(mut self, answers: impl IntoIterator<Item = ApprovalOutcome>) -> Self {
        self.0.allowed = answers.into_iter().map(i32::from).collect();
        self
    }

    /// The question as it is sent.
    #[must_use]
    pub fn request(&self) -> &ApprovalRequest {
        &self.0
    }
}
