use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::*;
use crate::transport::paths::{admin_socket, runtime_socket};
use crate::transport::testing::{CLOSED_UNREAD, Plan, directory, limited};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

#[tokio::test]
async fn this_process_is_let_in_and_a_child_is_not() {
    limited(async {
        let base = directory();
        let runtime = base.path().join("run");
        let path = runtime_socket(&runtime);
        let mut listener = ControlListener::bind(&path, None, Stale::Probe).expect("it can listen");
        assert_eq!([mode(&runtime), mode(&path)], [0o700, 0o600]);
        let mut children: Vec<_> =
            [r#""$@""#, r#"("$@" &) ; cat"#].map(|script| Plan::keeper(script).dial(&path).start()).into();
        let mut child = Plan::role("dial").dial(&path).start();
        for fixture in children.iter_mut().chain([&mut child]) {
            fixture.said("dialled").await;
        }
        let _own = UnixStream::connect(&path).await.expect("it listens");
        // In order of dialling: the children come first.
        let (_stream, peer) = listener.accept().await;
        assert_eq!(peer.peer().pid, std::process::id());
        assert_eq!(listener.refused(), 3);
        assert_eq!(child.exit_code().await, Some(CLOSED_UNREAD));
    })
    .await;
}

#[tokio::test]
async fn a_group_can_reach_a_socket_it_was_given() {
    let base = directory();
    let path = admin_socket(&base.path().join("run"));
    let gid = rustix::process::getegid().as_raw().to_string();
    let listener = ControlListener::bind(&path, Some(&gid), Stale::Probe).expect("it can listen");
    assert_eq!([mode(&path), mode(&base.path().join("run"))], [0o660, 0o711]);
    assert_eq!(fs::metadata(&path).expect("it is there").gid().to_string(), gid);
    drop(listener);
    let unknown = ControlListener::bind(&path, Some("no-such-group"), Stale::Probe).expect_err("there is none");
    assert_eq!(unknown.to_string(), "find group `no-such-group`: there is none of this name or number");
}

#[tokio::test]
async fn only_a_stale_socket_is_replaced() {
    limited(async {
        let base = directory();
        let path = runtime_socket(base.path());
        let first = ControlListener::bind(&path, None, Stale::Probe).expect("it can listen");
        let second = ControlListener::bind(&path, None, Stale::Probe);
        assert!(matches!(second, Err(BindError::InUse(_))), "{second:?}");
        // The lock says that the first is nobody's.
        let mut second = ControlListener::bind(&path, None, Stale::Replace).expect("it takes its place");
        drop(first);
        let mut client = UnixStream::connect(&path).await.expect("the first took only its own file away");
        drop(second.accept().await);
        assert_eq!(client.read(&mut [0; 1]).await.expect("it was closed"), 0);
        drop(second);
        assert!(!path.exists());

        drop(net::UnixListener::bind(&path).expect("a socket can be bound"));
        assert!(path.exists(), "a socket that nobody serves");
        drop(ControlListener::bind(&path, None, Stale::Probe).expect("it takes its place"));
        assert!(!path.exists());

        fs::write(&path, "x").expect("a file can be made");
        for stale in [Stale::Probe, Stale::Replace] {
            assert!(matches!(ControlListener::bind(&path, None, stale), Err(BindError::NotSocket(_))));
        }
        assert!(path.exists());
        assert_eq!(fs::read_dir(base.path()).expect("it is there").count(), 1, "no file under another name is left");
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_does_not_stop_a_start() {
    limited(async {
        let base = directory();
        let path = runtime_socket(base.path());
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).expect("short")).expect("it can be bound");
        rustix::net::listen(&socket, 0).expect("it can listen");
        let _queued = net::UnixStream::connect(&path).expect("one fits");
        let refused = ControlListener::bind(&path, None, Stale::Probe);
        assert!(matches!(refused, Err(BindError::InUse(_))), "{refused:?}");
    })
    .await;
}
