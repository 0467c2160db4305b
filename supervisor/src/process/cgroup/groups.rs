//! The control groups of a supervisor: what the kernel lets it keep, and a group for each launch that needs one.

use std::fmt;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::files;
use super::group::{Group, Kept};
use super::place::{Owner, Place};
use crate::domain::ids::{Generation, PluginId};
use crate::domain::spec::PluginLimits;

/// Threads that the kernel lets a tree have, beside those for each process that it may have. A limit counts processes
/// and the kernel threads, of which one process may have hundreds: the kernel's number only stops a tree that grows
/// without end between two samples.
const THREADS: u64 = 1024;
/// Threads for each process that a tree may have.
const THREADS_A_PROCESS: u64 = 64;

/// A controller that launches have, or why they cannot.
type Controller = Result<(), String>;

/// The control groups of this supervisor. Dropping it removes what is empty of them.
#[derive(Debug)]
pub struct Groups {
    memory: Controller,
    pids: Controller,
    /// Where the launches' groups are. `None`: no controller can be had.
    home: Option<Place>,
}

impl Groups {
    /// None, for this reason: every limit is sampled.
    #[must_use]
    pub fn none(why: &str) -> Self {
        Self { memory: Err(why.to_owned()), pids: Err(why.to_owned()), home: None }
    }

    /// Finds what this process may divide, gives its controllers to the groups below, and removes the empty groups that
    /// an earlier supervisor of the same state directory left. Moves no process: see [`super::step_aside`].
    #[must_use]
    pub fn find(state_dir: &Path) -> Self {
        let state_dir = fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        let digest = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
        let key: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        match Place::own().and_then(|place| place.base(Owner::current())) {
            Ok(base) => Self::below(&base, &key),
            Err(why) => Self::none(&why),
        }
    }

    /// As [`Self::find`], where the base is known.
    fn below(base: &Place, key: &str) -> Self {
        let available = match files::read(&base.directory, "cgroup.controllers") {
            Ok(available) => available,
            Err(error) => return Self::none(&format!("{}: {error}", base.directory.display())),
        };
        let mut memory = enable(base, "memory", &available);
        let mut pids = enable(base, "pids", &available);
        if memory.is_err() && pids.is_err() {
            return Self { memory, pids, home: None };
        }
        let home = base.child(&format!("outrigger-{key}"));
        if let Err(error) = fs::create_dir(&home.directory)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Self::none(&format!("make `{}`: {error}", home.directory.display()));
        }
        remove_all(&home);
        memory = memory.and_then(|()| pass_on(&home, "memory"));
        pids = pids.and_then(|()| pass_on(&home, "pids"));
        Self { memory, pids, home: Some(home) }
    }

    /// Makes the group of a launch, where the kernel can keep one of its limits. Blocks for a few files.
    pub(in crate::process) fn make(&self, plugin: &PluginId, generation: Generation, limits: &PluginLimits) -> Kept {
        let threads = |limit: u32| THREADS.saturating_add(u64::from(limit).saturating_mul(THREADS_A_PROCESS));
        let mut kept = Kept {
            group: None,
            memory: limits.memory_bytes.map(|limit| self.memory.clone().map(|()| limit)),
            processes: limits.processes.map(|limit| (limit, self.pids.clone().map(|()| threads(limit)))),
        };
        let wants = kept.memory.as_ref().is_some_and(Result::is_ok)
            || kept.processes.as_ref().is_some_and(|(_, threads)| threads.is_ok());
        let Some(home) = self.home.as_ref().filter(|_| wants) else { return kept };
        match Group::make(home.child(&format!("{plugin}.{generation}"))) {
            Ok(group) => kept.put_into(group),
            Err(why) => kept.give_up(&why),
        }
        kept
    }
}

impl Kept {
    /// Writes the limits, and keeps the group where one of them holds.
    fn put_into(&mut self, group: Group) {
        self.memory = self.memory.take().map(|limit| limit.and_then(|bytes| group.limit_memory(bytes)));
        self.processes = self
            .processes
            .take()
            .map(|(limit, threads)| (limit, threads.and_then(|threads| group.limit_threads(threads))));
        let holds = matches!(self.memory, Some(Ok(_))) || matches!(self.processes, Some((_, Ok(_))));
        self.group = holds.then_some(group);
    }

