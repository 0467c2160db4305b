//! Launches without processes: the test plays the process.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::Cut;
use crate::domain::launch::{
    BoxFuture, Connection, Emptied, Enforced, Evidence, ExitRecord, ExitStatus, LaunchError, Launched, Launcher, Peer,
    Plan, Protection, Tree, Usage,
};

/// Gives each launch to the test, in order.
pub(crate) struct FakeLauncher {
    begun: mpsc::UnboundedSender<FakeLaunch>,
    launches: tokio::sync::Mutex<mpsc::UnboundedReceiver<FakeLaunch>>,
    refusals: Mutex<VecDeque<LaunchError>>,
    /// While false a launch waits, as a start that takes its time.
    pub(crate) open: watch::Sender<bool>,
    pids: AtomicU32,
}

impl FakeLauncher {
    pub(crate) fn new() -> Arc<Self> {
        let (begun, launches) = mpsc::unbounded_channel();
        Arc::new(Self {
            begun,
            launches: tokio::sync::Mutex::new(launches),
            refusals: Mutex::default(),
            open: watch::channel(true).0,
            pids: AtomicU32::new(100),
        })
    }

    /// The next launch.
    pub(crate) async fn next(&self) -> FakeLaunch {
        self.launches.lock().await.recv().await.expect("the launcher lives")
    }

    /// A launch that has begun and that nobody took yet.
    pub(crate) fn waiting(&self) -> Option<FakeLaunch> {
        self.launches.try_lock().ok().and_then(|mut launches| launches.try_recv().ok())
    }

    /// The next launch fails in this way.
    pub(crate) fn refuse(&self, error: LaunchError) {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push_back(error);
    }

    /// A launch and what the supervisor gets of it.
    pub(crate) fn make(&self, plan: Plan) -> (Launched, FakeLaunch) {
        let pid = self.pids.fetch_add(1, Ordering::Relaxed);
        let (stdout, their_stdout) = tokio::io::duplex(64 * 1024);
        let (stderr, their_stderr) = tokio::io::duplex(64 * 1024);
        let (connect, connections) = mpsc::channel(8);
        let tree = Arc::new(FakeTree {
            pid,
            exit: watch::channel(None).0,
            emptied: watch::channel(None).0,
            dead: CancellationToken::new(),
            immortal: AtomicBool::new(false),
            deaf: AtomicBool::new(true),
            kills: AtomicU32::new(0),
            terminations: AtomicU32::new(0),
            usage: Mutex::default(),
            enforced: Mutex::default(),
            keeps_memory: AtomicBool::new(false),
            output: Mutex::new((Some(their_stdout), Some(their_stderr))),
        });
        let launched = Launched {
            tree: Arc::clone(&tree) as Arc<dyn Tree>,
            connections,
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
        };
        (launched, FakeLaunch { plan, tree, connect })
    }
}

impl Launcher for FakeLauncher {
    fn launch(&self, plan: Plan) -> BoxFuture<Result<Launched, LaunchError>> {
        let refusal = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(error) = refusal {
            return Box::pin(std::future::ready(Err(error)));
        }
        let (launched, launch) = self.make(plan);
        let (begun, mut open) = (self.begun.clone(), self.open.subscribe());
        Box::pin(async move {
            open.wait_for(|open| *open).await.expect("the launcher lives");
            begun.send(launch).expect("the launcher lives");
            Ok(launched)
        })
    }
}

/// One launch, from the plugin's side.
pub(crate) struct FakeLaunch {
    pub(crate) plan: Plan,
    pub(crate) tree: Arc<FakeTree>,
    connect: mpsc::Sender<Connection>,
}

impl FakeLaunch {
    /// Dials; the connection ends with the tree, or with the dialler when the token is cancelled.
    pub(crate) async fn dial(&self) -> (Channel, CancellationToken) {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let gone = self.tree.dead.child_token();
        let connection = Connection {
            io: Box::new(theirs),
            peer: Peer { pid: self.tree.pid, uid: 0 },
            peer_gone: Box::pin(gone.clone().cancelled_owned()),
        };
        self.connect.send(connection).await.expect("the launch takes connections");
        (channel(Cut::new(ours, &self.tree.dead)).await, gone)
    }
}

