//! The program itself, as a process, and a real supervisor without plugins.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Time for anything here to happen.
const LIMIT: Duration = Duration::from_secs(20);

fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.arg("--runtime-dir").arg(dir.join("run")).arg("--state-dir").arg(dir.join("state")).args(args);
    command.env_remove("OUTRIGGER_CONFIG").env("HOME", dir).stdin(Stdio::null());
    command
}

/// Runs to its end; what hangs is killed and fails the test.
fn run(dir: &Path, args: &[&str]) -> Output {
    let child = program(dir, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the program");
    let mut child = Killed(Some(child));
    let child = child.ends(args).expect("it ended");
    child.wait_with_output().expect("read its output")
}

/// A child that does not outlive its test.
struct Killed(Option<Child>);

impl Killed {
    /// Waits until it has ended.
    fn ends(&mut self, what: &[&str]) -> Option<Child> {
        let deadline = Instant::now() + LIMIT;
        while self.0.as_mut().is_some_and(|child| child.try_wait().expect("look after it").is_none()) {
            assert!(Instant::now() < deadline, "{what:?} does not end");
            sleep(Duration::from_millis(5));
        }
        self.0.take()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let output = run(dir, &[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a document")
}

#[test]
fn exit_codes_reach_the_shell() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert_eq!(run(dir.path(), &["status"]).status.code(), Some(3));
    assert_eq!(run(dir.path(), &["stattus"]).status.code(), Some(2));
    let help = run(dir.path(), &["--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert_eq!(help.status.code(), Some(0));
    assert!(text.contains("Exit codes:") && text.contains("8  guards hold"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour where there is no terminal");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut child = program(dir.path(), &["init", "conf"]);
    child.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("start the program");
    drop(child.stdout.take());
    let mut child = Killed(Some(child));
    let output = child.ends(&["init"]).expect("it ended").wait_with_output().expect("read its output");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// What a collector gets.
fn metrics(socket: &Path) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: outrigger\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

#[test]
fn a_real_supervisor_is_asked_and_stopped() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let conf = dir.join("conf");
    let conf = conf.to_str().expect("UTF-8");
    assert_eq!(run(dir, &["init", conf]).status.code(), Some(0));
    let file = format!("{conf}/outrigger.toml");
    assert_eq!(json(dir, &["check", &file])["valid"], true);

    let text = std::fs::read_to_string(&file).expect("it was written");
    let with_metrics = text.replacen("[supervisor]\n", "[supervisor]\nmetrics_socket = true\n", 1);
    let with_metrics =
        if text == with_metrics { format!("[supervisor]\nmetrics_socket = true\n{text}") } else { with_metrics };
    std::fs::write(&file, with_metrics).expect("write the configuration");
    assert_eq!(json(dir, &["check", &file])["valid"], true);

    let log = std::fs::File::create(dir.join("log")).expect("make the log");
    let supervisor = program(dir, &["run", "--config", &file]).stdout(Stdio::null()).stderr(log).spawn();
    let mut supervisor = Killed(Some(supervisor.expect("start the supervisor")));
    let deadline = Instant::now() + LIMIT;
    while run(dir, &["status"]).status.code() != Some(0) {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "it does not answer:\n{log}");
    }
    let status = json(dir, &["status"]);
    let pid = supervisor.0.as_ref().map(Child::id);
    assert_eq!(status["supervisor"]["pid"].as_u64(), pid.map(u64::from));
    assert_eq!(status["plugins"].as_array().map(Vec::len), Some(0));
    assert_eq!(json(dir, &["hooks"])["handlers"].as_array().map(Vec::len), Some(0));
    assert_eq!(json(dir, &["rights"])["rights"].as_array().map(Vec::len), Some(0));
    assert_eq!(json(dir, &["check", "--live"])["answered"], true);
    let metrics = metrics(&dir.join("run/metrics.sock"));
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(metrics.contains("\noutrigger_runtimes 0\n"), "{metrics}");
    let unknown = run(dir, &["why", "nobody"]);
    assert_eq!(unknown.status.code(), Some(4), "{}", String::from_utf8_lossy(&unknown.stderr));

    assert_eq!(json(dir, &["key", "add", "second"])["created"], true);
    assert_eq!(json(dir, &["key", "add", "second"])["created"], false);
    let trace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sdk-fixtures/traces/files.jsonl");
    let replayed = json(dir, &["replay", "--runtime", "second", trace.to_str().expect("UTF-8")]);
    assert_eq!((&replayed["totals"]["calls"], &replayed["decisions"][0]["verdict"]), (&0.into(), &"not_wanted".into()));
    // A runtime is attached: nobody takes its place, and what to do is told.
    let files = trace.to_str().expect("UTF-8");
    let slow = ["replay", "--runtime", "second", "--speed", "0.000001", files];
    let runtime = program(dir, &slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut runtime = Killed(Some(runtime.expect("start the runtime")));
    let attached = |runtime: &Value| runtime["runtime_id"] == "second" && runtime["connected"] == true;
    while !json(dir, &["status"])["supervisor"]["runtimes"].as_array().is_some_and(|all| all.iter().any(attached)) {
        assert!(Instant::now() < deadline, "it is not attached");
    }
    let refused = run(dir, &["replay", "--runtime", "second", files]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("is attached already") && told.contains("--runtime ID"), "{told}");
    assert!(runtime.0.as_mut().is_some_and(|runtime| runtime.try_wait().expect("look after it").is_none()));
    assert_eq!(json(dir, &["replay", "--runtime", "default", files])["totals"]["calls"], 0);
    drop(runtime);
    assert_eq!(json(dir, &["key", "remove", "second"])["removed"], true);

    assert_eq!(json(dir, &["shutdown"])["stopped"], true);
    let ended = supervisor.ends(&["run"]).expect("it ended").wait().expect("its status");
    assert_eq!(ended.code(), Some(0));
}
