//! Starting: what a plugin is given, and what it is not.

#![allow(unsafe_code)]

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::{fs, future};

use outrigger::domain::launch::{Connect, ExitStatus, LaunchError, Tree};
use outrigger::process::environment::PATH;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::Test;
use crate::support::{Bench, alive_with_nonce, block_on, open_files, soon, wait_until_none_left};

pub(crate) const TESTS: &[Test] = &[
    ("exit_is_recorded", exit_is_recorded),
    ("failed_exec_is_told", failed_exec_is_told),
    ("output_is_the_plugins_own", output_is_the_plugins_own),
    ("environment_is_exactly_the_list", environment_is_exactly_the_list),
    ("descriptors_do_not_leak", descriptors_do_not_leak),
    ("process_state_is_fresh", process_state_is_fresh),
    ("working_directory_follows_the_address", working_directory_follows_the_address),
    ("large_plan_arrives", large_plan_arrives),
    ("cancelled_start_leaves_nothing", cancelled_start_leaves_nothing),
    ("many_at_once", many_at_once),
];

fn exit_is_recorded() {
    block_on(async {
        let bench = Bench::new();
        for (script, status) in [
            ("exit 0", ExitStatus::Exited(0)),
            ("exit 7", ExitStatus::Exited(7)),
            ("kill -KILL $$", ExitStatus::Signalled(9)),
            ("kill -TERM $$", ExitStatus::Signalled(15)),
        ] {
            let launch = bench.shell(script).await;
            let exit = launch.exit().await;
            assert_eq!(exit.status, status, "{script}");
            assert!(exit.peak_memory_bytes > 100 * 1024, "{exit:?}");
            let emptied = launch.emptied().await;
            assert_eq!((emptied.by_keeper, emptied.killed), (true, 0), "{script}");
        }
        bench.finished().await;
    });
}

fn failed_exec_is_told() {
    block_on(async {
        let bench = Bench::new();
        let plain = bench.path().join("plain");
        fs::write(&plain, "text").expect("a file");
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o600)).expect("permissions");
        for (program, kind) in
            [("/no/such/program", ErrorKind::NotFound), (plain.to_str().expect("UTF-8"), ErrorKind::PermissionDenied)]
        {
            match bench.try_start(&bench.plan(&[program])).await {
                Err(LaunchError::Exec { program: named, source }) => {
                    assert_eq!((named.as_str(), source.kind()), (program, kind));
                }
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("{program} was executed"),
            }
        }
        let mut nowhere = bench.plan(&["/bin/true"]);
        nowhere.connect = Connect::Absolute;
        nowhere.package_dir = bench.path().join("gone");
        let error = bench.try_start(&nowhere).await.err().expect("no such directory");
        assert!(error.to_string().contains("enter `"), "{error}");
        let empty = bench.try_start(&bench.plan(&[])).await.err().expect("no command");
        assert!(matches!(empty, LaunchError::Exec { .. }), "{empty}");
        bench.finished().await;
    });
}

fn output_is_the_plugins_own() {
    block_on(async {
        let bench = Bench::new();
        let mut launch = bench.shell("echo out; echo err >&2; cat").await;
        assert_eq!(launch.rest().await, ["out"]);
        assert_eq!(launch.errors().await, "err\n");
        assert_eq!(launch.exit().await.status, ExitStatus::Exited(0), "standard input is at its end");
        bench.finished().await;
    });
}

fn environment_is_exactly_the_list() {
    // SAFETY: nothing else runs in this process yet.
    unsafe {
        std::env::set_var("LEAK", "must not arrive");
        std::env::set_var("LD_LIBRARY_PATH", "/must/not/arrive");
        std::env::set_var("TZ", "UTC");
    }
    block_on(async {
        let bench = Bench::new();
        let mut plan = bench.plan(&["/usr/bin/env"]);
        plan.environment.insert("MODE".to_owned(), "fast and\tloose".to_owned());
        plan.environment.insert("OUTRIGGER_TOKEN".to_owned(), "forged".to_owned());
        let mut launch = bench.start(&plan).await;
        let mut lines = launch.rest().await;
        lines.sort();
        let (base, data) = (bench.path().display(), plan.data_dir.display());
        let expected = [
            format!("HOME={data}/home"),
            "LANG=C.UTF-8".to_owned(),
            "MODE=fast and\tloose".to_owned(),
            format!("OUTRIGGER_DATA_DIR={data}"),
            format!("OUTRIGGER_LAUNCH={}", plan.nonce),
            format!("OUTRIGGER_PACKAGE_DIR={base}"),
            format!("OUTRIGGER_SOCKET={base}/host.sock"),
            "OUTRIGGER_TARGET=unix:host.sock".to_owned(),
            "OUTRIGGER_TOKEN=the-token".to_owned(),
            format!("PATH={PATH}"),
            format!("TMPDIR={data}/tmp"),
            "TZ=UTC".to_owned(),
        ];
        assert_eq!(lines, expected);
        assert!(plan.data_dir.join("home").is_dir() && plan.data_dir.join("tmp").is_dir());
        bench.finished().await;
    });
}

