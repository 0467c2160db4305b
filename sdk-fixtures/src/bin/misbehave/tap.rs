//! A socket between the ordinary gRPC client and the host, which lets a fault speak on the very same connection.
//!
//! Bytes of the client pass frame by frame; between two frames a fault can put its own. What the host sends in answer to
//! those (acknowledged settings, streams the client never opened) is taken out, so that the client stays calm and it is
//! the host that is tested.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

use crate::frames::{ACK, DATA, FIRST_STREAM, HEADER_LEN, Header, PREFACE_LEN, SETTINGS, WINDOW_UPDATE};

/// Bytes that may wait for the socket before the client is held back.
const MAX_WAITING: usize = 256 * 1024;

/// The client's side of the socket.
pub(crate) struct Tap {
    socket: UnixStream,
    control: Control,
    outgoing: Passage,
    incoming: Passage,
    /// Bytes for the host.
    out: BytesMut,
    /// Bytes for the client.
    read: BytesMut,
    /// Told when what a fault put into `out` has left.
    waiting: Vec<oneshot::Sender<()>>,
    /// The host has acknowledged the client's own settings.
    acknowledged: bool,
}

/// What a fault does to a [`Tap`].
#[derive(Clone, Default)]
pub(crate) struct Control(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    message_left: Notify,
}

#[derive(Default)]
struct State {
    injections: VecDeque<(Bytes, oneshot::Sender<()>)>,
    connection: Option<Waker>,
    deaf: bool,
    window_closed: bool,
    injected: bool,
    ended: bool,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes between two frames; returns when the socket has taken them all.
    ///
    /// # Errors
    /// When the connection has ended before that.
    pub(crate) async fn inject(&self, bytes: Bytes) -> io::Result<()> {
        let (done, left) = oneshot::channel();
        let waker = {
            let mut state = self.lock();
            if state.ended {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            state.injected = true;
            state.injections.push_back((bytes, done));
            state.connection.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        left.await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }

    /// From now on nothing is read from the socket.
    pub(crate) fn deafen(&self) {
        self.lock().deaf = true;
    }

    /// From now on the client opens no window.
    pub(crate) fn close_window(&self) {
        self.lock().window_closed = true;
    }

    /// Waits until the first message of the client has left.
    pub(crate) async fn message_left(&self) {
        self.0.message_left.notified().await;
    }
}

impl Tap {
    pub(crate) fn new(socket: UnixStream, control: Control) -> Self {
        Self {
            socket,
            control,
            outgoing: Passage { preface: PREFACE_LEN, ..Passage::default() },
            incoming: Passage::default(),
            out: BytesMut::new(),
            read: BytesMut::new(),
            waiting: Vec::new(),
            acknowledged: false,
        }
    }

    /// Takes what faults want to say, if the client is between two frames.
    fn take_injections(&mut self) {
        if !self.outgoing.between_frames() {
            return;
        }
        let mut state = self.control.lock();
        while let Some((bytes, done)) = state.injections.pop_front() {
            self.out.extend_from_slice(&bytes);
            self.waiting.push(done);
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
            self.out.advance(sent);
        }
        for done in self.waiting.drain(..) {
            let _ = done.send(());
        }
        if self.outgoing.messages > 0 && self.outgoing.between_frames() {
            self.control.0.message_left.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut state = self.control.lock();
        state.ended = true;
        state.injections.clear();
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        if tap.out.len() > MAX_WAITING {
            ready!(tap.poll_drain(cx))?;
        }
        let window_closed = tap.control.lock().window_closed;
        tap.outgoing.pass(bytes, &mut tap.out, |frame| !(window_closed && frame.kind == WINDOW_UPDATE));
        tap.take_injections();
        if let Poll::Ready(Err(error)) = tap.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        ready!(tap.poll_drain(cx))?;
        Pin::new(&mut tap.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        let (deaf, filtered) = {
            let mut state = tap.control.lock();
            state.connection = Some(cx.waker().clone());
            (state.deaf, state.injected)
        };
        tap.take_injections();
        if let Poll::Ready(Err(error)) = tap.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        if deaf {
            return Poll::Pending;
        }
        while tap.read.is_empty() {
            let mut bytes = [0; 8192];
            let mut chunk = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut tap.socket).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let acknowledged = &mut tap.acknowledged;
            tap.incoming.pass(chunk.filled(), &mut tap.read, |frame| {
                // The first acknowledgement is for the client's own settings.
                let acknowledges = frame.kind == SETTINGS && frame.flags & ACK != 0;
                let foreign = acknowledges && *acknowledged;
                *acknowledged |= acknowledges;
                !(filtered && (foreign || frame.stream >= FIRST_STREAM))
            });
        }
        let len = tap.read.len().min(buffer.remaining());
        buffer.put_slice(&tap.read.split_to(len));
        Poll::Ready(Ok(()))
    }
}

/// One direction of the connection: where in a frame it is.
#[derive(Default)]
struct Passage {
    /// Bytes of the preface still to come.
    preface: usize,
    header: [u8; HEADER_LEN],
    /// Bytes of `header` that are there.
    have: usize,
    /// Bytes of the payload still to come.
    payload: usize,
    /// The payload is of a frame that passes.
    keep: bool,
    /// Frames begun.
    frames: u64,
    /// DATA frames begun.
    messages: u64,
}

impl Passage {
    /// The preface and a whole number of frames, one or more, have passed.
    fn between_frames(&self) -> bool {
        self.preface == 0 && self.have == 0 && self.payload == 0 && self.frames > 0
    }

    /// Passes bytes on, without the frames that are not to be kept.
    fn pass(&mut self, mut bytes: &[u8], out: &mut BytesMut, mut keep: impl FnMut(&Header) -> bool) {
        while !bytes.is_empty() {
            if self.preface > 0 {
                let len = self.preface.min(bytes.len());
                out.extend_from_slice(&bytes[..len]);
                self.preface -= len;
                bytes = &bytes[len..];
            } else if self.payload > 0 {
                let len = self.payload.min(bytes.len());
                if self.keep {
                    out.extend_from_slice(&bytes[..len]);
                }
                self.payload -= len;
                bytes = &bytes[len..];
            } else {
                self.header[self.have] = bytes[0];
                self.have += 1;
                bytes = &bytes[1..];
                if self.have == HEADER_LEN {
                    let header = Header::read(&self.header);
                    self.have = 0;
                    self.payload = header.len;
                    self.keep = keep(&header);
                    self.frames += 1;
                    self.messages += u64::from(header.kind == DATA);
                    if self.keep {
                        out.extend_from_slice(&self.header);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;

    #[test]
    fn a_passage_keeps_whole_frames_however_they_are_cut() {
        let mut all = BytesMut::from(&[0_u8; PREFACE_LEN][..]);
        all.extend_from_slice(&frames::settings(1, 7));
        let kept = all.len();
        all.extend_from_slice(&frames::pings(2));
        for step in 1..all.len() {
            let mut passage = Passage { preface: PREFACE_LEN, ..Passage::default() };
            let mut out = BytesMut::new();
            for part in all.chunks(step) {
                passage.pass(part, &mut out, |frame| frame.kind == SETTINGS);
            }
            assert_eq!(out, all[..kept], "in parts of {step}");
            assert!(passage.between_frames());
        }
    }
}
