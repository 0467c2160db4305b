//! The processes of one launch, as the rest of the supervisor sees them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{SendFlags, Shutdown, send, shutdown};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cgroup::Kept;
use super::keeper::wire::{TERMINATE, held};
use super::pinned::is_alive;
use super::program::Form;
use super::watch::Running;
use super::{evidence, protections, usage};
use crate::domain::launch::{Emptied, Enforced, Evidence, ExitRecord, Protection, Tree, Usage};

/// Our hold on a keeper. Dropping it kills the tree.
pub(super) struct Life {
    pub(super) keeper_pid: u32,
    pub(super) pidfd: Arc<OwnedFd>,
    pub(super) socket: Arc<OwnedFd>,
    pub(super) told: CancellationToken,
}

impl Life {
    /// Tells the keeper to kill its tree and exit.
    fn end(&self) {
        // The end of what we send is the order; what the keeper sends can still be read.
        let _ = shutdown(&self.socket, Shutdown::Write);
        // Somebody may have stopped it.
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
        self.told.cancel();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

/// The processes of one launch under their keeper. Dropping it kills them; what follows until the last is reaped is the
/// business of the [`super::Starter`].
pub struct KeptTree {
    pub(super) life: Life,
    pub(super) running: Running,
    pub(super) form: Form,
    pub(super) kept: Arc<Kept>,
    pub(super) exit: watch::Receiver<Option<ExitRecord>>,
    pub(super) emptied: watch::Receiver<Option<Emptied>>,
}

impl KeptTree {
    /// The keeper's process, pinned. It stays valid, and names no other process, after the keeper's end.
    #[must_use]
    pub fn keeper_pidfd(&self) -> BorrowedFd<'_> {
        self.life.pidfd.as_fd()
    }

    /// The child is in the group that was made for it.
    fn is_grouped(&self) -> bool {
        self.running.held & held::GROUP != 0
    }
}

impl Tree for KeptTree {
    fn pid(&self) -> u32 {
        self.running.pid
    }

    fn keeper_pid(&self) -> u32 {
        self.life.keeper_pid
    }

    fn terminate(&self) {
        // A keeper that is gone, or told to kill, needs no SIGTERM; the socket's buffer holds hundreds of commands.
        let _ = send(&self.life.socket, &[TERMINATE], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    fn kill(&self) {
        self.life.end();
    }

    fn exit(&self) -> watch::Receiver<Option<ExitRecord>> {
        self.exit.clone()
    }

    fn emptied(&self) -> watch::Receiver<Option<Emptied>> {
        self.emptied.clone()
    }

    fn usage(&self) -> io::Result<Usage> {
        let usage = usage::of_tree(self.life.keeper_pid);
        // Alive afterwards: its number was its own all the while.
        if is_alive(&self.life.pidfd) { Ok(usage) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn evidence(&self) -> Evidence {
        let evidence = evidence::of_tree(self.life.keeper_pid);
        if is_alive(&self.life.pidfd) {
            return evidence;
        }
        Evidence { lines: Vec::new(), unreadable: vec!["processes: the tree is gone".to_owned()] }
    }

    fn protections(&self) -> Vec<Protection> {
        let mut list = protections::list(self.running.held, &self.form);
        list.extend(self.kept.protection(self.is_grouped()));
        list
    }

    fn enforced(&self) -> Enforced {
        if self.is_grouped() { self.kept.enforced() } else { Enforced::default() }
    }

    fn keeps_memory(&self) -> bool {
        self.is_grouped() && self.kept.keeps_memory(self.life.keeper_pid)
    }
}
