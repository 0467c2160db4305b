use std::os::fd::AsFd;

use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::transport::testing::{Fixture, Plan, directory, limited};

const CHAIN: &str = r#"sh -c 'env "$@"; :' sh "$@"; :"#;
const DETACHED: &str = r#"(setsid "$@" &)"#;

/// All there is, and what older kernels offer.
fn all_means() -> [Means; 3] {
    let best = Means::available();
    [best, Means { process_info: false, ..best }, Means { process_info: false, peer_pidfd: false }]
}

struct Socket {
    directory: tempfile::TempDir,
    listener: UnixListener,
}

impl Socket {
    fn new() -> Self {
        let directory = directory();
        let listener = UnixListener::bind(directory.path().join("s")).expect("a socket can be bound");
        Self { directory, listener }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("s")
    }

    async fn accept(&self) -> UnixStream {
        self.listener.accept().await.expect("the dialer dials").0
    }
}

async fn keeper(script: &str, socket: &Socket) -> (Fixture, Process) {
    let plan = Plan::keeper(script).dial(&socket.path()).variable("NAME", "x) S 1 1 (y");
    let plan = if script == DETACHED { plan.variable("WAIT_FOR_ADOPTION", "1") } else { plan };
    let mut fixture = plan.start();
    fixture.said("keeping").await;
    let process = Process::pin(fixture.pid()).expect("the keeper lives");
    (fixture, process)
}

#[test]
fn this_kernel_is_used_as_far_as_it_goes() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel tells its release");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let expected = Means { peer_pidfd: release >= (6, 5), process_info: release >= (6, 13) };
    assert_eq!(Means::available(), expected, "kernel {release:?}");
}

