//! What this program does when a test starts it as a plugin, or as a supervisor that will be killed.

#![allow(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::support::{Bench, block_on};

/// Whatever goes wrong, nothing that forks lives longer.
const BOMB_LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn play(role: &str, words: &[&str]) -> ExitCode {
    match (role, words) {
        ("supervise", command) => supervise(command),
        ("fork-and-exit", [chains]) => fork_and_exit(chains.parse().expect("a number")),
        ("starve", []) => starve(),
        ("hog", [bytes]) => hog(bytes.parse().expect("a number")),
        ("attack", [supervisor]) => attack(supervisor.parse().expect("a number")),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("a reader");
}

/// Starts one plugin, says its nonce and its first line, and waits to be killed.
fn supervise(command: &[&str]) {
    block_on(async {
        let bench = Bench::new();
        let plan = bench.plan(command);
        let mut launch = bench.start(&plan).await;
        let line = launch.line().await;
        say(&format!("{} {line}", launch.nonce));
        std::future::pending::<()>().await;
    });
}

/// Takes so much memory, and uses it.
fn hog(bytes: usize) {
    std::hint::black_box(vec![1_u8; bytes]);
    say("has it");
}

/// Chains of processes, each forks and exits, each in its own session, deaf to SIGTERM: no list of children holds long.
fn fork_and_exit(chains: u32) {
    let until = Instant::now() + BOMB_LIMIT;
    // SAFETY: this program is single-threaded here, and the children only fork, sleep and exit.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        for _ in 0..chains {
            if libc::fork() == 0 {
                while Instant::now() < until {
                    libc::usleep(500);
                    match libc::fork() {
                        0 => drop(libc::setsid()),
                        -1 => {}
                        _ => libc::_exit(0),
                    }
                }
                libc::_exit(0);
            }
        }
    }
    say("up");
    std::thread::sleep(BOMB_LIMIT);
}

/// Takes from its keeper what one process of a user can take from another, and waits.
fn starve() {
    // SAFETY: the limit lives until the call returns; the children of this single thread exit at once.
    unsafe {
        let nothing = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        for resource in
            [libc::RLIMIT_NOFILE, libc::RLIMIT_AS, libc::RLIMIT_NPROC, libc::RLIMIT_STACK, libc::RLIMIT_DATA]
        {
            libc::prlimit(libc::getppid(), resource, &raw const nothing, std::ptr::null_mut());
        }
        // An orphan wakes the keeper, so that it waits anew under these limits.
        let parent = libc::fork();
        if parent == 0 {
            libc::fork();
            libc::_exit(0);
        }
        libc::waitpid(parent, std::ptr::null_mut(), 0);
        let (keeper, own) = (libc::getppid(), libc::getpid().to_string());
        while std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"))
            .is_ok_and(|list| list.trim() != own)
        {
            std::thread::yield_now();
        }
    }
    say("up");
    std::thread::sleep(BOMB_LIMIT);
}

/// Tries what a plugin should not be able to do to its keeper and supervisor; one line each: what, whether it was possible.
fn attack(supervisor: i32) {
    // SAFETY: numbers only; a signal of 0 does nothing, and a traced process is let go at once.
    unsafe {
        let keeper = libc::getppid();
        for (name, pid) in [("keeper", keeper), ("supervisor", supervisor)] {
            say(&format!("signal {name}: {}", libc::kill(pid, 0) == 0));
            say(&format!("stop {name}: {}", libc::kill(pid, libc::SIGCONT) == 0));
            let traced = libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) == 0;
            say(&format!("trace {name}: {traced}"));
            let memory = std::fs::File::open(format!("/proc/{pid}/mem")).is_ok();
            say(&format!("memory {name}: {memory}"));
            let environment = std::fs::read(format!("/proc/{pid}/environ")).is_ok();
            say(&format!("environment {name}: {environment}"));
            let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            let stolen = libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0) >= 0;
            say(&format!("descriptor {name}: {stolen}"));
        }
    }
}
