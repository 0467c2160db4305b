//! Tests of the store with real files, threads and processes.

mod crash;
mod damage;
mod durable;
mod full;
mod turns;

use std::future::Future;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use super::writer::Safety;
use super::{DATABASE, Options, SqliteStore};
use crate::domain::ids::PluginId;
use crate::domain::store::{FailureRecord, LaunchNote, PluginRecord, Store, StoreError};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory, Options::default()).expect("the store opens")
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("it ends in time")
}

fn plugin(name: &str) -> PluginId {
    name.parse().expect("an id")
}

fn note(number: u32) -> LaunchNote {
    LaunchNote { nonce: format!("{number:032x}"), boot_id: "7d3f6a3e-0000-4000-8000-000000000000".into() }
}

fn time(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

fn failure(number: u32) -> FailureRecord {
    FailureRecord {
        at: time(1_700_000_000_123 + u64::from(number)),
        generation: crate::domain::ids::Generation(u64::from(number)),
        cause: "crashed".into(),
        message: format!("It exited with status {number}."),
        phase: "ready".into(),
        exit: format!("exited with status {number}"),
        stderr_tail: vec!["one".into(), "two \"quoted\" \u{1}".into()],
        evidence: vec![format!("thread {number} waits in futex_wait")],
    }
}

fn large_failure(number: u32) -> FailureRecord {
    FailureRecord { evidence: vec!["x".repeat(8_000); 8], stderr_tail: vec!["y".repeat(8_000); 8], ..failure(number) }
}

async fn record(store: &SqliteStore, id: &str) -> PluginRecord {
    let records = within(store.load()).await.expect("it loads");
    records.into_iter().find(|record| record.plugin.as_str() == id).expect("the plugin is known")
}

/// Another process's connection, as far as SQLite can tell.
fn outside(directory: &Path) -> Connection {
    Connection::open(directory.join(DATABASE)).expect("it opens beside the store")
}

fn log_size(directory: &Path) -> u64 {
    directory.join(DATABASE).with_extension("db-wal").metadata().map_or(0, |metadata| metadata.len())
}

impl SqliteStore {
    /// Does something with the writer's own connection.
    async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        within(self.submit(None, Safety::Process, work)).await
    }

    /// Keeps the writer from its next turn until the guard is dropped. Ready once it does.
    async fn hold(&self) -> mpsc::Sender<()> {
        let (guard, dropped) = mpsc::channel::<()>();
        let (reached, at_it) = tokio::sync::oneshot::channel();
        let mut reached = Some(reached);
        let held = self.submit(None, Safety::Process, move |_| {
            if let Some(reached) = reached.take() {
                reached.send(()).expect("the test waits for it");
            }
            let _ = dropped.recv();
            Ok(())
        });
        tokio::spawn(held);
        within(at_it).await.expect("it runs");
        guard
    }
}
