//! Who is at the other end of a connected socket.
//!
//! The kernel names the process that called connect; a descriptor of it (pidfd) cannot come to mean another process.
//! From there the walk goes up by parents: a parent's number is read, the process of that number pinned by a pidfd, and
//! the child's parent read again. If it is the same number, the pinned process is the parent: a child is given to
//! another parent before the number of its old one can be used again.
//!
//! The steps are taken at different times, and yet the answer holds: as long as an ancestor that is a subreaper lives,
//! its descendants stay its descendants, and nobody outside can become one. So the end of the walk is checked to be alive
//! after it was reached.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::sys;
use crate::domain::launch::Peer;

/// Longest way up. An operator's shell inside terminal multiplexers and remote logins is some 30 deep.
const DEPTH_MAX: usize = 128;

/// How often a walk starts again when a process on the way has gone.
const ATTEMPTS_MAX: usize = 16;

/// A process that cannot be mistaken for another of the same number.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
}

impl Process {
    /// Pins the process that has this number now.
    ///
    /// # Errors
    /// There is none, or the kernel has no pidfds (before 5.3).
    pub fn pin(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        Ok(Self { pid, pidfd: pidfd_open(number, PidfdFlags::empty())? })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has exited, reaped or not. A process that cannot be asked counts as gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let mut wanted = [PollFd::new(&self.pidfd, PollFlags::IN)];
        loop {
            match poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(ready) => return ready != 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }
}

/// A process that dialled and was let in.
#[derive(Debug)]
pub struct PeerProcess {
    process: Process,
    uid: u32,
}

impl PeerProcess {
    /// Number and user.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer { pid: self.process.pid, uid: self.uid }
    }

    /// The descriptor that pins it.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Ends when the process has exited, all its threads included. Ends at once where the process cannot be watched, so
    /// that nobody trusts a peer nobody watches. Must be polled inside a tokio runtime with I/O. Cancel safe.
    pub async fn gone(&self) {
        if let Ok(watched) = sys::watch(self.pidfd()) {
            // An error says that the runtime ends.
            drop(watched.readable().await);
        }
    }
}

/// A peer that was not let in.
#[derive(Debug, thiserror::Error)]
#[error("process {pid} of user {uid} {reason}")]
pub struct PeerRefused {
    /// Its number; 0: not known.
    pub pid: u32,
    /// Its user; `u32::MAX`: not known.
    pub uid: u32,
    /// Why.
    pub reason: Refusal,
}

/// Why a peer was not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The kernel does not say who dialled.
    #[error("is not known to the kernel as a peer: {0}")]
    Unknown(#[source] io::Error),
    /// It is outside the namespace of processes.
    #[error("is not visible from here")]
    Invisible,
    /// It has exited since it dialled.
    #[error("has exited since it dialled")]
    Exited,
    /// It is the keeper, which has no reason to dial.
    #[error("is the keeper itself")]
    Keeper,
    /// Its parents do not lead to the keeper.
    #[error("is not in the tree of keeper {0}")]
    Outside(u32),
    /// The keeper has exited, so the number proves nothing.
    #[error("belongs to a keeper, {0}, that has exited")]
    KeeperGone(u32),
    /// It descends from the supervisor.
    #[error("descends from the supervisor, as plugins do")]
    Below,
    /// Too many processes on the way up.
    #[error("has more than {DEPTH_MAX} ancestors")]
    TooDeep,
    /// Processes on the way up kept going.
    #[error("has ancestors that kept exiting while they were read")]
    Unsteady,
    /// A process on the way up could not be read.
    #[error("has an ancestor that cannot be read: {0}")]
    Unreadable(#[source] io::Error),
}

/// Lets in a peer that descends from the keeper. The keeper must be a subreaper. The keeper itself is not let in.
///
/// Does not read from the socket. Takes some 4 µs and 5 µs for each process on the way.
///
/// # Errors
/// The peer is elsewhere, has exited, or could not be followed: any doubt refuses.
pub fn descends_from(socket: impl AsFd, keeper: &Process) -> Result<PeerProcess, PeerRefused> {
    descends_from_by(Means::available(), socket.as_fd(), keeper)
}

/// Lets in a peer that does not descend from the process of this number, which is that process itself or any other.
///
/// Does not read from the socket.
///
/// # Errors
/// The peer descends from it, has exited, or could not be followed: any doubt refuses.
pub fn not_below(socket: impl AsFd, own_pid: u32) -> Result<PeerProcess, PeerRefused> {
    not_below_by(Means::available(), socket.as_fd(), own_pid)
}

fn descends_from_by(means: Means, socket: BorrowedFd<'_>, keeper: &Process) -> Result<PeerProcess, PeerRefused> {
    judge(means, socket, |peer| {
        if peer.pid == keeper.pid {
            return Err(Refusal::Keeper);
        }
        let end = climb(means, peer, keeper.pid)?;
        // Alive after its number was met: the number was its own all the time.
        if keeper.is_gone() {
            return Err(Refusal::KeeperGone(keeper.pid));
        }
        match end {
            End::Met => Ok(()),
            End::Top => Err(Refusal::Outside(keeper.pid)),
        }
    })
}

fn not_below_by(means: Means, socket: BorrowedFd<'_>, own_pid: u32) -> Result<PeerProcess, PeerRefused> {
    judge(means, socket, |peer| {
        if peer.pid == own_pid {
            return Ok(());
        }
        match climb(means, peer, own_pid)? {
            End::Met => Err(Refusal::Below),
            End::Top => Ok(()),
        }
    })
}

/// Pins the peer, asks the question, and makes sure that the peer is still there.
fn judge(
    means: Means,
    socket: BorrowedFd<'_>,
    question: impl FnOnce(&Process) -> Result<(), Refusal>,
) -> Result<PeerProcess, PeerRefused> {
    let refused = |pid, uid, reason| PeerRefused { pid, uid, reason };
    let named = sys::peer_credentials(socket).map_err(|error| refused(0, u32::MAX, Refusal::Unknown(error)))?;
    let (pid, uid) = (named.pid, named.uid);
    if pid == 0 {
        return Err(refused(pid, uid, Refusal::Invisible));
    }
    let pidfd = means.pin_peer(socket, pid).map_err(|error| refused(pid, uid, Refusal::Unknown(error)))?;
    let process = Process { pid, pidfd };
    question(&process).map_err(|reason| refused(pid, uid, reason))?;
    if process.is_gone() {
        return Err(refused(pid, uid, Refusal::Exited));
    }
    Ok(PeerProcess { process, uid })
}

/// Where a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// An ancestor has the number looked for.
    Met,
    /// There are no more ancestors.
    Top,
}

