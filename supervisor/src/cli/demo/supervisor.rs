//! The demonstration's supervisor: `outrigger run` as a child process in a group of its own.

use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::files::{Directory, own_program};
use crate::cli::Global;
use crate::cli::connection::{self, Admin};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// Time until its socket answers. It needs some 50 ms; a busy machine gets far more.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How often the socket is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// A running supervisor. Dropping it kills it; its keepers then end the plugins.
pub(super) struct Supervisor {
    child: Child,
    pid: u32,
}

impl Supervisor {
    /// Starts it; it may not answer yet.
    pub(super) fn start(directory: &Directory) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(Exit::Failed, format!("the supervisor cannot be started: {error}"));
        let log = File::create(directory.log()).map_err(failed)?;
        let mut command = Command::new(own_program()?);
        command.arg("run").arg("--config").arg(directory.config());
        command.arg("--runtime-dir").arg(directory.runtime_dir()).arg("--state-dir").arg(directory.state_dir());
        command.args(["--log-format", "text", "--color", "never"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        // Its own group: Ctrl-C is for the demonstration, which then stops it in order.
        let child = command.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
        let pid = child.id().unwrap_or_default();
        Ok(Self { child, pid })
    }

    /// Process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until its admin socket answers.
    pub(super) async fn answers(&mut self, global: &Global) -> Result<Admin, Failure> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match connection::admin(global).await {
                Ok(client) => return Ok(client),
                Err(failure) if Instant::now() >= deadline => return Err(failure),
                Err(_) => {}
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::new(Exit::Failed, format!("the supervisor ended at once: {status}")));
            }
            sleep(TRY_EVERY).await;
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        timeout(limit, self.child.wait()).await.ok()?.ok()
    }

    /// Waits until it has ended, however long that takes.
    pub(super) async fn left(&mut self) {
        // A child that cannot be waited for is not there.
        let _ = self.child.wait().await;
    }

    /// Ends it, whatever it does, and reaps it. Nothing happens where it has ended.
    pub(super) async fn kill(mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // In order first: SIGTERM drains.
            let _ = kill_process_group(group, Signal::TERM);
            if self.ended(Duration::from_secs(5)).await.is_some() {
                return;
            }
        }
        let _ = self.child.kill().await;
    }
}
