//! A question to a person.

use std::time::Duration;

use outrigger_proto::types::v1::{ApprovalOutcome, ApprovalRequest, ApprovalSeverity};
use serde_json::Value;

use super::json;
use crate::wire;

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

    /// A value for the plugin itself, which comes back with [`Plugin::on_approval`](crate::Plugin::on_approval), perhaps
    /// to another process. At most 16,384 bytes; shown to nobody.
    #[must_use]
    pub fn context(mut self, context: &Value) -> Self {
        self.0.context_json = json(context);
        self
    }

    /// A question as it came.
    #[must_use]
    pub fn of(request: ApprovalRequest) -> Self {
        Self(request)
    }

    /// The question as it is sent, also for the host call `RequestApproval`.
    #[must_use]
    pub fn into_request(self) -> ApprovalRequest {
        self.0
    }

    /// The question as it is sent.
    #[must_use]
    pub fn request(&self) -> &ApprovalRequest {
        &self.0
    }
}
