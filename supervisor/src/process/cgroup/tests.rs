//! A real launch in a real group of the kernel's. Whether it has controllers makes no difference here.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::group::{Group, Kept};
use super::place::{Owner, Place, path_of};
use crate::domain::ids::Generation;
use crate::domain::launch::{Connect, Plan, Tree};
use crate::domain::spec::PluginLimits;
use crate::process::Starter;

/// What a launch in this group printed, the keeper's group meanwhile, and what `inspect` says.
struct Seen {
    plugin: PathBuf,
    keeper: PathBuf,
    detail: String,
    keeps_memory: bool,
}

fn group_of(pid: u32) -> PathBuf {
    path_of(&fs::read(format!("/proc/{pid}/cgroup")).expect("a living process")).expect("a group")
}

/// Starts a shell that tells its group, and the same of a child, and ends it.
async fn launch(kept: Kept) -> Seen {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let plan = Plan {
        plugin: "tested".parse().expect("a plugin id"),
        generation: Generation(1),
        nonce: format!("cgroup-test-{}", std::process::id()),
        token: "token".to_owned(),
        command: ["/bin/sh", "-c", "cat /proc/self/cgroup; sleep 1000"].map(str::to_owned).to_vec(),
        connect: Connect::Relative,
        package_dir: directory.path().to_owned(),
        data_dir: directory.path().join("data"),
        environment: BTreeMap::new(),
        limits: PluginLimits::default(),
    };
    let starter = Starter::new();
    let started = starter.start_kept(&plan, directory.path(), &directory.path().join("s"), kept).await;
    let mut started = started.expect("the plugin starts");
    let mut printed = Vec::new();
    while path_of(&printed).is_none() || !printed.ends_with(b"\n") {
        let read = started.stdout.read_buf(&mut printed).await.expect("readable output");
        assert!(read > 0, "the output has ended");
    }
    let tree = started.tree;
    let protections = tree.protections();
    let rung = protections.iter().find(|rung| rung.name == "resource-limits").expect("it has limits");
    let seen = Seen {
        plugin: group_of(tree.pid()),
        keeper: group_of(tree.keeper_pid()),
        detail: rung.detail.clone(),
        keeps_memory: tree.keeps_memory(),
    };
    assert_eq!(path_of(&printed), Some(seen.plugin.clone()), "entered before its program");
    tree.kill();
    starter.finished().await;
    assert_eq!(tree.enforced(), crate::domain::launch::Enforced::default());
    seen
}

#[tokio::test]
async fn the_child_enters_its_group_and_the_keeper_does_not() {
    timeout(Duration::from_secs(30), async {
        let base = Place::own().and_then(|place| place.base(Owner::current()));
        let made = base.and_then(|base| Group::make(base.child(&format!("outrigger-test-{}", std::process::id()))));
        let group = match made {
            Ok(group) => group,
            Err(why) => return println!("not shown: this process can make no control group: {why}"),
        };
        let (path, directory) = (group.place().path.clone(), group.place().directory.clone());
        let refused = || Some(Err("the test sets none".to_owned()));
        let seen = launch(Kept { group: Some(group), memory: refused(), processes: None }).await;
        assert_eq!(seen.plugin, path);
        assert_eq!(seen.keeper, group_of(std::process::id()));
        assert_eq!(seen.detail, "memory is sampled only: the test sets none");
        assert!(!seen.keeps_memory);
        assert!(!directory.exists(), "removed when the tree is empty");
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn a_group_that_is_gone_stops_no_launch() {
    timeout(Duration::from_secs(30), async {
        let nowhere = tempfile::tempdir().expect("a temporary directory");
        let place = Place::root(nowhere.path()).child("gone");
        let kept = Kept { group: Some(Group::in_place(place)), memory: Some(Ok(1 << 30)), processes: None };
        let seen = launch(kept).await;
        assert_eq!((&seen.plugin, &seen.keeper), (&group_of(std::process::id()), &seen.plugin));
        assert_eq!(seen.detail, "memory is sampled only: the plugin could not enter its control group");
        assert!(!seen.keeps_memory);
    })
    .await
    .expect("in time");
}

#[test]
fn memory_is_kept_only_while_the_group_holds_it() {
    // A shell stands for the keeper, in this process's group with its child.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kept =
        |place: Place, limit| Kept { group: Some(Group::in_place(place)), memory: Some(Ok(limit)), processes: None };
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 1000 & echo up; wait"]).process_group(0).stdout(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell");
    let mut up = [0; 3];
    shell.stdout.as_mut().expect("piped").read_exact(&mut up).expect("its first line");
    let keeper = shell.id();
    let own = Place { path: group_of(std::process::id()), ..Place::root(directory.path()) };
    fs::write(directory.path().join("memory.max"), "4096\n").expect("a file");
    let holds = kept(own.clone(), 4096).keeps_memory(keeper);
    let loosened = kept(own.clone(), 4095).keeps_memory(keeper);
    let elsewhere = kept(Place { path: "/elsewhere".into(), ..own.clone() }, 4096).keeps_memory(keeper);
    fs::write(directory.path().join("memory.max"), "max\n").expect("a file");
    let lifted = kept(own, 4096).keeps_memory(keeper);
    rustix::process::kill_process_group(Pid::from_child(&shell), Signal::KILL).expect("its group");
    shell.wait().expect("a shell");
    assert_eq!((holds, loosened, elsewhere, lifted), (true, false, false, false));
}
