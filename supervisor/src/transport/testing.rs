//! Real processes for the tests: the test binary runs itself in a role, alone or below shells.

use std::ffi::OsStr;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// No test and no process of one lives longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Exit codes of a dialer: how its connection ended.
pub(super) const CLOSED_UNREAD: i32 = 10;
pub(super) const CLOSED: i32 = 11;
pub(super) const NOT_CONNECTED: i32 = 12;

/// Runs a test with a time limit.
pub(super) async fn limited<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, test).await.expect("the test ends within its limit")
}

/// Arguments that run this binary in its role.
fn role_command() -> Vec<std::ffi::OsString> {
    let mut command = vec![std::env::current_exe().expect("the test binary has a path").into_os_string()];
    command.extend(["--exact", "transport::testing::role", "--ignored", "--nocapture"].map(Into::into));
    command
}

/// A process of a test. Killed when dropped.
pub(super) struct Fixture {
    pub(super) child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

/// What a fixture is to do.
pub(super) struct Plan {
    command: Command,
}

impl Plan {
    /// A shell with this script, in which `"$@"` is the dialer.
    pub(super) fn script(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(role_command());
        Self { command }.variable("ROLE", "dial")
    }

    /// A subreaper with the script's shell below it.
    pub(super) fn keeper(script: &str) -> Self {
        let mut plan = Self::script(r#"exec "$@""#);
        plan = plan.variable("ROLE", "keep");
        plan.variable("SCRIPT", script)
    }

    /// The role itself, without a shell.
    pub(super) fn role(role: &str) -> Self {
        Self::script(r#"exec "$@""#).variable("ROLE", role)
    }

    /// The socket to dial.
    pub(super) fn dial(self, socket: &Path) -> Self {
        self.variable("SOCKET", socket)
    }

    pub(super) fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(format!("OUTRIGGER_TEST_{name}"), value);
        self
    }

    pub(super) fn working_directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub(super) fn start(mut self) -> Fixture {
        // A process that outlives its test says so to nobody.
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = self.command.spawn().expect("sh can be started");
        let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        Fixture { child, lines }
    }
}

impl Fixture {
    pub(super) fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Waits until it has printed a line that begins so, and gives the rest.
    pub(super) async fn said(&mut self, beginning: &str) -> String {
        loop {
            let line = self.lines.next_line().await.expect("its output can be read");
            let line = line.unwrap_or_else(|| unreachable!("it ended without saying `{beginning}`"));
            // The test harness may have printed the name of its test before, on the same line.
            if let Some(at) = line.find(beginning) {
                return line[at + beginning.len()..].trim().to_owned();
            }
        }
    }

    pub(super) async fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().await.expect("it can be waited for").code()
    }
}

/// A directory in `/tmp`, so that a socket's path is short.
pub(super) fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("or").tempdir_in("/tmp").expect("a temporary directory can be made")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("OUTRIGGER_TEST_{name}")).ok()
}

#[test]
#[ignore = "run as a process by other tests"]
fn role() {
    match variable("ROLE").as_deref() {
        Some("dial") => dial(),
        Some("keep") => keep(),
        Some("judge") => judge(),
        Some("exhaust") => exhaust(),
        _ => {}
    }
}

/// Dials, writes, says so, and waits for the end of the connection.
fn dial() {
    let own_pid = std::process::id();
    if let Some(name) = variable("NAME") {
        std::fs::write(format!("/proc/{own_pid}/comm"), name).expect("a process can name itself");
    }
    if variable("WAIT_FOR_ADOPTION").is_some() {
        let adopter = variable("KEEPER").expect("the keeper tells its number");
        let began = Instant::now();
        while rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string()) != Some(adopter.clone()) {
            assert!(began.elapsed() < LIMIT, "the keeper adopts its orphans");
            std::thread::yield_now();
        }
    }
    let socket = PathBuf::from(variable("SOCKET").expect("the test names a socket"));
    let Ok(mut stream) = UnixStream::connect(socket) else { std::process::exit(NOT_CONNECTED) };
    stream.set_read_timeout(Some(LIMIT)).expect("a socket has a timeout");
    let written = stream.write_all(variable("TAG").unwrap_or_else(|| "tag".to_owned()).as_bytes());
    if variable("GO").is_some() {
        println!("went {own_pid}");
        std::process::exit(0);
    }
    println!("dialled {own_pid}");
    let mut rest = [0; 64];
    loop {
        match stream.read(&mut rest) {
            Ok(0) if written.is_ok() => std::process::exit(CLOSED),
            Ok(0) => std::process::exit(CLOSED_UNREAD),
            Ok(_) => {}
            // A child that the process has from the shell it was may end; a wait with a time limit is not resumed.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => std::process::exit(CLOSED_UNREAD),
            Err(_) => std::process::exit(1),
        }
    }
}

/// A subreaper that runs a script below it and stays until its standard input ends.
fn keep() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("any process can be a subreaper");
    let command = role_command();
    let script = variable("SCRIPT").expect("the test gives a script");
    // Before any dialer can say something, which the test would pass over.
    println!("keeping");
    let mut child = std::process::Command::new("sh")
        .args(["-c", &script, "sh"])
        .args(command)
        .env("OUTRIGGER_TEST_ROLE", "dial")
        .env("OUTRIGGER_TEST_KEEPER", std::process::id().to_string())
        .stdin(Stdio::null())
        .spawn()
        .expect("sh can be started");
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
    drop(child.kill());
    drop(child.wait());
}

/// Listens, and says of one peer whether it is let in as one that is not below.
fn judge() {
    let socket = variable("SOCKET").expect("the test names a socket");
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket can be bound");
    println!("listening");
    let (stream, _) = listener.accept().expect("a peer dials");
    match super::peer::not_below(&stream, std::process::id()) {
        Ok(peer) => println!("verdict in {}", peer.peer().pid),
        Err(refused) => println!("verdict out {refused}"),
    }
}

/// Uses up its descriptors while a peer waits, and says whether that peer is accepted before and after some are freed, and
/// what the wait cost.
fn exhaust() {
    let path = PathBuf::from(variable("SOCKET").expect("the test names a socket"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket can be bound");
        let mut acceptor = super::accept::Acceptor::new(listener, "s".to_owned());
        let mut next = Box::pin(acceptor.next(|socket| super::peer::not_below(socket, 0)));
        let _peer = UnixStream::connect(&path).expect("it waits in the queue");
        let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("limits can be lowered");
        let used: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let mut polls = 0;
        let counted = std::future::poll_fn(|cx| {
            polls += 1;
            next.as_mut().poll(cx)
        });
        let waited = tokio::time::timeout(Duration::from_millis(500), counted).await.is_err();
        drop(used);
        let (_stream, peer) = next.await;
        println!("verdict waited={waited} cheap={} accepted={}", polls < 20, peer.peer().pid == std::process::id());
    });
}
