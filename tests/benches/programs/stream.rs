//! One stream of messages between two processes, written by hand on tonic's own parts: the side that serves it, and
//! a channel for the side that dials.

use std::convert::Infallible;
use std::io;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codec::Codec;
use tonic::codegen::http;
use tonic::server::{Grpc, StreamingService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What goes out on a stream that is served.
pub(crate) type Outbound<Out> = mpsc::Sender<Result<Out, Status>>;
type Opened<Out, In> = (Outbound<Out>, Streaming<In>);

/// Messages that a stream's sender may be ahead of its connection.
pub(crate) const AHEAD: usize = 256;

/// Takes the one stream, whatever its path.
struct Opens<C: Codec>(mpsc::Sender<Opened<C::Encode, C::Decode>>);

impl<C: Codec> Clone for Opens<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Codec> StreamingService<C::Decode> for Opens<C> {
    type Response = C::Encode;
    type ResponseStream = ReceiverStream<Result<C::Encode, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<C::Decode>>) -> Self::Future {
        let opens = self.0.clone();
        Box::pin(async move {
            let (out, outbound) = mpsc::channel(AHEAD);
            let opened = opens.send((out, request.into_inner())).await;
            opened.map_err(|_| Status::unavailable("nobody takes the stream"))?;
            Ok(Response::new(ReceiverStream::new(outbound)))
        })
    }
}

impl<C: Codec + Default + Send + 'static> tower::Service<http::Request<Body>> for Opens<C> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(Grpc::new(C::default()).streaming(service, request).await) })
    }
}

/// Serves a connection, and waits until the other side has opened its stream.
pub(crate) async fn serve<Out, In>(connection: UnixStream) -> Result<Opened<Out, In>, Failure>
where
    Out: prost::Message + 'static,
    In: prost::Message + Default + 'static,
{
    serve_with::<ProstCodec<Out, In>>(connection).await
}

/// The same with messages in a form of one's own.
pub(crate) async fn serve_with<C: Codec + Default + Send + 'static>(
    connection: UnixStream,
) -> Result<Opened<C::Encode, C::Decode>, Failure> {
    let (opens, mut opened) = mpsc::channel(1);
    // The server would end with its last connection otherwise.
    let connections = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    tokio::spawn(async move { Server::builder().serve_with_incoming(Opens::<C>(opens), connections).await });
    Ok(opened.recv().await.ok_or("nobody opened the stream")?)
}

/// A channel over this connection alone.
pub(crate) async fn channel(connection: UnixStream) -> Result<Channel, Failure> {
    let once = Mutex::new(Some(connection));
    let connector = tower::service_fn(move |_| {
        let connection = once.lock().ok().and_then(|mut once| once.take());
        std::future::ready(connection.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(connector).await?)
}
