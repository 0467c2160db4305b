//! Accepting connections without spinning, and refusing them without reading.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::time::{Instant, sleep};

use super::peer::{PeerProcess, PeerRefused};
use super::socket::Socket;

/// How long to wait when the system has no descriptor or memory for a connection. It comes back to the same state until
/// someone closes something, so an immediate second attempt would spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Refusals in a second after which the next are slowed down.
const REFUSALS_AT_SPEED: u64 = 200;

/// How long to wait after each of those: at most 100 a second then, some 4 ms of work.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// A listening socket and what was refused on it.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: UnixListener,
    /// What the log calls it.
    label: String,
    refused: Arc<AtomicU64>,
    second: Option<Second>,
}

/// A second in which peers were refused.
#[derive(Debug)]
struct Second {
    began: Instant,
    refused: u64,
}

impl Acceptor {
    pub(super) fn new(listener: UnixListener, label: String) -> Self {
        Self { listener, label, refused: Arc::default(), second: None }
    }

    /// The next connection whose peer passes. A peer is judged before a byte is read; one that does not pass is closed,
    /// counted, and logged at most once a second. Cancel safe: a connection is either given or still in the queue.
    pub(super) async fn next(
        &mut self,
        judge: impl Fn(BorrowedFd<'_>) -> Result<PeerProcess, PeerRefused>,
    ) -> (Socket, PeerProcess) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match judge(stream.as_fd()) {
                    Ok(peer) => match Socket::new(stream) {
                        Ok(socket) => return (socket, peer),
                        Err(error) => self.exhausted(&error).await,
                    },
                    Err(refusal) => {
                        drop(stream);
                        if self.note(&refusal) {
                            sleep(REFUSED_PAUSE).await;
                        }
                    }
                },
                // The peer went before its turn came.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                }
                Err(error) => self.exhausted(&error).await,
            }
        }
    }

    async fn exhausted(&self, error: &io::Error) {
        tracing::warn!(socket = %self.label, %error, "cannot accept a connection now");
        sleep(EXHAUSTED_PAUSE).await;
    }

    /// Counts the peers refused; to be read only.
    pub(super) fn refused(&self) -> &Arc<AtomicU64> {
        &self.refused
    }

    /// Counts a refusal, logs the first of each second. Whether to slow down.
    fn note(&mut self, refusal: &PeerRefused) -> bool {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        match &mut self.second {
            Some(second) if now.duration_since(second.began) < Duration::from_secs(1) => second.refused += 1,
            _ => {
                self.second = Some(Second { began: now, refused: 1 });
                tracing::warn!(socket = %self.label, refused, "refused a peer: {refusal}");
            }
        }
        self.second.as_ref().is_some_and(|second| second.refused > REFUSALS_AT_SPEED)
    }
}

#[cfg(test)]
mod tests {
    use crate::transport::testing::{Plan, directory, limited};

    #[tokio::test]
    async fn a_process_without_descriptors_waits_and_goes_on() {
        limited(async {
            // A process of its own, as the limit would hit other tests.
            let base = directory();
            let plan = Plan::role("exhaust").variable("SOCKET", base.path().join("s"));
            let verdict = plan.start().said("verdict").await;
            assert_eq!(verdict, "waited=true cheap=true accepted=true");
        })
        .await;
    }
}
