//! The way to a supervisor: its directories, its sockets, and the key that every call carries.
//!
//! This is the one place of the command line that knows sockets and files of keys.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hyper_util::rt::TokioIo;
use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::args::Global;
use super::exit::Exit;
use super::failure::Failure;

/// Longest answer the commands take: ten failures with all their evidence are below it.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Longest file of a key: the line is `RUNTIME_ID:SECRET`.
const MAX_KEY_BYTES: u64 = 4_096;

/// A client of the admin service.
pub(crate) type Admin = AdminServiceClient<InterceptedService<Channel, Key>>;
/// A client of the runtime service.
pub(crate) type Runtime = RuntimeServiceClient<InterceptedService<Channel, Key>>;

/// Where a supervisor's sockets and keys are (architecture §18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Directory of the sockets.
    pub(crate) runtime_dir: PathBuf,
    /// Directory of the keys.
    pub(crate) state_dir: PathBuf,
}

impl Places {
    /// By options, then environment, then the defaults of this user.
    pub(crate) fn find(global: &Global) -> Self {
        let root = rustix::process::geteuid().is_root();
        let runtime_dir = global.runtime_dir.clone().or_else(|| variable("OUTRIGGER_RUNTIME_DIR")).unwrap_or_else(
            || match variable("XDG_RUNTIME_DIR") {
                _ if root => PathBuf::from("/run/outrigger"),
                Some(dir) => dir.join("outrigger"),
                None => PathBuf::from(format!("/tmp/outrigger-{}", rustix::process::geteuid().as_raw())),
            },
        );
        let state_dir = global.state_dir.clone().or_else(|| variable("OUTRIGGER_STATE_DIR")).unwrap_or_else(|| {
            if root { PathBuf::from("/var/lib/outrigger") } else { user_dir("XDG_STATE_HOME", ".local/state") }
        });
        Self { runtime_dir, state_dir }
    }

    fn admin_socket(&self) -> PathBuf {
        self.runtime_dir.join("admin.sock")
    }

    fn runtime_socket(&self) -> PathBuf {
        self.runtime_dir.join("runtime.sock")
    }
}

/// The configuration file that `run` reads where none is named: `$OUTRIGGER_CONFIG`, else by user.
pub(crate) fn default_config_path() -> PathBuf {
    variable("OUTRIGGER_CONFIG").unwrap_or_else(|| default_config_dir().join("outrigger.toml"))
}

fn default_config_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc/outrigger")
    } else {
        user_dir("XDG_CONFIG_HOME", ".config")
    }
}

/// The directory of a variable of the environment, or below the home directory, and in it `outrigger`.
pub(crate) fn user_dir(name: &str, below_home: &str) -> PathBuf {
    let base = variable(name).filter(|dir| dir.is_absolute());
    base.unwrap_or_else(|| variable("HOME").unwrap_or_else(|| PathBuf::from("/")).join(below_home)).join("outrigger")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Connects to the admin socket.
pub(crate) async fn admin(global: &Global) -> Result<Admin, Failure> {
    let places = Places::find(global);
    let (channel, key) = connect(&places.admin_socket(), &places.state_dir.join("admin.key"), global).await?;
    Ok(AdminServiceClient::with_interceptor(channel, key).max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// Connects to the runtime socket as this runtime. `runtime_id` has been checked to be an id.
pub(crate) async fn runtime(global: &Global, runtime_id: &str) -> Result<Runtime, Failure> {
    let places = Places::find(global);
    let key = places.state_dir.join("keys").join(format!("{runtime_id}.key"));
    let (channel, key) = connect(&places.runtime_socket(), &key, global).await?;
    Ok(RuntimeServiceClient::with_interceptor(channel, key).max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// Puts the key on every call.
#[derive(Clone)]
pub(crate) struct Key(MetadataValue<Ascii>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("outrigger-key", self.0.clone());
        Ok(request)
    }
}

/// Socket first: where no supervisor runs, that is what to say, whatever the keys are.
async fn connect(socket: &Path, key: &Path, global: &Global) -> Result<(Channel, Key), Failure> {
    let limit = global.timeout();
    let stream = match tokio::time::timeout(limit, UnixStream::connect(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(socket, &error)),
        Err(_) => return Err(Failure::new(Exit::TimedOut, format!("{} did not accept in time", socket.display()))),
    };
    let key = read_key(key)?;
    // The channel gets this one connection and no other: a command that loses its supervisor says so.
    let once = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_| {
        let stream = once.lock().ok().and_then(|mut once| once.take());
        std::future::ready(stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset)))
    });
    let endpoint = Endpoint::from_static("http://localhost");
    match tokio::time::timeout(limit, endpoint.connect_with_connector(connector)).await {
        Ok(Ok(channel)) => Ok((channel, key)),
        Ok(Err(_)) => Err(Failure::new(
            Exit::NoSupervisor,
            format!("whoever listens on {} closed the connection", socket.display()),
        )
        .remedy("the supervisor refuses processes of its plugins and other users; run this outside of them")),
        Err(_) => Err(Failure::new(Exit::TimedOut, format!("{} did not answer in time", socket.display()))),
    }
}

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::NoSupervisor, format!("no supervisor runs here: {socket} is not there"))
                .remedy("start one with `outrigger run`, or name the directory of its sockets with --runtime-dir")
        }
        io::ErrorKind::ConnectionRefused => {
            Failure::new(Exit::NoSupervisor, format!("no supervisor runs here: nobody listens on {socket}"))
                .remedy("the last one was killed; start one with `outrigger run`")
        }
        io::ErrorKind::PermissionDenied => Failure::new(Exit::Key, format!("no permission to open {socket}"))
            .remedy("run this as the supervisor's user"),
        _ => Failure::new(Exit::NoSupervisor, format!("{socket} cannot be reached: {error}")),
    }
}

