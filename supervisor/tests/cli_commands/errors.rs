//! What goes wrong before a supervisor answers, and how it is told.

use std::io;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use outrigger::cli::Exit;

use crate::fake::Fake;
use crate::run::{Run, outrigger};

#[test]
fn no_socket_is_no_supervisor() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("run/admin.sock");
    for command in [&["status"][..], &["start", "policy-gate"], &["key", "list"], &["shutdown"]] {
        let ran = outrigger(dir.path(), command);
        let expected = format!(
            "error: failed to connect to `{}`: there is no such socket; is the supervisor running?\n  -> start one with `outrigger run`, or name the directory of its sockets with --runtime-dir\n",
            socket.display()
        );
        assert_eq!((ran.exit, ran.err), (Exit::NoSupervisor, expected), "{command:?}");
    }
}

#[test]
fn a_socket_that_nobody_listens_on_is_no_supervisor() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(dir.path().join("run")).expect("make a directory");
    drop(UnixListener::bind(dir.path().join("run/admin.sock")).expect("bind"));
    let ran = outrigger(dir.path(), &["status"]);
    assert_eq!(ran.exit, Exit::NoSupervisor);
    assert!(ran.err.contains("nobody listens there") && ran.err.contains("outrigger run"), "{}", ran.err);
}

#[test]
fn a_socket_that_never_answers_is_left_in_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir_all(dir.path().join("run")).expect("make a directory");
    let _silent = UnixListener::bind(dir.path().join("run/admin.sock")).expect("bind");
    std::fs::create_dir_all(dir.path().join("state")).expect("make a directory");
    let key = dir.path().join("state/admin.key");
    std::fs::write(&key, format!("admin:{}\n", "a".repeat(64))).expect("write the key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set its mode");
    let begun = Instant::now();
    let ran = outrigger(dir.path(), &["status", "--timeout", "200ms"]);
    assert_eq!(ran.exit, Exit::TimedOut, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(ran.err.contains("--timeout"), "{}", ran.err);
}

#[test]
fn a_wrong_key_says_which_directory_to_name() {
    let fake = Fake::start();
    fake.change_admin_key();
    let ran = outrigger(fake.dir(), &["status"]);
    let expected = "\
error: the key is wrong
  -> the key is not this supervisor's: give its state directory with --state-dir
";
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Key, expected));
    std::fs::remove_file(fake.dir().join("state/admin.key")).expect("remove the key");
    let missing = outrigger(fake.dir(), &["status"]);
    assert_eq!(missing.exit, Exit::Key);
    assert!(missing.err.contains("admin.key`: there is no such file"), "{}", missing.err);
    assert!(missing.err.contains("--state-dir"), "{}", missing.err);
    assert!(fake.asked().is_empty(), "no service was reached");
}

#[test]
fn an_unknown_plugin_is_named() {
    let fake = Fake::start();
    for command in ["inspect", "start", "stop", "restart", "reload", "why"] {
        let ran = outrigger(fake.dir(), &[command, "nobody"]);
        let expected = "error: there is no plugin `nobody`\n  -> `outrigger status` lists the plugins\n";
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Plugin, expected), "{command}");
    }
}

#[test]
fn errors_are_json_for_programs() {
    let fake = Fake::start();
    let ran = outrigger(fake.dir(), &["start", "broken", "--json"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Plugin, ""));
    let error: serde_json::Value = serde_json::from_str(&ran.err).expect("one document");
    let expected = serde_json::json!({ "error": {
        "message": "broken failed while waiting for hello",
        "reason": "PLUGIN_ABSENT",
        "details": ["exit: status 1", "phase: hello", "state: quarantined"],
        "remedy": "`outrigger why broken` tells what happened",
        "exit": 4,
    } });
    assert_eq!(error, expected);
}

#[test]
fn an_event_that_is_no_object_is_a_usage_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (event, says) in [("[1]", "not an object"), ("{", "is not JSON"), ("@/no/such/file", "cannot be read")] {
        let ran = outrigger(dir.path(), &["call", "policy-gate", "before_tool_call", "--event", event]);
        assert_eq!(ran.exit, Exit::Usage, "{event}");
        assert!(ran.err.contains(says), "{}", ran.err);
    }
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let fake = Fake::start();
    for command in [&["status"][..], &["logs", "policy-gate", "-f"], &["hooks", "--json"]] {
        let ran = Run::new(fake.dir(), command).out_fails(io::ErrorKind::BrokenPipe).go();
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""), "{command:?}");
    }
    let full = Run::new(fake.dir(), &["status"]).out_fails(io::ErrorKind::StorageFull).go();
    assert_eq!(full.exit, Exit::Failed);
    assert!(full.err.contains("could not be written"), "{}", full.err);
}
