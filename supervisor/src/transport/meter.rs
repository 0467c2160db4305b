//! The bound on bytes read from a plugin, and the hard end of a connection.
//!
//! Metering bytes bounds every flood of HTTP/2 frames at once, whatever they are. Ending the bytes is the only way to end
//! a connection for certain: an HTTP/2 server waits for its peer as long as one stream is open.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Highest rate, bytes a second. Keeps the arithmetic below in 64 bits; far above what a socket carries.
const RATE_MAX: u64 = 1 << 34;

/// Once empty, a bucket is left alone until it holds this part of a second's bytes: timers have a resolution of 1 ms, and
/// many small reads cost more than few large ones.
const RESTS_PER_SECOND: u64 = 200;

/// How much may be read, shared by the connections of a plugin. Full at first, and again after a quarter of a second.
///
/// One number without a lock. The bytes that have flowed in since the bucket was made are a clock (`flowed`); the bucket
/// remembers the reading of that clock at which it will be full again. Connections that read at the same time may
/// overdraw by one read each; the debt is paid before the next.
#[derive(Debug)]
pub struct Bucket {
    rate: u64,
    burst: u64,
    made: Instant,
    full_at: AtomicU64,
}

impl Bucket {
    /// Makes a full bucket: `rate` bytes a second (1 to 2³⁴, others are cut), at most a quarter of it at once.
    #[must_use]
    pub fn new(rate: u64) -> Arc<Self> {
        let rate = rate.clamp(1, RATE_MAX);
        Arc::new(Self { rate, burst: (rate / 4).max(1), made: Instant::now(), full_at: AtomicU64::new(0) })
    }

    /// Bytes that have flowed in since the bucket was made, those that ran over included.
    fn flowed(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.made);
        let part = u64::from(age.subsec_nanos()) * self.rate / 1_000_000_000;
        age.as_secs().saturating_mul(self.rate).saturating_add(part)
    }

    /// Bytes that may be read now.
    fn available(&self, now: Instant) -> u64 {
        let missing = self.full_at.load(Ordering::Relaxed).saturating_sub(self.flowed(now));
        self.burst.saturating_sub(missing)
    }

    /// Takes out what was read.
    fn take(&self, now: Instant, bytes: u64) {
        let flowed = self.flowed(now);
        let update = |full_at: u64| Some(full_at.max(flowed).saturating_add(bytes));
        // The update never declines.
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// When enough will be there for a read to be worth while. In the future always, so that nobody spins.
    fn rested(&self, now: Instant) -> Instant {
        let wanted = (self.rate / RESTS_PER_SECOND).clamp(1, self.burst);
        let enough_at = self.full_at.load(Ordering::Relaxed).saturating_add(wanted).saturating_sub(self.burst);
        let missing = enough_at.saturating_sub(self.flowed(now));
        let nanos = u128::from(missing) * 1_000_000_000 / u128::from(self.rate);
        now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).max(Duration::from_millis(1))
    }
}

/// Ends a connection from outside: whatever waits on it wakes, and every read and write fails. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Abort(Arc<Line>);

#[derive(Debug, Default)]
struct Line {
    aborted: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Abort {
    /// Ends the connection. May be called again.
    pub fn abort(&self) {
        self.0.aborted.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// Whether it was ended.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.aborted.load(Ordering::Acquire)
    }

    /// Whether the connection is there no more and nobody else could end it.
    pub(super) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Fails if the connection was ended.
    fn check(&self) -> io::Result<()> {
        if self.is_aborted() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Before waiting: registers the waker, then looks again, so that no end is missed.
    fn wait<T>(&self, waker: &AtomicWaker, cx: &Context<'_>) -> Poll<io::Result<T>> {
        waker.register(cx.waker());
        match self.check() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// A connection whose reading is metered and that can be ended from outside. Writing is passed on as it is.
#[derive(Debug)]
pub struct Metered<T> {
    inner: T,
    bucket: Arc<Bucket>,
    abort: Abort,
    /// Made when first needed; a well-behaved plugin never needs it.
    rest: Option<Pin<Box<Sleep>>>,
    resting: bool,
}

impl<T> Metered<T> {
    /// Wraps a connection. Must be polled by at most one reader and one writer.
    pub fn new(inner: T, bucket: Arc<Bucket>, abort: Abort) -> Self {
        Self { inner, bucket, abort, rest: None, resting: false }
    }

    /// Waits while resting, then says the time and how much may be read, at least one byte.
    fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<(Instant, u64)> {
        loop {
            if self.resting {
                if let Some(rest) = &mut self.rest {
                    ready!(rest.as_mut().poll(cx));
                }
                self.resting = false;
            }
            let now = Instant::now();
            match self.bucket.available(now) {
                0 => {
                    let until = self.bucket.rested(now);
                    match &mut self.rest {
                        Some(rest) => rest.as_mut().reset(until),
                        None => self.rest = Some(Box::pin(sleep_until(until))),
                    }
                    self.resting = true;
                }
                allowed => return Poll::Ready((now, allowed)),
            }
        }
    }
}

impl<T: AsyncRead + Unpin> Metered<T> {
    fn poll_metered(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, allowed) = ready!(self.poll_allowance(cx));
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        let before = buffer.filled().len();
        if buffer.remaining() <= allowed {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buffer.advance(read);
        }
        let read = buffer.filled().len().saturating_sub(before);
        self.bucket.take(now, read as u64);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.abort.check()?;
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match this.poll_metered(cx, buffer) {
            Poll::Pending => this.abort.wait(&this.abort.0.reader, cx),
            ready => ready,
        }
    }
}

impl<T: AsyncWrite + Unpin> Metered<T> {
    /// Polls something of the writing side, unless the connection was ended.
    fn poll_writing<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.abort.check()?;
        match poll(Pin::new(&mut self.inner), cx) {
            Poll::Pending => self.abort.wait(&self.abort.0.writer, cx),
            ready => ready,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_writing(cx, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_writing(cx, |inner, cx| inner.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_writing(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_writing(cx, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests;
