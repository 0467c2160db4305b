//! HTTP/2 frames by hand: as little as the faults need (RFC 9113 sections 4 and 6, RFC 7541 sections 5 and 6).

use bytes::{BufMut as _, Bytes, BytesMut};

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// Bytes of the client's connection preface, before its first frame.
pub(crate) const PREFACE_LEN: usize = 24;
/// Bytes of a frame's header.
pub(crate) const HEADER_LEN: usize = 9;
/// The longest payload a peer takes that has not said otherwise.
const MAX_PAYLOAD: usize = 16_384;
/// Streams of the faults begin here, far above those of the ordinary client on the same connection.
pub(crate) const FIRST_STREAM: u32 = 0x0010_0001;

/// What the header of a frame says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) len: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Header {
    pub(crate) fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = *bytes;
        Self {
            len: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        }
    }
}

fn put(out: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let len = payload.len().to_be_bytes();
    out.put_slice(&len[len.len() - 3..]);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
    out.put_slice(payload);
}

/// A gRPC message on the session's stream, whatever its bytes.
pub(crate) fn message(stream: u32, content: &[u8]) -> Bytes {
    let mut payload = BytesMut::new();
    payload.put_u8(0);
    payload.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    payload.put_slice(content);
    let mut out = BytesMut::new();
    put(&mut out, DATA, 0, stream, &payload);
    out.freeze()
}

/// SETTINGS frames, each setting the receive window of streams.
pub(crate) fn settings(count: u32, initial_window: u32) -> Bytes {
    let mut payload = BytesMut::new();
    payload.put_u16(0x4); // SETTINGS_INITIAL_WINDOW_SIZE
    payload.put_u32(initial_window);
    let mut out = BytesMut::new();
    for _ in 0..count {
        put(&mut out, SETTINGS, 0, 0, &payload);
    }
    out.freeze()
}

/// PING frames with rising contents.
pub(crate) fn pings(count: u32) -> Bytes {
    let mut out = BytesMut::new();
    for number in 0..count {
        put(&mut out, PING, 0, 0, &u64::from(number).to_be_bytes());
    }
    out.freeze()
}

/// Streams that are opened and reset at once (the shape of CVE-2023-44487).
pub(crate) fn resets(count: u32) -> Bytes {
    let block = request();
    let mut out = BytesMut::new();
    for number in 0..count {
        let stream = FIRST_STREAM + 2 * number;
        put(&mut out, HEADERS, END_HEADERS, stream, &block);
        put(&mut out, RST_STREAM, 0, stream, &8_u32.to_be_bytes()); // CANCEL
    }
    out.freeze()
}

/// A stream whose header list has about `size` bytes.
pub(crate) fn large_headers(size: usize) -> Bytes {
    let mut block = BytesMut::from(&request()[..]);
    while block.len() < size {
        field(&mut block, "x-flood", &"f".repeat(1000));
    }
    let block = block.freeze();
    let mut out = BytesMut::new();
    let chunks = block.len().div_ceil(MAX_PAYLOAD);
    for (index, chunk) in block.chunks(MAX_PAYLOAD).enumerate() {
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let flags = if index + 1 == chunks { END_HEADERS } else { 0 };
        put(&mut out, kind, flags, FIRST_STREAM, chunk);
    }
    out.freeze()
}

/// A stream whose headers do not end: `count` CONTINUATION frames follow, none with END_HEADERS.
pub(crate) fn endless_headers(count: u32) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, HEADERS, 0, FIRST_STREAM, &request());
    let mut block = BytesMut::new();
    field(&mut block, "x-flood", "f");
    for _ in 0..count {
        put(&mut out, CONTINUATION, 0, FIRST_STREAM, &block);
    }
    out.freeze()
}

/// The header block of a Session request. Nothing in it enters the peer's table, so the ordinary client's stays in step.
fn request() -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/outrigger.plugin.v1.PluginService/Session"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        field(&mut block, name, value);
    }
    block.freeze()
}

/// A literal field without indexing, with a literal name, not compressed.
fn field(out: &mut BytesMut, name: &str, value: &str) {
    out.put_u8(0);
    for text in [name, value] {
        length(out, text.len());
        out.put_slice(text.as_bytes());
    }
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn length(out: &mut BytesMut, value: usize) {
    const PREFIX: usize = 0x7f;
    if value < PREFIX {
        out.put_u8(value as u8);
        return;
    }
    out.put_u8(PREFIX as u8);
    let mut rest = value - PREFIX;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
