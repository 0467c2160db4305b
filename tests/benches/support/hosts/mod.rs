//! The hosts: each is one process, and measures one way of calling another.

mod bare;
mod burst;
mod events;
mod flood;
mod floor;
mod keepers;
mod lives;
mod marks;
mod operator;
mod runtime;
mod spread;
#[path = "../../programs/stream.rs"]
mod stream;
mod supervisor;
mod unary;

use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};

use super::Result;

/// Bytes of the event in a call, where no other number is asked for.
pub(crate) const EVENT_BYTES: usize = 256;

/// Runs a host until nobody asks it any more.
pub(crate) fn run(role: &str, directory: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match role {
            "bare" | "relay" => bare::host(role, directory).await,
            "bare beside" => bare::host_beside(directory).await,
            "short" => bare::host_short(directory).await,
            "burst" => burst::host(directory).await,
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

/// The event of a call: a tool call as a runtime sends it, of so many bytes.
pub(crate) fn event(bytes: usize) -> Bytes {
    let head = r#"{"toolName":"exec","toolCallId":"call-1","runId":"run-1","params":{"command":"echo "#;
    let tail = r#""}}"#;
    let padding = "x".repeat(bytes - head.len() - tail.len());
    Bytes::from(format!("{head}{padding}{tail}"))
}

/// The event that an order wants.
fn event_of(order: &Value) -> Result<Bytes> {
    let bytes = order["bytes"].as_u64().map(usize::try_from).transpose()?;
    Ok(event(bytes.unwrap_or(EVENT_BYTES)))
}

/// Starts the other process of a comparator, and takes its connection.
async fn peer(role: &str, directory: &Path) -> Result<(Child, UnixStream)> {
    let socket = directory.join(format!("{role}.sock"));
    let listener = UnixListener::bind(&socket)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-peer"));
    command.arg(role).arg(&socket).stdin(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn()?;
    let (connection, _) = listener.accept().await?;
    // There may be another of the role.
    std::fs::remove_file(socket)?;
    Ok((child, connection))
}
