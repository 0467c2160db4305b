//! Puts the services together.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use outrigger_proto::admin::v1::admin_service_server::AdminServiceServer;
use outrigger_proto::runtime::v1::PluginStateChanged;
use outrigger_proto::runtime::v1::runtime_service_server::RuntimeServiceServer;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::actor::{self, Birth, Plugin, Shared};
use super::admin_service::AdminApi;
use super::busy_poll::BusyPoll;
use super::control::{Face, MAX_MESSAGE, Served};
use super::core::{Core, Reread};
use super::dispatch::Dispatcher;
use super::events::{self, Bus};
use super::registry::Registry;
use super::runs::Runs;
use super::runtime_service::RuntimeApi;
use super::runtimes::Runtimes;
use super::tools::Tools;
use super::turns::Turns;
use super::{guards, metrics, news};
use crate::domain::guard::{Guard, guard_counts};
use crate::domain::ids::PluginId;
use crate::domain::keys::Keys;
use crate::domain::launch::{ControlConnection, Launcher};
use crate::domain::settings::Settings;
use crate::domain::spec::Entry;
use crate::domain::store::{PluginRecord, Store};

/// News of plugins' states that a slow runtime may fall behind.
const STATE_NEWS: usize = 256;

/// What the services are made of.
pub(crate) struct ServiceParts {
    pub(crate) settings: Settings,
    pub(crate) entries: Vec<Entry>,
    pub(crate) records: Vec<PluginRecord>,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) reread: Reread,
    pub(crate) boot_id: String,
    pub(crate) event_epoch: u64,
    pub(crate) config_path: PathBuf,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

/// What stopping came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Plugins that had to be killed, by id.
    pub killed: Vec<String>,
}

/// The running services.
pub(crate) struct Service {
    pub(super) core: Arc<Core>,
    keys: Arc<dyn Keys>,
    stopping: CancellationToken,
    tasks: TaskTracker,
    pub(super) runtime_api: RuntimeApi,
    health: Vec<HealthReporter>,
}

impl Service {
    /// Makes the plugins' tasks. When this returns every guard holds; processes start from now on.
    pub(crate) async fn new(parts: ServiceParts) -> Self {
        let settings = Arc::new(parts.settings);
        let registry = Registry::new();
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let starts = match settings.starts_at_once {
            0 => cores * 2,
            starts => starts as usize,
        };
        let bus = Bus::new(parts.event_epoch);
        let runs = Runs::new(Arc::clone(&bus), parts.tasks.clone());
        let shared = Arc::new(Shared {
            settings: Arc::clone(&settings),
            launcher: parts.launcher,
            store: parts.store,
            registry: Arc::clone(&registry),
            starts: Arc::new(Semaphore::new(starts)),
            bus: Arc::clone(&bus),
            busy_poll: BusyPoll::new(settings.busy_poll),
            runs: Arc::clone(&runs),
            boot_id: parts.boot_id,
            tasks: parts.tasks.clone(),
        });
        let mut records: HashMap<PluginId, PluginRecord> =
            parts.records.into_iter().map(|record| (record.plugin.clone(), record)).collect();
        let mut births = Vec::new();
        for (position, entry) in parts.entries.into_iter().enumerate() {
            let record = records.remove(entry.id());
            births.push(birth(&shared, position, entry, record).await);
        }
        let mut plugins = BTreeMap::new();
        let mut order = Vec::new();
        let (changes, _) = broadcast::channel(STATE_NEWS);
        for birth in births {
            let id = birth.entry.id().clone();
            let plugin = actor::start(&shared, birth);
            let registry = Arc::clone(&registry);
            parts.tasks.spawn(tell_runtimes(plugin.clone(), registry, changes.clone(), parts.stopping.clone()));
            plugins.insert(id.clone(), plugin);
            order.push(id);
        }
        let runtimes = Arc::new(Runtimes::new(settings.trace_context));
        let told =
            news::tell(Arc::clone(&registry), Arc::clone(&runtimes), settings.runtime_gone, parts.stopping.clone());
        parts.tasks.spawn(told);
        parts.tasks.spawn(follow_streams(Arc::clone(&registry), bus.wanted(), parts.stopping.clone()));
        let dispatcher =
            Dispatcher::new(Arc::clone(&registry), Arc::clone(&runs), Arc::clone(&bus), parts.tasks.clone());
        let tools = Arc::new(Tools {
            registry: Arc::clone(&registry),
            dispatcher: Arc::clone(&dispatcher),
            runtimes: Arc::clone(&runtimes),
            runs: Arc::clone(&runs),
            tasks: parts.tasks.clone(),
        });
        let runtime_api = RuntimeApi {
            runtimes: Arc::clone(&runtimes),
            registry,
            dispatcher,
            turns: Arc::new(Turns::new(parts.tasks.clone())),
            tools,
            bus,
            runs,
            changes,
            stopping: parts.stopping.clone(),
            tasks: parts.tasks.clone(),
            instance: super::entropy::hex::<16>(),
            runtime_gone: settings.runtime_gone,
        };
        let core = Arc::new(Core {
            shared,
            plugins,
            order,
            runtimes,
            keys: Arc::clone(&parts.keys),
            reread: parts.reread,
            reader: Arc::new(Semaphore::new(1)),
            started_at: SystemTime::now(),
            config_path: parts.config_path,
            stop_asked: CancellationToken::new(),
        });
        let health = vec![HealthReporter::new(), HealthReporter::new()];
        Self { core, keys: parts.keys, stopping: parts.stopping, tasks: parts.tasks, runtime_api, health }
    }

