//! The answer of a guard or trusted policy to a tool call about to happen.

use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::tool_call_decision::Decision as WireDecision;
use outrigger_proto::types::v1::{Block, Proceed as WireProceed, ToolCallDecision};
use serde_json::{Map, Value};

use super::{Approval, outcome, sealed, shape};
use crate::wire;

/// Longest reason of a block, in characters (`Block.reason`).
pub(super) const MOST_REASON: usize = 2_000;

/// What a guard says to a tool call.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Decision {
    /// No opinion; the next handler is asked.
    #[default]
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

    /// Go on with these parameters. A hook's are merged over the call's key by key; a trusted policy's replace all.
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

    /// The same, after this question to a person. What is approved, and what then runs, are the parameters of this
    /// answer. A block stays one.
    #[must_use]
    pub fn after(self, approval: Approval) -> Self {
        match self {
            Self::Declined => Self::ask(approval),
            Self::Proceed(proceed) => Self::Proceed(Proceed { approval: Some(approval), ..proceed }),
            block @ Self::Block { .. } => block,
        }
    }

    /// It is a block.
    #[must_use]
    pub fn is_block(&self) -> bool {
        matches!(self, Self::Block { .. })
    }
}

impl sealed::Answer for Decision {
    fn into_outcome(self) -> Outcome {
        let decision = match self {
            Self::Declined => return outcome(None),
            Self::Proceed(proceed) => WireDecision::Proceed(proceed.into_wire()),
            Self::Block { reason } => {
                WireDecision::Block(Block { reason: wire::cut(reason, MOST_REASON), ..Default::default() })
            }
        };
        outcome(Some(Shape::ToolCall(ToolCallDecision { decision: Some(decision) })))
    }

    fn from_outcome(outcome: Outcome) -> Option<Self> {
        let result = match shape(outcome)? {
            None => return Some(Self::Declined),
            Some(Shape::ToolCall(result)) => result,
            Some(_) => return None,
        };
        match result.decision? {
            WireDecision::Block(block) => Some(Self::Block { reason: block.reason }),
            WireDecision::Proceed(proceed) => {
                let params = match proceed.params_json.is_empty() {
                    true => None,
                    false => Some(serde_json::from_slice(&proceed.params_json).ok()?),
                };
                Some(Self::Proceed(Proceed { params, approval: proceed.approval.map(Approval::of) }))
            }
        }
    }
}

/// How a tool call goes on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proceed {
    /// New parameters: a hook's are merged over the call's key by key, a trusted policy's replace all. `None`: unchanged.
    pub params: Option<Map<String, Value>>,
    /// A question to a person first. `None`: none.
    pub approval: Option<Approval>,
}

impl Proceed {
    fn into_wire(self) -> WireProceed {
        let write = |params| serde_json::to_vec(&params).expect("an object with string keys can always be written");
        let params = self.params.map(write);
        WireProceed {
            params_json: params.unwrap_or_default().into(),
            approval: self.approval.map(Approval::into_request),
        }
    }
}
