//! The gRPC services of a launch's socket.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::host_service_server::HostService;
use outrigger_proto::types::v1::ErrorReason;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::codegen::BoxStream;
use tonic::server::{ServerStreamingService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use super::conversation::{self, converse};
use super::events::{self, EventStream, Frame};
use super::launch_state::{ConnectionState, LaunchState};
use super::log::{Line, Source};
use super::status::Failure;
use crate::domain::text;

/// Records of one `WriteLogs`.
const MAX_RECORDS: usize = 256;
/// Bytes of a record's fields.
const MAX_FIELDS: usize = 16_384;

/// `PluginService.Session` on one connection: apart from the rest of its service, as its messages are counted before they
/// are read.
#[derive(Clone)]
pub(crate) struct SessionServer {
    launch: Arc<LaunchState>,
    connection: Arc<ConnectionState>,
    tasks: TaskTracker,
}

impl SessionServer {
    pub(crate) fn new(launch: Arc<LaunchState>, connection: Arc<ConnectionState>, tasks: TaskTracker) -> Self {
        Self { launch, connection, tasks }
    }
}

impl SessionServer {
    async fn session(
        &self,
        request: Request<Streaming<wire::SessionRequest>>,
    ) -> Result<Response<BoxStream<wire::SessionResponse>>, Status> {
        self.launch.check_open()?;
        let (out, outbound) = conversation::outbox();
        let (launch, connection) = (Arc::clone(&self.launch), Arc::clone(&self.connection));
        self.tasks.spawn(converse(launch, connection, request.into_inner(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

impl StreamingService<wire::SessionRequest> for SessionServer {
    type Response = wire::SessionResponse;
    type ResponseStream = BoxStream<wire::SessionResponse>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<wire::SessionRequest>>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { server.session(request).await })
    }
}

/// `PluginService.Events` on one connection: apart from the rest of its service, as events are encoded already.
#[derive(Clone)]
pub(crate) struct EventsServer {
    launch: Arc<LaunchState>,
}

impl EventsServer {
    pub(crate) fn new(launch: Arc<LaunchState>) -> Self {
        Self { launch }
    }
}

impl ServerStreamingService<wire::EventsRequest> for EventsServer {
    type Response = Frame;
    type ResponseStream = EventStream;
    type Future = Ready<Result<Response<EventStream>, Status>>;

    fn call(&mut self, request: Request<wire::EventsRequest>) -> Self::Future {
        let opened = EventStream::open(&self.launch, request.into_inner());
        ready(opened.map(Response::new).map_err(Status::from))
    }
}

/// `HostService` on one connection.
pub(crate) struct HostCalls {
    launch: Arc<LaunchState>,
}

impl HostCalls {
    pub(crate) fn new(launch: Arc<LaunchState>) -> Self {
        Self { launch }
    }
}

#[tonic::async_trait]
impl HostService for HostCalls {
    async fn emit_event(
        &self,
        request: Request<wire::EmitEventRequest>,
    ) -> Result<Response<wire::EmitEventResponse>, Status> {
        if !self.launch.is_open() {
            return Err(Failure::new(ErrorReason::SessionNotOpen, "the Session is not open").into());
        }
        use wire::emit_event_response::Result::{EventSeq, Refused};
        let emitted = events::emit(&self.launch, request.into_inner()).await;
        let result = Some(emitted.map_or_else(|refusal| Refused(*refusal), EventSeq));
        Ok(Response::new(wire::EmitEventResponse { result }))
    }

    async fn write_logs(
        &self,
        request: Request<wire::WriteLogsRequest>,
    ) -> Result<Response<wire::WriteLogsResponse>, Status> {
        if !self.launch.is_open() {
            return Err(Failure::new(ErrorReason::SessionNotOpen, "the Session is not open").into());
        }
        let records = request.into_inner().records;
        // Over the bound or the rate the oldest go.
        let taken = self.launch.log_rate.take_up_to(records.len().min(MAX_RECORDS));
        let dropped = records.len() - taken;
        for record in records.into_iter().skip(dropped) {
            let level = wire::LogLevel::try_from(record.level).unwrap_or(wire::LogLevel::Unspecified);
            let level = level.as_str_name().trim_start_matches("LOG_LEVEL_").to_ascii_lowercase();
            let object = record.fields_json.len() <= MAX_FIELDS
                && serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&record.fields_json).is_ok();
            let fields = if object { String::from_utf8_lossy(&record.fields_json).into_owned() } else { String::new() };
            self.launch.logs.push(Line {
                at: SystemTime::now(),
                generation: self.launch.generation,
                source: Source::Log,
                level: super::output::level_name(&level),
                truncated: text::units(&record.message) > 4096,
                text: text::clean(&record.message, 4096),
                fields_json: fields,
            });
        }
        if dropped > 0 {
            self.launch.logs.add_dropped(dropped as u64);
        }
        Ok(Response::new(wire::WriteLogsResponse { dropped: u32::try_from(dropped).unwrap_or(u32::MAX) }))
    }
}
