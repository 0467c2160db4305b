//! What the tests of the services share: a launcher that starts no process, a plugin that follows a script over an
//! in-memory connection, a store without a file, and the services put together from them.
//!
//! Tests run with paused time: the clock moves only while everything waits, so a deadline of hours costs nothing, and a
//! test that hangs is ended by [`within`].

mod io;
mod keys;
mod launcher;
mod plugin;
mod spec;
mod store;
mod world;

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt as _;

pub(crate) use io::Cut;
pub(crate) use keys::{ADMIN_KEY, FakeKeys, RUNTIME_KEY};
pub(crate) use launcher::{FakeLaunch, FakeLauncher, FakeTree};
pub(crate) use plugin::{Called, Heard, Talk, allow, block, failed, hook, of_another_kind, params, register};
pub(crate) use spec::{broken, guard, settings, spec};
pub(crate) use store::{MemoryStore, Mood};
pub(crate) use world::{World, before_tool_call};

/// Longest time of a test on its own clock.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs a test's body with a limit.
pub(crate) async fn within<T>(body: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, body).await.expect("the test ends within its limit")
}

/// Lets everything run that can run without the clock.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// What a future has come to by now, if to anything.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    future.now_or_never()
}
