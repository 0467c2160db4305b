//! The host's services: everything a plugin can ask of its supervisor.
//!
//! [`Host::call`] takes any request of `outrigger.plugin.v1.HostService`, fills in the invocation it is made for, and
//! turns the host's no into an error. [`Host::raw`] is the generated client, for everything else.
//!
//! ```
//! use outrigger_sdk::proto::plugin::v1::GetSessionStateRequest;
//! use outrigger_sdk::{Context, Decision, HandlerError, ToolCall};
//!
//! async fn guard(call: ToolCall, cx: Context) -> Result<Decision, HandlerError> {
//!     let request = GetSessionStateRequest { namespace: "plan".into(), ..Default::default() };
//!     let state = cx.host().call(request).await?;
//!     // …
//! #   let _ = (call, state);
//!     Ok(Decision::declined())
//! }
//! ```

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::host_service_client::HostServiceClient;
use outrigger_proto::types::v1::{Refusal, RefusalReason};
use tokio::sync::Semaphore;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// Host calls in flight where the supervisor names no bound: its default (`Limits.max_calls_in_flight`).
const DEFAULT_CALLS: usize = 16;

/// Length of an uploaded chunk where the supervisor names no bound (`Limits.max_chunk_bytes`). The bound is on the
/// chunk alone, so it can be used in full.
const DEFAULT_CHUNK: usize = 65_536;

/// Longest message of a host call's answer that is taken: the supervisor's bound on any message to a plugin.
const MOST_ANSWER: usize = 4 * 1_024 * 1_024;

/// Why a host call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The host's answer is no. Nothing was changed.
    #[error("call the host: refused ({}): {}", reason_name(.0), .0.message)]
    Refused(Box<Refusal>),
    /// The call was not carried out, or it is not known whether it was; see the comment of the call in `host.proto`.
    #[error("call the host")]
    Failed(#[source] Box<Status>),
}

impl HostError {
    /// Why the host said no; `None` if the call itself failed.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalReason> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason()),
            Self::Failed(_) => None,
        }
    }
}

fn reason_name(refusal: &Refusal) -> &'static str {
    let name = refusal.reason().as_str_name();
    name.strip_prefix("REFUSAL_REASON_").unwrap_or(name)
}

/// The host, as one call or as background work sees it. Cloning is cheap; all clones share the connection.
///
/// From a [`Context`](crate::Context) its calls are made for that invocation, and refused once it has its outcome. From
/// a [`Launch`](crate::Launch) they are background work: a session must be named by its handle.
///
/// At most as many calls are in flight as the supervisor takes; more wait here.
#[derive(Clone)]
pub struct Host {
    client: HostServiceClient<Channel>,
    places: Arc<Semaphore>,
    max_chunk: usize,
    invocation_id: u64,
}