#[tokio::test]
async fn whoever_is_in_the_tree_is_let_in() {
    limited(async {
        for script in [r#""$@""#, r#"exec "$@""#, CHAIN, DETACHED] {
            let socket = Socket::new();
            let (mut fixture, keeper) = keeper(script, &socket).await;
            let stream = socket.accept().await;
            let dialled: u32 = fixture.said("dialled").await.parse().expect("a number");
            for means in all_means() {
                let peer = descends_from_by(means, stream.as_fd(), &keeper);
                let peer = peer.unwrap_or_else(|refused| unreachable!("{script} {means:?}: {refused}"));
                assert_eq!(peer.peer().pid, dialled);
                assert_eq!(peer.peer().uid, rustix::process::geteuid().as_raw());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_is_elsewhere_is_refused() {
    limited(async {
        let socket = Socket::new();
        let (_fixture, keeper) = keeper("true", &socket).await;
        let other = Socket::new();
        let (_other_fixture, other_keeper) = self::keeper(DETACHED, &other).await;
        let _stranger = Plan::role("dial").dial(&socket.path()).start();
        let stranger = socket.accept().await;
        let of_other = other.accept().await;
        for means in all_means() {
            for stream in [&stranger, &of_other] {
                let refused = descends_from_by(means, stream.as_fd(), &keeper).map(drop);
                assert!(
                    matches!(&refused, Err(PeerRefused { reason: Refusal::Outside(pid), .. }) if *pid == keeper.pid()),
                    "{means:?} {refused:?}"
                );
            }
            assert!(descends_from_by(means, of_other.as_fd(), &other_keeper).is_ok());
        }
    })
    .await;
}

#[tokio::test]
async fn the_keeper_itself_is_refused() {
    limited(async {
        let socket = Socket::new();
        let fixture = Plan::role("dial").dial(&socket.path()).start();
        let keeper = Process::pin(fixture.pid()).expect("it lives");
        let stream = socket.accept().await;
        for means in all_means() {
            let refused = descends_from_by(means, stream.as_fd(), &keeper).map(drop);
            assert!(matches!(refused, Err(PeerRefused { reason: Refusal::Keeper, .. })), "{refused:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dialer_that_has_exited_is_refused() {
    limited(async {
        // Reaped by its shell; or never, as its parent is another program by then.
        for script in [r#"OUTRIGGER_TEST_GO=1 "$@"; exec "$@""#, r#"OUTRIGGER_TEST_GO=1 "$@" & exec "$@""#] {
            let socket = Socket::new();
            let (mut fixture, keeper) = keeper(script, &socket).await;
            let mut streams = [socket.accept().await, socket.accept().await];
            let went: i32 = fixture.said("went").await.parse().expect("a number");
            let dialled_by = |stream: &UnixStream| stream.peer_cred().ok().and_then(|cred| cred.pid());
            streams.sort_by_key(|stream| dialled_by(stream) != Some(went));
            let [gone, here] = streams;
            let has_exited = || match std::fs::read_to_string(format!("/proc/{went}/stat")) {
                Ok(stat) => stat.contains(") Z "),
                Err(_) => true,
            };
            while !has_exited() {
                tokio::task::yield_now().await;
            }
            for means in all_means() {
                for refused in [
                    descends_from_by(means, gone.as_fd(), &keeper).map(drop),
                    not_below_by(means, gone.as_fd(), std::process::id()).map(drop),
                    not_below_by(means, gone.as_fd(), 1 << 30).map(drop),
                ] {
                    let reason = refused.expect_err("it has exited").reason;
                    assert!(
                        matches!(reason, Refusal::Exited | Refusal::Below | Refusal::Unknown(_)),
                        "{means:?} {reason}"
                    );
                }
                let here = descends_from_by(means, here.as_fd(), &keeper);
                assert!(here.is_ok(), "{script} {means:?} {here:?} {went}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_keeper_that_has_exited_proves_nothing() {
    limited(async {
        let socket = Socket::new();
        let (mut fixture, keeper) = keeper(DETACHED, &socket).await;
        let stream = socket.accept().await;
        assert!(descends_from(&stream, &keeper).is_ok());
        fixture.child.kill().await.expect("it can be killed");
        for means in all_means() {
            let refused = descends_from_by(means, stream.as_fd(), &keeper).map(drop);
            assert!(matches!(refused, Err(PeerRefused { reason: Refusal::KeeperGone(_), .. })), "{refused:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn control_sockets_refuse_what_is_below() {
    limited(async {
        for script in [CHAIN, DETACHED] {
            let socket = Socket::new();
            let (fixture, _keeper) = keeper(script, &socket).await;
            let below = socket.accept().await;
            let own = UnixStream::connect(socket.path()).await.expect("the own process can dial");
            let from_own = socket.accept().await;
            for means in all_means() {
                // The keeper stands for a supervisor, then this process, which is above the keeper, is one.
                for supervisor in [fixture.pid(), std::process::id()] {
                    let refused = not_below_by(means, below.as_fd(), supervisor).map(drop);
                    assert!(matches!(refused, Err(PeerRefused { reason: Refusal::Below, .. })), "{refused:?}");
                }
                let peer = not_below_by(means, from_own.as_fd(), std::process::id()).expect("itself is excepted");
                assert_eq!(peer.peer().pid, std::process::id());
                assert!(not_below_by(means, from_own.as_fd(), fixture.pid()).is_ok(), "above is not below");
            }
            drop(own);
        }
    })
    .await;
}

#[tokio::test]
async fn a_shell_put_into_a_container_may_use_control_sockets() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: making a namespace of processes needs root");
        return;
    }
    limited(async {
        let directory = directory();
        let socket = directory.path().join("s");
        let mut container = Plan::script(r#"exec unshare --pid --fork --mount-proc -- "$@""#)
            .variable("ROLE", "judge")
            .variable("SOCKET", &socket)
            .start();
        container.said("listening").await;
        let pid = container.pid();
        let inside = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("unshare has a child");
        let enter = format!(r#"exec nsenter --pid=/proc/{}/ns/pid -- "$@""#, inside.trim());
        // Its parent is outside, which the kernel calls "no such process".
        let _shell = Plan::script(&enter).dial(&socket).start();
        let verdict = container.said("verdict").await;
        assert!(verdict.starts_with("in "), "{verdict}");
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_peer_is_noticed() {
    limited(async {
        let socket = Socket::new();
        let (mut fixture, keeper) = keeper(r#"exec "$@""#, &socket).await;
        let stream = socket.accept().await;
        let pid: i32 = fixture.said("dialled").await.parse().expect("a number");
        let peer = descends_from(&stream, &keeper).expect("it is in the tree");
        tokio::select! {
            biased;
            () = peer.gone() => unreachable!("it is alive"),
            () = tokio::task::yield_now() => {}
        }
        assert!(!peer.process.is_gone());
        let pid = Pid::from_raw(pid).expect("not zero");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it can be killed");
        peer.gone().await;
        assert!(peer.process.is_gone());
    })
    .await;
}

#[test]
fn a_refusal_says_who_and_why() {
    let refused = PeerRefused { pid: 7, uid: 8, reason: Refusal::Outside(9) };
    assert_eq!(refused.to_string(), "process 7 of user 8 is not in the tree of keeper 9");
}
