//! Bounds: how long a test may take, and how many worlds there are at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Worlds at once in one test program. Each has a dozen processes or more, and the machines have few cores.
const WORLDS: usize = 3;

/// Runs a test, at most so long.
///
/// # Panics
/// The time is over.
pub async fn within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, test).await {
        Ok(done) => done,
        Err(_) => unreachable!("the test took longer than {limit:?}"),
    }
}

/// Takes a place for a world; waits for one.
pub(crate) async fn place() -> OwnedSemaphorePermit {
    static PLACES: std::sync::OnceLock<Arc<Semaphore>> = std::sync::OnceLock::new();
    let places = PLACES.get_or_init(|| Arc::new(Semaphore::new(WORLDS)));
    Arc::clone(places).acquire_owned().await.expect("the places are never closed")
}
