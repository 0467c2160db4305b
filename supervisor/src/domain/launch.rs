//! What the services ask of the layer that makes processes and sockets.
//!
//! Nothing here knows how: a test gives a [`Launcher`] that starts no process, the binary gives the real one.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use super::ids::{Generation, PluginId};
use super::spec::PluginLimits;

/// A future that can be boxed behind a trait.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Starts launches.
pub trait Launcher: Send + Sync {
    /// Makes the private directory and socket, starts keeper and child, and returns once the child's program runs (its
    /// exec has succeeded). Cancel safe: a dropped future leaves neither process nor directory.
    fn launch(&self, plan: Plan) -> BoxFuture<Result<Launched, LaunchError>>;
}

/// Everything that is needed to start one launch.
#[derive(Clone)]
pub struct Plan {
    /// The plugin.
    pub plugin: PluginId,
    /// Its new generation.
    pub generation: Generation,
    /// Names the launch in its processes' environment (`OUTRIGGER_LAUNCH`), so that leftovers are found. 32 hexadecimal
    /// digits. No secret.
    pub nonce: String,
    /// Secret of the launch (`OUTRIGGER_TOKEN`). Never printed.
    pub token: String,
    /// Program and arguments; the program is an absolute path.
    pub command: Vec<String>,
    /// Where it is started.
    pub connect: Connect,
    /// The plugin's package.
    pub package_dir: PathBuf,
    /// The plugin's own directory for data, made if it is not there (0700).
    pub data_dir: PathBuf,
    /// Variables of manifest and operator. Added to the fixed ones; they can replace none of `OUTRIGGER_*`.
    pub environment: BTreeMap<String, String>,
    /// Bounds of its tree, which the kernel keeps as far as it can.
    pub limits: PluginLimits,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("plugin", &self.plugin)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Which form of the socket's address decides the working directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connect {
    /// The private directory, so that `unix:host.sock` works.
    #[default]
    Relative,
    /// The package directory; the plugin uses the absolute path.
    Absolute,
}

/// A started launch.
pub struct Launched {
    /// Its processes. Dropping the last clone kills the tree.
    pub tree: Arc<dyn Tree>,
    /// Connections whose peer was shown to be in the tree, in order of arrival. Bounded; closed when the listener ends.
    pub connections: mpsc::Receiver<Connection>,
    /// Standard output of the tree.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Standard error of the tree.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
}

/// Both directions of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection from inside the tree.
pub struct Connection {
    /// Bytes in and out. Reading is metered: it waits where the plugin sends more than it may.
    pub io: Box<dyn Io>,
    /// Who dialled.
    pub peer: Peer,
    /// Ends when the process that dialled is gone.
    pub peer_gone: BoxFuture<()>,
}

/// A process at the other end of a socket, as the kernel names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
}

/// The processes of one launch, under their keeper. All methods may be called again and after the end.
pub trait Tree: Send + Sync {
    /// Process id of the spawned child.
    fn pid(&self) -> u32;
    /// Process id of the keeper.
    fn keeper_pid(&self) -> u32;
    /// Sends SIGTERM to the child's process group.
    fn terminate(&self);
    /// Kills the whole tree, as atomically as the machine allows. Does not wait.
    fn kill(&self);
    /// How the child ended; `None` until it has.
    fn exit(&self) -> watch::Receiver<Option<ExitRecord>>;
    /// How the tree ended; `None` until no process of it is left.
    fn emptied(&self) -> watch::Receiver<Option<Emptied>>;
    /// What the tree uses now. Reads /proc: call it where blocking is allowed.
    ///
    /// # Errors
    /// When the tree is gone.
    fn usage(&self) -> io::Result<Usage>;
    /// What the tree is doing now, as far as it can be read. Never contains an environment. Blocking, as `usage`.
    fn evidence(&self) -> Evidence;
    /// What holds for this launch.
    fn protections(&self) -> Vec<Protection>;
    /// What the kernel has done to keep the tree within its limits; also after the tree's end. Reads two small files of
    /// the kernel's.
    fn enforced(&self) -> Enforced;
    /// The kernel holds every process of the tree below the limit of memory now, so that a sum of resident memory, in
    /// which shared pages count more than once, proves nothing. Blocking, as `usage`.
    fn keeps_memory(&self) -> bool;
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// Not known: its keeper was killed before it could tell.
    Unknown,
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with status {code}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown => f.write_str("ended in an unknown way"),
        }
    }
}

/// How the spawned child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitRecord {
    /// Status or signal.
    pub status: ExitStatus,
    /// Processor time of the child and what it waited for.
    pub cpu_time: Duration,
    /// Its highest resident memory, bytes.
    pub peak_memory_bytes: u64,
}

/// How the tree ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// The keeper reported it; otherwise the keeper was lost and the supervisor cleaned up.
    pub by_keeper: bool,
    /// Processes besides the child that had to be killed.
    pub killed: u32,
}

/// Resources of a tree at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the launch, of the living processes and those they waited for.
    pub cpu_time: Duration,
    /// Memory, bytes: the sum of the processes' resident memory, shared pages counted once each process.
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: u32,
    /// Processes.
    pub processes: u32,
    /// Threads.
    pub threads: u32,
}

/// What the kernel has done to keep a tree within its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Enforced {
    /// It killed processes of the tree, as there was no memory left for them below the limit.
    pub memory_kill: Option<MemoryKill>,
    /// Processes and threads that it refused the tree.
    pub refused: u64,
}

/// A kill for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryKill {
    /// Highest memory of the tree, bytes, as the kernel counts it: with files that it cached, each page once.
    pub used: u64,
    /// How much it may, bytes.
    pub limit: u64,
}

/// What a tree was doing, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// One line a fact: processes, threads with their wait channels, open files.
    pub lines: Vec<String>,
    /// What could not be read, one line each.
    pub unreadable: Vec<String>,
}

/// One rung of the sandbox, or of the protection of the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// Name, for instance `no-new-privs`, `landlock-signal-scope`, `tree-kill`.
    pub name: &'static str,
    /// It holds.
    pub applied: bool,
    /// What exactly, or why not.
    pub detail: String,
}

/// Why a launch could not be started. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The private directory or socket could not be made.
    #[error("make the private directory `{path}`: {source}")]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keeper could not be started.
    #[error("start the keeper: {0}")]
    Keeper(#[source] io::Error),
    /// The program could not be executed.
    #[error("execute `{program}`: {source}")]
    Exec {
        /// `command[0]`.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// Variables that every launch has, whatever manifest and operator set; with `TZ`, where the supervisor has it.
pub const FIXED_VARIABLES: [&str; 10] = [
    "HOME",
    "LANG",
    "OUTRIGGER_DATA_DIR",
    "OUTRIGGER_LAUNCH",
    "OUTRIGGER_PACKAGE_DIR",
    "OUTRIGGER_SOCKET",
    "OUTRIGGER_TARGET",
    "OUTRIGGER_TOKEN",
    "PATH",
    "TMPDIR",
];

/// A connection to a control socket from a process that is no plugin's.
pub struct ControlConnection {
    /// Bytes in and out.
    pub io: Box<dyn Io>,
    /// Who dialled.
    pub peer: Peer,
}
