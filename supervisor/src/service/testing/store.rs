//! A store without a file.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::ids::{Generation, PluginId};
use crate::domain::launch::BoxFuture;
use crate::domain::store::{
    FailureRecord, KEPT_FAILURES, LaunchNote, PluginRecord, Quarantine, Remembered, Store, StoreError,
};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Well,
    /// It can write nothing.
    Full,
    /// It does not answer.
    Stuck,
}

/// Keeps everything in memory.
pub(crate) struct MemoryStore {
    records: Arc<Mutex<BTreeMap<PluginId, PluginRecord>>>,
    pub(crate) mood: watch::Sender<Mood>,
    /// How many times guards were to be remembered.
    pub(crate) guards_written: AtomicU32,
}

impl MemoryStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            records: Arc::default(),
            mood: watch::channel(Mood::Well).0,
            guards_written: AtomicU32::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PluginId, PluginRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it knows of a plugin.
    pub(crate) fn record(&self, id: &str) -> PluginRecord {
        let id: PluginId = id.parse().expect("an id");
        self.lock().get(&id).cloned().unwrap_or_else(|| empty(&id))
    }

    fn change<T: Send + 'static>(
        &self,
        plugin: PluginId,
        change: impl FnOnce(&mut PluginRecord) -> T + Send + 'static,
    ) -> BoxFuture<Result<T, StoreError>> {
        let (records, mut mood) = (Arc::clone(&self.records), self.mood.subscribe());
        Box::pin(async move {
            let mood = *mood.wait_for(|mood| *mood != Mood::Stuck).await.expect("the store lives");
            if mood == Mood::Full {
                return Err(StoreError::Unavailable("the disk is full".to_owned()));
            }
            let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
            let record = records.entry(plugin.clone()).or_insert_with(|| empty(&plugin));
            Ok(change(record))
        })
    }
}

fn empty(id: &PluginId) -> PluginRecord {
    PluginRecord {
        plugin: id.clone(),
        generation: Generation::default(),
        running: Vec::new(),
        quarantine: None,
        failures: Vec::new(),
        remembered: None,
        damage: Vec::new(),
    }
}

impl Store for MemoryStore {
    fn load(&self) -> BoxFuture<Result<Vec<PluginRecord>, StoreError>> {
        let records = self.lock().values().cloned().collect();
        Box::pin(std::future::ready(Ok(records)))
    }

    fn begin_launch(&self, plugin: PluginId, launch: LaunchNote) -> BoxFuture<Result<Generation, StoreError>> {
        self.change(plugin, |record| {
            record.generation = Generation(record.generation.0 + 1);
            record.running.push((record.generation, launch));
            record.generation
        })
    }

    fn end_launch(&self, plugin: PluginId, generation: Generation) -> BoxFuture<Result<(), StoreError>> {
        self.change(plugin, move |record| record.running.retain(|(running, _)| *running != generation))
    }

    fn add_failure(&self, plugin: PluginId, failure: FailureRecord) -> BoxFuture<Result<(), StoreError>> {
        self.change(plugin, |record| {
            record.failures.push(failure);
            let over = record.failures.len().saturating_sub(KEPT_FAILURES);
            record.failures.drain(..over);
        })
    }

    fn set_quarantine(&self, plugin: PluginId, quarantine: Option<Quarantine>) -> BoxFuture<Result<(), StoreError>> {
        self.change(plugin, |record| record.quarantine = quarantine)
    }

    fn remember_guards(&self, plugin: PluginId, remembered: Remembered) -> BoxFuture<Result<(), StoreError>> {
        self.guards_written.fetch_add(1, Ordering::Relaxed);
        self.change(plugin, |record| record.remembered = Some(remembered))
    }
}
