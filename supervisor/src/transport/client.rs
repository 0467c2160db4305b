//! Dialling a control socket, as the CLI and runtimes written in Rust do.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::service_fn;

use super::key_file::{self, Key, KeyError};

/// Metadata that carries the line of a key file.
pub const KEY_METADATA: &str = "outrigger-key";

/// A control socket cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no socket.
    #[error("connect to `{}`: there is no such socket; is the supervisor running?", .0.display())]
    Missing(PathBuf),
    /// The socket or a directory on the way is closed to this user.
    #[error("connect to `{}`: permission denied; is this the supervisor's user, or in the group it was given?", .0.display())]
    Denied(PathBuf),
    /// Nobody listens.
    #[error("connect to `{}`: nobody listens there; the supervisor that made it is gone", .0.display())]
    Refused(PathBuf),
    /// The supervisor does not accept.
    #[error("connect to `{}`: too many wait to be accepted; the supervisor is busy or stopped", .0.display())]
    Busy(PathBuf),
    /// The system refuses.
    #[error("connect to `{path}`: {source}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What answered does not speak the protocol.
    #[error("speak to `{path}`: {source}", path = path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// Dials a control socket. The path may be longer than a socket's address. The channel dials again by itself when its
/// connection ends; the first connection is there when this returns.
///
/// # Errors
/// Nobody can be reached there; the message names the path.
pub async fn connect(socket: &Path) -> Result<Channel, ConnectError> {
    let path = std::path::absolute(socket).map_err(|error| explain(socket, error))?;
    let mut first = Some(dial(&path).await.map_err(|error| explain(&path, error))?);
    // The authority must be a host name: servers refuse a path in its place.
    let endpoint = Endpoint::from_static("http://localhost");
    let dialled = path.clone();
    let connector = service_fn(move |_| {
        let ready = first.take();
        let path = dialled.clone();
        async move {
            let stream = match ready {
                Some(stream) => stream,
                None => dial(&path).await?,
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector(connector).await.map_err(|source| ConnectError::Protocol { path, source })
}

/// Dials through a descriptor of the directory, so that no limit on the length of an address applies.
async fn dial(path: &Path) -> io::Result<UnixStream> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
    };
    let directory = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)).await
}

fn explain(path: &Path, source: io::Error) -> ConnectError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => ConnectError::Missing(path),
        io::ErrorKind::PermissionDenied => ConnectError::Denied(path),
        io::ErrorKind::ConnectionRefused => ConnectError::Refused(path),
        io::ErrorKind::WouldBlock => ConnectError::Busy(path),
        _ => ConnectError::Io { path, source },
    }
}

/// Adds the key to every call.
#[derive(Debug, Clone)]
pub struct KeyInterceptor {
    /// Marked sensitive, so that it is not printed and not kept in a header table.
    value: MetadataValue<Ascii>,
}

impl KeyInterceptor {
    /// Carries this key.
    ///
    /// # Panics
    /// Never: a key consists of letters, digits, `_`, `-` and a colon.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        let mut value = MetadataValue::try_from(key.line()).expect("a key consists of visible ASCII characters");
        value.set_sensitive(true);
        Self { value }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// It cannot be read, or others can read it; the message names the path.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Ok(Self::new(&key_file::read(path)?.key))
    }
}

impl Interceptor for KeyInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(KEY_METADATA, self.value.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests;