fn descriptors_do_not_leak() {
    block_on(async {
        let bench = Bench::new();
        // One that whoever started the supervisor left open, and one that survives its exec.
        let file = fs::File::create(bench.path().join("secret")).expect("a file");
        fcntl_setfd(&file, FdFlags::empty()).expect("a flag");
        let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
        fcntl_setfd(&reader, FdFlags::empty()).expect("a flag");
        let mut launch = bench.shell("sleep 1000 & echo up; wait").await;
        assert_eq!(launch.line().await, "up");
        let open = open_files(launch.tree.pid());
        assert_eq!(open.len(), 3, "{open:?}");
        assert_eq!(open[0], "0 /dev/null");
        assert!(open[1].starts_with("1 pipe:") && open[2].starts_with("2 pipe:"), "{open:?}");
        // The keeper holds nothing of the plugin's open: the end of its output is the plugin's end.
        let kept = open_files(launch.tree.keeper_pid());
        if !kept.is_empty() {
            assert_eq!(kept[..3], ["0 /dev/null", "1 /dev/null", "2 /dev/null"]);
            assert!(!kept.iter().any(|file| file.contains("pipe:") || file.contains("secret")), "{kept:?}");
        }
        assert!(launch.holds("descriptors"));
        drop(launch);
        bench.finished().await;
    });
}

fn process_state_is_fresh() {
    // SAFETY: only dispositions and the mask of this process change. What a careless parent may hand down.
    unsafe {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE, libc::SIGUSR1, libc::SIGCHLD] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::umask(0);
    }
    block_on(async {
        let bench = Bench::new();
        let script = "umask; ulimit -c; grep -E 'SigBlk|SigIgn|NoNewPrivs' /proc/self/status; \
                      cut -d' ' -f1,5,6 /proc/$$/stat; exit 3";
        let mut launch = bench.shell(script).await;
        let pid = launch.tree.pid();
        let lines = launch.rest().await;
        let zeros = "0".repeat(16);
        let expected = [
            "0077".to_owned(),
            "0".to_owned(),
            format!("SigBlk:\t{zeros}"),
            format!("SigIgn:\t{zeros}"),
            "NoNewPrivs:\t1".to_owned(),
            format!("{pid} {pid} {pid}"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(launch.exit().await.status, ExitStatus::Exited(3), "an ignored SIGCHLD loses no record");
        assert!(launch.emptied().await.by_keeper);
        bench.finished().await;
    });
}

fn working_directory_follows_the_address() {
    block_on(async {
        let bench = Bench::new();
        let package = bench.path().join("package");
        fs::create_dir(&package).expect("a directory");
        for (connect, directory) in [(Connect::Relative, bench.path()), (Connect::Absolute, package.as_path())] {
            let mut plan = bench.plan(&["/bin/sh", "-c", "pwd -P"]);
            plan.connect = connect;
            plan.package_dir.clone_from(&package);
            let mut launch = bench.start(&plan).await;
            assert_eq!(launch.rest().await, [directory.canonicalize().expect("a directory").to_str().expect("UTF-8")]);
        }
        bench.finished().await;
    });
}

fn large_plan_arrives() {
    block_on(async {
        let bench = Bench::new();
        let long = "x".repeat(120_000);
        let mut command =
            vec!["/bin/sh", "-c", "printf '%s\\n' \"$#\" \"$*\" | wc -c; printf '%s' \"$BIG\" | wc -c", "sh"];
        command.extend([long.as_str(); 7]);
        let mut plan = bench.plan(&command);
        plan.environment.insert("BIG".to_owned(), "y".repeat(100_000));
        let mut launch = bench.start(&plan).await;
        // "7", seven arguments, six blanks between them, two line ends.
        assert_eq!(launch.number().await, 1 + 7 * 120_000 + 6 + 2);
        assert_eq!(launch.number().await, 100_000);
        plan.environment.insert("MORE".to_owned(), "z".repeat(200_000));
        let error = bench.try_start(&plan).await.err().expect("more than fits");
        assert!(matches!(&error, LaunchError::Exec { source, .. } if source.kind() == ErrorKind::ArgumentListTooLong));
        bench.finished().await;
    });
}

fn cancelled_start_leaves_nothing() {
    block_on(async {
        let bench = Bench::new();
        for _ in 0..50 {
            let plan = bench.plan(&["/bin/sh", "-c", "exec sleep 1000"]);
            let socket = bench.socket();
            {
                let mut start = pin!(bench.starter.start(&plan, bench.path(), &socket));
                let first = future::poll_fn(|context| std::task::Poll::Ready(start.as_mut().poll(context).is_ready()));
                assert!(!first.await, "it waits for the keeper's record");
            }
        }
        bench.finished().await;
        wait_until_none_left(&std::env::var(crate::support::NONCES).expect("set by the runner"), crate::support::SOON);
    });
}

fn many_at_once() {
    block_on(async {
        let bench = Bench::new();
        let mut launches = Vec::new();
        for code in 0..24 {
            let plan = bench.plan(&["/bin/sh", "-c", &format!("sleep 1000 & exit {code}")]);
            launches.push((code, bench.start(&plan).await));
        }
        for (code, launch) in &launches {
            assert_eq!(launch.exit().await.status, ExitStatus::Exited(*code));
            assert!(launch.emptied().await.by_keeper);
            assert_eq!(alive_with_nonce(&launch.nonce), Vec::<u32>::new());
        }
        soon("all end", bench.finished()).await;
    });
}
