//! One end of an in-memory connection that ends when its process does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A plugin's end: it is closed, as the kernel does, when the token is cancelled.
pub(crate) struct Cut {
    stream: Option<DuplexStream>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Cut {
    pub(crate) fn new(stream: DuplexStream, token: &CancellationToken) -> Self {
        Self { stream: Some(stream), cut: Box::pin(token.clone().cancelled_owned()) }
    }

    fn stream(&mut self, context: &mut Context<'_>) -> Option<Pin<&mut DuplexStream>> {
        if self.cut.as_mut().poll(context).is_ready() {
            self.stream = None;
        }
        self.stream.as_mut().map(Pin::new)
    }
}

fn gone() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

impl AsyncRead for Cut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream(cx).map_or(Poll::Ready(Ok(())), |stream| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream(cx).map_or(gone(), |stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(cx).map_or(Poll::Ready(Ok(())), |stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(cx).map_or(Poll::Ready(Ok(())), |stream| stream.poll_shutdown(cx))
    }
}
