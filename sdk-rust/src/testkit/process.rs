//! A plugin's program under test.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use super::LIMIT;

/// How much of standard error is kept.
const MOST_OUTPUT: usize = 64 * 1_024;

/// A running program. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    output: Arc<Mutex<VecDeque<u8>>>,
    reader: JoinHandle<()>,
    _directory: SocketDirectory,
}

impl Process {
    pub(super) fn start(
        mut command: Command,
        environment: impl IntoIterator<Item = (&'static str, PathBuf)>,
        directory: SocketDirectory,
    ) -> io::Result<Self> {
        command.envs(environment).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let stderr = child.stderr.take();
        let reader = tokio::spawn(keep(stderr, output.clone()));
        Ok(Self { child, output, reader, _directory: directory })
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, and for the end of what it wrote.
    pub(super) async fn wait(&mut self) -> ExitStatus {
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await.expect("the program ends");
        // A child of the program may hold the pipe; it is not waited for long.
        let _ = tokio::time::timeout(LIMIT / 10, &mut self.reader).await;
        status.expect("the program can be waited for")
    }

    pub(super) fn stderr(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output.iter().copied().collect::<Vec<_>>()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Keeps the last of what is written.
async fn keep(stderr: Option<ChildStderr>, output: Arc<Mutex<VecDeque<u8>>>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = vec![0; 4_096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        output.extend(&buffer[..read]);
        let over = output.len().saturating_sub(MOST_OUTPUT);
        output.drain(..over);
    }
}

/// A directory of its own for a socket, removed with it.
pub(super) struct SocketDirectory(PathBuf);

impl SocketDirectory {
    pub(super) fn make() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outrigger-testkit-{}-{number}", std::process::id()));
        // One that is there was left by a process that had this id before.
        let _ = fs::remove_dir_all(&path);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