    /// Serves agent runtimes on these connections.
    pub(crate) fn serve_runtimes(&self, connections: mpsc::Receiver<ControlConnection>) {
        let service = RuntimeServiceServer::new(self.runtime_api.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        self.serve(Face::Runtime(service), 0, "outrigger.runtime.v1.RuntimeService", connections);
    }

    /// Serves operators on these connections.
    pub(crate) fn serve_operators(&self, connections: mpsc::Receiver<ControlConnection>) {
        let api = AdminApi { core: Arc::clone(&self.core), tools: Arc::clone(&self.runtime_api.tools) };
        let service =
            AdminServiceServer::new(api).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
        self.serve(Face::Admin(service), 1, "outrigger.admin.v1.AdminService", connections);
    }

    /// Serves collectors of metrics on these connections.
    pub(crate) fn serve_metrics(&self, connections: mpsc::Receiver<ControlConnection>) {
        self.tasks.spawn(metrics::serve(Arc::clone(&self.core), connections, self.stopping.clone()));
    }

    fn serve(&self, face: Face, reporter: usize, name: &'static str, connections: mpsc::Receiver<ControlConnection>) {
        let reporter = self.health[reporter].clone();
        let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        let served = Served::new(face, health, Arc::clone(&self.keys), self.stopping.clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
            served.serve(connections).await;
        });
    }

    /// What asks the plugins.
    #[cfg(feature = "bench")]
    pub(crate) fn dispatcher(&self) -> Arc<Dispatcher> {
        Arc::clone(&self.runtime_api.dispatcher)
    }

    /// What hands events out.
    #[cfg(feature = "bench")]
    pub(crate) fn bus(&self) -> Arc<Bus> {
        Arc::clone(&self.runtime_api.bus)
    }

    /// Waits until an operator asked the supervisor to stop.
    pub(crate) async fn stop_asked(&self) {
        self.core.stop_asked.cancelled().await;
    }

    /// Stops every plugin.
    pub(crate) async fn stop(&self) -> Report {
        self.core.stop_asked.cancel();
        for reporter in &self.health {
            reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        }
        Report { killed: self.core.stop_all(self.core.shared.settings.stop_all).await }
    }
}

/// What the store knows of an entry, and what it guards from the first moment.
async fn birth(shared: &Arc<Shared>, position: usize, entry: Entry, record: Option<PluginRecord>) -> Birth {
    let id = entry.id().clone();
    let before = record.as_ref().and_then(|record| record.remembered.clone());
    if let Some(record) = &record {
        for damage in &record.damage {
            tracing::error!(plugin = %id, "what is stored of it cannot be read: {damage}");
        }
    }
    let (guards, remembered) = match &entry {
        Entry::Sound(spec) => {
            let now = guards::remembered(spec);
            if before.as_ref() != Some(&now)
                && let Err(error) = shared.store.remember_guards(id.clone(), now).await
            {
                tracing::error!(plugin = %id, "keep the guards: {error}");
            }
            (guards::counting(spec), false)
        }
        Entry::Broken(broken) => match (&broken.guards, before) {
            (Some((declared, rights)), _) => {
                (declared.iter().filter(|guard| guard_counts(guard, rights).is_ok()).cloned().collect(), false)
            }
            // Another package of the same name says nothing about this one.
            (None, Some(last)) if last.package_dir == broken.package_dir.to_string_lossy() => {
                let counts = |guard: &&Guard| guard_counts(guard, &last.rights).is_ok();
                (last.guards.iter().filter(counts).cloned().collect(), true)
            }
            (None, _) => (Guard::everything(), true),
        },
    };
    let (failures, quarantine, generation) = match record {
        Some(record) => (record.failures, record.quarantine, record.generation),
        None => Default::default(),
    };
    Birth { entry, position, guards, remembered, failures, quarantine, generation }
}

/// Lets the contribution epoch rise when other streams of events are wanted.
async fn follow_streams(
    registry: Arc<Registry>,
    mut wanted: watch::Receiver<events::Wanted>,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = wanted.changed() => if changed.is_err() { return },
        }
        registry.streams_changed();
    }
}

/// Tells attached runtimes of a plugin's state.
async fn tell_runtimes(
    plugin: Plugin,
    registry: Arc<Registry>,
    changes: broadcast::Sender<PluginStateChanged>,
    stopping: CancellationToken,
) {
    let mut statuses = plugin.view.watch();
    let mut told = None;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = statuses.changed() => if changed.is_err() { return },
        }
        let status = statuses.borrow_and_update().clone();
        if told == Some((status.state, status.generation)) {
            continue;
        }
        told = Some((status.state, status.generation));
        registry.tools_changed(&plugin.view.id);
        let name = match &plugin.details().entry {
            Entry::Sound(spec) => spec.name.clone(),
            Entry::Broken(broken) => broken.id.to_string(),
        };
        let now = tokio::time::Instant::now();
        // Without an attached runtime nobody listens.
        let _ = changes.send(PluginStateChanged {
            plugin_id: plugin.view.id.to_string(),
            plugin_name: name,
            state: status.state as i32,
            generation: status.generation.0,
            message: crate::domain::text::clean(&status.message, 500),
            retry_after: status.next_start.map(|at| super::wire::duration(at.saturating_duration_since(now))),
        });
    }
}
