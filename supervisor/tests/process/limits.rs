//! Limits that the kernel keeps, where it does; elsewhere, that it is told and nothing else changes.

use std::fs;

use outrigger::domain::launch::{ExitStatus, Protection, Tree};
use outrigger::domain::spec::PluginLimits;
use outrigger::process::{Groups, Starter};

use crate::Test;
use crate::support::{Bench, Launch, block_on, own_program};

pub(crate) const TESTS: &[Test] = &[
    ("limits_are_the_kernels_or_it_is_said_why_not", limits_are_the_kernels_or_it_is_said_why_not),
    ("out_of_memory_is_told_as_such", out_of_memory_is_told_as_such),
    ("a_tree_that_grows_without_end_is_stopped", a_tree_that_grows_without_end_is_stopped),
];

const MEMORY: u64 = 64 << 20;
const KEPT: &str = "the kernel keeps memory";
const STOPPED: &str = "the kernel gives no more than 1088 threads";

fn bench() -> Bench {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let groups = Groups::find(directory.path());
    println!("{groups}");
    Bench::with(Starter::new().with_groups(groups))
}

async fn limited(bench: &Bench, command: &[&str], memory_bytes: Option<u64>) -> (Launch, Protection) {
    let mut plan = bench.plan(command);
    plan.limits = PluginLimits { startup: None, memory_bytes, processes: Some(1) };
    let launch = bench.start(&plan).await;
    let rungs = launch.tree.protections();
    let rung = rungs.into_iter().find(|rung| rung.name == "resource-limits").expect("it has limits");
    (launch, rung)
}

/// The group in the cgroup2 hierarchy, which a kernel without it has none of.
fn group_of(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a living process");
    groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn limits_are_the_kernels_or_it_is_said_why_not() {
    block_on(async {
        let bench = bench();
        let (mut launch, rung) = limited(&bench, &["/bin/sh", "-c", "echo up; sleep 1000"], Some(MEMORY)).await;
        assert_eq!(launch.line().await, "up");
        let (own, keepers) = (group_of(std::process::id()), group_of(launch.tree.keeper_pid()));
        let plugins = group_of(launch.tree.pid());
        assert_eq!(own, keepers);
        if rung.detail.contains(KEPT) || rung.detail.contains(STOPPED) {
            assert!(plugins.expect("a group").ends_with("/tested.1"));
        } else {
            println!("not shown: a group with limits: {}", rung.detail);
            assert!(
                !rung.applied && rung.detail.contains("sampled only: ") && !rung.detail.contains("the kernel "),
                "{}",
                rung.detail
            );
            assert_eq!(plugins, own);
        }
        // What samples see does not depend on it.
        let usage = launch.tree.usage().expect("a living tree");
        assert!(usage.processes >= 1 && usage.memory_bytes > 100 * 1024, "{usage:?}");
        assert_eq!(launch.tree.keeps_memory(), rung.detail.contains(KEPT));
        launch.tree.kill();
        launch.emptied().await;
        bench.finished().await;
    });
}

fn out_of_memory_is_told_as_such() {
    block_on(async {
        let bench = bench();
        let (program, bytes) = (own_program(), (3 * MEMORY).to_string());
        let (launch, rung) = limited(&bench, &[&program, "__role", "hog", &bytes], Some(MEMORY)).await;
        if rung.detail.contains(KEPT) {
            assert_eq!(launch.exit().await.status, ExitStatus::Signalled(9));
            let kill = launch.tree.enforced().memory_kill.expect("the kernel tells");
            assert_eq!(kill.limit, MEMORY);
            assert!(kill.used <= MEMORY && kill.used > MEMORY / 2, "{kill:?}");
            launch.emptied().await;
            bench.finished().await;
            assert_eq!(launch.tree.enforced().memory_kill, Some(kill), "also after the group is gone");
        } else {
            println!("not shown: the kernel keeps no memory here: {}", rung.detail);
            launch.tree.kill();
            launch.emptied().await;
            bench.finished().await;
            assert_eq!(launch.tree.enforced().memory_kill, None);
        }
    });
}

fn a_tree_that_grows_without_end_is_stopped() {
    block_on(async {
        let bench = bench();
        // A shell that can make no process ends; the bound is for kernels that refuse none.
        let script = "i=0; while [ $i -lt 1200 ]; do sleep 1000 & i=$((i+1)); done; echo all";
        // Without a limit of memory, which so many processes would meet first.
        let (mut launch, rung) = limited(&bench, &["/bin/sh", "-c", script], None).await;
        if rung.detail.contains(STOPPED) {
            assert_eq!(launch.rest().await, Vec::<String>::new());
            launch.emptied().await;
            bench.finished().await;
            assert!(launch.tree.enforced().refused > 0, "also after the group is gone");
        } else {
            println!("not shown: the kernel refuses no process here: {}", rung.detail);
            launch.tree.kill();
            launch.emptied().await;
            bench.finished().await;
            assert_eq!(launch.tree.enforced().refused, 0);
        }
    });
}
