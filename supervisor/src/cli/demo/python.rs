//! The Python guard's environment: made once in the user's cache, and used again. Where there is no Python, or it
//! cannot be made, the demonstration says so and goes on without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use outrigger_proto::FILE_DESCRIPTOR_SET;
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::narrator::Narrator;
use crate::cli::failure::Failure;

/// Packages of stock gRPC, pinned: the newest that Python 3.9 to 3.14 can all install.
const PINS: [&str; 3] = ["grpcio==1.80.0", "grpcio-tools==1.80.0", "protobuf==6.33.6"];
/// The plugin.
const SCRIPT: &str = include_str!("../../../../sdk-fixtures/python/stock_gate.py");
/// Files of the contract that the script's stubs are made from.
const PROTOS: [&str; 8] = [
    "outrigger/plugin/v1/host.proto",
    "outrigger/plugin/v1/plugin.proto",
    "outrigger/types/v1/common.proto",
    "outrigger/types/v1/error.proto",
    "outrigger/types/v1/event.proto",
    "outrigger/types/v1/hook.proto",
    "outrigger/types/v1/plugin.proto",
    "outrigger/types/v1/schedule.proto",
];
/// Longest time for one step: a slow index may need a while for 10 MB, and nobody watches longer than this.
const STEP_LIMIT: Duration = Duration::from_secs(120);

/// A Python that can run the guard.
pub(super) struct Python {
    /// The environment's own interpreter, absolute.
    pub(super) interpreter: PathBuf,
    /// The guard, with its stubs beside it, absolute.
    pub(super) script: PathBuf,
}

impl Python {
    fn below(root: &Path) -> Self {
        Self { interpreter: root.join("venv/bin/python"), script: root.join("plugin/stock_gate.py") }
    }
}

/// Finds the environment or makes it. `None`: there is none, and the reader knows why.
pub(super) async fn prepare(narrator: &mut Narrator<'_>) -> Result<Option<Python>, Failure> {
    let Some(cache) = cache_dir() else {
        narrator.step(
            "One of the plugins is Python. It is left out: no directory of this user can keep its environment.",
        )?;
        return Ok(None);
    };
    let root = cache.join(format!("demo-python-{}", fingerprint()));
    let python = Python::below(&root);
    if python.interpreter.exists() && python.script.exists() {
        return Ok(Some(python));
    }
    narrator.step("One of the plugins is Python. Its environment is made once, which may take half a minute.")?;
    narrator.detail(format!("{} in {}", PINS.join(", "), root.display()))?;
    match make(&cache, &root).await {
        Ok(()) => Ok(Some(python)),
        Err(why) => {
            narrator.detail(format!("It cannot be made, so the demonstration goes on without: {why}"))?;
            Ok(None)
        }
    }
}

/// Where programs keep what they can make again.
fn cache_dir() -> Option<PathBuf> {
    let dir = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    Some(dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")))?.join("outrigger"))
}

/// Makes it beside its place and moves it there when it is whole, so that two at once do not disturb each other.
async fn make(cache: &Path, root: &Path) -> Result<(), String> {
    let unfinished = Unfinished(cache.join(format!(".demo-python-{}", std::process::id())));
    let failed = |error: io::Error| format!("{}: {error}", unfinished.0.display());
    fs::create_dir_all(&unfinished.0).map_err(failed)?;
    let python = Python::below(&unfinished.0);
    let plugin = unfinished.0.join("plugin");
    fs::create_dir_all(&plugin).map_err(failed)?;

    run("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(unfinished.0.join("venv"))).await?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"];
    run("pip install", Command::new(&python.interpreter).args(pip).args(PINS)).await?;

    let descriptors = unfinished.0.join("descriptors.binpb");
    fs::write(&descriptors, FILE_DESCRIPTOR_SET).map_err(failed)?;
    let mut stubs = Command::new(&python.interpreter);
    stubs.args(["-m", "grpc_tools.protoc"]).arg(option("--descriptor_set_in=", &descriptors));
    stubs.arg(option("--python_out=", &plugin)).arg(option("--grpc_python_out=", &plugin)).args(PROTOS);
    run("grpc_tools.protoc", &mut stubs).await?;
    fs::write(&python.script, SCRIPT).map_err(failed)?;

    match fs::rename(&unfinished.0, root) {
        // Somebody else was quicker, and made the same.
        Err(_) if Python::below(root).script.exists() => Ok(()),
        moved => moved.map_err(failed),
    }
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}

/// Runs one step. What it started ends with it, also where the caller stops waiting.
async fn run(what: &str, command: &mut Command) -> Result<(), String> {
    for name in ["PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no python3 in PATH".to_owned(),
        _ => format!("{what}: {error}"),
    })?;
    let group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    let output = tokio::time::timeout(STEP_LIMIT, child.wait_with_output()).await;
    drop(group);
    match output {
        Err(_) => Err(format!("{what} took longer than {}", crate::cli::text::duration(STEP_LIMIT))),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            Err(format!("{what} ended with {}: {}", output.status, last.trim()))
        }
    }
}

/// A process group that ends when this is dropped: the step's helpers have no other owner.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The number cannot be another group's yet: it stays taken while the leader is not reaped or members live, and
            // nothing in between starts processes by the thousand.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A directory that is removed unless it was moved to its place.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there: it was moved.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the environment depends on: another script or contract is another environment.
fn fingerprint() -> String {
    let mut digest = Sha256::new();
    for part in PINS.iter().map(|pin| pin.as_bytes()).chain([SCRIPT.as_bytes(), FILE_DESCRIPTOR_SET]) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
