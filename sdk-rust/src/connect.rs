//! Dials the supervisor: one connection over a Unix socket, never a second one.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// Longest path a socket address holds, its final zero not counted (unix(7)).
const LONGEST_ADDRESS: usize = 107;

/// Connects to the socket.
pub(crate) async fn dial(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().len() <= LONGEST_ADDRESS {
        return UnixStream::connect(socket).await;
    }
    // The supervisor binds its sockets through their directory, so their paths may be longer than an address; the same
    // way leads there.
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let directory = File::open(directory)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).await
}

/// A channel over a connection that is open already.
pub(crate) async fn channel<C>(connection: C) -> Result<Channel, tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The authority must be a name that HTTP/2 accepts; a socket's path is none.
    Endpoint::from_static("http://localhost").connect_with_connector(Once(Arc::new(Mutex::new(Some(connection))))).await
}

/// Gives out the connection once. A channel that lost its connection would dial again; a plugin's life is its
/// session, so there is nothing to dial.
struct Once<C>(Arc<Mutex<Option<C>>>);

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Service<Uri> for Once<C> {
    type Response = TokioIo<C>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<C>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connection = self.0.lock().ok().and_then(|mut slot| slot.take());
        Box::pin(async move {
            let ended = || io::Error::new(io::ErrorKind::NotConnected, "the session has ended");
            connection.map(TokioIo::new).ok_or_else(ended)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_path_longer_than_an_address_is_reached() {
        let root = tempfile::tempdir().expect("a directory");
        let long = root.path().join("d".repeat(120));
        std::fs::create_dir(&long).expect("a directory");
        let directory = File::open(&long).expect("the directory");
        let bound = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join("host.sock");
        let listener = UnixListener::bind(bound).expect("a socket");
        let socket = long.join("host.sock");
        let (dialled, accepted) = tokio::join!(dial(&socket), listener.accept());
        dialled.expect("connected");
        accepted.expect("accepted");
    }
}
