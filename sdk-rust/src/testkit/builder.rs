//! What a plugin is welcomed with, and the start of both sides.

use std::io;
use std::path::PathBuf;
use std::pin::pin;

use outrigger_proto::plugin::v1::host_service_server::HostServiceServer;
use outrigger_proto::plugin::v1::plugin_service_server::PluginServiceServer;
use outrigger_proto::plugin::v1::{LaunchReason, OwnedSession, VerdictReason, Welcome};
use outrigger_proto::types::v1::{Limits, ProtocolRange, ScopeGrant, Tier};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};

use super::calls::Calls;
use super::process::Process;
use super::session::{Service, Services, Stage};
use super::{LIMIT, Run, TestHost};
use crate::connect;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::item::Item;
use crate::plugin::Plugin;
use crate::session::hold;
use crate::wire;

/// The launch token of every plugin under test.
pub(crate) const TOKEN: &str = "test-token";

/// Bytes a direction of the in-memory connection holds.
const BUFFER: usize = 256 * 1_024;

/// Prepares a [`TestHost`].
#[must_use]
pub struct Builder {
    pub(super) welcome: Welcome,
    pub(super) protocol: ProtocolRange,
    pub(super) refused: Vec<(String, VerdictReason)>,
    package_dir: PathBuf,
    data_dir: PathBuf,
    connect_relative: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        let welcome = Welcome {
            plugin_id: "plugin-under-test".to_owned(),
            generation: 1,
            config_json: "{}".into(),
            tier: Tier::Community.into(),
            launch_reason: LaunchReason::Start.into(),
            supervisor_version: "test".to_owned(),
            startup_timeout: Some(wire::to_duration(LIMIT / 2)),
            session_secret: "test-session".to_owned(),
            event_epoch: 1,
            limits: Some(Limits { max_stream_message_bytes: 1_048_576, ..Default::default() }),
            ..Default::default()
        };
        Self {
            welcome,
            protocol: ProtocolRange { min: 1, max: 1 },
            refused: Vec::new(),
            package_dir: PathBuf::new(),
            data_dir: PathBuf::new(),
            connect_relative: false,
        }
    }

    /// The plugin's configuration, an object. Default: empty.
    pub fn config(mut self, config: Value) -> Self {
        self.welcome.config_json = config.to_string().into();
        self
    }

    /// Adds a secret.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.welcome.secrets.insert(name.into(), value.into());
        self
    }

    /// Adds a right.
    pub fn grant(mut self, scope: impl Into<String>) -> Self {
        self.welcome.grants.push(ScopeGrant { scope: scope.into(), ..Default::default() });
        self
    }

    /// Adds a session in which the plugin owns something.
    pub fn session(mut self, session: OwnedSession) -> Self {
        self.welcome.sessions.push(session);
        self
    }

    /// The plugin's id. Default: `plugin-under-test`.
    pub fn plugin_id(mut self, id: impl Into<String>) -> Self {
        self.welcome.plugin_id = id.into();
        self
    }

    /// The launch's generation. Default: 1.
    pub fn generation(mut self, generation: u64) -> Self {
        self.welcome.generation = generation;
        self
    }

    /// Changes anything else of the welcome.
    pub fn welcome(mut self, change: impl FnOnce(&mut Welcome)) -> Self {
        change(&mut self.welcome);
        self
    }

    /// The plugin's data directory. Default: none.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = directory.into();
        self
    }

    /// The plugin's package directory. Default: none.
    pub fn package_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.package_dir = directory.into();
        self
    }

    /// Starts a program in the directory of its socket, as the manifest's `connect = "relative"` asks: for programs that
    /// dial `OUTRIGGER_TARGET`. Default: in the directory the command says.
    pub fn connect_relative(mut self) -> Self {
        self.connect_relative = true;
        self
    }

    /// The protocol versions the host speaks. Default: 1.
    pub fn protocol(mut self, min: u32, max: u32) -> Self {
        self.protocol = ProtocolRange { min, max };
        self
    }

    /// Refuses an item at registration. Default: everything is accepted.
    pub fn refuse_item(mut self, id: impl Into<String>, reason: VerdictReason) -> Self {
        self.refused.push((id.into(), reason));
        self
    }

    /// Runs a plugin in this process until it is registered.
    ///
    /// # Errors
    /// What ended the plugin's run before it was registered.
    pub async fn start<S: Send + Sync + 'static, L: Item<S>>(self, plugin: Plugin<S, L>) -> Result<TestHost> {
        let environment = Environment {
            socket: PathBuf::new(),
            token: TOKEN.to_owned(),
            package_dir: self.package_dir.clone(),
            data_dir: self.data_dir.clone(),
        };
        let (near, far) = tokio::io::duplex(BUFFER);
        let (stage, calls, server) = self.serve(tokio_stream::once(Ok(far)));
        let parts = plugin.into_parts();
        let run = tokio::spawn(async move {
            let failed = |source: tonic::transport::Error| Error::Connect {
                address: "the test host".to_owned(),
                source: source.into(),
            };
            let channel = connect::channel(near).await.map_err(failed)?;
            hold(parts, &environment, channel, std::future::pending()).await
        });
        TestHost { stage, calls, run: Run::Task(Some(run)), server }.ready().await
    }

    /// Starts a program and waits until it is registered.
    ///
    /// The program gets the environment a supervisor gives: `OUTRIGGER_SOCKET`, `OUTRIGGER_TARGET`, `OUTRIGGER_TOKEN` and so on are added to
    /// what the command has. It is killed when the host is dropped.
    ///
    /// # Errors
    /// The program ended before it was registered; the error has its status and last lines.
    ///
    /// # Panics
    /// The socket cannot be made or the program not be started.
    pub async fn spawn(self, mut command: Command) -> Result<TestHost> {
        let directory = super::process::SocketDirectory::make().expect("a directory for the socket");
        let socket = directory.path().join("host.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let environment = [
            ("OUTRIGGER_SOCKET", socket.clone()),
            ("OUTRIGGER_TARGET", "unix:host.sock".into()),
            ("OUTRIGGER_TOKEN", TOKEN.into()),
            ("OUTRIGGER_PACKAGE_DIR", self.package_dir.clone()),
            ("OUTRIGGER_DATA_DIR", self.data_dir.clone()),
        ];
        if self.connect_relative {
            command.current_dir(directory.path());
        }
        let (stage, calls, server) = self.serve(UnixListenerStream::new(listener));
        let process = Process::start(command, environment, directory).expect("a program");
        TestHost { stage, calls, run: Run::Process(Box::new(process)), server }.ready().await
    }

    /// Serves both services on what comes in.
    fn serve<C>(self, incoming: impl Stream<Item = io::Result<C>> + Send + 'static) -> (Stage, Calls, Server)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stage = Stage::new();
        let calls = Calls::new();
        let services = Services {
            plugin: PluginServiceServer::new(Service::new(self, stage.clone())),
            host: HostServiceServer::new(calls.clone()),
        };
        let (accept, accepted) = mpsc::channel(1);
        let lines = tokio::spawn(carry(incoming, accept));
        let server = tokio::spawn(async move {
            // The end of the server is the end of the test.
            let accepted = ReceiverStream::new(accepted).map(io::Result::Ok);
            let _ = tonic::transport::Server::builder().serve_with_incoming(services, accepted).await;
        });
        (stage, calls, Server { lines, server })
    }
}

