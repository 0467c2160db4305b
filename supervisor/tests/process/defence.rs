//! A plugin against its keeper, its supervisor and everybody else.

use std::fs;
use std::time::Duration;

use outrigger::domain::launch::{ExitStatus, Tree};

use crate::Test;
use crate::support::{Bench, block_on, has_ended, pin, status_field};

pub(crate) const TESTS: &[Test] = &[
    ("plugin_cannot_reach_keeper_or_supervisor", plugin_cannot_reach_keeper_or_supervisor),
    ("starved_keeper_obeys", starved_keeper_obeys),
    ("kill_all_ends_only_its_own_tree", kill_all_ends_only_its_own_tree),
    ("kernel_confirms_what_is_reported", kernel_confirms_what_is_reported),
    ("keeper_is_small", keeper_is_small),
];

fn plugin_cannot_reach_keeper_or_supervisor() {
    block_on(async {
        let bench = Bench::new();
        let own = std::process::id().to_string();
        let mut launch = bench.role(&["attack", &own]).await;
        if !launch.holds("landlock-signal-scope") {
            return println!("skipped: no signal scope on this machine");
        }
        let lines = launch.rest().await;
        assert_eq!(lines.len(), 12, "{lines:?}");
        // Root's CAP_PERFMON reads the environment of any process.
        let root = rustix::process::getuid().is_root();
        let refused = |line: &&String| line.ends_with(": false") || root && line.starts_with("environment");
        assert_eq!(lines.iter().filter(refused).count(), 12, "{lines:?}");
        assert_eq!(launch.exit().await.status, ExitStatus::Exited(0));
        bench.finished().await;
    });
}

fn starved_keeper_obeys() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.role(&["starve"]).await;
        assert_eq!(launch.line().await, "up");
        if !launch.holds("landlock-signal-scope") {
            return println!("skipped: no signal scope on this machine");
        }
        launch.tree.kill();
        assert_eq!(launch.exit().await.status, ExitStatus::Signalled(9));
        assert!(launch.emptied().await.by_keeper);
        bench.finished().await;
    });
}

fn kill_all_ends_only_its_own_tree() {
    block_on(async {
        let bench = Bench::new();
        let mut sibling = bench.shell("echo up; exec sleep 1000").await;
        assert_eq!(sibling.line().await, "up");
        if !sibling.holds("landlock-signal-scope") {
            return println!("skipped: no signal scope on this machine, it would be a massacre");
        }
        // Looks itself first: where a stranger could be hit, it does not fire.
        let script = "sleep 1000 & echo $!; kill -0 1 2>&- && exit 9; kill -0 $PPID 2>&- && exit 9; \
                      kill -KILL -1; kill -KILL $$";
        let mut launch = bench.shell(script).await;
        let sleeper = launch.number().await;
        assert_eq!(launch.exit().await.status, ExitStatus::Signalled(9));
        assert!(launch.emptied().await.by_keeper, "the keeper lives");
        assert!(!std::path::Path::new(&format!("/proc/{sleeper}")).exists());
        assert!(!has_ended(&pin(sibling.tree.pid()), Duration::ZERO), "the sibling lives");
        assert_eq!(*sibling.tree.exit().borrow(), None);
        drop(sibling);
        bench.finished().await;
    });
}

fn kernel_confirms_what_is_reported() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell("echo up; exec sleep 1000").await;
        assert_eq!(launch.line().await, "up");
        for pid in [launch.tree.pid(), launch.tree.keeper_pid()] {
            assert_eq!(status_field(pid, "NoNewPrivs") == "1", launch.holds("no-new-privs"));
        }
        assert_eq!(status_field(launch.tree.keeper_pid(), "Name"), "outrigger-keep");
        assert_eq!(status_field(launch.tree.keeper_pid(), "SigBlk"), "fffffffffffbfeff", "all but KILL and STOP");
        let scope = kernel_has_signal_scopes();
        assert_eq!((launch.holds("landlock-signal-scope"), launch.holds("tree-kill")), (scope, scope));
        drop(launch);
        bench.finished().await;
    });
}

/// From the kernel's own version: scopes are there since 6.12, where Landlock is on.
fn kernel_has_signal_scopes() -> bool {
    let release = rustix::system::uname().release().to_str().expect("digits").to_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let modules = fs::read_to_string("/sys/kernel/security/lsm");
    version >= (6, 12) && modules.map_or(true, |modules| modules.contains("landlock"))
}

/// Private memory in KiB: as root, the kernel's own sum; else what the keeper's owner may see of it.
pub(crate) fn private_kib(pid: u32) -> u64 {
    let number = |text: &str| text.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number");
    match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(sums) => sums
            .lines()
            .filter_map(|line| line.strip_prefix("Private_")?.split_once(':'))
            .map(|(_, kib)| number(kib))
            .sum(),
        Err(_) => number(&status_field(pid, "RssAnon")),
    }
}

fn keeper_is_small() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell("echo up; exec sleep 1000").await;
        assert_eq!(launch.line().await, "up");
        let kib = private_kib(launch.tree.keeper_pid());
        let limit = if launch.holds("keeper") { 256 } else { 2048 };
        println!("private memory of the keeper: {kib} KiB");
        assert!((1..=limit).contains(&kib), "{kib} KiB");
        drop(launch);
        bench.finished().await;
    });
}
