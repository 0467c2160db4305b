//! Ending: whatever happens, no process of the tree is left.

#![allow(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outrigger::domain::launch::{ExitStatus, Tree};
use outrigger::process::{Starter, become_subreaper};
use rustix::process::{Signal, WaitOptions};

use crate::Test;
use crate::support::{
    Bench, NONCES, SOON, alive_with_nonce, block_on, ends_within, has_ended, own_children, own_program, pin, signal,
    to_pid, wait_until_none_left,
};

pub(crate) const TESTS: &[Test] = &[
    ("terminate_reaches_the_group", terminate_reaches_the_group),
    ("kill_takes_detached_processes", kill_takes_detached_processes),
    ("exit_of_the_child_ends_the_tree", exit_of_the_child_ends_the_tree),
    ("drop_kills", drop_kills),
    ("killed_supervisor_leaves_none", killed_supervisor_leaves_none),
    ("supervisor_killed_at_any_moment", supervisor_killed_at_any_moment),
    ("forking_tree_is_killed", forking_tree_is_killed),
    ("killed_supervisor_leaves_no_forking_tree", killed_supervisor_leaves_no_forking_tree),
    ("killed_keeper_is_cleaned_up_after", killed_keeper_is_cleaned_up_after),
    ("killed_keeper_is_cleaned_up_after_by_nonce", killed_keeper_is_cleaned_up_after_by_nonce),
    ("stopped_keeper_obeys", stopped_keeper_obeys),
    ("unresponsive_keeper_is_given_up", unresponsive_keeper_is_given_up),
    ("ended_runtime_leaves_none", ended_runtime_leaves_none),
];

/// Starts a grandchild that left its session, is nobody's child but the keeper's, and is deaf to SIGTERM; says its number.
pub(crate) const DETACH: &str = "(setsid sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1000; done' &); ";

fn terminate_reaches_the_group() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell("trap 'exit 5' TERM; sleep 1000 & echo up; wait").await;
        assert_eq!(launch.line().await, "up");
        launch.tree.terminate();
        assert_eq!(launch.exit().await.status, ExitStatus::Exited(5));
        let emptied = launch.emptied().await;
        assert!(emptied.by_keeper);
        // Twice, and after the end.
        launch.tree.terminate();
        launch.tree.kill();
        bench.finished().await;
    });
}

fn kill_takes_detached_processes() {
    block_on(async {
        let bench = Bench::new();
        let script = format!("{} echo up; exec sleep 1000", DETACH.repeat(5));
        let mut launch = bench.shell(&script).await;
        let mut detached = Vec::new();
        while detached.len() < 5 {
            let line = launch.line().await;
            if line != "up" {
                detached.push(pin(line.parse().expect("a process id")));
            }
        }
        launch.tree.kill();
        assert_eq!(launch.exit().await.status, ExitStatus::Signalled(9));
        let emptied = launch.emptied().await;
        assert!(emptied.by_keeper && emptied.killed >= 5, "{emptied:?}");
        assert!(detached.iter().all(|process| has_ended(process, Duration::ZERO)), "empty means empty");
        assert_eq!(alive_with_nonce(&launch.nonce), Vec::<u32>::new());
        bench.finished().await;
    });
}

fn exit_of_the_child_ends_the_tree() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell(&format!("{DETACH} read line < /dev/null; sleep 0; exit 4")).await;
        let exit = launch.exit().await;
        assert_eq!(exit.status, ExitStatus::Exited(4));
        assert!(launch.emptied().await.by_keeper);
        launch.rest().await;
        assert_eq!(alive_with_nonce(&launch.nonce), Vec::<u32>::new());
        bench.finished().await;
    });
}

fn drop_kills() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell(&format!("{DETACH} exec sleep 1000")).await;
        let detached = pin(launch.number().await);
        let second = std::sync::Arc::clone(&launch.tree);
        let nonce = launch.nonce.clone();
        drop(launch);
        assert!(!has_ended(&detached, Duration::ZERO), "one clone is left");
        drop(second);
        bench.finished().await;
        assert!(has_ended(&detached, Duration::ZERO));
        assert_eq!(alive_with_nonce(&nonce), Vec::<u32>::new());
    });
}

/// A process that supervises one plugin.
struct Supervisor {
    process: Child,
    nonce: String,
    /// What the plugin said first.
    line: String,
}

