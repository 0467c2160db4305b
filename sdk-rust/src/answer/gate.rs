//! The answer of a gate.

use outrigger_proto::types::v1::gate_decision::{Decision, Pass};
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::{Block, GateDecision};
use serde_json::Value;

use super::decision::MOST_REASON;
use super::{Opinion, json, sealed};
use crate::wire;

/// What a gate says, for `before_agent_run` and `before_install`. No opinion passes.
pub type Gate = Opinion<GateDecision>;

impl Gate {
    /// Go on, as far as this handler is concerned.
    #[must_use]
    pub fn pass() -> Self {
        Self::of(GateDecision { decision: Some(Decision::Pass(Pass {})), ..Default::default() })
    }

    /// Stop here, and why, for the record and the model; cut at 2,000 characters.
    pub fn block(reason: impl Into<String>) -> Self {
        let block = Block { reason: wire::cut(reason.into(), MOST_REASON), ..Default::default() };
        Self::of(GateDecision { decision: Some(Decision::Block(block)), ..Default::default() })
    }

    /// What the person sees in place of the blocked content; cut at 2,000 characters. Of a block of `before_agent_run`.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Self {
        self.blocked(|block| block.message = wire::cut(message.into(), MOST_REASON))
    }

    /// The plugin's own class of refusal, at most 64 characters. Of a block of `before_agent_run`.
    #[must_use]
    pub fn category(self, category: impl Into<String>) -> Self {
        self.blocked(|block| block.category = category.into())
    }

    /// Detail for the record. Of a block of `before_agent_run`.
    #[must_use]
    pub fn metadata(self, metadata: &Value) -> Self {
        self.blocked(|block| block.metadata_json = json(metadata))
    }

    /// Adds a finding, an object; at most 256. `before_install` only. An answer without a decision passes.
    #[must_use]
    pub fn finding(self, finding: &Value) -> Self {
        let gate = if self.is_declined() { Self::pass() } else { self };
        gate.with(|wire| wire.findings_json.push(json(finding)))
    }

    /// It is a block.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.wire().is_some_and(|wire| matches!(wire.decision, Some(Decision::Block(_))))
    }

    /// Sets something of a block; of anything else there is nothing to set.
    fn blocked(self, set: impl FnOnce(&mut Block)) -> Self {
        if !self.is_block() {
            return self;
        }
        self.with(|wire| {
            if let Some(Decision::Block(block)) = &mut wire.decision {
                set(block);
            }
        })
    }
}

impl sealed::Wire for GateDecision {
    fn wrap(self) -> Shape {
        Shape::Gate(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::Gate(wire) = shape { Some(wire) } else { None }
    }
}
