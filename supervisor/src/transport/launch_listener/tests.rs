use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::*;
use crate::domain::ids::Generation;
use crate::transport::testing::{CLOSED_UNREAD, Fixture, Plan, directory, limited};

fn private_dir(base: &Path) -> PrivateDir {
    PrivateDir::create(base, &"a".parse().expect("an id"), Generation(1), "0123456789abcdef").expect("it can be made")
}

async fn keeper(script: &str, directory: &PrivateDir) -> Fixture {
    let mut fixture = Plan::keeper(script).dial(&directory.socket_path()).variable("TAG", "in").start();
    fixture.said("keeping").await;
    fixture
}

fn bucket() -> Arc<Bucket> {
    Bucket::new(32 << 20)
}

async fn tag(connection: &mut Connection) -> String {
    let mut tag = [0; 8];
    let length = connection.io.read(&mut tag).await.expect("the dialer writes");
    String::from_utf8_lossy(&tag[..length]).into_owned()
}

#[tokio::test]
async fn a_dialer_in_the_tree_is_given_and_watched() {
    limited(async {
        let base = directory();
        let directory = private_dir(base.path());
        let plan = Plan::keeper(r#""$@"; :"#).working_directory(directory.path()).dial(Path::new("host.sock"));
        let mut keeper = plan.variable("TAG", "in").start();
        let dialled: u32 = keeper.said("dialled").await.parse().expect("a number");
        let (mut connections, guard) = listen(directory, keeper.pid(), bucket()).expect("it can listen");
        let mut connection = connections.recv().await.expect("it is given");
        assert_eq!(tag(&mut connection).await, "in");
        assert_eq!(connection.peer.pid, dialled);
        let pid = rustix::process::Pid::from_raw(dialled.cast_signed()).expect("not zero");
        tokio::select! {
            biased;
            () = &mut connection.peer_gone => unreachable!("it is alive"),
            () = tokio::task::yield_now() => {}
        }
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it can be killed");
        connection.peer_gone.await;
        assert_eq!(guard.refused(), 0);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_read_from_a_stranger() {
    limited(async {
        let base = directory();
        let directory = private_dir(base.path());
        let keeper = keeper("true", &directory).await;
        // It has dialled and written before anyone accepts, so that a read, if there were one, would find its bytes.
        let mut stranger = Plan::role("dial").dial(&directory.socket_path()).start();
        stranger.said("dialled").await;
        let (mut connections, guard) = listen(directory, keeper.pid(), bucket()).expect("it can listen");
        // Closed with bytes unread: the kernel resets it.
        assert_eq!(stranger.exit_code().await, Some(CLOSED_UNREAD));
        assert_eq!(guard.refused(), 1);
        assert!(connections.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn dropping_the_guard_ends_all() {
    limited(async {
        let base = directory();
        let directory = private_dir(base.path());
        let keeper = keeper(r#""$@" & "$@" & wait"#, &directory).await;
        let (mut connections, guard) = listen(directory, keeper.pid(), bucket()).expect("it can listen");
        let mut taken = connections.recv().await.expect("it is given");
        assert_eq!(tag(&mut taken).await, "in");
        let mut waiting = connections.recv().await.expect("it is given");
        let path = guard.path().to_owned();
        assert!(path.join("host.sock").exists());
        drop(guard);
        assert!(!path.exists());
        for connection in [&mut taken, &mut waiting] {
            let error = connection.io.read(&mut [0; 8]).await.expect_err("it was ended");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        }
        assert!(connections.recv().await.is_none(), "the task has ended");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_accepted_while_four_wait() {
    limited(async {
        let base = directory();
        let directory = private_dir(base.path());
        let script = r#"for i in 1 2 3 4 5 6; do "$@" & done; wait"#;
        let mut keeper = keeper(script, &directory).await;
        for _ in 0..6 {
            keeper.said("dialled").await;
        }
        let descriptor = directory.directory().expect("it is open").as_raw_fd();
        let (mut connections, _guard) = listen(directory, keeper.pid(), bucket()).expect("it can listen");
        // The kernel lists a connection under its listener's address, and with number 0 until it is accepted.
        let address = format!("/proc/self/fd/{descriptor}/host.sock");
        let listed = || std::fs::read_to_string("/proc/net/unix").expect("the kernel lists its sockets");
        let accepted = || {
            let of_address = |line: &&str| line.ends_with(&address);
            let number = |line: &str| line.split_ascii_whitespace().nth(6).map(|number| number != "0");
            listed().lines().filter(of_address).filter(|line| number(line) == Some(true)).count() - 1
        };
        while connections.len() < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
            assert_eq!((accepted(), connections.len()), (WAITING_MAX, WAITING_MAX));
        }
        let mut given = Vec::new();
        while given.len() < 6 {
            given.push(connections.recv().await.expect("all come in time"));
        }
        for connection in &mut given {
            assert_eq!(tag(connection).await, "in");
        }
    })
    .await;
}

#[tokio::test]
async fn no_keeper_no_listener() {
    let base = directory();
    let directory = private_dir(base.path());
    let path = directory.path().to_owned();
    // Above the highest number a kernel gives.
    assert!(listen(directory, 1 << 30, bucket()).is_err());
    assert!(!path.exists());
}

/// Dialers with parents that die at any moment: those of the tree are let in, those of another are not, every time.
#[tokio::test]
async fn dying_parents_confuse_nobody() {
    const EACH: usize = 100;
    limited(async {
        let base = directory();
        let directory = private_dir(base.path());
        // Each below up to three shells, which end while it is dialling: at once, or after it was started.
        let script = r#"
            n=0; while [ $n -lt 25 ]; do n=$((n+1))
                ("$@" &)
                sh -c '"$@" & exit' sh "$@" &
                sh -c 'sh -c "\"\$@\" & exit" sh "$@" & exit' sh "$@" &
                (setsid sh -c '("$@" &) & exit' sh "$@" &)
            done; wait"#;
        let strangers = Plan::keeper(script).dial(&directory.socket_path()).variable("TAG", "out").start();
        let keeper = keeper(script, &directory).await;
        let (mut connections, guard) = listen(directory, keeper.pid(), bucket()).expect("it can listen");
        let mut tags = HashMap::<String, usize>::new();
        let mut open = Vec::new();
        while tags.get("in") != Some(&EACH) || guard.refused() < EACH as u64 {
            if let Ok(Some(mut connection)) = tokio::time::timeout(Duration::from_millis(50), connections.recv()).await
            {
                *tags.entry(tag(&mut connection).await).or_default() += 1;
                open.push(connection);
            }
        }
        assert_eq!(tags, HashMap::from([("in".to_owned(), EACH)]));
        assert_eq!(guard.refused(), EACH as u64);
        drop(strangers);
    })
    .await;
}
