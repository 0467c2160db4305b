//! A connection to the host.

use std::error::Error;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::Path;

use hyper_util::rt::TokioIo;
use outrigger_proto::plugin::v1::host_service_client::HostServiceClient;
use outrigger_proto::plugin::v1::plugin_service_client::PluginServiceClient;
use outrigger_proto::plugin::v1::{ListSessionsRequest, SessionRequest, SessionResponse};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::tap::{Control, Tap};

/// What can go wrong here, for a line on standard error.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// One connection with its gRPC client.
pub(crate) struct Link {
    channel: Channel,
    /// Speaks between the client's frames.
    pub(crate) tap: Control,
    /// The same socket once more.
    socket: Socket,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there or the host refuses at once.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let socket = Socket::connect(path)?;
        socket.set_nonblocking(true)?;
        let tap = Control::default();
        let mut stream = Some(Tap::new(UnixStream::from_std(socket.try_clone()?)?, tap.clone()));
        let connector = tower::service_fn(move |_| {
            // A plugin never reconnects.
            let stream = stream.take().map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            std::future::ready(stream)
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
        Ok(Self { channel, tap, socket })
    }

    /// Opens a Session and sends what `requests` gives.
    pub(crate) async fn session(
        &self,
        requests: mpsc::Receiver<SessionRequest>,
    ) -> Result<Streaming<SessionResponse>, Status> {
        let mut client = PluginServiceClient::new(self.channel.clone());
        Ok(client.session(ReceiverStream::new(requests)).await?.into_inner())
    }

    /// The client of host calls.
    pub(crate) fn host(&self) -> HostServiceClient<Channel> {
        HostServiceClient::new(self.channel.clone())
    }

    /// The channel, for clients of other services.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Makes the host call that needs nothing, with the session secret if there is one, and says what came of it.
    pub(crate) async fn probe(&self, secret: Option<&str>) -> String {
        let mut request = Request::new(ListSessionsRequest::default());
        if let Some(secret) = secret {
            match secret.parse() {
                Ok(secret) => drop(request.metadata_mut().insert("outrigger-session", secret)),
                Err(_) => return "the secret cannot be sent".to_owned(),
            }
        }
        match self.host().list_sessions(request).await {
            Ok(response) => match response.into_inner().refused {
                Some(refused) => format!("refused: {}", refused.message),
                None => "answered".to_owned(),
            },
            Err(status) => describe(&status),
        }
    }

    /// Ends both directions of the connection.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }

    /// The same socket, for another process.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.socket.try_clone()?.into())
    }
}

/// A status on one line.
pub(crate) fn describe(status: &Status) -> String {
    format!("status {:?}: {}", status.code(), status.message().replace('\n', " "))
}
