//! Serves the connections of one launch: HTTP/2 with every bound set, and a gate before every call.
//!
//! Identity belongs to the connection. Before its Session is welcomed nothing but Session is served; one further
//! connection may come with the session's secret. A connection ends when its future is dropped, so nothing a plugin
//! leaves open can hold the supervisor.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use outrigger_proto::plugin::v1::host_service_server::HostServiceServer;
use outrigger_proto::types::v1::ErrorReason;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tower::Service as _;

use super::bounded::SessionCodec;
use super::conversation::{End, LINGER, MAX_HOST_MESSAGE, MAX_SESSION_MESSAGE};
use super::events::FrameCodec;
use super::launch_state::{ConnectionState, LaunchState};
use super::plugin_service::{EventsServer, HostCalls, SessionServer};
use super::status::Failure;
use crate::domain::launch::Connection;

/// Connections that may wait for their Session to be welcomed (architecture §3).
const MAX_STRANGERS: u32 = 4;
/// Streams of a connection (architecture §14).
const MAX_STREAMS: u32 = 32;
/// Bytes of a header list (architecture §14).
const MAX_HEADERS: u32 = 8 * 1024;
/// Flow-control windows (architecture §14).
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Resets that may be pending (architecture §14): a flood of them ends the connection.
const MAX_PENDING_RESETS: usize = 16;
/// Streams that we reset for what came on them, in the whole life of a connection: more end it. A host call that is
/// refused before all of it has come may count as one, so this is not for the pending ones.
const MAX_LOCAL_RESETS: usize = 1024;
/// Bytes buffered for a plugin that does not read, on each stream.
const SEND_BUFFER: usize = 256 * 1024;
/// The path of the one call that a stranger may make.
const SESSION_PATH: &str = "/outrigger.plugin.v1.PluginService/Session";
/// The path of the stream of events.
const EVENTS_PATH: &str = "/outrigger.plugin.v1.PluginService/Events";

