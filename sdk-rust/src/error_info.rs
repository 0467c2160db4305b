//! Reads the reason out of a status: `google.rpc.ErrorInfo` in its details.

use outrigger_proto::types::v1::ErrorReason;
use prost::Message;

/// `google.rpc.Status`, as the details of a status carry it.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The part of `google.rpc.ErrorInfo` that is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const DOMAIN: &str = "outrigger";

/// The supervisor's reason; `Unspecified` where there is none or it is not known here.
pub(crate) fn reason(status: &tonic::Status) -> ErrorReason {
    find(status.details()).unwrap_or(ErrorReason::Unspecified)
}

fn find(details: &[u8]) -> Option<ErrorReason> {
    let status = RpcStatus::decode(details).ok()?;
    let any = status.details.iter().find(|any| any.type_url == ERROR_INFO_URL)?;
    let info = ErrorInfo::decode(any.value.as_slice()).ok()?;
    (info.domain == DOMAIN).then_some(())?;
    ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))
}

/// A status with a reason, as the supervisor makes it.
#[cfg(feature = "testkit")]
pub(crate) fn status(code: tonic::Code, reason: ErrorReason, message: &str) -> tonic::Status {
    let name = reason.as_str_name();
    let info =
        ErrorInfo { reason: name.strip_prefix("ERROR_REASON_").unwrap_or(name).to_owned(), domain: DOMAIN.to_owned() };
    let details = RpcStatus {
        code: code as i32,
        message: message.to_owned(),
        details: vec![prost_types::Any { type_url: ERROR_INFO_URL.to_owned(), value: info.encode_to_vec() }],
    };
    tonic::Status::with_details(code, message, details.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_or_with_foreign_details_has_no_reason() {
        assert_eq!(reason(&tonic::Status::internal("x")), ErrorReason::Unspecified);
        let garbage = tonic::Status::with_details(tonic::Code::Internal, "x", vec![0xff, 0x01].into());
        assert_eq!(reason(&garbage), ErrorReason::Unspecified);
    }

    #[cfg(feature = "testkit")]
    #[test]
    fn a_reason_survives_the_way() {
        let made = status(tonic::Code::FailedPrecondition, ErrorReason::ProtocolUnsupported, "no");
        assert_eq!(reason(&made), ErrorReason::ProtocolUnsupported);
    }
}
