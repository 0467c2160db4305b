//! The supervisor as a whole: what a program embeds, and what `outrigger run` runs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::problem::Problems;
use crate::config::{self, Config};
use crate::domain::ids::{PluginId, RuntimeId};
use crate::domain::keys::{KeyInfo, Keys, KeysError};
use crate::domain::launch::ControlConnection;
use crate::domain::store::{PluginRecord, Store};
use crate::launcher::HostLauncher;
use crate::process::{self, Groups, leftovers};
use crate::service::{Report, Service, ServiceParts};
use crate::store::SqliteStore;
use crate::transport::control_listener::{BindError, ControlListener, Stale};
use crate::transport::{keys, paths, private_dir};

/// Connections that may wait to be served, on each control socket.
const CONTROL_BACKLOG: usize = 16;

/// Where a supervisor finds what it needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// `outrigger.toml`. It need not exist: then there are no plugins.
    pub config: PathBuf,
    /// Directory of the sockets; made 0700 where it is missing.
    pub runtime_dir: PathBuf,
    /// Directory of durable state and keys; made 0700 where it is missing.
    pub state_dir: PathBuf,
    /// Take orphans of plugins as own children, and kill them. For a program that starts no other processes.
    pub subreaper: bool,
}

/// Why a supervisor could not start. Nothing runs, and nothing was changed but directories and keys made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration as a whole cannot be used.
    #[error("load the configuration:\n{0}")]
    Config(Problems),
    /// The state directory is in use, cannot be trusted, or its file is damaged or newer.
    #[error("open the state directory `{path}`: {source}", path = path.display())]
    Store {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: crate::store::OpenError,
    },
    /// What the store holds cannot be read.
    #[error("read the state: {0}")]
    State(#[from] crate::domain::store::StoreError),
    /// The runtime directory cannot be used.
    #[error("use the runtime directory `{path}`: {source}", path = path.display())]
    RuntimeDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The runtime directory cannot be trusted.
    #[error(transparent)]
    Directory(#[from] paths::DirError),
    /// The keys cannot be used.
    #[error("open the keys: {0}")]
    Keys(keys::KeysError),
    /// A control socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel does not tell which boot this is.
    #[error("read the boot id: {0}")]
    Boot(#[source] io::Error),
}

/// A running supervisor. Dropping it ends its tasks, and so every plugin, without the order of [`Supervisor::stop`].
pub struct Supervisor {
    service: Service,
    launcher: Arc<HostLauncher>,
    store: Arc<SqliteStore>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    runtime_socket: PathBuf,
    admin_socket: PathBuf,
    metrics_socket: Option<PathBuf>,
    warnings: Vec<String>,
    leftovers: u32,
}

impl Supervisor {
    /// Starts: takes the state directory, ends what an earlier supervisor left, raises every guard, opens the sockets,
    /// and starts the plugins. Returns when the sockets accept; plugins become ready later.
    ///
    /// To be called inside a tokio runtime, which should have one thread: a second one costs latency.
    ///
    /// # Errors
    /// See [`StartError`]. Not cancel safe.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options { config: config_path, runtime_dir, state_dir, subreaper } = options;
        if subreaper && let Err(error) = process::become_subreaper() {
            tracing::warn!("orphans of plugins are found by their environment only: {error}");
        }
        let store = SqliteStore::open(&state_dir, crate::store::Options::default())
            .map_err(|source| StartError::Store { path: state_dir.clone(), source })?;
        let store = Arc::new(store);
        paths::ensure_private_dir(&runtime_dir)?;
        let records = store.load().await?;
        let boot_id = leftovers::boot_id().map_err(StartError::Boot)?;
        let leftovers = clean_up(&store, &records, &boot_id, &runtime_dir).await?;

        let known = Arc::new(packages(&records));
        let config = load(&config_path, &state_dir, &known)?;
        let metrics_wanted = config.settings.metrics_socket;
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let keyring = Arc::new(KeyRing(RwLock::new(keys::Keys::open(&state_dir).map_err(StartError::Keys)?)));
        let groups = Groups::find(&state_dir);
        tracing::debug!("{groups}");
        let launcher =
            Arc::new(HostLauncher::new(runtime_dir.clone(), config.settings.plugin_bytes_per_second, groups));
        let tasks = TaskTracker::new();
        let stopping = CancellationToken::new();
        let reread = {
            let (path, state_dir, known) = (config_path.clone(), state_dir.clone(), Arc::clone(&known));
            move |plugin: &PluginId| {
                let remembered = |package: &Path| known.get(package).cloned();
                config::reload_entry(&path, &state_dir, &remembered, plugin).ok().flatten()
            }
        };
        let service = Service::new(ServiceParts {
            settings: config.settings,
            entries: config.entries,
            records,
            launcher: Arc::clone(&launcher) as _,
            store: Arc::clone(&store) as _,
            keys: keyring,
            reread: Arc::new(reread),
            boot_id,
            event_epoch: epoch(),
            config_path,
            tasks: tasks.clone(),
            stopping: stopping.clone(),
        })
        .await;

        // Guards hold by now, so a runtime may come.
        let (runtime_socket, admin_socket) = (paths::runtime_socket(&runtime_dir), paths::admin_socket(&runtime_dir));
        // Who sees the runtime's socket can count on the operator's.
        let admin = ControlListener::bind(&admin_socket, None, Stale::Replace)?;
        let runtime = ControlListener::bind(&runtime_socket, None, Stale::Replace)?;
        let metrics_socket = metrics_wanted.then(|| paths::metrics_socket(&runtime_dir));
        if let Some(path) = &metrics_socket {
            let metrics = ControlListener::bind(path, None, Stale::Replace)?;
            service.serve_metrics(accept(metrics, &tasks, &stopping));
        }
        service.serve_runtimes(accept(runtime, &tasks, &stopping));
        service.serve_operators(accept(admin, &tasks, &stopping));
        Ok(Self {
            service,
            launcher,
            store,
            tasks,
            stopping,
            runtime_socket,
            admin_socket,
            metrics_socket,
            warnings,
            leftovers,
        })
    }

    /// For the benchmarks.
    #[cfg(feature = "bench")]
    #[doc(hidden)]
    #[must_use]
    pub fn caller(&self) -> crate::bench::Caller {
        crate::bench::Caller::new(self.service.dispatcher())
    }

    /// For the benchmarks.
    #[cfg(feature = "bench")]
    #[doc(hidden)]
    #[must_use]
    pub fn publisher(&self) -> crate::bench::Publisher {
        crate::bench::Publisher::new(self.service.bus())
    }

    /// The socket for agent runtimes.
    #[must_use]
    pub fn runtime_socket(&self) -> &Path {
        &self.runtime_socket
    }

    /// The socket for operators.
    #[must_use]
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// The socket for collectors of metrics, where the configuration wants one.
    #[must_use]
    pub fn metrics_socket(&self) -> Option<&Path> {
        self.metrics_socket.as_deref()
    }

    /// What the configuration says that is not wrong, but not as somebody meant it.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Processes of an earlier supervisor that were found and killed.
    #[must_use]
    pub fn leftovers(&self) -> u32 {
        self.leftovers
    }

    /// Waits until somebody asked the supervisor to stop, over its socket. Cancel safe.
    pub async fn stop_asked(&self) {
        self.service.stop_asked().await;
    }

    /// Stops in order: no new work, calls in flight end, plugins drain and stop side by side within the configured
    /// budget, what is left is killed, sockets go. Says which plugins had to be killed.
    pub async fn stop(self) -> Report {
        let report = self.service.stop().await;
        self.stopping.cancel();
        self.tasks.close();
        // Everything the tasks wait for has a bound of its own; this one is for defects.
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.is_err() {
            tracing::error!("{} tasks did not end", self.tasks.len());
        }
        drop(self.service);
        if tokio::time::timeout(Duration::from_secs(5), self.launcher.finished()).await.is_err() {
            tracing::error!("a keeper did not end");
        }
        self.store.close().await;
        report
    }
}

/// Names under which packages were last known.
fn packages(records: &[PluginRecord]) -> BTreeMap<PathBuf, PluginId> {
    let known = records.iter().filter_map(|record| {
        record.remembered.as_ref().map(|remembered| (PathBuf::from(&remembered.package_dir), record.plugin.clone()))
    });
    known.collect()
}

fn load(path: &Path, state_dir: &Path, known: &BTreeMap<PathBuf, PluginId>) -> Result<Config, StartError> {
    config::load(path, state_dir, &|package| known.get(package).cloned()).map_err(StartError::Config)
}

/// Ends what an earlier supervisor left: its processes, its notes of them, its directories.
async fn clean_up(
    store: &Arc<SqliteStore>,
    records: &[PluginRecord],
    boot_id: &str,
    runtime_dir: &Path,
) -> Result<u32, StartError> {
    let notes: Vec<_> = records.iter().flat_map(|record| record.running.iter().map(|(_, note)| note.clone())).collect();
    let killed = if notes.is_empty() {
        0
    } else {
        let boot_id = boot_id.to_owned();
        tokio::task::spawn_blocking(move || leftovers::kill_leftovers(&notes, &boot_id)).await.unwrap_or_default()
    };
    for record in records {
        for (generation, _) in &record.running {
            store.end_launch(record.plugin.clone(), *generation).await?;
        }
    }
    let swept = private_dir::sweep_stale(runtime_dir)
        .map_err(|source| StartError::RuntimeDir { path: runtime_dir.to_owned(), source })?;
    if killed > 0 || swept.removed > 0 {
        tracing::warn!(processes = killed, directories = swept.removed, "cleaned up after an earlier supervisor");
    }
    if let Some(reason) = swept.reason {
        tracing::warn!(directories = swept.left, "could not clean up after an earlier supervisor: {reason}");
    }
    Ok(killed)
}

/// Passes on connections that the listener lets in, until the supervisor stops.
fn accept(
    mut listener: ControlListener,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) -> mpsc::Receiver<ControlConnection> {
    let (sender, receiver) = mpsc::channel(CONTROL_BACKLOG);
    let stopping = stopping.clone();
    tasks.spawn(async move {
        loop {
            let (stream, process) = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let connection = ControlConnection { io: Box::new(stream), peer: process.peer() };
            if sender.send(connection).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Epoch of event numbers: milliseconds of the start, so that a later start has a higher one.
fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The files of keys behind the contract the services know.
struct KeyRing(RwLock<keys::Keys>);

fn described(info: &keys::KeyInfo) -> KeyInfo {
    KeyInfo {
        runtime_id: info.runtime.to_string(),
        path: info.path.clone(),
        group: info.group.clone().unwrap_or_default(),
        created_at: info.created_at,
    }
}

fn named(runtime_id: &str) -> Result<RuntimeId, KeysError> {
    runtime_id.parse().map_err(|_| KeysError::Invalid {
        field: "runtime_id",
        right: "wants 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit".to_owned(),
    })
}

impl Keys for KeyRing {
    fn runtime(&self, line: &[u8]) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).runtime(line).map(ToString::to_string)
    }

    fn is_admin(&self, line: &[u8]) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_admin(line)
    }

    fn add(&self, runtime_id: &str, group: Option<&str>) -> Result<(KeyInfo, bool), KeysError> {
        let runtime = named(runtime_id)?;
        let added = self.0.write().unwrap_or_else(PoisonError::into_inner).add(&runtime, group);
        match added {
            Ok((info, created)) => Ok((described(&info), created)),
            Err(keys::KeysError::Group(error)) => Err(KeysError::Invalid { field: "group", right: error.to_string() }),
            Err(error) => Err(KeysError::Files(error.to_string())),
        }
    }

    fn list(&self) -> Result<Vec<KeyInfo>, KeysError> {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // An operator may have put a file there, or taken one away.
        keys.reload().map_err(|error| KeysError::Files(error.to_string()))?;
        Ok(keys.list().map(described).collect())
    }

    fn remove(&self, runtime_id: &str) -> Result<bool, KeysError> {
        let runtime = named(runtime_id)?;
        let removed = self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&runtime);
        removed.map_err(|error| KeysError::Files(error.to_string()))
    }
}
