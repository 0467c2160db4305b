//! Machines that lack something: the kernel's refusal is made by a seccomp filter, which the keeper inherits.

#![allow(unsafe_code)]

use std::time::Duration;

use outrigger::domain::launch::{ExitStatus, Tree};
use outrigger::process::{Starter, become_subreaper};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::Test;
use crate::defence::private_kib;
use crate::ending::DETACH;
use crate::support::{Bench, alive_with_nonce, block_on, has_ended, open_files, pin};

pub(crate) const TESTS: &[Test] = &[
    ("own_program_is_a_keeper_too", own_program_is_a_keeper_too),
    ("refused_memory_file_falls_back", refused_memory_file_falls_back),
    ("without_scopes_the_tree_is_swept", without_scopes_the_tree_is_swept),
    ("without_scopes_a_forking_tree_is_swept", without_scopes_a_forking_tree_is_swept),
    ("without_close_range_descriptors_are_closed", without_close_range_descriptors_are_closed),
];

/// Makes system calls fail for this process and all it starts. Numbers are the same on both machines, but for memfd_create.
fn refuse(calls: &[libc::c_long], errno: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // The call's number is the first word of what the filter sees.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for call in calls {
        let number = u32::try_from(*call).expect("a call's number");
        program.push(libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: number,
        });
        let refusal = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).expect("an error's number");
        program.push(statement(libc::BPF_RET | libc::BPF_K, refusal));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    let program =
        libc::sock_fprog { len: u16::try_from(program.len()).expect("a short one"), filter: program.as_mut_ptr() };
    // SAFETY: the filter lives until both calls have returned.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(set, "{}", std::io::Error::last_os_error());
}

async fn detached_tree_is_killed(bench: &Bench) {
    let mut launch = bench.shell(&format!("{} exec sleep 1000", DETACH.repeat(3))).await;
    let mut detached = Vec::new();
    for _ in 0..3 {
        detached.push(pin(launch.number().await));
    }
    launch.tree.kill();
    assert_eq!(launch.exit().await.status, ExitStatus::Signalled(9));
    let emptied = launch.emptied().await;
    assert!(emptied.by_keeper && emptied.killed >= 3, "{emptied:?}");
    assert!(detached.iter().all(|process| has_ended(process, Duration::ZERO)));
    assert_eq!(alive_with_nonce(&launch.nonce), Vec::<u32>::new());
}

fn own_program_is_a_keeper_too() {
    block_on(async {
        let bench = Bench::with(Starter::without_memory_file());
        let mut launch = bench.shell("echo $#; exit 6").await;
        assert_eq!(launch.line().await, "0");
        assert_eq!(launch.exit().await.status, ExitStatus::Exited(6));
        assert!(!launch.holds("keeper"));
        let failed = bench.try_start(&bench.plan(&["/no/such/program"])).await;
        assert!(failed.is_err());
        detached_tree_is_killed(&bench).await;
        let mut launch = bench.shell("echo up; exec sleep 1000").await;
        assert_eq!(launch.line().await, "up");
        let kib = private_kib(launch.tree.keeper_pid());
        println!("private memory of the keeper: {kib} KiB");
        assert!((1..=2048).contains(&kib), "{kib} KiB");
        drop(launch);
        bench.finished().await;
    });
}

fn refused_memory_file_falls_back() {
    refuse(&[libc::SYS_memfd_create], libc::EACCES);
    block_on(async {
        let bench = Bench::new();
        let launch = bench.shell("exit 6").await;
        assert_eq!(launch.exit().await.status, ExitStatus::Exited(6));
        let protections = launch.tree.protections();
        let keeper = protections.iter().find(|protection| protection.name == "keeper").expect("it is listed");
        assert!(!keeper.applied && keeper.detail.contains("Permission denied"), "{keeper:?}");
        launch.emptied().await;
        bench.finished().await;
    });
}

fn without_scopes_the_tree_is_swept() {
    refuse(&[libc::SYS_landlock_create_ruleset], libc::ENOSYS);
    become_subreaper().expect("the kernel allows it");
    block_on(async {
        let bench = Bench::new();
        for _ in 0..5 {
            detached_tree_is_killed(&bench).await;
        }
        let launch = bench.shell("exit 0").await;
        assert!(!launch.holds("landlock-signal-scope") && !launch.holds("tree-kill"));
        let kill = launch.tree.protections().into_iter().find(|protection| protection.name == "tree-kill");
        assert!(kill.expect("it is listed").detail.contains("walking the tree"));
        launch.emptied().await;
        bench.finished().await;
    });
}

fn without_scopes_a_forking_tree_is_swept() {
    refuse(&[libc::SYS_landlock_create_ruleset], libc::ENOSYS);
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.role(&["fork-and-exit", "8"]).await;
        assert_eq!(launch.line().await, "up");
        launch.tree.kill();
        // Best effort: at the latest the chains end by themselves, and the keeper stays for as long.
        assert!(launch.emptied().await.by_keeper);
        assert_eq!(alive_with_nonce(&launch.nonce), Vec::<u32>::new());
        bench.finished().await;
    });
}

fn without_close_range_descriptors_are_closed() {
    refuse(&[libc::SYS_close_range], libc::ENOSYS);
    block_on(async {
        let bench = Bench::new();
        let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
        fcntl_setfd(&reader, FdFlags::empty()).expect("a flag");
        let mut launch = bench.shell("sleep 1000 & echo up; wait").await;
        assert_eq!(launch.line().await, "up");
        assert_eq!(open_files(launch.tree.pid()).len(), 3);
        assert!(!launch.holds("descriptors"));
        drop((reader, launch));
        bench.finished().await;
    });
}
