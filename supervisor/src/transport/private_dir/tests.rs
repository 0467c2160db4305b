use std::os::unix::fs::symlink;

use rustix::io::{FdFlags, fcntl_getfd};

use super::*;
use crate::transport::testing::{CLOSED, Plan, directory, limited};

const NONCE: &str = "0123456789abcdef0123456789abcdef";

fn create(runtime_dir: &Path) -> PrivateDir {
    let plugin = "policy-gate".parse().expect("an id");
    PrivateDir::create(runtime_dir, &plugin, Generation(3), NONCE).expect("it can be made")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

#[test]
fn a_launch_gets_a_directory_of_its_own() {
    let base = directory();
    let runtime = base.path().join("run");
    let made = create(&runtime);
    assert_eq!(made.path(), runtime.join("launch/policy-gate-3-01234567"));
    assert_eq!([mode(&runtime), mode(&runtime.join("launch")), mode(made.path())], [0o700, 0o700, 0o500]);
    assert_eq!(mode(&made.socket_path()), 0o600);
    assert!(!made.absolute_path_too_long());
    let listener = &made.listener;
    assert!(fcntl_getfd(listener).expect("it is open").contains(FdFlags::CLOEXEC));
    assert_eq!(listener.accept().expect_err("it does not wait").kind(), io::ErrorKind::WouldBlock);
    std::os::unix::net::UnixStream::connect(made.socket_path()).expect("the absolute path serves");

    let plugin = "policy-gate".parse().expect("an id");
    let again = PrivateDir::create(&runtime, &plugin, Generation(3), NONCE);
    assert!(
        matches!(again, Err(LaunchError::Directory { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists)
    );
    assert!(made.path().exists(), "a second attempt does not take away the first");
    let bad = PrivateDir::create(&runtime, &plugin, Generation(4), "../..abc");
    assert!(matches!(bad, Err(LaunchError::Directory { .. })));

    let path = made.path().to_owned();
    drop(made);
    assert!(!path.exists() && runtime.join("launch").exists());
}

#[tokio::test]
async fn a_path_of_any_length_serves_from_inside() {
    limited(async {
        let base = directory();
        let runtime = base.path().join("d".repeat(120)).join("e".repeat(120));
        let made = create(&runtime);
        assert!(made.absolute_path_too_long());
        assert!(std::os::unix::net::UnixStream::connect(made.socket_path()).is_err(), "the absolute path is too long");
        let plan = Plan::role("dial").working_directory(made.path()).dial(Path::new("host.sock"));
        let mut dialer = plan.start();
        dialer.said("dialled").await;
        drop(made);
        // The connection was never accepted; when the socket goes, so does it.
        assert_ne!(dialer.exit_code().await, Some(CLOSED));
        assert!(!runtime.join("launch/policy-gate-3-01234567").exists());
    })
    .await;
}

#[test]
fn a_runtime_directory_that_others_can_write_to_is_refused() {
    let base = directory();
    fs::set_permissions(base.path(), Permissions::from_mode(0o770)).expect("it is ours");
    let plugin = "a".parse().expect("an id");
    let refused = PrivateDir::create(base.path(), &plugin, Generation(1), NONCE);
    let Err(LaunchError::Directory { source, .. }) = refused else { unreachable!("it is refused") };
    assert!(source.to_string().contains("can write to it"), "{source}");
    assert!(!base.path().join("launch").exists());
    assert!(sweep_stale(base.path()).is_err());
}

/// What a plugin of the same user may leave in its private directory.
fn litter(private: &Path, outside: &Path) {
    fs::set_permissions(private, Permissions::from_mode(0o700)).expect("it is ours");
    symlink(outside, private.join("link")).expect("a link can be made");
    fs::write(private.join("file"), "x").expect("a file can be made");
    let mut deep = private.join("deep");
    for level in 0..300 {
        fs::create_dir(&deep).expect("a directory can be made");
        fs::write(deep.join("file"), "x").expect("a file can be made");
        symlink(outside, deep.join("link")).expect("a link can be made");
        deep.push(format!("{}", level % 7));
    }
    let closed = private.join("closed");
    fs::create_dir_all(closed.join("inner/more")).expect("directories can be made");
    for path in [closed.join("inner/more"), closed.join("inner"), closed, private.to_owned()] {
        fs::set_permissions(path, Permissions::from_mode(0o000)).expect("it is ours");
    }
}

#[test]
fn whatever_a_plugin_leaves_is_removed() {
    let base = directory();
    let outside = base.path().join("outside");
    fs::create_dir(&outside).expect("a directory can be made");
    fs::write(outside.join("kept"), "x").expect("a file can be made");
    let runtime = base.path().join("run");
    let made = create(&runtime);
    let path = made.path().to_owned();
    litter(&path, &outside);
    drop(made);
    assert!(fs::symlink_metadata(&path).is_err(), "{path:?} is left");
    assert!(outside.join("kept").exists());
    assert_eq!(mode(&outside) & 0o700, 0o700);
}

#[test]
fn removal_is_bounded_and_the_next_start_does_the_rest() {
    let base = directory();
    let made = create(base.path());
    let path = made.path().to_owned();
    litter(&path, Path::new("/"));
    let error = remove(&made.place.launches, OsStr::new(&made.place.name), 100).expect_err("there is more");
    assert!(error.to_string().contains("more than 100 entries"), "{error}");
    std::mem::forget(made);
    assert_eq!(sweep_stale(base.path()).expect("it can be swept"), Swept { removed: 1, ..Swept::default() });
    assert!(fs::symlink_metadata(&path).is_err());
}

#[test]
fn a_start_sweeps_what_is_stale_and_follows_no_link() {
    let base = directory();
    assert_eq!(sweep_stale(base.path()).expect("there is nothing"), Swept::default());
    let outside = base.path().join("outside");
    fs::create_dir_all(outside.join("inner")).expect("directories can be made");
    fs::write(outside.join("inner/kept"), "x").expect("a file can be made");
    let launches = base.path().join("launch");
    std::mem::forget(create(base.path()));
    symlink(&outside, launches.join("link-1-00000000")).expect("a link can be made");
    symlink("/nowhere", launches.join("dangling")).expect("a link can be made");
    fs::write(launches.join("file"), "x").expect("a file can be made");
    assert_eq!(sweep_stale(base.path()).expect("it can be swept"), Swept { removed: 4, ..Swept::default() });
    assert_eq!(fs::read_dir(&launches).expect("it is there").count(), 0);
    assert!(outside.join("inner/kept").exists());

    fs::remove_dir(&launches).expect("it is empty");
    symlink(&outside, &launches).expect("a link can be made");
    sweep_stale(base.path()).expect_err("`launch` itself is a link");
    assert!(outside.join("inner/kept").exists());
}