    fn give_up(&mut self, why: &str) {
        self.memory = self.memory.take().map(|limit| limit.and_then(|_| Err(why.to_owned())));
        self.processes =
            self.processes.take().map(|(limit, threads)| (limit, threads.and_then(|_| Err(why.to_owned()))));
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let _ = files::remove(&home.directory);
        }
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |controller: &Controller| match controller {
            Ok(()) => "kept by the kernel".to_owned(),
            Err(why) => format!("sampled only ({why})"),
        };
        write!(f, "limits.memory {}, limits.processes {}", told(&self.memory), told(&self.pids))
    }
}

/// Gives a controller to the groups below the base.
fn enable(base: &Place, name: &str, available: &str) -> Controller {
    if !files::lists(available, name) {
        return Err(format!("`{}` has no {name} controller for control groups v2", base.directory.display()));
    }
    pass_on(base, name)
}

/// Gives a controller that the group has to those below it.
fn pass_on(place: &Place, name: &str) -> Controller {
    const FILE: &str = "cgroup.subtree_control";
    let given = files::read(&place.directory, FILE).unwrap_or_default();
    if files::lists(&given, name) { Ok(()) } else { files::write(&place.directory, FILE, &format!("+{name}")) }
}

/// Removes the groups of launches that have ended.
fn remove_all(home: &Place) {
    let Ok(entries) = fs::read_dir(&home.directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // One that still has processes is tried again at the next start.
            let _ = files::remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::domain::launch::{Enforced, MemoryKill};

    /// A directory with the files that the kernel gives to the root of its hierarchy.
    fn hierarchy(controllers: &str, given: &str) -> (tempfile::TempDir, Place) {
        let mount = tempfile::tempdir().expect("a temporary directory");
        fs::write(mount.path().join("cgroup.controllers"), controllers).expect("a file");
        fs::write(mount.path().join("cgroup.subtree_control"), given).expect("a file");
        let base = Place::root(mount.path());
        (mount, base)
    }

    fn limits(memory_bytes: Option<u64>, processes: Option<u32>) -> PluginLimits {
        PluginLimits { startup: None, memory_bytes, processes }
    }

    fn make(groups: &Groups, limits: &PluginLimits) -> Kept {
        groups.make(&"p".parse().expect("a plugin id"), Generation(3), limits)
    }

    fn text(path: PathBuf) -> String {
        fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
    }

    #[test]
    fn a_launch_gets_a_group_with_its_limits() {
        let (mount, base) = hierarchy("cpu memory pids\n", "cpu\n");
        let groups = Groups::below(&base, "k");
        assert_eq!(groups.to_string(), "limits.memory kept by the kernel, limits.processes kept by the kernel");
        let home = mount.path().join("outrigger-k");
        // A real file keeps what was written last.
        assert_eq!(text(mount.path().join("cgroup.subtree_control")), "+pids");
        assert_eq!(text(home.join("cgroup.subtree_control")), "+pids");

        let kept = make(&groups, &limits(Some(1 << 20), Some(10)));
        let group = home.join("p.3");
        assert_eq!(kept.entrance(), Some(group.join("cgroup.procs")));
        assert_eq!(text(group.join("memory.max")), "1048576");
        assert_eq!(text(group.join("memory.oom.group")), "1");
        assert!(!group.join("memory.swap.max").exists(), "a kernel without it counts no swap");
        // 1,024 threads and 64 for each process.
        assert_eq!(text(group.join("pids.max")), "1664");
        let rung = kept.protection(true).expect("there are limits");
        assert_eq!((rung.name, rung.applied), ("resource-limits", true));
        assert_eq!(
            rung.detail,
            "the kernel keeps memory below 1048576 bytes, without swap; the number of processes, at most 10, is \
             sampled, and the kernel gives no more than 1664 threads"
        );
        let outside = kept.protection(false).expect("there are limits");
        assert!(!outside.applied && outside.detail.contains("could not enter its control group"), "{}", outside.detail);
    }

    #[test]
    fn what_was_killed_and_refused_is_counted_and_outlives_the_group() {
        let (mount, base) = hierarchy("memory pids\n", "memory pids\n");
        let groups = Groups::below(&base, "k");
        let kept = make(&groups, &limits(Some(5000), Some(1)));
        let group = mount.path().join("outrigger-k/p.3");
        assert_eq!(kept.enforced(), Enforced::default());
        fs::write(group.join("pids.events"), "max 4\n").expect("a file");
        // The whole machine had no memory left: not this limit's doing.
        fs::write(group.join("memory.events"), "max 9\noom 0\noom_kill 1\n").expect("a file");
        assert_eq!(kept.enforced(), Enforced { memory_kill: None, refused: 4 });
        fs::write(group.join("memory.events"), "max 9\noom 1\noom_kill 0\noom_group_kill 1\n").expect("a file");
        let killed = |used| Enforced { memory_kill: Some(MemoryKill { used, limit: 5000 }), refused: 4 };
        assert_eq!(kept.enforced(), killed(5000), "the limit, where the kernel does not tell the peak");
        fs::write(group.join("memory.peak"), "4096\n").expect("a file");
        assert_eq!(kept.enforced(), killed(4096));
        kept.remove();
        fs::remove_dir_all(&group).expect("its files go with a group of the kernel's");
        assert_eq!(kept.enforced(), killed(4096));
    }

    #[test]
    fn where_one_controller_is_missing_the_other_is_used() {
        let (mount, base) = hierarchy("pids\n", "");
        let groups = Groups::below(&base, "k");
        let kept = make(&groups, &limits(Some(5000), Some(1)));
        assert!(!mount.path().join("outrigger-k/p.3/memory.max").exists());
        let rung = kept.protection(true).expect("there are limits");
        assert!(!rung.applied && rung.detail.starts_with("memory is sampled only: `"), "{}", rung.detail);
        assert!(rung.detail.contains("has no memory controller"), "{}", rung.detail);
        assert!(rung.detail.ends_with("the kernel gives no more than 1088 threads"), "{}", rung.detail);
        assert!(!kept.keeps_memory(std::process::id()));
        // Nothing to gain for a launch without a limit of processes.
        assert_eq!(make(&groups, &limits(Some(5000), None)).entrance(), None);
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_is_made() {
        let refusals = |groups: &Groups| {
            let kept = make(groups, &limits(Some(5000), Some(1)));
            assert_eq!((kept.entrance(), kept.enforced()), (None, Enforced::default()));
            kept.protection(false).expect("there are limits").detail
        };
        let (mount, base) = hierarchy("hugetlb\n", "");
        let why = refusals(&Groups::below(&base, "k"));
        assert!(why.contains("has no memory controller") && why.contains("has no pids controller"), "{why}");
        assert_eq!(text(mount.path().join("cgroup.subtree_control")), "");
        assert!(!mount.path().join("outrigger-k").exists());

        // As for a group with processes of its own, or one of another user: the kernel takes no writing.
        let (mount, base) = hierarchy("memory pids\n", "");
        fs::remove_file(mount.path().join("cgroup.subtree_control")).expect("a file");
        fs::create_dir(mount.path().join("cgroup.subtree_control")).expect("a directory");
        let why = refusals(&Groups::below(&base, "k"));
        assert!(why.contains("write `+memory` to `") && why.contains("write `+pids` to `"), "{why}");
        assert!(!mount.path().join("outrigger-k").exists());

        assert_eq!(
            refusals(&Groups::none("of a reason")),
            "memory and the number of processes are sampled only: of a reason"
        );
        let without = make(&Groups::none("of a reason"), &PluginLimits::default());
        assert_eq!(without.protection(false), None);
    }

    #[test]
    fn a_group_that_cannot_be_limited_is_given_up() {
        let (mount, base) = hierarchy("memory pids\n", "memory pids\n");
        let groups = Groups::below(&base, "k");
        let home = mount.path().join("outrigger-k");
        // Somebody's file is in the way of the group.
        fs::write(home.join("p.3"), "").expect("a file");
        let kept = make(&groups, &limits(Some(5000), Some(1)));
        assert_eq!(kept.entrance(), None);
        let rung = kept.protection(true).expect("there are limits");
        assert!(!rung.applied && rung.detail.contains("are sampled only: make `"), "{}", rung.detail);
    }

    #[test]
    fn empty_groups_of_an_earlier_supervisor_go_and_nothing_else() {
        let (mount, base) = hierarchy("memory pids\n", "memory pids\n");
        let home = mount.path().join("outrigger-k");
        for left in ["p.1", "q.2/below", "busy.3", "../other/p.1"] {
            fs::create_dir_all(home.join(left)).expect("a directory");
        }
        fs::write(home.join("busy.3/process"), "").expect("a file");
        let groups = Groups::below(&base, "k");
        let mut left: Vec<_> = fs::read_dir(&home)
            .expect("the directory")
            .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
            .collect();
        left.sort();
        assert_eq!(left, ["busy.3", "cgroup.subtree_control"]);
        assert!(mount.path().join("other/p.1").exists());
        fs::remove_dir_all(home.join("busy.3")).expect("a directory");
        fs::remove_file(home.join("cgroup.subtree_control")).expect("a file");
        drop(groups);
        assert!(!home.exists());
    }
}
