//! A process held by a descriptor, so that a signal never reaches another one that was given its number.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that may have ended, but whose number is not mistaken.
#[derive(Debug)]
pub(super) struct Pinned(OwnedFd);

impl Pinned {
    /// Holds the process that has this number now.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// It has not ended yet. What was read under its number before, and while it lived, was its own.
    pub(super) fn is_alive(&self) -> bool {
        is_alive(&self.0)
    }

    /// Kills it; whether that was possible.
    pub(super) fn kill(&self) -> bool {
        pidfd_send_signal(&self.0, Signal::KILL).is_ok()
    }
}

/// The process behind a pidfd has not ended yet.
pub(super) fn is_alive(pidfd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}