impl Host {
    pub(crate) fn new(channel: Channel, calls: u32, chunk: u64) -> Self {
        let client = HostServiceClient::new(channel).max_decoding_message_size(MOST_ANSWER);
        let or = |given: usize, default| if given == 0 { default } else { given };
        let calls = or(usize::try_from(calls).unwrap_or(DEFAULT_CALLS), DEFAULT_CALLS);
        let max_chunk = or(usize::try_from(chunk).unwrap_or(DEFAULT_CHUNK), DEFAULT_CHUNK);
        Self {
            client,
            places: Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS))),
            max_chunk,
            invocation_id: 0,
        }
    }

    /// The same host for calls made for an invocation.
    pub(crate) fn of(&self, invocation_id: u64) -> Self {
        Self { invocation_id, ..self.clone() }
    }

    /// The same host for background work: its calls name no invocation, so they outlive this one.
    #[must_use]
    pub fn background(&self) -> Self {
        self.of(0)
    }

    /// Makes a call. `invocation_id` of the request is filled in where it is 0.
    ///
    /// Dropping the future cancels the call; whether it took effect is then unknown.
    ///
    /// # Errors
    /// [`HostError::Refused`] if the host says no, [`HostError::Failed`] if the call was not carried out.
    pub async fn call<R: HostCall>(&self, mut request: R) -> Result<R::Response, HostError> {
        if let Some(id) = request.invocation_id()
            && *id == 0
        {
            *id = self.invocation_id;
        }
        // The semaphore is never closed; if it were, the supervisor would still count.
        let _place = self.places.acquire().await.ok();
        let response = request.send(self.client.clone()).await.map_err(|status| HostError::Failed(Box::new(status)))?;
        R::checked(response.into_inner()).map_err(HostError::Refused)
    }

    /// Stages a file from bytes, and returns its upload id.
    ///
    /// # Errors
    /// As [`Host::call`].
    pub async fn upload(&self, file_name: impl Into<String>, content: Bytes) -> Result<String, HostError> {
        use plugin::upload_attachment_request::{Part, Start};
        use plugin::upload_attachment_response::Result as Answer;

        let start = Part::Start(Start {
            invocation_id: self.invocation_id,
            file_name: file_name.into(),
            size_bytes: content.len() as u64,
            ..Default::default()
        });
        let max_chunk = self.max_chunk;
        let chunks = (0..content.len()).step_by(max_chunk).map(move |at| {
            let end = content.len().min(at + max_chunk);
            Part::Chunk(content.slice(at..end))
        });
        let parts = std::iter::once(start).chain(chunks);
        let messages = tokio_stream::iter(parts.map(|part| plugin::UploadAttachmentRequest { part: Some(part) }));
        let _place = self.places.acquire().await.ok();
        let mut client = self.client.clone();
        let failed = |status| HostError::Failed(Box::new(status));
        let response = client.upload_attachment(messages).await.map_err(failed)?;
        match response.into_inner().result {
            Some(Answer::UploadId(id)) => Ok(id),
            Some(Answer::Refused(refusal)) => Err(HostError::Refused(Box::new(refusal))),
            None => Err(failed(Status::internal("the host answered an upload with nothing"))),
        }
    }

    /// The generated client. Set `invocation_id` of its requests yourself, see [`Host::invocation_id`].
    #[must_use]
    pub fn raw(&self) -> HostServiceClient<Channel> {
        self.client.clone()
    }

    /// The invocation calls are made for. 0: none, background work.
    #[must_use]
    pub fn invocation_id(&self) -> u64 {
        self.invocation_id
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A request of the host's service. Implemented for all of them but `UploadAttachment`, a stream: [`Host::upload`].
pub trait HostCall: sealed::Sealed + Sized + Send + 'static {
    /// What the host answers.
    type Response: Send + 'static;
    /// The call's name, as in `host.proto`.
    const NAME: &'static str;

    #[doc(hidden)]
    fn invocation_id(&mut self) -> Option<&mut u64>;
    #[doc(hidden)]
    fn send(
        self,
        client: HostServiceClient<Channel>,
    ) -> impl Future<Output = Result<Response<Self::Response>, Status>> + Send;
    /// Turns the `refused` branch into an error.
    #[doc(hidden)]
    fn checked(response: Self::Response) -> Result<Self::Response, Box<Refusal>>;
    /// The answer that says no; `None` where the call has none.
    #[doc(hidden)]
    fn refused(refusal: Refusal) -> Option<Self::Response>;
}

/// Implements [`HostCall`]. `oneof`: the answer is a oneof with a `refused` branch; `field`: a message with an optional
/// `refused` field.
macro_rules! host_calls {
    ($($shape:ident $method:ident $name:literal $request:ident $response:ident $($answer:ident)?;)*) => {$(
        impl sealed::Sealed for plugin::$request {}

        impl HostCall for plugin::$request {
            type Response = plugin::$response;
            const NAME: &'static str = $name;

            fn invocation_id(&mut self) -> Option<&mut u64> {
                Some(&mut self.invocation_id)
            }

            async fn send(
                self,
                mut client: HostServiceClient<Channel>,
            ) -> Result<Response<Self::Response>, Status> {
                client.$method(self).await
            }

            host_calls!(@$shape $response $($answer)?);
        }
    )*};
    (@oneof $response:ident $answer:ident) => {
        fn checked(response: Self::Response) -> Result<Self::Response, Box<Refusal>> {
            match response.result {
                Some(plugin::$answer::Result::Refused(refusal)) => Err(Box::new(refusal)),
                _ => Ok(response),
            }
        }

        fn refused(refusal: Refusal) -> Option<Self::Response> {
            Some(plugin::$response { result: Some(plugin::$answer::Result::Refused(refusal)) })
        }
    };
    (@field $response:ident) => {
        fn checked(mut response: Self::Response) -> Result<Self::Response, Box<Refusal>> {
            match response.refused.take() {
                Some(refusal) => Err(Box::new(refusal)),
                None => Ok(response),
            }
        }

        #[allow(clippy::needless_update, reason = "some of these answers have no other field")]
        fn refused(refusal: Refusal) -> Option<Self::Response> {
            Some(plugin::$response { refused: Some(refusal), ..Default::default() })
        }
    };
}

