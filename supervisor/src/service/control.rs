//! Serves the control sockets: a key on every call, then the runtime's or the operator's service, health, reflection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use outrigger_proto::FILE_DESCRIPTOR_SET;
use outrigger_proto::admin::v1::admin_service_server::AdminServiceServer;
use outrigger_proto::runtime::v1::runtime_service_server::RuntimeServiceServer;
use outrigger_proto::types::v1::ErrorReason;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tower::Service as _;

use super::admin_service::AdminApi;
use super::conversation::LINGER;
use super::runtime_service::{RuntimeApi, RuntimeId};
use super::status::Failure;
use crate::domain::keys::Keys;
use crate::domain::launch::ControlConnection;

/// Longest message of a runtime or operator (architecture §14).
pub(crate) const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// The metadata that carries the key.
pub(crate) const KEY: &str = "outrigger-key";
const RUNTIME: &str = "/outrigger.runtime.v1.RuntimeService/";
const ADMIN: &str = "/outrigger.admin.v1.AdminService/";
const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/";
/// Flow-control windows of trusted peers: a payload fits without waiting.
const WINDOW: u32 = 4 * 1024 * 1024;

/// Which socket it is.
#[derive(Clone)]
pub(crate) enum Face {
    /// `runtime.sock`.
    Runtime(RuntimeServiceServer<RuntimeApi>),
    /// `admin.sock`.
    Admin(AdminServiceServer<AdminApi>),
}

type Boxed = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Everything one socket serves.
pub(crate) struct Served {
    face: Face,
    health: HealthServer<HealthService>,
    keys: Arc<dyn Keys>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Served {
    pub(crate) fn new(
        face: Face,
        health: HealthServer<HealthService>,
        keys: Arc<dyn Keys>,
        stopping: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self { face, health, keys, stopping, tasks })
    }

    /// Serves connections until the supervisor stops or no more come.
    pub(crate) async fn serve(self: Arc<Self>, mut connections: mpsc::Receiver<ControlConnection>) {
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                connection = connections.recv() => match connection {
                    Some(connection) => {
                        let served = Arc::clone(&self);
                        self.tasks.spawn(async move { served.connection(connection).await });
                    }
                    None => return,
                },
            }
        }
    }

    async fn connection(self: Arc<Self>, connection: ControlConnection) {
        let pid = connection.peer.pid;
        let mut builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .max_header_list_size(16 * 1024);
        let served = builder.serve_connection(TokioIo::new(connection.io), Calls(Arc::clone(&self)));
        tokio::pin!(served);
        tokio::select! {
            biased;
            result = &mut served => {
                if let Err(error) = result {
                    tracing::debug!(pid, "a control connection ended: {error}");
                }
            }
            () = self.stopping.cancelled() => {
                served.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LINGER, &mut served).await;
            }
        }
    }

    /// The runtime's id for its socket, nothing for the operator's.
    fn check_key<B>(&self, request: &Request<B>) -> Result<Option<RuntimeId>, Status> {
        let line = request.headers().get(KEY).map(http::HeaderValue::as_bytes);
        let refuse = |why: &str| {
            let failure = Failure::new(ErrorReason::KeyInvalid, why);
            let file = match &self.face {
                Face::Runtime(_) => "send the line of a file of `keys/` in the state directory",
                Face::Admin(_) => "send the line of `admin.key` in the state directory",
            };
            Status::from(failure.help(&format!("{file} as `{KEY}` metadata")))
        };
        let line = line.ok_or_else(|| refuse("the call carries no key"))?;
        match &self.face {
            Face::Runtime(_) => match self.keys.runtime(line) {
                Some(id) => Ok(Some(RuntimeId(id))),
                None => Err(refuse("the key is not one of this socket")),
            },
            Face::Admin(_) if self.keys.is_admin(line) => Ok(None),
            Face::Admin(_) => Err(refuse("the key is not one of this socket")),
        }
    }
}

struct Calls(Arc<Served>);

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed;

    fn call(&self, mut request: Request<Incoming>) -> Boxed {
        let served = &self.0;
        match served.check_key(&request) {
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
            Ok(Some(id)) => {
                request.extensions_mut().insert(id);
            }
            Ok(None) => {}
        }
        let path = request.uri().path();
        match &served.face {
            Face::Runtime(service) if path.starts_with(RUNTIME) => {
                let mut service = service.clone();
                Box::pin(async move { service.call(request).await })
            }
            Face::Admin(service) if path.starts_with(ADMIN) => {
                let mut service = service.clone();
                Box::pin(async move { service.call(request).await })
            }
            _ if path.starts_with(HEALTH) => {
                let mut service = served.health.clone();
                Box::pin(async move { service.call(request).await })
            }
            _ if path.starts_with(REFLECTION) => match reflection(&served.face).build_v1() {
                Ok(mut service) => Box::pin(async move { service.call(request).await }),
                Err(error) => unavailable(&error.to_string()),
            },
            _ if path.starts_with(REFLECTION_ALPHA) => match reflection(&served.face).build_v1alpha() {
                Ok(mut service) => Box::pin(async move { service.call(request).await }),
                Err(error) => unavailable(&error.to_string()),
            },
            _ => {
                let status = Status::unimplemented("this socket serves no such method");
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

fn unavailable(why: &str) -> Boxed {
    let status = Status::internal(format!("the descriptors cannot be served: {why}"));
    Box::pin(std::future::ready(Ok(status.into_http())))
}

/// Describes what this socket serves; the descriptors hold the types of all packages.
fn reflection(face: &Face) -> tonic_reflection::server::Builder<'static> {
    let service = match face {
        Face::Runtime(_) => RUNTIME,
        Face::Admin(_) => ADMIN,
    };
    tonic_reflection::server::Builder::configure()
        .with_service_name(service.trim_matches('/'))
        .with_service_name(HEALTH.trim_matches('/'))
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
