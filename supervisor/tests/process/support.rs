//! What the tests share: plans, launches, waits with limits, and views of processes.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use outrigger::domain::ids::Generation;
use outrigger::domain::launch::{Connect, Emptied, ExitRecord, LaunchError, Plan, Tree};
use outrigger::domain::spec::PluginLimits;
use outrigger::process::{KeptTree, Started, Starter};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::sync::watch;

/// Tells a test how its nonces begin, so that the runner finds what it left.
pub(crate) const NONCES: &str = "PROCESS_TEST_NONCES";
/// Long enough for a loaded machine, short enough for the runner.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn nonces_of(test: &str, user: u32) -> String {
    format!("{}-{user}-{test}-", std::process::id())
}

pub(crate) fn fresh_nonce() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let beginning = std::env::var(NONCES).expect("the runner sets it");
    format!("{beginning}{}-{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a test's body on one thread, as the supervisor's own.
pub(crate) fn block_on<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(body)
}

/// Fails where something takes too long.
pub(crate) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

/// A starter with directories for its launches.
pub(crate) struct Bench {
    pub(crate) starter: Starter,
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Starter::new())
    }

    pub(crate) fn with(starter: Starter) -> Self {
        Self { starter, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn plan(&self, command: &[&str]) -> Plan {
        Plan {
            plugin: "tested".parse().expect("a plugin id"),
            generation: Generation(1),
            nonce: fresh_nonce(),
            token: "the-token".to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            connect: Connect::Relative,
            package_dir: self.path().to_owned(),
            data_dir: self.path().join("data"),
            environment: BTreeMap::new(),
            limits: PluginLimits::default(),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("host.sock")
    }

    pub(crate) async fn try_start(&self, plan: &Plan) -> Result<Started, LaunchError> {
        soon("start", self.starter.start(plan, self.path(), &self.socket())).await
    }

    pub(crate) async fn start(&self, plan: &Plan) -> Launch {
        let started = self.try_start(plan).await.expect("the plugin starts");
        Launch {
            tree: started.tree,
            stdout: BufReader::new(started.stdout).lines(),
            stderr: started.stderr,
            nonce: plan.nonce.clone(),
        }
    }

    pub(crate) async fn shell(&self, script: &str) -> Launch {
        self.start(&self.plan(&["/bin/sh", "-c", script])).await
    }

    /// Starts this program in a role.
    pub(crate) async fn role(&self, words: &[&str]) -> Launch {
        let program = own_program();
        let command: Vec<&str> = [program.as_str(), "__role"].iter().chain(words).copied().collect();
        self.start(&self.plan(&command)).await
    }

    /// Waits until nothing is left of any launch, not even a keeper.
    pub(crate) async fn finished(&self) {
        soon("all launches end", self.starter.finished()).await;
        assert_eq!(own_children(), Vec::<u32>::new(), "everything is reaped");
    }
}

pub(crate) fn own_program() -> String {
    std::env::current_exe().expect("this program").to_str().expect("a path in UTF-8").to_owned()
}

pub(crate) struct Launch {
    pub(crate) tree: Arc<KeptTree>,
    pub(crate) stdout: Lines<BufReader<pipe::Receiver>>,
    pub(crate) stderr: pipe::Receiver,
    pub(crate) nonce: String,
}

impl Launch {
    /// The next line of output; fails at its end.
    pub(crate) async fn line(&mut self) -> String {
        let line = soon("a line", self.stdout.next_line()).await.expect("readable output");
        match line {
            Some(line) => line,
            None => panic!("the output has ended; standard error: {}", self.errors().await),
        }
    }

    pub(crate) async fn number(&mut self) -> u32 {
        let line = self.line().await;
        line.trim().parse().unwrap_or_else(|_| panic!("a number, not `{line}`"))
    }

    /// All lines until the end of output.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = soon("a line", self.stdout.next_line()).await.expect("readable output") {
            lines.push(line);
        }
        lines
    }

    pub(crate) async fn errors(&mut self) -> String {
        let mut text = String::new();
        soon("the end of standard error", self.stderr.read_to_string(&mut text)).await.expect("readable output");
        text
    }

    pub(crate) async fn exit(&self) -> ExitRecord {
        settled("exit", self.tree.exit()).await
    }

    pub(crate) async fn emptied(&self) -> Emptied {
        settled("empty", self.tree.emptied()).await
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        let protections = self.tree.protections();
        protections.iter().find(|protection| protection.name == name).expect("a known name").applied
    }
}

async fn settled<T: Copy>(what: &str, mut state: watch::Receiver<Option<T>>) -> T {
    let settled = soon(what, state.wait_for(Option::is_some)).await.expect("the task settles it");
    settled.expect("waited for")
}

/// A process held by a descriptor.
pub(crate) fn pin(pid: u32) -> OwnedFd {
    pidfd_open(to_pid(pid), PidfdFlags::empty()).expect("a living process")
}

pub(crate) fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id")
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    rustix::process::kill_process(to_pid(pid), signal).expect("a signal to one of our processes");
}

/// A pinned process has ended, or does so within the time.
pub(crate) fn has_ended(process: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("a sound time");
    matches!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)), Ok(1))
}

pub(crate) fn ends_within(pid: u32, limit: Duration) -> bool {
    match pidfd_open(to_pid(pid), PidfdFlags::empty()) {
        Ok(process) => has_ended(&process, limit),
        Err(_) => true,
    }
}

/// Processes, zombies left out, whose environment names a launch that begins so. As root every process is seen.
pub(crate) fn alive_with_nonce(beginning: &str) -> Vec<u32> {
    let wanted = format!("OUTRIGGER_LAUNCH={beginning}");
    let names =
        fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    names
        .filter(|pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(wanted.as_bytes()))
        })
        .collect()
}

/// Waits until no process carries the nonce; how long that took.
pub(crate) fn wait_until_none_left(nonce: &str, limit: Duration) -> Duration {
    let begun = Instant::now();
    loop {
        let left = alive_with_nonce(nonce);
        let Some(first) = left.first() else { return begun.elapsed() };
        assert!(begun.elapsed() < limit, "left after {limit:?}: {left:?}");
        ends_within(*first, limit);
    }
}

pub(crate) fn own_children() -> Vec<u32> {
    let mut children = Vec::new();
    for task in fs::read_dir("/proc/self/task").expect("own threads").flatten() {
        // A thread of the runtime may just have ended.
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_ascii_whitespace().map(|pid| pid.parse::<u32>().expect("a process id")));
    }
    children
}

/// One field of `/proc/PID/status`.
pub(crate) fn status_field(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a known field");
    line.trim().to_owned()
}

/// Number and target of each open file, in the order of the numbers; empty where they are not ours to see.
pub(crate) fn open_files(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let mut files: Vec<(u32, PathBuf)> = entries
        .flatten()
        .map(|entry| {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).expect("a number");
            (number, fs::read_link(entry.path()).expect("an open file"))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(number, target)| format!("{number} {}", target.display())).collect()
}
