//! How an approval ended that the plugin asked for.

use outrigger_proto::plugin::v1::ApprovalCall;
use outrigger_proto::types::v1::ApprovalOutcome;
use serde::de::DeserializeOwned;

use crate::error::InputError;
use crate::hooks;

/// An approval has ended. It may have been asked for by an earlier generation of the plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalEnd(ApprovalCall);

impl ApprovalEnd {
    pub(crate) fn new(call: ApprovalCall) -> Self {
        Self(call)
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> ApprovalOutcome {
        self.0.outcome()
    }

    /// A person allowed it, once or always.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self.outcome(), ApprovalOutcome::AllowedOnce | ApprovalOutcome::AllowedAlways)
    }

    /// The tool. Empty: it was asked for outside a tool call.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.0.tool_name
    }

    /// The value that went with the question ([`Approval::context`](crate::Approval::context)).
    ///
    /// # Errors
    /// It is not a `T`; none counts as an empty object.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        hooks::parse("the approval's context", &self.0.context_json)
    }

    /// The message as it came.
    #[must_use]
    pub fn raw(&self) -> &ApprovalCall {
        &self.0
    }
}
