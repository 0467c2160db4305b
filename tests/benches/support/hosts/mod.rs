//! The hosts: each is one process, and measures one way of calling another.

mod bare;
mod floor;
mod keepers;
mod marks;
mod runtime;
#[path = "../../programs/stream.rs"]
mod stream;
mod supervisor;
mod unary;

use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};

use super::Result;

/// Bytes of the event in every call.
pub(crate) const EVENT_BYTES: usize = 256;

/// Runs a host until nobody asks it any more.
pub(crate) fn run(role: &str, directory: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match role {
            "bare" | "relay" => bare::host(role, directory).await,
            "short" => bare::host_short(directory).await,
            "raw" => unary::host_raw(directory).await,
            "unary" => unary::host(directory).await,
            "supervisor" => supervisor::host(directory).await,
            "runtime" => runtime::host(directory).await,
            "floor" => floor::host().await,
            "keepers" => keepers::host(directory).await,
            _ => Err(format!("no host `{role}`").into()),
        }
    })
}

/// The event of every call: a tool call as a runtime sends it.
pub(crate) fn event() -> Bytes {
    let head = r#"{"toolName":"exec","toolCallId":"call-1","runId":"run-1","params":{"command":"echo "#;
    let tail = r#""}}"#;
    let padding = "x".repeat(EVENT_BYTES - head.len() - tail.len());
    Bytes::from(format!("{head}{padding}{tail}"))
}

/// Starts the other process of a comparator, and takes its connection.
async fn peer(role: &str, directory: &Path) -> Result<(Child, UnixStream)> {
    let socket = directory.join(format!("{role}.sock"));
    let listener = UnixListener::bind(&socket)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-peer"));
    command.arg(role).arg(&socket).stdin(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn()?;
    let (connection, _) = listener.accept().await?;
    Ok((child, connection))
}
