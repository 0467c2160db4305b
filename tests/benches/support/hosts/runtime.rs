//! An agent runtime: attached to the supervisor of another host, with one stream of hook calls, and one of events where it
//! is asked to publish. Calls that wait together leave in one message.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1 as types;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use wire::hook_stream_request::Call as StreamCall;
use wire::hook_stream_response::answer::Answer;
use wire::runtime_service_client::RuntimeServiceClient;

use super::super::host::{Orders, window};
use super::super::measure::Call;
use super::super::supervised::Files;
use super::super::{Failure, Result};
use super::flood::Flood;

/// Calls in one message.
const TOGETHER: usize = 64;

/// Puts the runtime's key on every call.
#[derive(Clone)]
pub(super) struct WithKey(MetadataValue<Ascii>);

impl Interceptor for WithKey {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        request.metadata_mut().insert("outrigger-key", self.0.clone());
        Ok(request)
    }
}

/// The runtime's face of a supervisor.
pub(super) type Client = RuntimeServiceClient<InterceptedService<Channel, WithKey>>;

/// Calls on their way to the stream.
struct Outbound(mpsc::Receiver<StreamCall>);

impl Stream for Outbound {
    type Item = wire::HookStreamRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut calls = Vec::new();
        match self.0.poll_recv_many(cx, &mut calls, TOGETHER) {
            Poll::Ready(0) => Poll::Ready(None),
            Poll::Ready(_) => Poll::Ready(Some(wire::HookStreamRequest { calls, ..Default::default() })),
            Poll::Pending => Poll::Pending,
        }
    }
}

type Open = Arc<Mutex<HashMap<u64, oneshot::Sender<Option<Answer>>>>>;

#[derive(Clone)]
struct TwoHops {
    out: mpsc::Sender<StreamCall>,
    open: Open,
    next: Arc<AtomicU64>,
    invocation: wire::HookInvocation,
}

impl Call for TwoHops {
    async fn call(&self) -> Result<()> {
        let call_id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (reply, answer) = oneshot::channel();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(call_id, reply);
        let call = StreamCall { call_id, invocation: Some(Box::new(self.invocation.clone())) };
        self.out.send(call).await.map_err(|_| "the stream has ended")?;
        match answer.await? {
            Some(Answer::Outcome(outcome)) if outcome.verdict == wire::HookVerdict::GoOn as i32 => Ok(()),
            other => Err(format!("the call did not go on: {other:?}").into()),
        }
    }
}

pub(super) async fn host(directory: &Path) -> Result<()> {
    let files = Files::of(directory);
    let connection = UnixStream::connect(files.runtime_dir.join("runtime.sock")).await?;
    let key = std::fs::read_to_string(files.state_dir.join("keys/default.key"))?.trim_end().parse()?;
    let channel: Channel = super::stream::channel(connection).await?;
    let mut client = RuntimeServiceClient::with_interceptor(channel, WithKey(key));
    let attach = wire::AttachRequest {
        incarnation: 1,
        protocol: Some(types::ProtocolRange { min: 1, max: 1 }),
        software: "benchmark".to_owned(),
        ..Default::default()
    };
    let mut directives = client.attach(attach).await?.into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = directives.message().await {} });
    let (out, outbound) = mpsc::channel(256);
    let mut answers = client.hook_stream(Outbound(outbound)).await?.into_inner();
    let hops = TwoHops {
        out,
        open: Open::default(),
        next: Arc::default(),
        invocation: super::unary::invocation(super::event(super::EVENT_BYTES)),
    };
    let open = Arc::clone(&hops.open);
    tokio::spawn(async move {
        while let Some(message) = answers.message().await? {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            for answer in message.answers {
                if let Some(reply) = open.remove(&answer.call_id) {
                    let _ = reply.send(answer.answer);
                }
            }
        }
        Ok::<_, Failure>(())
    });
    let mut flood = Flood::new(client);
    Orders::open()?
        .serve(async |order| match order["do"].as_str() {
            Some("flood") => flood.start(),
            Some("end flood") => flood.stop().await,
            Some("mark") => flood.mark().await,
            _ => {
                let invocation = super::unary::invocation(super::event_of(order)?);
                window(order, &TwoHops { invocation, ..hops.clone() }).await
            }
        })
        .await
}
