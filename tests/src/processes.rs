//! Processes as the kernel lists them: whose they are, what they use.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a wait for the end of processes looks again.
const LOOK: Duration = Duration::from_millis(5);

/// Every process there is.
fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// State letter and parent. `None`: it is gone.
fn stat(pid: u32) -> Option<(char, u32)> {
    let fields = fields(pid)?;
    Some((fields.first()?.chars().next()?, fields.get(1)?.parse().ok()?))
}

/// Fields of the process's line from the third, the state, on.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have anything in it but ends at the last parenthesis.
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

/// A process that is not mistaken for a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    started: String,
}

impl Identity {
    /// Of the process that has the number now. `None`: there is none.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        // The 22nd field is when it started.
        Some(Self { pid, started: fields(pid)?.get(19)?.clone() })
    }

    /// It is there and no zombie.
    #[must_use]
    pub fn lives(&self) -> bool {
        lives(self.pid) && Self::of(self.pid).as_ref() == Some(self)
    }
}

/// The process runs: it is there and no zombie.
#[must_use]
pub fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// The parent of a process.
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, parent)| parent)
}

/// All processes below one, itself not among them.
#[must_use]
pub fn descendants(of: u32) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == of || found.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            return found;
        }
    }
}

/// Living processes whose data directory, as their environment has it, is `data` or lies below it: those of one plugin,
/// or of all plugins of a world.
#[must_use]
pub fn of_data(data: &Path) -> BTreeSet<u32> {
    let wanted = format!("OUTRIGGER_DATA_DIR={}", data.display());
    let matches = |pid: &u32| {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|variable| {
            variable.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    };
    all().into_iter().filter(matches).filter(|pid| lives(*pid)).collect()
}

/// The environment a process was started with, by name.
#[must_use]
pub fn environment(pid: u32) -> std::collections::BTreeMap<String, String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let pairs = text.split('\0').filter_map(|variable| variable.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a process is, for messages.
#[must_use]
pub fn describe(pid: u32) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    format!("{pid} ({:?}): {}", stat(pid), command.trim())
}

/// Memory that is a process's own (anonymous and resident), bytes. 0: it is gone.
#[must_use]
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Waits until `left` finds no process any more. What is left at the limit.
///
/// Blocking; for where there is no event loop any more.
#[must_use]
pub fn wait_gone(limit: Duration, left: impl Fn() -> BTreeSet<u32>) -> BTreeSet<u32> {
    let end = Instant::now() + limit;
    loop {
        let found = left();
        if found.is_empty() || Instant::now() >= end {
            return found;
        }
        std::thread::sleep(LOOK);
    }
}

/// As [`wait_gone`], in a task.
pub async fn gone(limit: Duration, left: impl Fn() -> BTreeSet<u32>) -> BTreeSet<u32> {
    let end = Instant::now() + limit;
    loop {
        let found = left();
        if found.is_empty() || Instant::now() >= end {
            return found;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Sends a signal; a process that is gone needs none.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
