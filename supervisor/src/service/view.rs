//! What the rest of the supervisor sees of a plugin: its state, its serving session, and how its handlers fare.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use tokio::sync::watch;
use tokio::time::Instant;

use super::breaker::{Breaker, Pass};
use super::latency::{self, Latencies};
use super::log::LogRing;
use super::session::Session;
use crate::domain::hook::Hook;
use crate::domain::ids::{Generation, PluginId};
use crate::domain::settings::Settings;

/// Handlers remembered of a plugin: those of a registration and as many of the one before, and what counts for each of
/// its guards that nobody serves.
const MAX_STATS: usize = 2 * 256 + 8;

/// How often a call is passed on to a newer generation before the plugin counts as absent. Each pass means that a
/// generation began to serve in between.
pub(crate) const PASSES: usize = 4;

/// A plugin's state as everybody sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    pub(crate) state: PluginState,
    pub(crate) since: SystemTime,
    /// Why, one sentence; empty on request.
    pub(crate) message: String,
    /// The serving generation, else the latest.
    pub(crate) generation: Generation,
    /// The child's process; 0 without.
    pub(crate) pid: u32,
    /// When it is started again by itself.
    pub(crate) next_start: Option<Instant>,
    /// Failures since it was last stable.
    pub(crate) recent_failures: u32,
    /// Launches after a failure.
    pub(crate) restarts: u32,
    /// Rises with each change.
    pub(crate) revision: u64,
}

/// How one handler has fared since the supervisor started.
#[derive(Debug, Clone)]
pub(crate) struct HandlerStats {
    pub(crate) outcomes: BTreeMap<i32, u64>,
    pub(crate) last_called: Option<SystemTime>,
    pub(crate) latencies: Latencies,
    pub(crate) breaker: Breaker,
}

/// One plugin, for those who call it or look at it.
pub(crate) struct View {
    pub(crate) id: PluginId,
    pub(crate) logs: Arc<LogRing>,
    settings: Arc<Settings>,
    status: watch::Sender<Status>,
    serving: ArcSwapOption<Session>,
    handlers: Mutex<BTreeMap<(Hook, bool, String), Arc<Handler>>>,
    tools: Mutex<BTreeMap<String, Arc<Handler>>>,
    denials: AtomicU64,
}

impl View {
    pub(crate) fn new(id: PluginId, settings: Arc<Settings>) -> Arc<Self> {
        let status = Status {
            state: PluginState::Waiting,
            since: SystemTime::now(),
            message: String::new(),
            generation: Generation::default(),
            pid: 0,
            next_start: None,
            recent_failures: 0,
            restarts: 0,
            revision: 0,
        };
        Arc::new(Self {
            id,
            logs: Arc::new(LogRing::new()),
            settings,
            status: watch::channel(status).0,
            serving: ArcSwapOption::empty(),
            handlers: Mutex::new(BTreeMap::new()),
            tools: Mutex::new(BTreeMap::new()),
            denials: AtomicU64::new(0),
        })
    }

