//! The other process of each comparator: `bench-peer ROLE SOCKET` dials, answers, and ends with its connection. The role
//! `relay` has a process of its own behind it.

mod stream;

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::runtime::v1 as runtime;
use plugin::invocation_result::Outcome;
use runtime::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, socket] = arguments.as_slice() else {
        eprintln!("bench-peer bare|short|relay|events|unary|raw SOCKET");
        return ExitCode::FAILURE;
    };
    match answer(role, Path::new(socket)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-peer {role}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn answer(role: &str, socket: &Path) -> Result<(), Failure> {
    let connection = UnixStream::connect(socket).await?;
    match role {
        "bare" => answers(connection, |message| message).await,
        "short" => answers(connection, decline).await,
        "events" => events(connection).await,
        "relay" => relay(connection, &socket.with_extension("inner")).await,
        "unary" => unary(connection).await,
        "raw" => raw(connection).await,
        _ => Err("no such role".into()),
    }
}

/// Opens the stream on a connection.
async fn dial<Out, In>(
    connection: UnixStream,
    outbound: impl Stream<Item = Out> + Send + 'static,
) -> Result<Streaming<In>, Failure>
where
    Out: prost::Message + 'static,
    In: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(stream::channel(connection).await?);
    client.ready().await?;
    let path = PathAndQuery::from_static("/bench/Stream");
    let codec = ProstCodec::<Out, In>::default();
    Ok(client.streaming(Request::new(outbound), path, codec).await?.into_inner())
}

/// Answers every message of the stream with one.
async fn answers<A>(connection: UnixStream, answer: impl Fn(plugin::SessionResponse) -> A) -> Result<(), Failure>
where
    A: prost::Message + 'static,
{
    let (answers, outbound) = mpsc::channel(stream::AHEAD);
    let mut inbound = dial(connection, ReceiverStream::new(outbound)).await?;
    while let Ok(Some(message)) = inbound.message().await {
        answers.send(answer(message)).await?;
    }
    Ok(())
}

/// What a guard answers that has nothing to say.
fn decline(message: plugin::SessionResponse) -> plugin::SessionRequest {
    let declined = |invocation: plugin::Invocation| plugin::InvocationResult {
        invocation_id: invocation.invocation_id,
        outcome: Some(Outcome::Declined(plugin::Declined {})),
    };
    let results = message.invocations.into_iter().map(declined).collect();
    plugin::SessionRequest { results, ..Default::default() }
}

/// Counts events, and tells how many there were when a message without any comes.
async fn events(connection: UnixStream) -> Result<(), Failure> {
    let (counts, outbound) = mpsc::channel(stream::AHEAD);
    let mut inbound: Streaming<plugin::EventsResponse> = dial(connection, ReceiverStream::new(outbound)).await?;
    let mut count = 0;
    while let Ok(Some(message)) = inbound.message().await {
        if message.events.is_empty() {
            counts.send(plugin::EventCursor { epoch: 0, seq: count }).await?;
        }
        count += message.events.len() as u64;
    }
    Ok(())
}

/// Passes every message on to a further process, and each of its answers back.
async fn relay(connection: UnixStream, socket: &Path) -> Result<(), Failure> {
    let listener = UnixListener::bind(socket)?;
    let mut command = Command::new(std::env::current_exe()?);
    let _inner = command.arg("bare").arg(socket).stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let (inner, _) = listener.accept().await?;
    let (out, answers) = stream::serve::<plugin::SessionResponse, plugin::SessionResponse>(inner).await?;
    let answers = answers.take_while(Result::is_ok).filter_map(Result::ok);
    let mut inbound = dial(connection, answers).await?;
    while let Ok(Some(message)) = inbound.message().await {
        out.send(Ok(message)).await?;
    }
    Ok(())
}

struct GoOn;

#[tonic::async_trait]
impl RuntimeService for GoOn {
    async fn invoke_hook(
        &self,
        request: Request<runtime::InvokeHookRequest>,
    ) -> Result<Response<runtime::InvokeHookResponse>, Status> {
        drop(request.into_inner());
        let outcome = runtime::HookOutcome { verdict: runtime::HookVerdict::GoOn as i32, ..Default::default() };
        Ok(Response::new(runtime::InvokeHookResponse { outcome: Some(outcome), contribution_epoch: 1 }))
    }
}

/// Serves unary calls until standard input ends: the server would wait for further connections.
async fn unary(connection: UnixStream) -> Result<(), Failure> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        let _ = ended.send(());
    });
    let connections = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    let end = async { drop(end.await) };
    let service = RuntimeServiceServer::new(GoOn);
    Ok(Server::builder().serve_with_incoming_shutdown(service, connections, end).await?)
}

/// Sends back what comes, 256 bytes each.
async fn raw(mut connection: UnixStream) -> Result<(), Failure> {
    let mut bytes = [0; 256];
    while connection.read_exact(&mut bytes).await.is_ok() {
        connection.write_all(&bytes).await?;
    }
    Ok(())
}