/// What serves a plugin. Dropping it cuts the connections.
pub(super) struct Server {
    lines: JoinHandle<()>,
    server: JoinHandle<()>,
}

impl Server {
    /// Ends every connection without a word.
    pub(super) fn cut(&self) {
        self.lines.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lines.abort();
        self.server.abort();
    }
}

/// Carries every connection over to the server. The server's own tasks cannot be reached from outside; these can, so
/// that a test can cut the line.
async fn carry<C>(incoming: impl Stream<Item = io::Result<C>>, accept: mpsc::Sender<DuplexStream>)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut incoming = pin!(incoming);
    let mut lines = JoinSet::new();
    while let Some(Ok(mut plugin)) = incoming.next().await {
        let (mut near, far) = tokio::io::duplex(BUFFER);
        lines.spawn(async move { tokio::io::copy_bidirectional(&mut plugin, &mut near).await });
        if accept.send(far).await.is_err() {
            return;
        }
    }
    while lines.join_next().await.is_some() {}
}

impl TestHost {
    /// Waits until the plugin is registered or its run has ended.
    async fn ready(mut self) -> Result<Self> {
        let stage = self.stage.clone();
        tokio::select! {
            biased;
            () = stage.wait("the registration", |state| state.register.as_ref().map(|_| ())) => Ok(self),
            ended = self.ended() => {
                ended?;
                Err(Error::SessionEnded("the plugin ended before it was registered".to_owned()))
            }
        }
    }
}