/// Spawns what a connection needs so that its owner can wait for it.
#[derive(Clone)]
pub(super) struct Tracked(pub(super) TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tracked {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// What happens to a connection besides its calls: looked at when it happens, and not at every message.
enum Rare {
    /// Something in its state.
    Changed,
    HelloIsDue,
    PeerGone,
    Closing,
}

/// Serves one connection until it ends. Dropping the future ends it at once.
pub(crate) async fn serve(launch: Arc<LaunchState>, connection: Connection, tasks: TaskTracker) {
    let Connection { io, peer, peer_gone } = connection;
    let accepted = Instant::now();
    if launch.strangers.fetch_add(1, Ordering::Relaxed) >= MAX_STRANGERS {
        launch.strangers.fetch_sub(1, Ordering::Relaxed);
        tracing::warn!(plugin = %launch.spec.id, pid = peer.pid, "refused a connection: {MAX_STRANGERS} wait already");
        return;
    }
    let state = Arc::new(ConnectionState::new(accepted + launch.settings.hello));
    let calls = Calls::new(&launch, &state, &tasks);
    let mut builder = hyper::server::conn::http2::Builder::new(Tracked(tasks));
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_send_buf_size(SEND_BUFFER);
    let served = builder.serve_connection(TokioIo::new(io), calls);
    tokio::pin!(served);
    let mut rare = FuturesUnordered::<BoxFuture<'_, Rare>>::new();
    let changed = || async { state.changed.notified().await }.map(|()| Rare::Changed).boxed();
    rare.push(changed());
    // The stream is told first, and a moment is left for that to arrive.
    rare.push(tokio::time::sleep_until(state.hello_by + LINGER).map(|()| Rare::HelloIsDue).boxed());
    rare.push(peer_gone.map(|()| Rare::PeerGone).boxed());
    rare.push(launch.closing.cancelled().map(|()| Rare::Closing).boxed());
    let mut stranger = true;
    let mut gone = false;
    loop {
        let event = tokio::select! {
            biased;
            result = &mut served => {
                if let Err(error) = result {
                    tracing::debug!(plugin = %launch.spec.id, pid = peer.pid, "a connection ended: {error}");
                }
                break;
            }
            Some(event) = rare.next() => event,
        };
        let ends_politely = match event {
            Rare::Changed => {
                rare.push(changed());
                if state.admitted.load(Ordering::Relaxed) && std::mem::take(&mut stranger) {
                    launch.strangers.fetch_sub(1, Ordering::Relaxed);
                }
                if gone && state.carries_session.load(Ordering::Relaxed) {
                    launch.session_ended(End::DialerGone);
                }
                // Its call was refused: the answer goes out, then the connection ends.
                !state.admitted.load(Ordering::Relaxed)
            }
            Rare::HelloIsDue if stranger => {
                tracing::warn!(plugin = %launch.spec.id, pid = peer.pid, "closed a connection without a welcomed session");
                break;
            }
            Rare::HelloIsDue => false,
            Rare::PeerGone => {
                gone = true;
                if state.carries_session.load(Ordering::Relaxed) {
                    launch.session_ended(End::DialerGone);
                }
                false
            }
            Rare::Closing => true,
        };
        if ends_politely {
            served.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LINGER, &mut served).await;
            break;
        }
    }
    if stranger {
        launch.strangers.fetch_sub(1, Ordering::Relaxed);
    }
    // It may have been admitted and ended before this loop saw the first.
    if state.carries_session.load(Ordering::Relaxed) {
        launch.session_ended(End::Closed);
    } else if state.admitted.load(Ordering::Relaxed) {
        launch.further.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The calls of one connection.
struct Calls {
    launch: Arc<LaunchState>,
    state: Arc<ConnectionState>,
    session: SessionServer,
    host: HostServiceServer<HostCalls>,
}

impl Calls {
    fn new(launch: &Arc<LaunchState>, state: &Arc<ConnectionState>, tasks: &TaskTracker) -> Self {
        let session = SessionServer::new(Arc::clone(launch), Arc::clone(state), tasks.clone());
        let host = HostCalls::new(Arc::clone(launch));
        Self {
            launch: Arc::clone(launch),
            state: Arc::clone(state),
            session,
            host: HostServiceServer::new(host).max_decoding_message_size(MAX_HOST_MESSAGE),
        }
    }

    /// Whether the call may be looked at.
    fn admit(&self, request: &Request<Incoming>) -> Result<(), Status> {
        if self.state.admitted.load(Ordering::Relaxed) || request.uri().path() == SESSION_PATH {
            return Ok(());
        }
        let refuse = |why: &str| {
            self.state.changed.notify_one();
            Status::from(Failure::new(ErrorReason::SessionSecretInvalid, why))
        };
        let Some(secret) = request.headers().get("outrigger-session") else {
            return Err(refuse("the connection has no welcomed Session and the call no `outrigger-session`"));
        };
        if !self.launch.is_open() || !self.launch.knows_secret(secret.as_bytes()) {
            return Err(refuse("the session secret is wrong"));
        }
        if self.launch.further.fetch_add(1, Ordering::Relaxed) > 0 {
            self.launch.further.fetch_sub(1, Ordering::Relaxed);
            return Err(refuse("a launch may have one connection besides that of its Session"));
        }
        self.state.admitted.store(true, Ordering::Relaxed);
        self.state.changed.notify_one();
        Ok(())
    }
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if let Err(status) = self.admit(&request) {
            return Box::pin(std::future::ready(Ok(status.into_http())));
        }
        let path = request.uri().path();
        if path == EVENTS_PATH {
            let events = EventsServer::new(Arc::clone(&self.launch));
            return Box::pin(async move {
                let mut call = Grpc::new(FrameCodec).max_decoding_message_size(MAX_HOST_MESSAGE);
                Ok(call.server_streaming(events, request).await)
            });
        }
        if path == SESSION_PATH {
            let session = self.session.clone();
            return Box::pin(async move {
                let mut call = Grpc::new(SessionCodec).max_decoding_message_size(MAX_SESSION_MESSAGE);
                Ok(call.streaming(session, request).await)
            });
        }
        if path.starts_with("/outrigger.plugin.v1.HostService/") {
            let mut host = self.host.clone();
            let place = Arc::clone(&self.launch.host_calls).try_acquire_owned();
            let rate = self.launch.host_rate.take();
            return Box::pin(async move {
                let (what, after) = match (rate, place) {
                    (Ok(()), Ok(_place)) => return host.call(request).await,
                    (Err(after), _) => ("too many host calls a second", after),
                    (Ok(()), Err(_)) => ("too many host calls in flight", std::time::Duration::from_millis(50)),
                };
                // What still comes on a stream that was answered is an error of the stream, and too many end the
                // connection, the Session with it.
                discard(request.into_body()).await;
                let failure = Failure::new(ErrorReason::PluginOverloaded, what);
                Ok(Status::from(failure.retry(after)).into_http())
            });
        }
        let status = Status::unimplemented("the socket of a launch serves PluginService and HostService");
        Box::pin(std::future::ready(Ok(status.into_http())))
    }
}

/// Reads a request to its end; the metered connection bounds how much that is.
async fn discard(mut body: Incoming) {
    while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
}