impl Supervisor {
    fn start(command: &[&str]) -> Self {
        let mut process = Command::new(own_program())
            .args(["__role", "supervise"])
            .args(command)
            .env(NONCES, std::env::var(NONCES).expect("set by the runner"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a supervisor");
        let mut text = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut text).expect("its output");
        let (nonce, line) = text.trim().split_once(' ').expect("nonce and line");
        Self { process, nonce: nonce.to_owned(), line: line.to_owned() }
    }

    fn kill(mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it can be killed");
    }
}

fn killed_supervisor_leaves_none() {
    let script = format!("{DETACH} {DETACH} sleep 1000 & exec sleep 1000");
    for _ in 0..10 {
        let supervisor = Supervisor::start(&["/bin/sh", "-c", &script]);
        let detached = pin(supervisor.line.parse().expect("a process id"));
        let nonce = supervisor.nonce.clone();
        supervisor.kill();
        assert!(has_ended(&detached, SOON));
        wait_until_none_left(&nonce, Duration::from_secs(1));
    }
}

fn supervisor_killed_at_any_moment() {
    // What is left comes to this process, keepers too, which carry no nonce.
    become_subreaper().expect("the kernel allows it");
    let nonces = std::env::var(NONCES).expect("set by the runner");
    for moment in 0..60 {
        let mut supervisor = Command::new(own_program())
            .args(["__role", "supervise", "/bin/sh", "-c", &format!("{DETACH} exec sleep 1000")])
            .env(NONCES, &nonces)
            .stdout(Stdio::null())
            .spawn()
            .expect("a supervisor");
        // From before its main until after the plugin's first words.
        assert!(!has_ended(&pin(supervisor.id()), Duration::from_micros(moment * 250)));
        supervisor.kill().and_then(|()| supervisor.wait()).expect("it can be killed");
        let begun = Instant::now();
        while let Some(child) = own_children().first() {
            assert!(ends_within(*child, Duration::from_secs(1).saturating_sub(begun.elapsed())), "{child} is left");
            let _ = rustix::process::waitpid(Some(to_pid(*child)), WaitOptions::empty());
        }
        assert_eq!(alive_with_nonce(&nonces), Vec::<u32>::new());
    }
}

fn forking_tree_is_killed() {
    block_on(async {
        let bench = Bench::new();
        for _ in 0..3 {
            let mut launch = bench.role(&["fork-and-exit", "64"]).await;
            assert_eq!(launch.line().await, "up");
            if !launch.holds("tree-kill") {
                return println!("skipped: no atomic kill on this machine");
            }
            launch.tree.kill();
            assert!(launch.emptied().await.by_keeper);
            assert_eq!(alive_with_nonce(&launch.nonce), Vec::<u32>::new());
        }
        bench.finished().await;
    });
}

fn killed_supervisor_leaves_no_forking_tree() {
    let program = own_program();
    let supervisor = Supervisor::start(&[&program, "__role", "fork-and-exit", "64"]);
    let nonce = supervisor.nonce.clone();
    supervisor.kill();
    // Where no atomic kill is available, the chains end by themselves.
    wait_until_none_left(&nonce, if has_atomic_kill() { Duration::from_secs(2) } else { SOON });
}

fn has_atomic_kill() -> bool {
    block_on(async {
        let bench = Bench::new();
        let launch = bench.shell("exit 0").await;
        launch.emptied().await;
        launch.holds("tree-kill")
    })
}

async fn kill_keeper(bench: &Bench, detached_ones_die_with_it: bool) {
    let mut spared = bench.shell(&format!("{DETACH} exec sleep 1000")).await;
    let spared_detached = pin(spared.number().await);
    let mut launch = bench.shell(&format!("{DETACH} exec sleep 1000")).await;
    let detached = pin(launch.number().await);
    signal(launch.tree.keeper_pid(), Signal::KILL);
    let emptied = launch.emptied().await;
    assert!(!emptied.by_keeper && emptied.killed >= 1, "{emptied:?}");
    assert_eq!(launch.exit().await.status, ExitStatus::Unknown);
    assert!(has_ended(&detached, if detached_ones_die_with_it { Duration::ZERO } else { SOON }));
    assert_eq!(alive_with_nonce(&launch.nonce), Vec::<u32>::new());
    assert!(!has_ended(&spared_detached, Duration::ZERO), "the other launch goes on");
    assert!(spared.tree.usage().expect("a living tree").processes >= 2);
    spared.tree.kill();
    assert!(spared.emptied().await.by_keeper);
}

fn killed_keeper_is_cleaned_up_after() {
    become_subreaper().expect("the kernel allows it");
    block_on(async {
        let bench = Bench::new();
        for _ in 0..5 {
            kill_keeper(&bench, true).await;
        }
        bench.finished().await;
    });
}

fn killed_keeper_is_cleaned_up_after_by_nonce() {
    block_on(async {
        let bench = Bench::with(Starter::default());
        kill_keeper(&bench, false).await;
        bench.finished().await;
    });
}

fn stopped_keeper_obeys() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell("echo up; exec sleep 1000").await;
        assert_eq!(launch.line().await, "up");
        signal(launch.tree.keeper_pid(), Signal::STOP);
        launch.tree.kill();
        assert!(launch.emptied().await.by_keeper);
        bench.finished().await;
    });
}

fn unresponsive_keeper_is_given_up() {
    if !rustix::process::getuid().is_root() {
        return println!("skipped: only root can hold up a keeper that hides from tracers");
    }
    become_subreaper().expect("the kernel allows it");
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell(&format!("{DETACH} exec sleep 1000")).await;
        let detached = pin(launch.number().await);
        let keeper = i32::try_from(launch.tree.keeper_pid()).expect("a process id");
        // A tracer's stop is not ended by SIGCONT.
        // SAFETY: numbers only.
        let held = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, keeper, 0, 0) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, keeper, 0, 0) == 0
        };
        assert!(held, "{}", std::io::Error::last_os_error());
        launch.tree.kill();
        let emptied = launch.emptied().await;
        assert!(!emptied.by_keeper && emptied.killed >= 1, "{emptied:?}");
        assert!(has_ended(&detached, Duration::ZERO));
        bench.finished().await;
    });
}

fn ended_runtime_leaves_none() {
    let (launch, detached, keeper) = block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell(&format!("{DETACH} exec sleep 1000")).await;
        let detached = pin(launch.number().await);
        let keeper = pin(launch.tree.keeper_pid());
        (launch, detached, keeper)
    });
    assert!(!has_ended(&keeper, Duration::ZERO), "the tree is still held");
    drop(launch);
    assert!(has_ended(&keeper, SOON));
    assert!(has_ended(&detached, Duration::ZERO), "the keeper goes last");
}
