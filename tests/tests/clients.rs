//! The runtime clients in other languages: their own suites against this build, and that their digests are ours.
//!
//! Each suite says what it ran. Where Node or Python is missing a test fails and says what to install.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_tests::programs::program;
use rustix::process::{Pid, Signal, getuid, kill_process_group};
use serde_json::Value;

/// Longest time of a suite: most is spent where other tests take the processors.
const SUITE_LIMIT: Duration = Duration::from_secs(300);
/// Longest time of an installation from a slow registry.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
/// How often a running step is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Lines that are told of a suite that passed.
const SUMMARY_LINES: usize = 12;
/// What the TypeScript client needs.
const NODE: &str = "install Node 20 or newer with npm (Debian and Ubuntu: `apt install nodejs npm`)";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the tests lie in the repository")
}

/// A directory below the build's where that may be written, else one of this user's own.
fn workshop() -> PathBuf {
    let target = program("outrigger").ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
    let directory = if rustix::fs::access(&target, rustix::fs::Access::WRITE_OK).is_ok() {
        target.join("clients")
    } else {
        std::env::temp_dir().join(format!("outrigger-clients-{}", getuid().as_raw()))
    };
    fs::create_dir_all(&directory).expect("make a directory");
    directory
}

/// Runs one step of a suite in a process group of its own, its output in a file; that file's text.
fn step(what: &str, limit: Duration, log: &Path, command: &mut Command) -> String {
    let output = File::create(log).expect("make a file for the output");
    let errors = output.try_clone().expect("use a file twice");
    let spawned = command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0).spawn();
    let mut child = spawned.unwrap_or_else(|error| unreachable!("{what}: {error}"));
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break Some(status),
            None if Instant::now() < deadline => thread::sleep(LOOK),
            None => break None,
        }
    };
    // Whatever it left in its group goes with it.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    let text = fs::read_to_string(log).unwrap_or_default();
    match status {
        Some(status) if status.success() => text,
        Some(status) => unreachable!("{what}: {status}\n{text}"),
        None => unreachable!("{what}: took longer than {limit:?}\n{text}"),
    }
}

fn print_summary(what: &str, output: &str) {
    let lines: Vec<_> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    println!("{what}:\n{}", lines[lines.len().saturating_sub(SUMMARY_LINES)..].join("\n"));
}

/// Tells a suite where things of this build are.
fn environment(command: &mut Command, python: &Path) {
    command
        .env("OUTRIGGER_BIN", program("outrigger"))
        .env("OUTRIGGER_FIXTURES", repository().join("sdk-fixtures"))
        .env("OUTRIGGER_PYTHON", python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GRPC_VERBOSITY", "ERROR");
}

/// The Python environment of the fixtures, which both suites need for plugins.
async fn python() -> PathBuf {
    let environment = outrigger_tests::python::environment().await;
    for name in ["misbehave", "policy-gate", "audit-observer", "prompt-contributor", "review-assistant", "event-reader"]
    {
        let _ = program(name);
    }
    environment.stubs.parent().expect("stubs lie in the environment").to_owned()
}

/// Copies a directory; what npm and the compiler make in it stays away.
fn copy(from: &Path, to: &Path) {
    const MADE: &[&str] = &["node_modules", "dist", "build", "__pycache__"];
    fs::create_dir_all(to).expect("make a directory");
    for entry in fs::read_dir(from).expect("read a directory") {
        let entry = entry.expect("an entry");
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if MADE.iter().any(|made| name == **made) {
            continue;
        }
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy a file");
        }
    }
}

