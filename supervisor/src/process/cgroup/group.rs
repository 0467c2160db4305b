//! The control group of one launch, and how its limits are kept.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::files;
use super::place::{Place, path_of};
use crate::domain::launch::{Enforced, MemoryKill, Protection};
use crate::process::procfs;

/// Name of the protection that tells of them.
const RUNG: &str = "resource-limits";

/// How the limits of one launch are kept. Of each: what the kernel was told, or why it was not; `None`: no such limit.
#[derive(Debug, Default)]
pub(in crate::process) struct Kept {
    pub(super) group: Option<Group>,
    /// Bytes.
    pub(super) memory: Option<Result<u64, String>>,
    /// Processes, and the threads at which the kernel stops the tree.
    pub(super) processes: Option<(u32, Result<u64, String>)>,
}

impl Kept {
    /// The file by which the child enters the group.
    pub(in crate::process) fn entrance(&self) -> Option<PathBuf> {
        Some(self.group.as_ref()?.place.directory.join("cgroup.procs"))
    }

    /// What the kernel has done so far; also after the group was removed.
    pub(in crate::process) fn enforced(&self) -> Enforced {
        let counts = self.group.as_ref().map(Group::counts).unwrap_or_default();
        let memory_kill = match &self.memory {
            Some(Ok(limit)) if counts.killed => Some(MemoryKill { used: counts.peak.unwrap_or(*limit), limit: *limit }),
            _ => None,
        };
        Enforced { memory_kill, refused: counts.refused }
    }

    /// The kernel holds the whole tree below its limit of memory now. A plugin that may write where the supervisor may
    /// can leave its group, or change it.
    pub(in crate::process) fn keeps_memory(&self, keeper: u32) -> bool {
        match (&self.group, &self.memory) {
            (Some(group), Some(Ok(limit))) => {
                files::number(&group.place.directory, "memory.max").is_some_and(|now| now <= *limit)
                    && procfs::descendants(keeper)
                        .into_iter()
                        .all(|process| process.state == 'Z' || group.has(process.pid))
            }
            _ => false,
        }
    }

    /// Removes the group, which no process of the tree is in any more.
    pub(in crate::process) fn remove(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }

    /// What `inspect` shows; `None` where there is no limit to keep. `entered`: the child went into the group.
    pub(in crate::process) fn protection(&self, entered: bool) -> Option<Protection> {
        let told = |limit: &Result<u64, String>| match limit {
            Ok(_) if !entered => Err("the plugin could not enter its control group".to_owned()),
            told => told.clone(),
        };
        let memory = self.memory.as_ref().map(told);
        let processes = self.processes.as_ref().map(|(limit, threads)| (*limit, told(threads)));
        let detail = match (&memory, &processes) {
            (None, None) => return None,
            (Some(Err(why)), Some((_, Err(same)))) if why == same => {
                format!("memory and the number of processes are sampled only: {why}")
            }
            _ => {
                let memory = memory.as_ref().map(|limit| match limit {
                    Ok(limit) => format!("the kernel keeps memory below {limit} bytes, without swap"),
                    Err(why) => format!("memory is sampled only: {why}"),
                });
                let processes = processes.as_ref().map(|(limit, threads)| match threads {
                    Ok(threads) => format!(
                        "the number of processes, at most {limit}, is sampled, and the kernel gives no more than \
                         {threads} threads"
                    ),
                    Err(why) => format!("the number of processes is sampled only: {why}"),
                });
                memory.into_iter().chain(processes).collect::<Vec<_>>().join("; ")
            }
        };
        let applied =
            memory.is_none_or(|memory| memory.is_ok()) && processes.is_none_or(|(_, threads)| threads.is_ok());
        Some(Protection { name: RUNG, applied, detail })
    }
}

/// What the kernel has counted in a group.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// It killed processes, for the group's own limit of memory.
    killed: bool,
    /// Highest memory, where it tells (Linux 5.19).
    peak: Option<u64>,
    /// Processes and threads that it refused.
    refused: u64,
}

/// A group of its own for one launch. Dropping it removes it, where it is empty.
#[derive(Debug)]
pub(super) struct Group {
    place: Place,
    /// The counts when the group was removed.
    last: Mutex<Option<Counts>>,
}

impl Group {
    /// # Errors
    /// In words.
    pub(super) fn make(place: Place) -> Result<Self, String> {
        let directory = &place.directory;
        // Counts of another launch must not be taken for this one's.
        if directory.exists() {
            let _ = files::remove(directory);
        }
        fs::create_dir(directory).map_err(|error| format!("make `{}`: {error}", directory.display()))?;
        Ok(Self::in_place(place))
    }

    pub(super) fn in_place(place: Place) -> Self {
        Self { place, last: Mutex::new(None) }
    }

    #[cfg(test)]
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Has the kernel keep memory, in whole pages. What the limit means is memory at all, and none that goes elsewhere:
    /// hence no swap. Over it the whole tree is killed, as by samples.
    ///
    /// # Errors
    /// In words.
    pub(super) fn limit_memory(&self, bytes: u64) -> Result<u64, String> {
        let directory = &self.place.directory;
        // Not on a kernel that counts no swap.
        if directory.join("memory.swap.max").exists() {
            files::write(directory, "memory.swap.max", "0")?;
        }
        files::write(directory, "memory.oom.group", "1")?;
        files::write(directory, "memory.max", &bytes.to_string())?;
        match files::number(directory, "memory.max") {
            Some(kept) if kept <= bytes => Ok(bytes),
            other => Err(format!("`{}` reads {other:?} and not {bytes}", directory.join("memory.max").display())),
        }
    }

    /// Has the kernel give no more threads.
    ///
    /// # Errors
    /// In words.
    pub(super) fn limit_threads(&self, threads: u64) -> Result<u64, String> {
        files::write(&self.place.directory, "pids.max", &threads.to_string()).map(|()| threads)
    }

    fn counts(&self) -> Counts {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.unwrap_or_else(|| self.read())
    }

    fn read(&self) -> Counts {
        let directory = &self.place.directory;
        let events = files::read(directory, "memory.events").unwrap_or_default();
        let killed = files::count(&events, "oom_kill").max(files::count(&events, "oom_group_kill"));
        Counts {
            // A kill alone may be the whole machine's want of memory, or a group's above.
            killed: killed > 0 && files::count(&events, "oom") > 0,
            peak: files::number(directory, "memory.peak"),
            refused: files::read(directory, "pids.events").map_or(0, |events| files::count(&events, "max")),
        }
    }

    /// The process is in it or in a group below, or gone.
    fn has(&self, pid: u32) -> bool {
        match procfs::read_at_most(&format!("/proc/{pid}/cgroup"), 64 * 1024) {
            Ok(groups) => path_of(&groups).is_some_and(|path| path.starts_with(&self.place.path)),
            Err(_) => true,
        }
    }

    fn remove(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none() {
            *last = Some(self.read());
            // What is left is tried again at the supervisor's end, and at its next start.
            let _ = files::remove(&self.place.directory);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.remove();
    }
}
