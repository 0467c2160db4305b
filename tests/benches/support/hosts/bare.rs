//! The bare stream: the messages of a hook call over one tonic stream between two processes, and nothing else: no
//! routing, no deadline, no bounds, no counting.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1 as types;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wire::plugin_service_server::{PluginService, PluginServiceServer};

use super::super::host::{Orders, window};
use super::super::measure::Call;
use super::super::{Failure, Result};

type Outbound = mpsc::Sender<std::result::Result<wire::SessionResponse, Status>>;
type Opened = (Outbound, Streaming<wire::SessionRequest>);

/// Takes the one stream.
struct Opens(mpsc::Sender<Opened>);

#[tonic::async_trait]
impl PluginService for Opens {
    async fn session(
        &self,
        request: Request<Streaming<wire::SessionRequest>>,
    ) -> std::result::Result<Response<BoxStream<wire::SessionResponse>>, Status> {
        let (out, outbound) = mpsc::channel(256);
        let opened = self.0.send((out, request.into_inner())).await;
        opened.map_err(|_| Status::unavailable("the host has ended"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

#[derive(Clone)]
struct Bare {
    out: Outbound,
    open: Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>,
    next: Arc<AtomicU64>,
    invocation: wire::Invocation,
}

impl Call for Bare {
    async fn call(&self) -> Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (reply, answer) = oneshot::channel();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, reply);
        let invocation = wire::Invocation { invocation_id: id, ..self.invocation.clone() };
        let frame = wire::SessionResponse { invocations: vec![invocation], ..Default::default() };
        self.out.send(Ok(frame)).await.map_err(|_| "the stream has ended")?;
        Ok(answer.await?)
    }
}

/// What the supervisor sends for one call, to the byte.
fn invocation() -> wire::Invocation {
    let handle = || "0123456789abcdef0123456789abcdef".to_owned();
    wire::Invocation {
        handler_id: "guard".to_owned(),
        timeout: Some(prost_types::Duration { seconds: 4, nanos: 999_999_000 }),
        session: Some(types::SessionRef {
            handle: handle(),
            key: "bench".to_owned(),
            runtime_id: "default".to_owned(),
            ..Default::default()
        }),
        run: Some(types::RunRef { handle: handle(), id: "run-1".to_owned() }),
        call: Some(wire::invocation::Call::Hook(wire::HookCall {
            hook: types::Hook::BeforeToolCall as i32,
            event_json: super::event(),
            tool_name: "exec".to_owned(),
            tool_call_id: "call-1".to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

pub(super) async fn host(directory: &Path) -> Result<()> {
    let (opens, mut opened) = mpsc::channel(1);
    let (_child, connection) = super::peer("bare", directory).await?;
    let connections = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    let service = PluginServiceServer::new(Opens(opens));
    tokio::spawn(async move { Server::builder().serve_with_incoming(service, connections).await });
    let (out, mut inbound) = opened.recv().await.ok_or("nobody opened the stream")?;
    let bare = Bare { out, open: Arc::default(), next: Arc::default(), invocation: invocation() };
    let open = Arc::clone(&bare.open);
    tokio::spawn(async move {
        while let Some(message) = inbound.message().await? {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            for result in message.results {
                if let Some(reply) = open.remove(&result.invocation_id) {
                    let _ = reply.send(());
                }
            }
        }
        Ok::<_, Failure>(())
    });
    Orders::open()?.serve(async |order| window(order, &bare).await).await
}