/// The major version of Node.
fn node() -> u32 {
    let output =
        Command::new("node").arg("--version").output().unwrap_or_else(|error| unreachable!("node: {error}: {NODE}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let major = told.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    let major = major.unwrap_or_else(|| unreachable!("`node --version` says `{told}`: {NODE}"));
    assert!(major >= 20, "this is Node {major}: {NODE}");
    assert!(Command::new("npm").arg("--version").output().is_ok(), "there is no npm: {NODE}");
    major
}

/// The suite runs in a copy, so that a checkout that cannot be written will do. What npm installs is kept.
#[tokio::test]
async fn the_typescript_client_passes_its_suite() {
    let python = python().await;
    let major = node();
    let workshop = workshop();
    let lock = File::create(workshop.join("lock")).expect("make a lock");
    lock.lock().expect("take the lock");
    let (tree, clients) = (workshop.join("tree"), workshop.join("tree/clients"));
    let package = clients.join("typescript");
    for stale in ["proto", "clients/cases", "clients/fixtures", "clients/proto"] {
        let _ = fs::remove_dir_all(tree.join(stale));
    }
    for stale in ["src", "test", "scripts", "build"] {
        let _ = fs::remove_dir_all(package.join(stale));
    }
    let repository = repository();
    copy(&repository.join("proto/outrigger"), &tree.join("proto/outrigger"));
    for name in ["cases", "fixtures", "proto", "typescript"] {
        copy(&repository.join("clients").join(name), &clients.join(name));
    }
    let npm = |arguments: &[&str]| {
        let mut command = Command::new("npm");
        command.args(arguments).current_dir(&package).env("npm_config_cache", workshop.join("npm-cache"));
        command.env("npm_config_update_notifier", "false");
        environment(&mut command, &python);
        command
    };
    let log = workshop.join("log");
    let wanted =
        format!("{major}\n{}", fs::read_to_string(package.join("package-lock.json")).expect("read the lock file"));
    let stamp = workshop.join("stamp");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) || !package.join("node_modules").is_dir() {
        let _ = fs::remove_file(&stamp);
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        step("install packages with npm (it needs a registry)", INSTALL_LIMIT, &log, &mut npm(&install));
        fs::write(&stamp, wanted).expect("write the stamp");
    }
    step("check the generated code", SUITE_LIMIT, &log, &mut npm(&["run", "generate:check"]));
    step("check types", SUITE_LIMIT, &log, &mut npm(&["run", "check"]));
    let output = step("test the TypeScript client", SUITE_LIMIT, &log, &mut npm(&["test"]));
    print_summary("clients/typescript", &output);
    assert!(output.lines().any(|line| line.ends_with("fail 0")), "{output}");
}

#[tokio::test]
async fn the_python_client_passes_its_suite() {
    let python = python().await;
    let package = repository().join("clients/python");
    let directory = tempfile::Builder::new().prefix("or-client-").tempdir().expect("make a directory");
    let log = directory.path().join("log");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(python.join("venv/bin/python"));
        command.arg("-B").args(arguments).current_dir(&package);
        environment(&mut command, &python);
        command
    };
    step("check the generated code", SUITE_LIMIT, &log, &mut run(&["scripts/generate.py", "--check"]));
    let output = step(
        "test the Python client",
        SUITE_LIMIT,
        &log,
        &mut run(&["-m", "unittest", "discover", "-t", ".", "tests"]),
    );
    print_summary("clients/python", &output);
    assert!(output.lines().any(|line| line.starts_with("Ran ")), "{output}");
}

/// The cases that the clients go by are what the supervisor does.
#[test]
fn digests_of_the_shared_cases_are_the_supervisors() {
    let text = fs::read(repository().join("clients/cases/digests.json")).expect("read the cases");
    let cases: Value = serde_json::from_slice(&text).expect("the cases are JSON");
    let cases = cases["cases"].as_array().expect("there are cases");
    assert!(cases.len() > 10);
    for case in cases {
        let json = case["json"].as_str().expect("a case has a text");
        let canonical = outrigger::domain::json::canonical(json.as_bytes()).expect("a case is JSON");
        assert_eq!(
            String::from_utf8_lossy(&canonical),
            case["canonical"].as_str().expect("a case has a form"),
            "{json}"
        );
    }
}
