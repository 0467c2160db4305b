//! The answer that takes a subject over.

use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::hook_result::Result as Shape;
use serde_json::Value;

use super::decision::MOST_REASON;
use super::{Opinion, json, sealed};
use crate::wire;

/// Whether the subject is the plugin's, for `before_agent_reply`, `inbound_claim`, `before_dispatch` and
/// `reply_dispatch`. No opinion means "not mine".
pub type Claim = Opinion<types::Claim>;

impl Claim {
    /// The subject is the plugin's; no later handler is asked.
    #[must_use]
    pub fn handled() -> Self {
        Self::of(types::Claim::default())
    }

    /// The reply in the runtime's form, for `before_agent_reply` and `inbound_claim`.
    #[must_use]
    pub fn reply(self, reply: &Value) -> Self {
        self.with(|wire| wire.reply_json = json(reply))
    }

    /// Text sent in answer, for `before_dispatch`.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with(|wire| wire.text = text.into())
    }

    /// Why; cut at 2,000 characters.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        self.with(|wire| wire.reason = wire::cut(reason.into(), MOST_REASON))
    }

    /// A final answer was queued, for `reply_dispatch`.
    #[must_use]
    pub fn queued_final(self) -> Self {
        self.with(|wire| wire.queued_final = true)
    }

    /// Replies sent of a kind (`tool`, `block`, `final`), for `reply_dispatch`.
    #[must_use]
    pub fn count(self, kind: impl Into<String>, replies: u32) -> Self {
        self.with(|wire| wire.counts.extend([(kind.into(), replies)]))
    }
}

impl sealed::Wire for types::Claim {
    fn wrap(self) -> Shape {
        Shape::Claim(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::Claim(wire) = shape { Some(wire) } else { None }
    }
}
