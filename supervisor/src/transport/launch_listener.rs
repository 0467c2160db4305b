//! Accepts the connections of one launch.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::accept::Acceptor;
use super::meter::{Abort, Bucket, Metered};
use super::peer::{self, Process};
use super::private_dir::{Place, PrivateDir};
use crate::domain::launch::Connection;

/// Connections waiting to be taken. One launch may have so many that are not yet welcomed.
const WAITING_MAX: usize = 4;

/// Accepts on a launch's socket, in a task, until the guard or the receiver is dropped.
///
/// Given are connections whose peer descends from the keeper, decided before a byte is read. While four wait to be taken
/// no other is accepted. To be called inside a tokio runtime, while the keeper lives or has not been reaped.
///
/// # Errors
/// There is no such keeper, or the socket cannot be watched. Socket and directory are removed.
pub fn listen(
    directory: PrivateDir,
    keeper_pid: u32,
    bucket: Arc<Bucket>,
) -> io::Result<(mpsc::Receiver<Connection>, ListenerGuard)> {
    let keeper = Process::pin(keeper_pid)?;
    let (listener, place) = directory.into_parts();
    let mut acceptor = Acceptor::new(UnixListener::from_std(listener)?, place.path().display().to_string());
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let refused = Arc::clone(acceptor.refused());
    let connections = Arc::new(Given::default());
    let given = Arc::clone(&connections);
    let task = tokio::spawn(async move {
        // First a place for it, then the connection: what is accepted can be given.
        while let Ok(place) = sender.reserve().await {
            let judge = |socket: BorrowedFd<'_>| peer::descends_from(socket, &keeper);
            let (stream, process) = tokio::select! {
                accepted = acceptor.next(judge) => accepted,
                () = sender.closed() => break,
            };
            let abort = Abort::default();
            given.keep(&abort);
            place.send(Connection {
                io: Box::new(Metered::new(stream, Arc::clone(&bucket), abort)),
                peer: process.peer(),
                peer_gone: Box::pin(async move { process.gone().await }),
            });
        }
    });
    Ok((receiver, ListenerGuard { task, refused, connections, place }))
}

/// Keeps a launch's socket open. Dropping it ends every connection the socket gave, stops accepting, and removes socket
/// and directory.
#[derive(Debug)]
pub struct ListenerGuard {
    task: JoinHandle<()>,
    refused: Arc<AtomicU64>,
    connections: Arc<Given>,
    place: Place,
}

impl ListenerGuard {
    /// Absolute path of the private directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Peers that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Ends every connection, those given so far and any further one: reads and writes fail from now on.
    pub fn abort_connections(&self) {
        self.connections.end();
    }
}

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        self.task.abort();
        self.connections.end();
    }
}

/// The connections that were given; `None` once they were ended.
#[derive(Debug)]
struct Given(Mutex<Option<Vec<Abort>>>);

impl Default for Given {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Given {
    /// Remembers a connection, forgets those that are gone. So it holds as many as the receiver keeps open.
    fn keep(&self, abort: &Abort) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(given) => {
                given.retain(|other| !other.is_last());
                given.push(abort.clone());
            }
            None => abort.abort(),
        }
    }

    fn end(&self) {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        given.iter().flatten().for_each(Abort::abort);
    }
}

#[cfg(test)]
mod tests;
