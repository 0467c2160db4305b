//! What the kernel offers and no safe interface does.

#![allow(unsafe_code)]

use std::io;

/// The longest time a misbehaving process lives, in seconds.
pub(crate) const LIFE_SECS: u32 = 20;

/// Lets the kernel end this process by SIGALRM after `seconds`, whatever it does then. Survives exec, not fork.
pub(crate) fn die_after(seconds: u32) {
    // SAFETY: alarm has no memory effects; the default action of SIGALRM, which nobody here changes, ends the process.
    unsafe { libc::alarm(seconds) };
}

/// Ignores SIGTERM, in processes started from here too.
pub(crate) fn ignore_sigterm() {
    // SAFETY: SIG_IGN is a valid disposition and runs no code of ours.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

/// Lets the kernel reap children; nobody here asks how they ended.
pub(crate) fn forget_children() {
    // SAFETY: as for `ignore_sigterm`.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Sends SIGKILL to every process this one may signal but itself. The caller has checked that they are its own.
pub(crate) fn kill_everything() -> io::Result<()> {
    // SAFETY: kill takes plain numbers.
    match unsafe { libc::kill(-1, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends any signal by number.
pub(crate) fn signal(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers; the callers pass one process and never a group.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Becomes the tracer of a process without stopping it; it is let go when this process ends.
pub(crate) fn trace(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SEIZE takes a process and option bits and reads or writes no memory here.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, std::ptr::null_mut::<libc::c_void>(), 0_usize) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
