//! Runs the tests one after the other, each in a process of its own, with a time limit, and looks for what it left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use crate::Test;
use crate::support::{NONCES, alive_with_nonce, ends_within, nonces_of, to_pid};

pub(crate) const RUN_ONE: &str = "__run";
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// User and group that own nothing.
const NOBODY: u32 = 65_534;

pub(crate) fn run(tests: &[Test], arguments: &[&str]) -> ExitCode {
    // As the standard runner's: words are filters, options are not, and some options take the next word.
    let mut filters = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--test-threads" | "--format" | "--color" | "--logfile" | "--skip" => drop(words.next()),
            option if option.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    let is_chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| full_name(name).contains(filter));
    let chosen: Vec<&Test> = tests.iter().filter(|(name, _)| is_chosen(name)).collect();
    if arguments.contains(&"--list") {
        for (name, _) in chosen {
            println!("{}: test", full_name(name));
        }
        return ExitCode::SUCCESS;
    }
    // A copy that every user can reach.
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let program = directory.path().join("process");
    fs::copy("/proc/self/exe", &program).expect("a copy of this program");

    let users: &[Option<u32>] = if rustix::process::getuid().is_root() { &[None, Some(NOBODY)] } else { &[None] };
    let mut failed = 0;
    for (name, _) in &chosen {
        for user in users {
            let what = full_name(name) + &user.map_or_else(String::new, |user| format!(" as user {user}"));
            match run_one(&program, name, *user) {
                Ok(()) => println!("test {what} ... ok"),
                Err(why) => {
                    failed += 1;
                    println!("test {what} ... FAILED\n{why}");
                }
            }
        }
    }
    println!("\n{} tests, {failed} failed", chosen.len() * users.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As `cargo test process::` names the tests of this layer.
fn full_name(name: &str) -> String {
    format!("process::{name}")
}

fn run_one(program: &Path, name: &str, user: Option<u32>) -> Result<(), String> {
    let output = tempfile::tempfile().expect("a temporary file");
    let nonces = nonces_of(name, user.unwrap_or(0));
    let mut command = Command::new(program);
    command.args([RUN_ONE, name]).env(NONCES, &nonces).stdin(Stdio::null());
    command.stdout(output.try_clone().expect("a descriptor")).stderr(output.try_clone().expect("a descriptor"));
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut child = command.spawn().expect("the test's process");
    let in_time = ends_within(child.id(), TIME_LIMIT);
    if !in_time {
        child.kill().expect("the test's process can be killed");
    }
    let status = child.wait().expect("the test's process can be waited for");
    let left: Vec<u32> =
        alive_with_nonce(&nonces).into_iter().filter(|pid| !ends_within(*pid, Duration::from_secs(2))).collect();
    for pid in &left {
        let _ = rustix::process::kill_process(to_pid(*pid), rustix::process::Signal::KILL);
    }
    if in_time && status.success() && left.is_empty() {
        return Ok(());
    }
    Err(explain(status, in_time, &left, output))
}

fn explain(status: ExitStatus, in_time: bool, left: &[u32], mut output: fs::File) -> String {
    use std::io::{Read, Seek};
    let mut text = String::new();
    output.rewind().and_then(|()| output.read_to_string(&mut text)).expect("the test's output");
    format!("{status}, in time: {in_time}, processes left: {left:?}\n{text}")
}
