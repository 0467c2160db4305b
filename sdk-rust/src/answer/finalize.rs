//! What to do with an answer about to go out.

use outrigger_proto::types::v1::finalize_decision::RetryCandidate;
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::{FinalizeAction, FinalizeDecision};

use super::decision::MOST_REASON;
use super::{Opinion, sealed};
use crate::wire;

/// What to do with the agent's answer, for `before_agent_finalize`. No opinion lets it go out.
///
/// ```
/// use outrigger_sdk::{Finalize, Retry};
///
/// let once = Retry::new("Say which files you changed.").key("files");
/// let answer = Finalize::revise("the answer names no file").retry(once);
/// assert_eq!(answer.wire().map(|wire| wire.retries.len()), Some(1));
/// ```
pub type Finalize = Opinion<FinalizeDecision>;

impl Finalize {
    /// Another pass, and why; with a [`retry`](Self::retry) that says what the agent is told. Cut at 2,000 characters.
    pub fn revise(reason: impl Into<String>) -> Self {
        Self::deciding(FinalizeAction::Revise, reason.into())
    }

    /// The answer goes out; beats a revision any plugin asks for. Why may be empty.
    pub fn finalize(reason: impl Into<String>) -> Self {
        Self::deciding(FinalizeAction::Finalize, reason.into())
    }

    /// Adds a retry; of several, at most 8, the first within its budget is taken.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        let revision = if self.is_declined() { Self::revise("") } else { self };
        revision.with(|wire| wire.retries.push(retry.0))
    }

    /// It asks for another pass.
    #[must_use]
    pub fn is_revise(&self) -> bool {
        self.wire().is_some_and(|wire| wire.action() == FinalizeAction::Revise)
    }

    fn deciding(action: FinalizeAction, reason: String) -> Self {
        let reason = wire::cut(reason, MOST_REASON);
        Self::of(FinalizeDecision { action: action.into(), reason, retries: Vec::new() })
    }
}

/// A further pass within a budget that ends with the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry(RetryCandidate);

impl Retry {
    /// A pass, once, in which the agent is told this: 1 to 32,768 characters.
    pub fn new(instruction: impl Into<String>) -> Self {
        Self(RetryCandidate { instruction: instruction.into(), ..Default::default() })
    }

    /// Names the budget within the run, so that other words count against the same one. Default: a hash of the words.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.idempotency_key = key.into();
        self
    }

    /// Passes allowed for this budget, at least 1. Default 1.
    #[must_use]
    pub fn at_most(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }
}

impl sealed::Wire for FinalizeDecision {
    fn wrap(self) -> Shape {
        Shape::Finalize(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::Finalize(wire) = shape { Some(wire) } else { None }
    }
}