/// A channel over a connection that is open already.
pub(crate) async fn channel(io: Cut) -> Channel {
    let mut io = Some(TokioIo::new(io));
    let connect = tower::service_fn(move |_: http::Uri| {
        std::future::ready(io.take().ok_or(std::io::Error::from(std::io::ErrorKind::NotConnected)))
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.expect("a connection in memory")
}

/// The processes of a launch. Killed it dies, unless the test says otherwise.
pub(crate) struct FakeTree {
    pid: u32,
    exit: watch::Sender<Option<ExitRecord>>,
    emptied: watch::Sender<Option<Emptied>>,
    pub(crate) dead: CancellationToken,
    /// It lives on when it is killed.
    pub(crate) immortal: AtomicBool,
    /// It lives on when it is asked by SIGTERM.
    pub(crate) deaf: AtomicBool,
    pub(crate) kills: AtomicU32,
    pub(crate) terminations: AtomicU32,
    pub(crate) usage: Mutex<Usage>,
    pub(crate) enforced: Mutex<Enforced>,
    /// The kernel keeps its limit of memory.
    pub(crate) keeps_memory: AtomicBool,
    output: Mutex<(Option<DuplexStream>, Option<DuplexStream>)>,
}

impl FakeTree {
    /// The child ends, and nothing of its tree is left.
    pub(crate) fn die(&self, status: ExitStatus) {
        self.leave(status);
        self.empty();
    }

    /// The child ends; of its tree something is left.
    pub(crate) fn leave(&self, status: ExitStatus) {
        let record = ExitRecord { status, cpu_time: Duration::from_millis(5), peak_memory_bytes: 4096 };
        self.exit.send_if_modified(|exit| {
            let first = exit.is_none();
            *exit = exit.or(Some(record));
            first
        });
        self.dead.cancel();
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = (None, None);
    }

    /// The exit is told, and everything else goes on: a descendant holds connection and output.
    pub(crate) fn exit_quietly(&self, status: ExitStatus) {
        self.exit.send_replace(Some(ExitRecord { status, cpu_time: Duration::ZERO, peak_memory_bytes: 0 }));
    }

    /// Nothing of the tree is left.
    pub(crate) fn empty(&self) {
        self.emptied.send_replace(Some(Emptied { by_keeper: true, killed: 0 }));
    }

    /// Writes to standard error.
    pub(crate) async fn print_error(&self, text: &str) {
        let stream = self.output.lock().unwrap_or_else(PoisonError::into_inner).1.take();
        let mut stream = stream.expect("the tree lives");
        stream.write_all(text.as_bytes()).await.expect("somebody reads");
        self.output.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(stream);
    }

    pub(crate) fn killed(&self) -> bool {
        self.kills.load(Ordering::Relaxed) > 0
    }
}

impl Tree for FakeTree {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn keeper_pid(&self) -> u32 {
        self.pid + 10_000
    }

    fn terminate(&self) {
        self.terminations.fetch_add(1, Ordering::Relaxed);
        if !self.deaf.load(Ordering::Relaxed) {
            self.die(ExitStatus::Signalled(15));
        }
    }

    fn kill(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
        if !self.immortal.load(Ordering::Relaxed) {
            self.die(ExitStatus::Signalled(9));
        }
    }

    fn exit(&self) -> watch::Receiver<Option<ExitRecord>> {
        self.exit.subscribe()
    }

    fn emptied(&self) -> watch::Receiver<Option<Emptied>> {
        self.emptied.subscribe()
    }

    fn usage(&self) -> std::io::Result<Usage> {
        Ok(*self.usage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn evidence(&self) -> Evidence {
        Evidence { lines: vec!["thread 1 waits in nowhere".to_owned()], unreadable: vec!["open files".to_owned()] }
    }

    fn protections(&self) -> Vec<Protection> {
        vec![Protection { name: "tree-kill", applied: true, detail: format!("of {}", self.pid) }]
    }

    fn enforced(&self) -> Enforced {
        *self.enforced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeps_memory(&self) -> bool {
        self.keeps_memory.load(Ordering::Relaxed)
    }
}
