//! Faults below gRPC.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::frames;
use crate::link::Failure;
use crate::plugin::Plugin;
use crate::report::report;

/// Most frames of a flood.
const MAX_COUNT: u32 = 200_000;
/// How long the host may take to read what a fault sends.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first request of a connection has this stream.
const SESSION_STREAM: u32 = 1;

/// Strikes on the session's connection.
pub(crate) async fn strike(plugin: &Plugin, fault: &str) {
    let count = |default| plugin.arguments.number("count", default, MAX_COUNT);
    let tap = &plugin.link.tap;
    let (what, bytes) = match fault {
        "never-read" => {
            tap.deafen();
            report!("reads no more");
            return;
        }
        "not-protobuf" => ("a message that is no protobuf".to_owned(), frames::message(SESSION_STREAM, &[0xff; 64])),
        "random-bytes" => ("65536 random bytes".to_owned(), random_bytes(65_536)),
        "settings-flood" => (format!("{} SETTINGS frames", count(10_000)), frames::settings(count(10_000), 65_535)),
        "ping-flood" => (format!("{} PING frames", count(10_000)), frames::pings(count(10_000))),
        "reset-flood" => (format!("{} reset streams", count(5_000)), frames::resets(count(5_000))),
        "header-flood" => ("a header list of 1 MiB".to_owned(), frames::large_headers(1 << 20)),
        "continuation-flood" => {
            (format!("{} CONTINUATION frames", count(5_000)), frames::endless_headers(count(5_000)))
        }
        _ => {
            tap.close_window();
            ("a window of 0".to_owned(), frames::settings(1, 0))
        }
    };
    match timeout(PATIENCE, tap.inject(bytes)).await {
        Ok(Ok(())) => report!("sent {what}"),
        Ok(Err(_)) => report!("the connection ended before the host had taken {what}"),
        Err(_) => report!("the host did not take {what} within {} s", PATIENCE.as_secs()),
    }
}

/// Speaks HTTP/1.1 on a connection of its own.
pub(crate) async fn http1(socket: &Path) -> Result<(), Failure> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    report!("sent an HTTP/1.1 request");
    tokio::spawn(async move {
        let mut answer = Vec::new();
        let end = match timeout(PATIENCE, (&mut stream).take(4096).read_to_end(&mut answer)).await {
            Ok(Ok(_)) => "closed the connection".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "kept the connection open".to_owned(),
        };
        report!("the host sent {} bytes and then: {end}", answer.len());
    });
    Ok(())
}

/// Bytes of a linear congruential generator (Knuth's MMIX constants) with a fixed seed.
fn random_bytes(len: usize) -> Bytes {
    let mut state = 0x0dd0_5eed_u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}
