//! `shutdown`: stops the supervisor, and waits until its process is gone.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use outrigger_proto::admin::v1 as admin;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::ShutdownArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

#[derive(Serialize)]
struct Document {
    pid: u32,
    /// The process is gone. False: it was not waited for.
    stopped: bool,
}

/// Stops the supervisor.
pub(in crate::cli) async fn shutdown(context: &mut Context<'_>, args: ShutdownArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let pid = context.wait(client.get_supervisor(admin::GetSupervisorRequest {})).await?.pid;
    // Held before it is asked to stop, so that its number cannot be another process by then.
    let process = if args.no_block { None } else { hold(pid) };
    context.wait(client.stop_supervisor(admin::StopSupervisorRequest { timeout: None })).await?;
    let stopped = match &process {
        Some(process) => gone(process, context.global.timeout())?,
        None => false,
    };
    if context.global.json {
        context.document(&Document { pid, stopped })?;
    } else if stopped {
        context.line(format!("the supervisor, pid {pid}, has stopped"))?;
    } else if args.no_block {
        context.line(format!("the supervisor, pid {pid}, is stopping"))?;
    } else {
        context.line(format!("the supervisor, pid {pid}, is stopping; it cannot be waited for from here"))?;
    }
    Ok(Exit::Done)
}

/// A descriptor that is readable once the process has ended. `None`: it cannot be seen from here (another namespace), or
/// the kernel has no such descriptors.
fn hold(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits until the process has ended. Nothing else is left to do here, so the thread may wait.
fn gone(process: &OwnedFd, limit: Duration) -> Result<bool, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {
                return Err(Failure::new(Exit::TimedOut, "the supervisor is stopping and not gone yet")
                    .remedy("give it longer with --timeout"));
            }
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the supervisor's process cannot be waited for: {error}"),
                ));
            }
        }
    }
}
