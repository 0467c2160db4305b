//! A supervisor in this process: the services of the contract on sockets in a temporary directory, with keys, and with
//! two plugins that never were.

mod admin;
mod runtime;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use outrigger_proto::admin::v1::admin_service_server::AdminServiceServer;
use outrigger_proto::runtime::v1::runtime_service_server::RuntimeServiceServer;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub(crate) use runtime::{Scene, interest};

/// The running fake. Dropping it ends it.
pub(crate) struct Fake {
    dir: TempDir,
    asked: Asked,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What was asked, one text each: the method and what matters of the request. Complaints begin with `!`.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("no writer panicked").push(what.into());
    }
}

impl Fake {
    /// Starts it with the scene that its runtime service plays, and a process that StopSupervisor ends.
    pub(crate) fn start_with(scene: Scene, process: Option<std::process::Child>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for below in ["run", "state/keys"] {
            fs::create_dir_all(dir.path().join(below)).expect("make a directory");
        }
        write_key(dir.path(), "state/admin.key", &line("admin", 'a'));
        write_key(dir.path(), "state/keys/default.key", &line("default", 'a'));
        let (admin, runtime) = (dir.path().join("run/admin.sock"), dir.path().join("run/runtime.sock"));
        let asked = Asked::default();
        let (notes, end) = (asked.clone(), oneshot::channel());
        let (listening, ready) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio.block_on(async move {
                let listen = |path: &Path| UnixListenerStream::new(UnixListener::bind(path).expect("bind"));
                let (admin, runtime) = (listen(&admin), listen(&runtime));
                listening.send(()).expect("the test waits");
                let operators = admin::Admin::new(notes.clone(), process);
                let operators = AdminServiceServer::with_interceptor(operators, |request| key(request, "admin"));
                let runtimes = runtime::Runtime::new(notes, scene);
                let runtimes = RuntimeServiceServer::with_interceptor(runtimes, |request| key(request, "default"));
                tokio::select! {
                    served = Server::builder().serve_with_incoming(operators, admin) => served.expect("serve"),
                    served = Server::builder().serve_with_incoming(runtimes, runtime) => served.expect("serve"),
                    _ = end.1 => {}
                }
            });
        });
        ready.recv_timeout(std::time::Duration::from_secs(10)).expect("it listens");
        Self { dir, asked, end: Some(end.0), thread: Some(thread) }
    }

    /// Starts it.
    pub(crate) fn start() -> Self {
        Self::start_with(Scene::default(), None)
    }

    /// Its directory: `run` has the sockets, `state` the keys.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.0.lock().expect("no writer panicked").clone()
    }

    /// Puts another key in the place of the admin key.
    pub(crate) fn change_admin_key(&self) {
        write_key(self.dir(), "state/admin.key", &line("admin", 'b'));
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(thread::panicking() || ended.is_ok(), "the fake panicked");
        }
    }
}

/// The line of a key, whose secret is this digit all over.
fn line(holder: &str, digit: char) -> String {
    format!("{holder}:{}", String::from(digit).repeat(64))
}

fn write_key(dir: &Path, name: &str, key: &str) {
    let path = dir.join(name);
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path).expect("open the key");
    std::io::Write::write_all(&mut &file, format!("{key}\n").as_bytes()).expect("write the key");
}

fn key(request: Request<()>, holder: &str) -> Result<Request<()>, Status> {
    match request.metadata().get("outrigger-key").and_then(|key| key.to_str().ok()) {
        Some(key) if key == line(holder, 'a') => Ok(request),
        _ => Err(refusal(Code::Unauthenticated, "KEY_INVALID", "the key is wrong", &[])),
    }
}

/// A status as the contract has it.
pub(crate) fn refusal(code: Code, reason: &str, message: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "outrigger", metadata);
    Status::with_error_details(code, message, details)
}