    /// The state now.
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The state and its changes; a slow reader sees the latest.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Changes the state; `since` moves with the state itself.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            if *status == before {
                return false;
            }
            if status.state != before.state {
                status.since = SystemTime::now();
            }
            status.revision += 1;
            true
        });
    }

    /// The session that takes invocations.
    pub(crate) fn serving(&self) -> Option<Arc<Session>> {
        self.serving.load_full()
    }

    /// Swaps the serving session.
    pub(crate) fn serve(&self, session: Option<Arc<Session>>) {
        self.serving.store(session);
    }

    fn stats(&self) -> MutexGuard<'_, BTreeMap<(Hook, bool, String), Arc<Handler>>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of one handler, or trusted tool policy; of one never seen, new ones.
    pub(crate) fn handler(&self, hook: Hook, policy: bool, id: &str) -> Arc<Handler> {
        let mut stats = self.stats();
        let key = (hook, policy, id.to_owned());
        if !stats.contains_key(&key) && stats.len() >= MAX_STATS {
            // One that no snapshot holds; a registration has at most half of them.
            let unused = stats.iter().find(|(_, handler)| Arc::strong_count(handler) == 1).map(|(key, _)| key.clone());
            match unused {
                Some(unused) => drop(stats.remove(&unused)),
                None => drop(stats.pop_first()),
            }
        }
        Arc::clone(stats.entry(key).or_insert_with(|| Arc::new(Handler::new(&self.settings))))
    }

    fn tools(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Handler>>> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of one tool it serves; of one never seen, new ones.
    pub(crate) fn tool(&self, name: &str) -> Arc<Handler> {
        let mut tools = self.tools();
        if let Some(known) = tools.get(name) {
            return Arc::clone(known);
        }
        if tools.len() >= MAX_STATS {
            tools.pop_first();
        }
        Arc::clone(tools.entry(name.to_owned()).or_insert_with(|| Arc::new(Handler::new(&self.settings))))
    }

    /// Closes every breaker.
    pub(crate) fn reset_breakers(&self) {
        for tool in self.tools().values() {
            tool.stats().breaker = Breaker::default();
        }
        for handler in self.stats().values() {
            handler.stats().breaker = Breaker::default();
        }
    }

    /// How every handler fares.
    pub(crate) fn handlers(&self) -> Vec<(Hook, bool, String, HandlerStats)> {
        let stats = self.stats();
        stats.iter().map(|((hook, policy, id), of)| (*hook, *policy, id.clone(), of.stats().clone())).collect()
    }

    /// Median and 99th percentile over all handlers.
    pub(crate) fn quantiles(&self) -> (Option<Duration>, Option<Duration>) {
        let now = Instant::now();
        let handlers: Vec<Arc<Handler>> = self.stats().values().cloned().collect();
        let mut all: Vec<Latencies> = handlers.iter().map(|handler| handler.stats().latencies.clone()).collect();
        let mut all: Vec<&mut Latencies> = all.iter_mut().collect();
        (latency::merged(&mut all, now, 0.5), latency::merged(&mut all, now, 0.99))
    }

    /// Counts a call that this plugin, or its absence, stopped.
    pub(crate) fn denied(&self) {
        self.denials.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls denied by it, or because it was absent.
    pub(crate) fn denials(&self) -> u64 {
        self.denials.load(Ordering::Relaxed)
    }
}

/// The counts of one handler, over its generations.
pub(crate) struct Handler {
    breaker_first: Duration,
    breaker_max: Duration,
    stats: Mutex<HandlerStats>,
}

impl Handler {
    fn new(settings: &Settings) -> Self {
        Self {
            breaker_first: settings.breaker_first,
            breaker_max: settings.breaker_max,
            stats: Mutex::new(HandlerStats {
                outcomes: BTreeMap::new(),
                last_called: None,
                latencies: Latencies::new(Instant::now()),
                breaker: Breaker::default(),
            }),
        }
    }

    /// The counts now.
    pub(crate) fn snapshot(&self) -> HandlerStats {
        self.stats().clone()
    }

    fn stats(&self) -> MutexGuard<'_, HandlerStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave for a call; `None` while the breaker is open.
    pub(crate) fn admit(&self, now: Instant) -> Option<Admitted<'_>> {
        Some(Admitted { counts: self, pass: Some(self.stats().breaker.admit(now)?) })
    }

    /// The breaker lets nothing pass now.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.stats().breaker.is_open(now)
    }

    /// Counts an outcome. Returns for how long the breaker opened, if it did.
    pub(crate) fn record(
        &self,
        pass: Option<Pass>,
        outcome: HandlerOutcome,
        now: Instant,
        elapsed: Duration,
    ) -> Option<Duration> {
        let mut stats = self.stats();
        *stats.outcomes.entry(outcome as i32).or_default() += 1;
        match outcome {
            HandlerOutcome::Allow | HandlerOutcome::Deny => stats.breaker.success(),
            HandlerOutcome::Error | HandlerOutcome::Timeout => {
                stats.latencies.record(now, elapsed);
                stats.last_called = Some(SystemTime::now());
                return stats.breaker.failure(pass, now, self.breaker_first, self.breaker_max);
            }
            HandlerOutcome::Absent | HandlerOutcome::Skipped | HandlerOutcome::Unspecified => return None,
        }
        stats.latencies.record(now, elapsed);
        stats.last_called = Some(SystemTime::now());
        None
    }
}

/// A call the breaker let pass; dropped, it has come to nothing.
pub(crate) struct Admitted<'a> {
    counts: &'a Handler,
    pass: Option<Pass>,
}

impl Admitted<'_> {
    /// The call has an outcome, which is to be recorded with the pass.
    pub(crate) fn settle(mut self) -> Option<Pass> {
        self.pass.take()
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass {
            self.counts.stats().breaker.abandon(pass);
        }
    }
}

/// A state's name for people.
pub(crate) fn state_name(state: PluginState) -> &'static str {
    match state {
        PluginState::Unspecified => "unknown",
        PluginState::Waiting => "waiting",
        PluginState::Starting => "starting",
        PluginState::Ready => "ready",
        PluginState::Draining => "draining",
        PluginState::Stopped => "stopped",
        PluginState::Quarantined => "quarantined",
    }
}