/// The one line of a key's file, which only its owner and, for runtimes, a group may read.
fn read_key(path: &Path) -> Result<Key, Failure> {
    let shown = path.display();
    let failed = |what: String| {
        Failure::new(Exit::Key, what)
            .remedy("name the supervisor's state directory with --state-dir, and run this as its user")
    };
    let metadata = fs::metadata(path).map_err(|error| failed(format!("the key {shown} cannot be read: {error}")))?;
    if metadata.len() > MAX_KEY_BYTES || !metadata.is_file() {
        return Err(failed(format!("{shown} is not the file of a key")));
    }
    if metadata.mode() & 0o007 != 0 {
        return Err(Failure::new(Exit::Key, format!("everybody may read the key {shown}"))
            .remedy(format!("chmod o= {shown}, and have a new one made if others use this machine")));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(format!("the key {shown} cannot be read: {error}")))?;
    let line = text.trim_end_matches(['\n', '\r']);
    let value = MetadataValue::try_from(line).ok().filter(|_| !line.is_empty());
    let mut value = value.ok_or_else(|| failed(format!("{shown} does not hold a key of one line")))?;
    value.set_sensitive(true);
    Ok(Key(value))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key_file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("admin.key");
        fs::write(&path, text).expect("write the key");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set its mode");
        (dir, path)
    }

    #[test]
    fn options_name_the_places() {
        let global = Global {
            runtime_dir: Some(PathBuf::from("/a")),
            state_dir: Some(PathBuf::from("/b")),
            ..Global::default()
        };
        let places = Places::find(&global);
        assert_eq!(places.admin_socket(), Path::new("/a/admin.sock"));
        assert_eq!(places.runtime_socket(), Path::new("/a/runtime.sock"));
        assert_eq!(places.state_dir, Path::new("/b"));
    }

    #[test]
    fn a_key_is_one_line_that_others_cannot_read() {
        let (_dir, good) = key_file("admin:0123abc\n", 0o600);
        let key = read_key(&good).expect("a good key");
        assert_eq!(key.0.to_str().expect("ASCII"), "admin:0123abc");
        assert!(key.0.is_sensitive());
        for (text, mode, says) in [
            ("a:b\n", 0o604, "everybody may read"),
            ("", 0o600, "does not hold a key"),
            ("a:b\nc:d\n", 0o600, "does not hold a key"),
        ] {
            let (_dir, path) = key_file(text, mode);
            let failure = read_key(&path).err().expect("it is refused");
            assert_eq!(failure.exit(), Exit::Key);
            assert!(matches!(&failure, Failure::Told(told) if told.message.contains(says)), "{failure:?}");
        }
    }
}
