//! What a lost keeper leaves behind: found and killed by the supervisor.
//!
//! A subreaper gets the orphans as its own children; every child of this process that is no keeper is then such an
//! orphan. Without that, orphans are found by the nonce in their environment.

use std::collections::BTreeSet;
use std::io;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, set_child_subreaper, waitid};

use super::pinned::Pinned;
use super::{leftovers, procfs};

static SUBREAPER: AtomicBool = AtomicBool::new(false);
/// Keepers that are not reaped yet. A child that is not in here is an orphan.
static KEEPERS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Makes orphans of plugins come to this process, so that none outlives a keeper that was killed.
///
/// From then on every child of this process that was not started by [`super::Starter`] counts as such an orphan, and is
/// killed when a keeper is lost: only a program that starts no others calls this, once, at its start.
///
/// # Errors
/// The kernel refuses.
pub fn become_subreaper() -> io::Result<()> {
    // Any number but 0 turns it on.
    set_child_subreaper(Pid::from_raw(1))?;
    SUBREAPER.store(true, Ordering::Relaxed);
    Ok(())
}

/// This process has called [`become_subreaper`].
pub(super) fn is_subreaper() -> bool {
    SUBREAPER.load(Ordering::Relaxed)
}

fn keepers() -> MutexGuard<'static, BTreeSet<u32>> {
    // A set of numbers is whole after every step, whoever panicked.
    KEEPERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a keeper. No orphan hunt sees it before it is known as one.
///
/// # Errors
/// As `spawn`.
pub(super) fn spawn_known(spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
    let mut keepers = keepers();
    let child = spawn()?;
    keepers.insert(child.id());
    Ok(child)
}

/// Reaps a keeper, which has ended.
///
/// # Errors
/// Somebody else has reaped it.
pub(super) fn reap_known(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    // Together: as soon as it is reaped, its number may be another keeper's.
    let mut keepers = keepers();
    let status = child.wait();
    keepers.remove(&child.id());
    status
}

/// What one hunt found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Hunt {
    /// There may be more.
    pub(super) alive: bool,
    /// Processes that were sent SIGKILL. Until it is gone, one is met by every hunt.
    pub(super) killed: Vec<u32>,
}

/// Kills once what a lost keeper may have left. Blocks for as long as /proc takes to read.
pub(super) fn hunt(nonce: &str) -> Hunt {
    if is_subreaper() { hunt_children() } else { leftovers::hunt(&[nonce]) }
}

fn hunt_children() -> Hunt {
    let mut hunt = Hunt::default();
    let children = procfs::own_children();
    let orphans: Vec<u32> = {
        // A keeper that was started before the children were listed is known as soon as the lock is free.
        let keepers = keepers();
        children.into_iter().filter(|pid| !keepers.contains(pid)).collect()
    };
    for orphan in orphans {
        let Ok(pinned) = Pinned::open(orphan) else { continue };
        // The number is this process's child, and no keeper, so it can be no stranger: only we could free the number.
        if procfs::stat(orphan).map(|stat| stat.parent).ok() != Some(std::process::id()) {
            continue;
        }
        hunt.alive = true;
        let below = procfs::descendants(orphan);
        if pinned.is_alive() && pinned.kill() {
            hunt.killed.push(orphan);
        }
        let below = below.into_iter().filter(|process| kill_if_child_of(process.pid, process.parent));
        hunt.killed.extend(below.map(|process| process.pid));
        let child = i32::try_from(orphan).ok().and_then(Pid::from_raw);
        if let Some(child) = child {
            // Not ended yet, or reaped by another hunt: the next round sees.
            let _ = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
    hunt
}

/// Kills a process that is still where the walk saw it, or has come to this process since.
fn kill_if_child_of(pid: u32, parent: u32) -> bool {
    let Ok(pinned) = Pinned::open(pid) else { return false };
    let above = procfs::stat(pid).map(|stat| stat.parent).ok();
    let inside = above == Some(parent) || above == Some(std::process::id()) && !keepers().contains(&pid);
    inside && pinned.is_alive() && pinned.kill()
}
