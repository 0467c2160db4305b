//! The least that a start can cost: the plugin's own program, started plainly, and one byte of it.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Instant;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::super::Result;
use super::super::host::{Orders, unknown};
use super::super::measure::{Numbers, numbers};

pub(super) async fn host() -> Result<()> {
    Orders::open()?
        .serve(async |order| match order["do"].as_str() {
            Some("spawn") => spawn().await,
            _ => Err(unknown(order)),
        })
        .await
}

async fn spawn() -> Result<Numbers> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-plugin"));
    command.arg("--byte").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let read = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?.read_u8().await;
    let ready = begin.elapsed().as_nanos() as f64;
    child.kill()?;
    child.wait()?;
    read?;
    Ok(numbers([("ready", ready)]))
}
