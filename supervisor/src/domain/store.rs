//! What outlives the supervisor, as the services see it.
//!
//! Acknowledged means committed: a write survives any kill of any process as soon as its future is ready. Against power
//! loss see each method: *process-safe* writes may be lost with their successors, never without them.

use std::time::SystemTime;

use super::guard::Guard;
use super::ids::{Generation, PluginId};
use super::launch::BoxFuture;
use super::rights::Rights;

/// Failures kept for each plugin.
pub const KEPT_FAILURES: usize = 10;

/// The durable state.
pub trait Store: Send + Sync {
    /// Everything known of all plugins, ordered by id. Read once, at start.
    fn load(&self) -> BoxFuture<Result<Vec<PluginRecord>, StoreError>>;
    /// Takes the next generation of a plugin and notes the launch as running. Process-safe: every durable row that
    /// names a generation is committed after it.
    fn begin_launch(&self, plugin: PluginId, launch: LaunchNote) -> BoxFuture<Result<Generation, StoreError>>;
    /// Notes that nothing is left of a launch. Process-safe.
    fn end_launch(&self, plugin: PluginId, generation: Generation) -> BoxFuture<Result<(), StoreError>>;
    /// Adds a failure; the oldest beyond [`KEPT_FAILURES`] goes. Process-safe.
    fn add_failure(&self, plugin: PluginId, failure: FailureRecord) -> BoxFuture<Result<(), StoreError>>;
    /// Sets or lifts the quarantine. The failures stay, for `why`; how many count toward the next quarantine is not
    /// durable. Power-safe.
    fn set_quarantine(&self, plugin: PluginId, quarantine: Option<Quarantine>) -> BoxFuture<Result<(), StoreError>>;
    /// Keeps what a readable manifest guards and may do, for the day it cannot be read. Power-safe.
    fn remember_guards(&self, plugin: PluginId, remembered: Remembered) -> BoxFuture<Result<(), StoreError>>;
}

/// What is known of one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginRecord {
    /// The plugin.
    pub plugin: PluginId,
    /// Its latest generation.
    pub generation: Generation,
    /// Launches noted as running: leftovers, if this is a start.
    pub running: Vec<(Generation, LaunchNote)>,
    /// Its quarantine.
    pub quarantine: Option<Quarantine>,
    /// Its last failures, newest last.
    pub failures: Vec<FailureRecord>,
    /// What its manifest last guarded.
    pub remembered: Option<Remembered>,
    /// What is stored of it and cannot be read, one sentence each. It is missing above.
    pub damage: Vec<String>,
}

/// Traces by which the processes of a launch can be found after the supervisor's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchNote {
    /// The launch's nonce, in the environment of its processes.
    pub nonce: String,
    /// The machine's boot, from `/proc/sys/kernel/random/boot_id`; after another boot nothing can be left.
    pub boot_id: String,
}

/// Why a plugin is not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Since when.
    pub since: SystemTime,
    /// When it is probed. `None`: only an operator releases it.
    pub probe_at: Option<SystemTime>,
    /// Probes that failed since; doubles the wait.
    pub failed_probes: u32,
    /// Why, one sentence.
    pub reason: String,
}

/// One failure, for `why`.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureRecord {
    /// When.
    pub at: SystemTime,
    /// The generation that failed; 0 before any launch.
    pub generation: Generation,
    /// Machine-readable cause, for instance `crashed`, `startup-timeout`, `resource-limit`.
    pub cause: String,
    /// One sentence.
    pub message: String,
    /// The phase it failed in, for instance `starting`, `ready`.
    pub phase: String,
    /// Exit status, in words. Empty: not known.
    pub exit: String,
    /// Last lines of standard error.
    pub stderr_tail: Vec<String>,
    /// What the tree was doing, where it was asked.
    pub evidence: Vec<String>,
}

/// What a manifest that could be read guarded.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// Where the package is, by which an entry whose manifest cannot be read any more finds its id again.
    pub package_dir: String,
    /// Guards declared.
    pub guards: Vec<Guard>,
    /// Rights in effect then.
    pub rights: Rights,
}

/// Why the store could not do it. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read or written (disk full, read-only, damaged).
    #[error("use the store: {0}")]
    Unavailable(String),
    /// It is longer than is kept of it, and cutting it would change what it means.
    #[error("keep the {what}: {bytes} bytes, and the most is {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The store's thread has ended: the supervisor is stopping.
    #[error("use the store: it is closed")]
    Closed,
}
