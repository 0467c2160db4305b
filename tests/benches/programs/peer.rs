//! The other process of each comparator: `bench-peer bare|unary|raw SOCKET` dials, answers, and ends with its connection.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use hyper_util::rt::TokioIo;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::runtime::v1 as runtime;
use plugin::invocation_result::Outcome;
use plugin::plugin_service_client::PluginServiceClient;
use runtime::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, socket] = arguments.as_slice() else {
        eprintln!("bench-peer bare|unary|raw SOCKET");
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
        "bare" => bare(connection).await,
        "unary" => unary(connection).await,
        "raw" => raw(connection).await,
        _ => Err("no such role".into()),
    }
}

/// Answers every invocation of the stream with one message.
async fn bare(connection: UnixStream) -> Result<(), Failure> {
    let once = Mutex::new(Some(connection));
    let connector = tower::service_fn(move |_| {
        let connection = once.lock().ok().and_then(|mut once| once.take());
        std::future::ready(connection.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
    let (answers, outbound) = mpsc::channel(256);
    let mut inbound = PluginServiceClient::new(channel).session(ReceiverStream::new(outbound)).await?.into_inner();
    while let Ok(Some(message)) = inbound.message().await {
        let declined = |invocation: plugin::Invocation| plugin::InvocationResult {
            invocation_id: invocation.invocation_id,
            outcome: Some(Outcome::Declined(plugin::Declined {})),
        };
        let results = message.invocations.into_iter().map(declined).collect();
        answers.send(plugin::SessionRequest { results, ..Default::default() }).await?;
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
