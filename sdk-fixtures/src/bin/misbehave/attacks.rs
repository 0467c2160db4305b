//! Signals and tracing against processes that are not the plugin's own. Whether they reach their target is what a test
//! wants to know, so each says what the kernel answered.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::time::Duration;
use std::{process, thread};

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, getppid, kill_process, pidfd_getfd, pidfd_open, test_kill_process,
};

use crate::arguments::Arguments;
use crate::report::report;
use crate::sys;

/// A stopped keeper goes on after this.
const STOPPED: Duration = Duration::from_secs(15);

/// Strikes.
pub(crate) fn strike(arguments: &Arguments, fault: &str) {
    // Process 1 is nobody's keeper but in a namespace of its own, where signals do not reach it.
    let Some(keeper) = getppid() else {
        report!("has no parent that it can see");
        return;
    };
    match fault {
        "kill-keeper" => report!("SIGKILL to {keeper}: {}", told(kill_process(keeper, Signal::KILL))),
        "stop-keeper" => {
            report!("SIGSTOP to {keeper}: {}", told(kill_process(keeper, Signal::STOP)));
            thread::spawn(move || {
                thread::sleep(STOPPED);
                let _ = kill_process(keeper, Signal::CONT);
            });
        }
        "ptrace-keeper" => spy(keeper),
        "signal-supervisor" => {
            let pid = arguments.number("pid", 0_i32, i32::MAX);
            let signal = arguments.number("signal", libc::SIGKILL, 64);
            // 0 and less are groups, 1 is everybody's parent.
            if pid > 1 {
                report!("signal {signal} to {pid}: {}", told(sys::signal(pid, signal)));
            } else {
                report!("held back: {pid} is no process to signal");
            }
        }
        _ => kill_all(),
    }
}

fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "done".to_owned())
}

/// Tries to trace the keeper, to read its memory and to take a descriptor.
fn spy(keeper: Pid) {
    report!("trace {keeper}: {}", told(sys::trace(keeper.as_raw_pid())));
    report!("read the memory of {keeper}: {}", told(read_memory(keeper)));
    let taken =
        pidfd_open(keeper, PidfdFlags::empty()).and_then(|process| pidfd_getfd(process, 0, PidfdGetfdFlags::empty()));
    report!("take a descriptor of {keeper}: {}", told(taken));
}

/// Reads one byte of the first mapping that can be read.
fn read_memory(of: Pid) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let mut maps = String::new();
    File::open(format!("/proc/{of}/maps"))?.read_to_string(&mut maps)?;
    let start = maps
        .lines()
        .find(|line| line.contains(" r"))
        .and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    File::open(format!("/proc/{of}/mem"))?.read_exact_at(&mut [0], start)
}

/// Kills all it can, but only where a scope or namespace keeps that to the launch: otherwise a test that fails would
/// take the machine with it.
fn kill_all() {
    match outsiders() {
        Ok(0) => {
            report!("SIGKILL to all");
            report!("SIGKILL to all: {}", told(sys::kill_everything()));
        }
        Ok(count) => report!("held back: SIGKILL to all would reach {count} processes outside the launch"),
        Err(error) => report!("held back: the processes cannot be listed: {error}"),
    }
}

/// Processes that a signal of this one would reach and that do not descend from it. `kill(-1)` spares process 1 and the
/// caller.
fn outsiders() -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
        if pid > 1 && test_kill_process(raw).is_ok() && !descends(pid) {
            count += 1;
        }
    }
    Ok(count)
}

/// The process is this one or descends from it.
fn descends(mut pid: u32) -> bool {
    // A walk that is longer has met a number that was given again.
    for _ in 0..64 {
        if pid == process::id() {
            return true;
        }
        match parent(pid) {
            Some(parent) if parent > 1 => pid = parent,
            _ => return false,
        }
    }
    false
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
