//! What handlers answer: one type for each kind of hook, and what tools and observers give.
//!
//! Each has a value for "no opinion", which is its default. What the wire contract bounds is cut where the contract
//! lets a text be shortened, and otherwise left to the supervisor, which refuses the answer and tells why.

mod approval;
mod claim;
mod decision;
mod evaluation;
mod exec_environment;
mod finalize;
mod gate;
mod model;
mod prompt;
mod rewrite;
mod subagent;

use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::{Completed, Declined};
use outrigger_proto::types::v1::HookResult;
use outrigger_proto::types::v1::hook_result::Result as Shape;
use serde_json::Value;

pub use approval::Approval;
pub use claim::Claim;
pub use decision::{Decision, Proceed};
pub use evaluation::Evaluation;
pub use exec_environment::ExecEnvironment;
pub use finalize::{Finalize, Retry};
pub use gate::Gate;
pub use model::ModelOverride;
pub use prompt::Prompt;
pub use rewrite::{
    Kind, Message, MessageRewrite, OfJson, Rewrite, Text, TextRewrite, ToolResult, ToolResultRewrite, Withholds,
};
pub use subagent::{SubagentDelivery, SubagentSpawn};

/// What a handler can return. Implemented by the types of this module, [`ToolAnswer`](crate::ToolAnswer), and `()` for
/// observers.
pub trait Answer: sealed::Answer {}

impl<A: sealed::Answer> Answer for A {}

pub(crate) mod sealed {
    use super::{Outcome, Shape};

    pub trait Answer: Sized + Send + 'static {
        /// The answer as it is sent.
        fn into_outcome(self) -> Outcome;
        /// The answer as it was sent. `None`: it is none to this kind of call.
        fn from_outcome(outcome: Outcome) -> Option<Self>;
    }

    /// A member of `HookResult`.
    pub trait Wire: Sized + Send + 'static {
        fn wrap(self) -> Shape;
        fn unwrap(shape: Shape) -> Option<Self>;
    }
}

/// A hook's answer in its wire form, or none: the shape of most answers, which have names of their own
/// ([`Prompt`], [`Gate`], [`Claim`] …).
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion<W>(Option<W>);

impl<W> Opinion<W> {
    /// No opinion.
    #[must_use]
    pub fn declined() -> Self {
        Self(None)
    }

    /// An answer made by hand, with what has no method here.
    pub fn of(wire: W) -> Self {
        Self(Some(wire))
    }

    /// The answer as it is sent. `None`: no opinion.
    #[must_use]
    pub fn wire(&self) -> Option<&W> {
        self.0.as_ref()
    }

    /// It is no opinion.
    #[must_use]
    pub fn is_declined(&self) -> bool {
        self.0.is_none()
    }
}

impl<W: Default> Opinion<W> {
    /// The same with something set.
    fn with(mut self, set: impl FnOnce(&mut W)) -> Self {
        set(self.0.get_or_insert_default());
        self
    }
}

impl<W> Default for Opinion<W> {
    fn default() -> Self {
        Self(None)
    }
}

impl<W: sealed::Wire> sealed::Answer for Opinion<W> {
    fn into_outcome(self) -> Outcome {
        outcome(self.0.map(W::wrap))
    }

    fn from_outcome(outcome: Outcome) -> Option<Self> {
        match shape(outcome)? {
            None => Some(Self(None)),
            Some(shape) => W::unwrap(shape).map(Self::of),
        }
    }
}

/// An observer has seen it.
impl sealed::Answer for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Completed(Completed {})
    }

    fn from_outcome(outcome: Outcome) -> Option<Self> {
        matches!(outcome, Outcome::Completed(_) | Outcome::Declined(_)).then_some(())
    }
}

fn outcome(shape: Option<Shape>) -> Outcome {
    match shape {
        None => Outcome::Declined(Declined {}),
        shape => Outcome::Hook(HookResult { result: shape }),
    }
}

/// The shape of a hook's answer; `Some(None)` is no opinion.
fn shape(outcome: Outcome) -> Option<Option<Shape>> {
    match outcome {
        Outcome::Declined(_) => Some(None),
        Outcome::Hook(HookResult { result: Some(shape) }) => Some(Some(shape)),
        _ => None,
    }
}

/// A JSON value as the contract's bytes.
fn json(value: &Value) -> bytes::Bytes {
    value.to_string().into()
}
