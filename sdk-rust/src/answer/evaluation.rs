//! A verdict on a proposal.

use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::evaluation::{Completed, Skipped, Verdict};
use outrigger_proto::types::v1::hook_result::Result as Shape;
use serde_json::Value;

use super::decision::MOST_REASON;
use super::{Opinion, json, sealed};
use crate::wire;

/// A verdict on a skill's proposal, for `skill_proposal_evaluate`. Kept by handler; any block vetoes.
pub type Evaluation = Opinion<types::Evaluation>;

impl Evaluation {
    /// It may go on.
    #[must_use]
    pub fn pass() -> Self {
        Self::judged(Completed::default())
    }

    /// It must not go on, and why; cut at 2,000 characters.
    pub fn block(reason: impl Into<String>) -> Self {
        Self::judged(Completed { block: true, reason: wire::cut(reason.into(), MOST_REASON), ..Default::default() })
    }

    /// The handler does not judge proposals of this kind, and why; cut at 2,000 characters.
    pub fn skip(reason: impl Into<String>) -> Self {
        let skipped = Skipped { reason: wire::cut(reason.into(), MOST_REASON) };
        Self::of(types::Evaluation { verdict: Some(Verdict::Skipped(skipped)) })
    }

    /// The verdict's detail. A skipped proposal has none.
    #[must_use]
    pub fn detail(self, detail: &Value) -> Self {
        match self.wire() {
            Some(types::Evaluation { verdict: Some(Verdict::Completed(completed)) }) => {
                Self::judged(Completed { detail_json: json(detail), ..completed.clone() })
            }
            _ => self,
        }
    }

    /// It is a block.
    #[must_use]
    pub fn is_block(&self) -> bool {
        matches!(
            self.wire(),
            Some(types::Evaluation { verdict: Some(Verdict::Completed(Completed { block: true, .. })) })
        )
    }

    fn judged(completed: Completed) -> Self {
        Self::of(types::Evaluation { verdict: Some(Verdict::Completed(completed)) })
    }
}

impl sealed::Wire for types::Evaluation {
    fn wrap(self) -> Shape {
        Shape::Evaluation(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::Evaluation(wire) = shape { Some(wire) } else { None }
    }
}
