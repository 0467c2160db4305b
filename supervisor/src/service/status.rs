//! How calls fail: every status this supervisor answers is made here, with the details `error.proto` promises.

use std::collections::HashMap;
use std::time::Duration;

use outrigger_proto::types::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::json::JsonError;
use crate::domain::text;

/// `ErrorInfo.domain` of every error.
pub(crate) const DOMAIN: &str = "outrigger";

/// An error under construction.
pub(crate) struct Failure {
    code: Code,
    message: String,
    /// Boxed, as it is much larger than what calls usually answer.
    details: Box<ErrorDetails>,
}

/// The code every reason belongs to, as `error.proto` lists it.
fn code_of(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::PeerNotAllowed | R::TokenInvalid | R::SessionSecretInvalid | R::KeyInvalid => Code::Unauthenticated,
        R::ProtocolUnsupported
        | R::SessionNotOpen
        | R::NotAttached
        | R::RegistrationRefused
        | R::RunEnded
        | R::SchemaMismatch
        | R::StateNotAllowed
        | R::ConfigInvalid
        | R::ApprovalNeeded
        | R::DecisionRequired
        | R::GuardsHold
        | R::RuntimeAttached => Code::FailedPrecondition,
        R::ProtocolViolation
        | R::FieldInvalid
        | R::JsonInvalid
        | R::SessionKeyInvalid
        | R::HookNotInvocable
        | R::IdempotencyMismatch => Code::InvalidArgument,
        R::PluginUnknown | R::HandlerUnknown | R::SessionUnknown | R::RecordUnknown => Code::NotFound,
        R::PluginAbsent | R::PluginEnded | R::PluginFailed | R::StoreUnavailable => Code::Unavailable,
        R::PluginTimedOut => Code::DeadlineExceeded,
        R::PluginOverloaded | R::IdempotencyFull => Code::ResourceExhausted,
        R::OperatorScopeMissing => Code::PermissionDenied,
        R::VersionConflict | R::StreamReplaced | R::TransitionPending => Code::Aborted,
        R::PluginExists => Code::AlreadyExists,
        R::Unspecified => Code::Internal,
    }
}

impl Failure {
    /// A failure for a reason; the code follows from it. The message is cut at 500 characters.
    pub(crate) fn new(reason: ErrorReason, message: impl AsRef<str>) -> Self {
        let name = reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
        let mut details = Box::new(ErrorDetails::new());
        details.set_error_info(name, DOMAIN, HashMap::new());
        Self { code: code_of(reason), message: text::clean(message.as_ref(), 500), details }
    }

    /// A field out of bounds: which, and what would be right.
    pub(crate) fn field(field: &str, right: impl AsRef<str>) -> Self {
        let right = right.as_ref();
        let mut failure = Self::new(ErrorReason::FieldInvalid, format!("{field}: {right}"));
        failure.details.add_bad_request_violation(field, right);
        failure
    }

    /// A field that is not the JSON it should be: where, and which rule it breaks.
    pub(crate) fn json(field: &str, error: JsonError) -> Self {
        let JsonError { rule, offset } = error;
        Self::new(ErrorReason::JsonInvalid, format!("{field}, byte {offset}: {rule}"))
            .meta("field", field)
            .meta("rule", rule.to_string())
            .meta("offset", offset.to_string())
    }

    /// What is wrong, in a sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Another code than the reason's own: only where the contract says so.
    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// One entry of `ErrorInfo.metadata`.
    pub(crate) fn meta(mut self, key: &str, value: impl AsRef<str>) -> Self {
        if let Some(mut info) = self.details.error_info().cloned() {
            info.metadata.insert(key.to_owned(), text::clean(value.as_ref(), 500));
            self.details.set_error_info(info.reason, info.domain, info.metadata);
        }
        self
    }

    /// Trying again can help after this time.
    pub(crate) fn retry(mut self, after: Duration) -> Self {
        self.details.set_retry_info(Some(after));
        self
    }

    /// What to do, in words.
    pub(crate) fn help(mut self, what: &str) -> Self {
        self.details.add_help_link(what, "");
        self
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        Self::with_error_details(failure.code, failure.message, *failure.details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_say_what_the_code_cannot() {
        let failure =
            Failure::new(ErrorReason::PluginAbsent, "gone").meta("plugin_id", "a").retry(Duration::from_secs(1));
        let status = Status::from(failure.help("start it"));
        assert_eq!(status.code(), Code::Unavailable);
        let details = status.get_error_details();
        let info = details.error_info().expect("every failure has one");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("PLUGIN_ABSENT", DOMAIN));
        assert_eq!(info.metadata["plugin_id"], "a");
        assert_eq!(details.retry_info().and_then(|retry| retry.retry_delay), Some(Duration::from_secs(1)));
        assert_eq!(details.help().map(|help| help.links[0].description.as_str()), Some("start it"));
    }

    #[test]
    fn every_reason_has_the_code_its_comment_begins_with() {
        let source = include_str!("../../../proto/outrigger/types/v1/error.proto");
        let enumeration = source.split("enum ErrorReason {").nth(1).and_then(|rest| rest.split("\n}").next());
        let mut comment = String::new();
        let mut seen = 0;
        for line in enumeration.expect("the file has the enum").lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("//") {
                comment.push_str(text);
                continue;
            }
            if let Some((name, _)) = line.split_once(" = ") {
                if let Some(reason) = ErrorReason::from_str_name(name)
                    && reason != ErrorReason::Unspecified
                {
                    let code: String =
                        comment.trim().chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
                    let ours = format!("{:?}", code_of(reason));
                    assert_eq!(code.replace('_', ""), ours.to_uppercase(), "{name}");
                    seen += 1;
                }
                comment.clear();
            }
        }
        assert!(seen > 30, "{seen}");
    }
}