host_calls! {
    oneof get_session_state "GetSessionState" GetSessionStateRequest GetSessionStateResponse get_session_state_response;
    oneof patch_session_state "PatchSessionState" PatchSessionStateRequest PatchSessionStateResponse patch_session_state_response;
    field list_sessions "ListSessions" ListSessionsRequest ListSessionsResponse;
    oneof enqueue_injection "EnqueueInjection" EnqueueInjectionRequest EnqueueInjectionResponse enqueue_injection_response;
    field list_injections "ListInjections" ListInjectionsRequest ListInjectionsResponse;
    oneof withdraw_injection "WithdrawInjection" WithdrawInjectionRequest WithdrawInjectionResponse withdraw_injection_response;
    oneof request_approval "RequestApproval" RequestApprovalRequest RequestApprovalResponse request_approval_response;
    oneof withdraw_approval "WithdrawApproval" WithdrawApprovalRequest WithdrawApprovalResponse withdraw_approval_response;
    oneof get_run_context "GetRunContext" GetRunContextRequest GetRunContextResponse get_run_context_response;
    field set_run_context "SetRunContext" SetRunContextRequest SetRunContextResponse;
    field clear_run_context "ClearRunContext" ClearRunContextRequest ClearRunContextResponse;
    oneof emit_event "EmitEvent" EmitEventRequest EmitEventResponse emit_event_response;
    oneof schedule_turn "ScheduleTurn" ScheduleTurnRequest ScheduleTurnResponse schedule_turn_response;
    oneof unschedule_turns "UnscheduleTurns" UnscheduleTurnsRequest UnscheduleTurnsResponse unschedule_turns_response;
    field list_scheduled_turns "ListScheduledTurns" ListScheduledTurnsRequest ListScheduledTurnsResponse;
    oneof request_lease "RequestLease" RequestLeaseRequest RequestLeaseResponse request_lease_response;
    oneof clear_lease "ClearLease" ClearLeaseRequest ClearLeaseResponse clear_lease_response;
    field send_attachments "SendAttachments" SendAttachmentsRequest SendAttachmentsResponse;
    oneof get_attachment_delivery "GetAttachmentDelivery" GetAttachmentDeliveryRequest GetAttachmentDeliveryResponse get_attachment_delivery_response;
    oneof put_job "PutJob" PutJobRequest PutJobResponse put_job_response;
    oneof delete_job "DeleteJob" DeleteJobRequest DeleteJobResponse delete_job_response;
    field list_jobs "ListJobs" ListJobsRequest ListJobsResponse;
}

impl sealed::Sealed for plugin::WriteLogsRequest {}

impl HostCall for plugin::WriteLogsRequest {
    type Response = plugin::WriteLogsResponse;
    const NAME: &'static str = "WriteLogs";

    fn invocation_id(&mut self) -> Option<&mut u64> {
        // Each record names its own.
        None
    }

    async fn send(self, mut client: HostServiceClient<Channel>) -> Result<Response<Self::Response>, Status> {
        client.write_logs(self).await
    }

    fn checked(response: Self::Response) -> Result<Self::Response, Box<Refusal>> {
        Ok(response)
    }

    fn refused(_: Refusal) -> Option<Self::Response> {
        None
    }
}
