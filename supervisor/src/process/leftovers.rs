//! Processes of launches whose supervisor is gone: found at the next start by the nonce in their environment.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::environment::names_launch;
use super::orphans::Hunt;
use super::pinned::Pinned;
use super::procfs;
use crate::domain::store::LaunchNote;

/// Bytes of an environment that are searched: more than a plan can hold.
const ENVIRONMENT_MAX: u64 = 2 * 1024 * 1024;
/// How long processes that keep forking are hunted.
const HUNT_FOR: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// The machine's boot, which [`kill_leftovers`] compares.
///
/// # Errors
/// The kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    let bytes = procfs::read_at_most("/proc/sys/kernel/random/boot_id", 64)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Kills every process that still carries the nonce of one of these launches, and says how many it was. Launches of
/// another boot have none. Best effort: a process whose environment is overwritten or not ours to read is not found.
/// Blocks while it reads /proc, at most about 5 s: for so long processes that keep forking are hunted.
#[must_use]
pub fn kill_leftovers(notes: &[LaunchNote], boot_id: &str) -> u32 {
    let notes = notes.iter().filter(|note| note.boot_id == boot_id && !note.nonce.is_empty());
    let nonces: Vec<String> = notes.map(|note| note.nonce.clone()).collect();
    if nonces.is_empty() {
        return 0;
    }
    let until = Instant::now() + HUNT_FOR;
    let (tell, told) = mpsc::channel();
    // On a thread of its own, which is left behind where a process has its memory on a file system that does not answer:
    // nobody can read that environment, and the supervisor must start all the same.
    let hunter = move || {
        let nonces: Vec<&str> = nonces.iter().map(String::as_str).collect();
        loop {
            let round = hunt(&nonces);
            // An error means that nobody waits any more.
            if !round.alive || tell.send(round.killed).is_err() {
                return;
            }
            // A killed process needs a moment to be gone.
            thread::sleep(PAUSE);
        }
    };
    if thread::Builder::new().spawn(hunter).is_err() {
        return 0;
    }
    let mut killed = BTreeSet::new();
    while let Ok(more) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        killed.extend(more);
    }
    u32::try_from(killed.len()).unwrap_or(u32::MAX)
}

/// Kills once whatever carries one of the nonces.
pub(super) fn hunt(nonces: &[&str]) -> Hunt {
    let own = std::process::id();
    let mut hunt = Hunt::default();
    for pid in procfs::all().filter(|pid| *pid != own) {
        // Pinned first: what is read of a process that is alive afterwards was its own.
        let Ok(pinned) = Pinned::open(pid) else { continue };
        let Ok(environment) = procfs::read_at_most(&format!("/proc/{pid}/environ"), ENVIRONMENT_MAX) else { continue };
        if nonces.iter().any(|nonce| names_launch(&environment, nonce)) && pinned.is_alive() {
            hunt.alive = true;
            if pinned.kill() {
                hunt.killed.push(pid);
            }
        }
    }
    hunt
}
