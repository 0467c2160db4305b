//! Starts the keeper's process: one posix_spawn, and what has to be there for it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::keeper::wire::PIECE_MAX;
use super::orphans;
use super::program::Form;

/// A keeper that was started, with our ends of everything.
pub(super) struct Spawned {
    pub(super) child: Keeper,
    pub(super) pidfd: OwnedFd,
    /// Life, commands, records. Does not block.
    pub(super) socket: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Bytes of the plan that the socket has taken.
    pub(super) sent: usize,
}

/// A keeper's process, which is reaped in any case.
pub(super) struct Keeper(Option<Child>);

impl Keeper {
    pub(super) fn pid(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Reaps the process, which has ended. How it did, in words.
    pub(super) fn reap(&mut self) -> String {
        match self.0.take().map(|mut child| orphans::reap_known(&mut child)) {
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => error.to_string(),
            None => "reaped already".to_owned(),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Only where its task was aborted with the runtime. Its life has ended with the socket, so that this thread ends
        // as soon as the tree is gone; without a thread, a zombie stays until this process ends.
        if let Some(mut child) = self.0.take() {
            let _ = std::thread::Builder::new().spawn(move || {
                // The wait first: reaping holds up every launch.
                let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                let _ = pid.map(|pid| waitid(WaitId::Pid(pid), ended));
                orphans::reap_known(&mut child)
            });
        }
    }
}

/// Starts a keeper and gives it as much of the plan as its socket takes at once. Blocks until its program is executed.
///
/// # Errors
/// Out of descriptors or processes, or the form is refused here.
pub(super) fn spawn(form: &Form, plan: &[u8]) -> io::Result<Spawned> {
    let mut command = form.command()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    // Before the process exists, so that the plan is there when it asks.
    let sent = send_pieces(&socket, plan)?;
    // With nothing but these settings the standard library uses posix_spawn, whose cost does not grow with our memory.
    command.env_clear().process_group(0).stdin(Stdio::from(theirs));
    command.stdout(Stdio::from(their_stdout)).stderr(Stdio::from(their_stderr));
    let child = Keeper(Some(orphans::spawn_known(|| command.spawn())?));
    let pid = i32::try_from(child.pid()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(Spawned { child, pidfd, socket, stdout, stderr, sent })
}

/// Sends pieces of a plan until the socket is full; how many bytes it took.
///
/// # Errors
/// The keeper is gone.
pub(super) fn send_pieces(socket: &OwnedFd, plan: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    for piece in plan.chunks(PIECE_MAX) {
        match send(socket, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => sent += piece.len(),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}
