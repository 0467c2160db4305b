//! One task for each keeper: gives it its plan, takes its records, and cleans up after it.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::cgroup::Kept;
use super::keeper::wire::{RECORD_BYTES, Record};
use super::orphans;
use super::spawn::{Keeper, send_pieces};
use crate::domain::launch::{Emptied, ExitRecord, ExitStatus};

/// How long a keeper may take to empty its tree once it was told. One that is stopped, or held up by a file system that
/// does not answer, is killed then, and this process cleans up itself. Far above the worst tree that was measured (0.8 s).
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two hunts for what a lost keeper left: first and longest.
const HUNT_PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(500));

/// The child's program runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) held: u64,
}

/// It does not, and nothing is left of the attempt.
#[derive(Debug)]
pub(super) enum Failure {
    /// The keeper says where and why.
    Told { step: u64, errno: i32 },
    /// The keeper ended before it could say.
    Lost(String),
}

/// Everything the task needs. Dropped unfinished, only with its runtime, it ends the keeper's life.
pub(super) struct Watch {
    pub(super) keeper: Keeper,
    pub(super) pidfd: AsyncFd<Arc<OwnedFd>>,
    pub(super) socket: AsyncFd<Arc<OwnedFd>>,
    /// What the socket has not taken of the plan yet.
    pub(super) plan: Vec<u8>,
    pub(super) nonce: String,
    pub(super) kept: Arc<Kept>,
    /// The keeper was told to end.
    pub(super) told: CancellationToken,
    pub(super) ready: Option<oneshot::Sender<Result<Running, Failure>>>,
    pub(super) exit: watch::Sender<Option<ExitRecord>>,
    pub(super) emptied: watch::Sender<Option<Emptied>>,
    pub(super) failure: Option<Failure>,
}

impl Watch {
    /// Follows the keeper to its end, and leaves no process of its tree.
    pub(super) async fn run(mut self) {
        let told = self.told.clone();
        let patience = async {
            told.cancelled().await;
            tokio::time::sleep(PATIENCE).await;
        };
        let lost = tokio::select! {
            () = converse(&self.socket, &mut self.plan, |record| {
                take(record, &mut self.ready, &mut self.failure, &self.exit, &self.emptied);
            }) => false,
            () = gone(&self.pidfd) => false,
            () = patience => true,
        };
        if lost {
            let _ = pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
        }
        gone(&self.pidfd).await;
        while let Ok(Some(record)) = receive(self.socket.get_ref()) {
            take(record, &mut self.ready, &mut self.failure, &self.exit, &self.emptied);
        }
        let ended = self.keeper.reap();
        if self.emptied.borrow().is_none() {
            self.clean_up().await;
        }
        let kept = Arc::clone(&self.kept);
        // An error means that the runtime is ending; the last who has it removes the group then.
        let _ = tokio::task::spawn_blocking(move || kept.remove()).await;
        if let Some(ready) = self.ready.take() {
            let failure = self.failure.take();
            let _ = ready.send(Err(failure.unwrap_or_else(|| Failure::Lost(format!("the keeper ended: {ended}")))));
        }
    }

    /// Kills what is left without the keeper, until nothing is.
    async fn clean_up(&mut self) {
        let (mut pause, longest) = HUNT_PAUSE;
        let mut killed = BTreeSet::new();
        loop {
            let nonce = self.nonce.clone();
            // An error means that the runtime is ending.
            let Ok(hunt) = tokio::task::spawn_blocking(move || orphans::hunt(&nonce)).await else { return };
            killed.extend(hunt.killed);
            if !hunt.alive {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        self.exit.send_if_modified(settle_unknown);
        let killed = u32::try_from(killed.len()).unwrap_or(u32::MAX);
        self.emptied.send_replace(Some(Emptied { by_keeper: false, killed }));
    }
}

/// Sends the rest of the plan, then takes records for ever: that it is over is seen at the process.
async fn converse(socket: &AsyncFd<Arc<OwnedFd>>, plan: &mut Vec<u8>, mut take: impl FnMut(Record)) {
    while !plan.is_empty() {
        let sent = socket
            .async_io(Interest::WRITABLE, |socket| match send_pieces(socket, plan) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                sent => sent,
            })
            .await;
        match sent {
            Ok(sent) => drop(plan.drain(..sent)),
            Err(_) => break,
        }
    }
    // Holds the secrets of the launch.
    *plan = Vec::new();
    while let Ok(Some(record)) = socket.async_io(Interest::READABLE, receive).await {
        take(record);
    }
    pending().await
}

/// One record; `None` at the end of the socket. What is no record is passed over: only the keeper holds the other end.
fn receive(socket: &Arc<OwnedFd>) -> io::Result<Option<Record>> {
    loop {
        let mut bytes = [0; RECORD_BYTES];
        match recv(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Ok(None),
            Ok((count, _)) => {
                if let Some(record) = bytes.get(..count).and_then(Record::decode) {
                    return Ok(Some(record));
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for the end of the process.
async fn gone(pidfd: &AsyncFd<Arc<OwnedFd>>) {
    if pidfd.readable().await.is_err() {
        // The runtime is ending, and this task with it.
        pending().await
    }
}

fn take(
    record: Record,
    ready: &mut Option<oneshot::Sender<Result<Running, Failure>>>,
    failure: &mut Option<Failure>,
    exit: &watch::Sender<Option<ExitRecord>>,
    emptied: &watch::Sender<Option<Emptied>>,
) {
    match record {
        Record::Started { pid, held } => {
            if let Some(ready) = ready.take() {
                // Nobody waits any more: then the life has ended already, too.
                let _ = ready.send(Ok(Running { pid, held }));
            }
        }
        Record::Failed { step, errno } => *failure = Some(Failure::Told { step, errno }),
        Record::Exited { status, cpu_micros, peak_kib } => {
            exit.send_replace(Some(ExitRecord {
                status: decode_status(status),
                cpu_time: Duration::from_micros(cpu_micros),
                peak_memory_bytes: peak_kib.saturating_mul(1024),
            }));
        }
        Record::Empty { killed } => {
            exit.send_if_modified(settle_unknown);
            emptied.send_replace(Some(Emptied { by_keeper: true, killed }));
        }
    }
}

fn decode_status(status: i32) -> ExitStatus {
    let status = process::ExitStatus::from_raw(status);
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Exited(code),
        (None, Some(signal)) => ExitStatus::Signalled(signal),
        (None, None) => ExitStatus::Unknown,
    }
}

/// A tree that is empty has no child that could still end.
fn settle_unknown(exit: &mut Option<ExitRecord>) -> bool {
    let unknown = exit.is_none();
    exit.get_or_insert(ExitRecord { status: ExitStatus::Unknown, cpu_time: Duration::ZERO, peak_memory_bytes: 0 });
    unknown
}