/// Why a walk did not end.
enum Stumble {
    /// A process on the way has gone; the walk can be tried again.
    Vanished,
    /// It cannot be done.
    Refused(Refusal),
}

/// Walks up from a process until an ancestor has the number, or there is none left.
fn climb(means: Means, peer: &Process, target: u32) -> Result<End, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        match climb_once(means, peer, target) {
            Ok(end) => return Ok(end),
            Err(Stumble::Refused(reason)) => return Err(reason),
            Err(Stumble::Vanished) if peer.is_gone() => return Err(Refusal::Exited),
            Err(Stumble::Vanished) => {}
        }
    }
    Err(Refusal::Unsteady)
}

fn climb_once(means: Means, peer: &Process, target: u32) -> Result<End, Stumble> {
    let mut pinned: Option<Process> = None;
    for _ in 0..DEPTH_MAX {
        let child = pinned.as_ref().unwrap_or(peer);
        let parent = parent_of(means, child)?;
        if parent == target {
            return Ok(End::Met);
        }
        // 0: the parent is outside the namespace of processes, or there is none.
        if parent <= 1 {
            return Ok(End::Top);
        }
        let process = match Process::pin(parent) {
            Ok(process) => process,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(Stumble::Vanished),
            Err(error) => return Err(Stumble::Refused(Refusal::Unreadable(error))),
        };
        if parent_of(means, child)? != parent {
            return Err(Stumble::Vanished);
        }
        pinned = Some(process);
    }
    Err(Stumble::Refused(Refusal::TooDeep))
}

/// The number of a process's parent, read while the process was there.
fn parent_of(means: Means, child: &Process) -> Result<u32, Stumble> {
    match means.parent(child) {
        Ok(parent) => Ok(parent),
        Err(_) if child.is_gone() => Err(Stumble::Vanished),
        Err(error) => Err(Stumble::Refused(Refusal::Unreadable(error))),
    }
}

/// What this kernel offers for the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// The socket gives a descriptor of the peer (kernel 6.5). Otherwise the peer's number is pinned, which may have
    /// come to mean another process since it dialled, if that one has exited.
    pub peer_pidfd: bool,
    /// A pidfd tells the parent (kernel 6.13). Otherwise `/proc` is read, and a process that it hides is refused.
    pub process_info: bool,
}

impl Means {
    /// Finds out, once.
    #[must_use]
    pub fn available() -> Self {
        static FOUND: OnceLock<Means> = OnceLock::new();
        *FOUND.get_or_init(|| Self {
            peer_pidfd: std::os::unix::net::UnixStream::pair()
                .is_ok_and(|(one, _other)| sys::peer_pidfd(one.as_fd()).is_ok()),
            process_info: Process::pin(std::process::id())
                .is_ok_and(|own| sys::process_info(own.pidfd.as_fd()).is_ok_and(|info| info.pid == own.pid)),
        })
    }

    fn pin_peer(self, socket: BorrowedFd<'_>, pid: u32) -> io::Result<OwnedFd> {
        if self.peer_pidfd { sys::peer_pidfd(socket) } else { Process::pin(pid).map(|process| process.pidfd) }
    }

    fn parent(self, child: &Process) -> io::Result<u32> {
        if self.process_info {
            match sys::process_info(child.pidfd.as_fd()) {
                Ok(info) if info.pid == child.pid => return Ok(info.parent),
                Ok(_) => return Err(io::Error::other("the process has another number than it should")),
                // Also what the first kernels that have this call answer when the parent is outside the namespace of
                // processes, as with a shell that was put into a running container. `/proc` can tell the two apart.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        let parent = parent_by_proc(child.pid)?;
        // Not gone after the file was read: the file was its own.
        if child.is_gone() { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(parent) }
    }
}

/// Reads the fourth field of `/proc/PID/stat`. The second, the name, may hold anything, a parenthesis too.
fn parent_by_proc(pid: u32) -> io::Result<u32> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    let after_name = text.iter().rposition(|&byte| byte == b')').and_then(|at| text.get(at + 1..));
    after_name
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .and_then(|rest| rest.split_ascii_whitespace().nth(1))
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file of the process does not tell its parent"))
}

#[cfg(test)]
mod tests;
