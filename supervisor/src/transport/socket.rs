//! A connected Unix socket that wakes its process only for what it waits for.
//!
//! An event loop usually asks the kernel to be told when a socket can be read and when it can be written. A Unix socket
//! then wakes its process each time the *other* side reads, as room has become free: twice as many wake-ups as there are
//! messages, and on another processor each costs more than the message itself. This one asks for room only while it
//! waits for some. (A needless wake-up has one use: it keeps the processor awake. The supervisor looks by itself for a
//! moment instead, see `service/busy_poll.rs`; plugins sleep, so the SDK has the event loop's own sockets.)

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, sendmsg, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// A connected stream socket. Dropping it closes it.
pub struct Socket {
    /// Reads; asks to be told when there is something.
    reader: pipe::Receiver,
    /// There: the last write found no room, and this ends when there is some.
    room: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
}

impl Socket {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// The event loop does not take it: too many descriptors.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver enabled.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        // It is in non-blocking mode, as tokio had it.
        let socket = OwnedFd::from(stream.into_std()?);
        Ok(Self { reader: pipe::Receiver::from_owned_fd_unchecked(socket)?, room: None })
    }

    /// Ends when the socket may have room again.
    fn wait_for_room(&self) -> io::Result<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>> {
        // The event loop knows a descriptor once, so what waits has one of its own.
        let writer = pipe::Sender::from_owned_fd_unchecked(self.as_fd().try_clone_to_owned()?)?;
        Ok(Box::pin(async move { writer.writable().await }))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The kernel takes no more than this many in one call.
        let slices = slices.get(..1024).unwrap_or(slices);
        loop {
            if let Some(room) = &mut self.room {
                let waited = ready!(room.as_mut().poll(cx));
                self.room = None;
                waited?;
            }
            // Without SIGPIPE, whatever the process does about it.
            match sendmsg(self.as_fd(), slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => self.room = Some(self.wait_for_room()?),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(self.as_fd(), Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream as Blocking;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Far more than the buffers of a socket hold.
    const MUCH: usize = 8 * 1024 * 1024;

    fn pair() -> (Socket, Blocking) {
        let (ours, theirs) = Blocking::pair().expect("a pair");
        ours.set_nonblocking(true).expect("it is set");
        let ours = UnixStream::from_std(ours).expect("the event loop takes it");
        (Socket::new(ours).expect("the event loop takes it"), theirs)
    }

    async fn within<T>(test: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("it ends in time")
    }

    #[tokio::test]
    async fn much_is_written_while_the_other_side_reads_and_all_of_it_arrives() {
        within(async {
            let (mut ours, mut theirs) = pair();
            let wanted: Vec<u8> = (0..MUCH).map(|index| (index % 251) as u8).collect();
            let reader = std::thread::spawn(move || {
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).map(|_| all)
            });
            ours.write_all(&wanted).await.expect("written");
            ours.shutdown().await.expect("shut down");
            let all = reader.join().expect("no panic").expect("read");
            assert_eq!(all.len(), MUCH);
            assert!(all == wanted, "in order");
            assert_eq!(ours.read(&mut [0; 8]).await.expect("the other side is gone"), 0);
        })
        .await;
    }

    #[tokio::test]
    async fn what_was_sent_before_the_end_is_read_and_writing_to_nobody_fails() {
        within(async {
            let (mut ours, theirs) = pair();
            {
                use std::io::Write as _;
                (&theirs).write_all(b"last words").expect("written");
            }
            drop(theirs);
            let mut words = Vec::new();
            ours.read_to_end(&mut words).await.expect("read");
            assert_eq!(words, b"last words");
            let error = ours.write_all(b"?").await.expect_err("nobody is there");
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        })
        .await;
    }

    #[tokio::test]
    async fn a_writer_without_room_waits_and_fails_when_its_peer_goes() {
        within(async {
            let (mut ours, theirs) = pair();
            let writes = tokio::spawn(async move { ours.write_all(&vec![0; MUCH]).await });
            while !writes.is_finished() {
                // Full when the kernel says so; then the peer goes without having read.
                if rustix::event::poll(
                    &mut [rustix::event::PollFd::new(&theirs, rustix::event::PollFlags::IN)],
                    Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }),
                ) == Ok(1)
                {
                    break;
                }
                tokio::task::yield_now().await;
            }
            assert!(!writes.is_finished(), "so much has no room");
            drop(theirs);
            assert!(writes.await.expect("no panic").is_err());
        })
        .await;
    }

    /// How often this thread's event loop goes to sleep while the other side reads, one by one, what it was sent.
    async fn sleeps_while_read<S: AsyncRead + AsyncWrite + Unpin>(mut ours: S, mut theirs: Blocking) -> u64 {
        const MESSAGES: usize = 100;
        for _ in 0..MESSAGES {
            ours.write_all(b"m").await.expect("written");
        }
        let metrics = tokio::runtime::Handle::current().metrics();
        let before = metrics.worker_park_count(0);
        let reader = std::thread::spawn(move || {
            for _ in 0..MESSAGES {
                theirs.read_exact(&mut [0]).expect("read");
                // Long enough for the other thread to have gone to sleep again.
                std::thread::sleep(Duration::from_millis(1));
            }
            std::io::Write::write_all(&mut theirs, b"!").expect("written");
            theirs
        });
        ours.read_exact(&mut [0]).await.expect("read");
        drop(reader.join());
        metrics.worker_park_count(0) - before
    }

    #[tokio::test]
    async fn nobody_is_woken_because_the_other_side_reads() {
        within(async {
            let (ours, theirs) = pair();
            let quiet = sleeps_while_read(ours, theirs).await;
            assert!(quiet <= 5, "slept {quiet} times; an ordinary stream does each time something is read");
        })
        .await;
    }
}
