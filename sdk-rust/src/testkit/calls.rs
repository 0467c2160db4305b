//! The host's services: records every call, and answers as the test says or with a sound default.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::host_service_server::HostService;
use outrigger_proto::plugin::v1::upload_attachment_request::Part;
use outrigger_proto::plugin::v1::upload_attachment_response::Result as UploadAnswer;
use outrigger_proto::types::v1::{Refusal, RefusalReason};
use tonic::{Request, Response, Status, Streaming};

use super::defaults::{self, Memory};
use crate::host::HostCall;

/// Calls kept.
const MOST_CALLS: usize = 10_000;
/// Longest file of an upload (`UploadAttachmentRequest.Start.size_bytes`).
const MOST_UPLOAD: usize = 26_214_400;

/// A file that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its name.
    pub file_name: String,
    /// Its bytes.
    pub content: Bytes,
    /// The invocation it was uploaded for. 0: none.
    pub invocation_id: u64,
}

/// The service. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Calls(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    recorded: VecDeque<(&'static str, Box<dyn Any + Send + Sync>)>,
    refused: HashMap<&'static str, RefusalReason>,
    answers: HashMap<&'static str, Arc<Answer>>,
    uploads: Vec<Upload>,
    memory: Memory,
}

type Answer = dyn Fn(&dyn Any) -> Box<dyn Any> + Send + Sync;

const UPLOAD: &str = "UploadAttachment";

impl Calls {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refuse<R: HostCall>(&self, reason: RefusalReason) {
        assert!(R::refused(Refusal::default()).is_some(), "{} has no way to be refused", R::NAME);
        self.lock().refused.insert(R::NAME, reason);
    }

    pub(super) fn refuse_uploads(&self, reason: RefusalReason) {
        self.lock().refused.insert(UPLOAD, reason);
    }

    pub(super) fn answer_by<R: HostCall>(&self, answer: Box<Answer>) {
        self.lock().answers.insert(R::NAME, answer.into());
    }

    pub(super) fn requests<R: HostCall + Clone>(&self) -> Vec<R> {
        let state = self.lock();
        let requests = state.recorded.iter().filter_map(|(_, request)| request.downcast_ref::<R>());
        requests.cloned().collect()
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.lock().recorded.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn uploads(&self) -> Vec<Upload> {
        self.lock().uploads.clone()
    }

    /// Records a call and answers it.
    fn handle<R: HostCall + Clone + Sync>(
        &self,
        request: R,
        default: fn(&mut Memory, R) -> R::Response,
    ) -> Result<Response<R::Response>, Status> {
        let mut state = self.lock();
        state.record(R::NAME, Box::new(request.clone()));
        let refusal = state.refused.get(R::NAME).and_then(|reason| R::refused(refusal(*reason)));
        if let Some(refused) = refusal {
            return Ok(Response::new(refused));
        }
        if let Some(answer) = state.answers.get(R::NAME).cloned() {
            // The test's own code runs without the lock: it may look at the host.
            drop(state);
            let answer = answer(&request).downcast::<R::Response>();
            let answer = answer.map_err(|_| Status::internal("the test's answer is of another call"))?;
            return Ok(Response::new(*answer));
        }
        Ok(Response::new(default(&mut state.memory, request)))
    }
}

impl State {
    fn record(&mut self, name: &'static str, request: Box<dyn Any + Send + Sync>) {
        if self.recorded.len() == MOST_CALLS {
            self.recorded.pop_front();
        }
        self.recorded.push_back((name, request));
    }
}

fn refusal(reason: RefusalReason) -> Refusal {
    Refusal { reason: reason.into(), message: "the test refuses it".to_owned(), ..Default::default() }
}

/// Writes the service out: every call but the upload.
macro_rules! service {
    ($($method:ident $request:ident $response:ident;)*) => {
        #[tonic::async_trait]
        impl HostService for Calls {
            $(async fn $method(
                &self,
                request: Request<plugin::$request>,
            ) -> Result<Response<plugin::$response>, Status> {
                self.handle(request.into_inner(), defaults::$method)
            })*

            async fn upload_attachment(
                &self,
                request: Request<Streaming<plugin::UploadAttachmentRequest>>,
            ) -> Result<Response<plugin::UploadAttachmentResponse>, Status> {
                let upload = receive(request.into_inner()).await?;
                let mut state = self.lock();
                state.record(UPLOAD, Box::new(()));
                let result = match state.refused.get(UPLOAD) {
                    Some(reason) => UploadAnswer::Refused(refusal(*reason)),
                    None => {
                        state.uploads.push(upload);
                        UploadAnswer::UploadId(format!("upload-{}", state.uploads.len()))
                    }
                };
                Ok(Response::new(plugin::UploadAttachmentResponse { result: Some(result) }))
            }
        }
    };
}

service! {
    get_session_state GetSessionStateRequest GetSessionStateResponse;
    patch_session_state PatchSessionStateRequest PatchSessionStateResponse;
    list_sessions ListSessionsRequest ListSessionsResponse;
    enqueue_injection EnqueueInjectionRequest EnqueueInjectionResponse;
    list_injections ListInjectionsRequest ListInjectionsResponse;
    withdraw_injection WithdrawInjectionRequest WithdrawInjectionResponse;
    request_approval RequestApprovalRequest RequestApprovalResponse;
    withdraw_approval WithdrawApprovalRequest WithdrawApprovalResponse;
    get_run_context GetRunContextRequest GetRunContextResponse;
    set_run_context SetRunContextRequest SetRunContextResponse;
    clear_run_context ClearRunContextRequest ClearRunContextResponse;
    emit_event EmitEventRequest EmitEventResponse;
    schedule_turn ScheduleTurnRequest ScheduleTurnResponse;
    unschedule_turns UnscheduleTurnsRequest UnscheduleTurnsResponse;
    list_scheduled_turns ListScheduledTurnsRequest ListScheduledTurnsResponse;
    request_lease RequestLeaseRequest RequestLeaseResponse;
    clear_lease ClearLeaseRequest ClearLeaseResponse;
    send_attachments SendAttachmentsRequest SendAttachmentsResponse;
    get_attachment_delivery GetAttachmentDeliveryRequest GetAttachmentDeliveryResponse;
    put_job PutJobRequest PutJobResponse;
    delete_job DeleteJobRequest DeleteJobResponse;
    list_jobs ListJobsRequest ListJobsResponse;
    write_logs WriteLogsRequest WriteLogsResponse;
}

/// Reads an upload to its end, and holds it to its own size.
async fn receive(mut parts: Streaming<plugin::UploadAttachmentRequest>) -> Result<Upload, Status> {
    let Some(Part::Start(start)) = parts.message().await?.and_then(|message| message.part) else {
        return Err(Status::internal("an upload begins with its start"));
    };
    let mut content = Vec::new();
    while let Some(message) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = message.part else {
            return Err(Status::internal("an upload goes on with chunks"));
        };
        content.extend_from_slice(&chunk);
        if content.len() > MOST_UPLOAD {
            return Err(Status::resource_exhausted("the file is too long"));
        }
    }
    if content.len() as u64 != start.size_bytes {
        return Err(Status::internal("the file is not as long as its start says"));
    }
    Ok(Upload { file_name: start.file_name, content: content.into(), invocation_id: start.invocation_id })
}
