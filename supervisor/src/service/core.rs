//! The supervisor behind its services: all plugins, and what operators can do with them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_proto::types::v1::{ErrorReason, PluginState};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::actor::{Plugin, Request, Shared};
use super::runtimes::Runtimes;
use super::status::Failure;
use super::view::{View, state_name};
use crate::domain::guard::{Guard, OnAbsent};
use crate::domain::ids::{Generation, PluginId};
use crate::domain::keys::Keys;
use crate::domain::lifecycle::{Refusal, StopHow};
use crate::domain::spec::Entry;

/// Reads a plugin's files again. Blocking.
pub(crate) type Reread = Arc<dyn Fn(&PluginId) -> Option<Entry> + Send + Sync>;

/// Everything the services act on.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plugins: BTreeMap<PluginId, Plugin>,
    /// Ids in the order of `outrigger.toml`.
    pub(crate) order: Vec<PluginId>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) reread: Reread,
    /// One reads at a time: each reads every plugin's files, so that many at once, when many plugins are started together,
    /// would hold as many copies of all of them.
    pub(crate) reader: Arc<Semaphore>,
    pub(crate) started_at: SystemTime,
    pub(crate) config_path: PathBuf,
    /// Cancelled when somebody asked the supervisor to stop.
    pub(crate) stop_asked: CancellationToken,
}

impl Core {
    /// A plugin by its id.
    pub(crate) fn plugin(&self, id: &str) -> Result<&Plugin, Failure> {
        let parsed: PluginId = id.parse().map_err(|_| {
            Failure::field("plugin_id", "wants 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit")
        })?;
        self.plugins.get(&parsed).ok_or_else(|| {
            let known: Vec<&str> = self.order.iter().map(PluginId::as_str).collect();
            let known = if known.is_empty() {
                "none is configured".to_owned()
            } else {
                format!("configured: {}", known.join(", "))
            };
            Failure::new(ErrorReason::PluginUnknown, format!("no plugin `{id}`; {known}")).meta("plugin_id", id)
        })
    }

    /// Reads the files of a plugin again, off the data thread.
    async fn reread(&self, plugin: &Plugin) -> Option<Entry> {
        let place = Arc::clone(&self.reader).acquire_owned().await.ok()?;
        let (reread, id) = (Arc::clone(&self.reread), plugin.view.id.clone());
        let read = tokio::task::spawn_blocking(move || {
            // As long as the thread is at it, also where whoever asked has gone.
            let _place = place;
            reread(&id)
        });
        read.await.ok().flatten()
    }

    /// Starts a plugin and waits until it is ready or has failed.
    pub(crate) async fn start(&self, plugin: &Plugin, reset: bool) -> Result<(), Failure> {
        let before = Before::of(plugin);
        let entry = self.reread(plugin).await;
        plugin.request(Request::Start { reset, entry }).await.map_err(|refusal| refused(plugin, refusal))?;
        before.served(|_| true).await
    }

    /// Stops and starts a plugin. Where its files are wrong nothing is stopped.
    pub(crate) async fn restart(&self, plugin: &Plugin) -> Result<(), Failure> {
        let entry = self.sound(plugin).await?;
        let before = Before::of(plugin);
        let old = plugin.view.status().generation;
        plugin.request(Request::Restart { entry }).await.map_err(|refusal| refused(plugin, refusal))?;
        before.served(|generation| generation > old).await
    }

    /// Starts a new generation in the place of the one that serves, whose number it answers.
    pub(crate) async fn reload(&self, plugin: &Plugin, drain: Option<Duration>) -> Result<Generation, Failure> {
        let entry = self.sound(plugin).await?;
        let before = Before::of(plugin);
        let old = plugin.view.status().generation;
        plugin.request(Request::Reload { entry, drain }).await.map_err(|refusal| refused(plugin, refusal))?;
        before.served(|generation| generation > old).await?;
        Ok(old)
    }

    /// What the files say now, where that can be started.
    async fn sound(&self, plugin: &Plugin) -> Result<Option<Entry>, Failure> {
        let entry = self.reread(plugin).await;
        if let Some(Entry::Broken(broken)) = &entry {
            let why = format!("nothing was changed: {}", broken.problems.join("; "));
            return Err(Failure::new(ErrorReason::ConfigInvalid, why).meta("plugin_id", plugin.view.id.as_str()));
        }
        Ok(entry)
    }

    /// Stops a plugin and waits until nothing of it runs, or until somebody else has started it again.
    pub(crate) async fn stop(&self, plugin: &Plugin, how: StopHow) -> Result<(), Failure> {
        let mut watch = plugin.view.watch();
        plugin.request(Request::Stop { how }).await.map_err(|refusal| refused(plugin, refusal))?;
        // It drains, or is stopped already, before the request is answered.
        let left = watch.wait_for(|status| status.state != PluginState::Draining).await;
        match left.map(|status| status.state) {
            Ok(PluginState::Stopped) => Ok(()),
            Ok(_) => Err(overtaken(plugin, "was started again meanwhile")),
            Err(_) => Err(stopping()),
        }
    }

    /// Guards of a plugin that deny now, or would while it is absent.
    pub(crate) fn holding(&self, plugin: &Plugin) -> Vec<Guard> {
        let details = plugin.details();
        if details.lifted {
            return Vec::new();
        }
        let hooks = match &details.entry {
            Entry::Sound(spec) => &spec.hooks,
            Entry::Broken(broken) => &broken.hooks,
        };
        let denies = |guard: &&Guard| {
            hooks.get(&guard.hook).map(|setting| setting.on_absent).unwrap_or_default() == OnAbsent::Deny
        };
        details.guards.iter().filter(denies).cloned().collect()
    }

    /// Stops every plugin side by side; the names of those that had to be killed.
    pub(crate) async fn stop_all(&self, limit: Duration) -> Vec<String> {
        let before: Vec<_> = self.plugins.values().map(|plugin| plugin.details().last_stop).collect();
        // Asking has its limit, too: a task may wait for a disk that hangs.
        if tokio::time::timeout(limit, self.shut_down(StopHow::Drain(None))).await.is_err() {
            let _ = tokio::time::timeout(self.shared.settings.empty, self.shut_down(StopHow::Kill)).await;
        }
        let now =
            self.plugins.values().zip(before).map(|(plugin, before)| (plugin, before, plugin.details().last_stop));
        let killed = now.filter(|(_, before, now)| before != now && now.as_ref().is_some_and(|stop| stop.step >= 4));
        killed.map(|(plugin, ..)| plugin.view.id.to_string()).collect()
    }

    async fn shut_down(&self, how: StopHow) {
        // One that has ended already needs no asking.
        let asked = self.plugins.values().map(|plugin| plugin.request(Request::Shutdown { how }));
        futures_util::future::join_all(asked).await;
        self.all_closed().await;
    }
}

impl Core {
    /// Waits until every plugin's task has ended.
    async fn all_closed(&self) {
        for plugin in self.plugins.values() {
            let mut details = plugin.watch_details();
            // The task drops its side when the plugin is closed.
            while details.changed().await.is_ok() {}
        }
    }
}

/// A plugin before a control, to tell what came of it.
struct Before<'a> {
    plugin: &'a Plugin,
    failures: u64,
    next_failures: u64,
}

impl<'a> Before<'a> {
    fn of(plugin: &'a Plugin) -> Self {
        let details = plugin.details();
        Self { plugin, failures: details.failure_count, next_failures: details.next_failures }
    }

    /// Waits until a generation serves that will do, or the plugin has failed.
    async fn served(&self, will_do: impl Fn(Generation) -> bool) -> Result<(), Failure> {
        let mut statuses = self.plugin.view.watch();
        let mut details = self.plugin.watch_details();
        loop {
            let status = statuses.borrow_and_update().clone();
            let (failures, next_failures) = {
                let details = details.borrow_and_update();
                (details.failure_count, details.next_failures)
            };
            let ended = matches!(status.state, PluginState::Waiting | PluginState::Quarantined | PluginState::Stopped);
            if status.state == PluginState::Ready && will_do(status.generation) {
                return Ok(());
            }
            if status.state == PluginState::Stopped {
                return Err(overtaken(self.plugin, "was stopped meanwhile"));
            }
            if next_failures > self.next_failures || (ended && failures > self.failures) {
                return Err(failure(self.plugin));
            }
            tokio::select! {
                changed = statuses.changed() => if changed.is_err() { return Err(stopping()) },
                changed = details.changed() => if changed.is_err() { return Err(stopping()) },
            }
        }
    }
}

/// Another control of the same plugin came after this one.
fn overtaken(plugin: &Plugin, what: &str) -> Failure {
    let id = plugin.view.id.as_str();
    let failure = Failure::new(ErrorReason::StateNotAllowed, format!("`{id}` {what}")).meta("plugin_id", id);
    failure.meta("state", state_name(plugin.view.status().state))
}

fn stopping() -> Failure {
    Failure::new(ErrorReason::StateNotAllowed, "the supervisor is stopping").with_code(tonic::Code::Unavailable)
}

fn refused(plugin: &Plugin, refusal: Refusal) -> Failure {
    let status = plugin.view.status();
    let id = plugin.view.id.as_str();
    let failure = Failure::new(ErrorReason::StateNotAllowed, format!("`{id}`: {refusal}"));
    let failure = failure.meta("state", state_name(status.state)).meta("plugin_id", id);
    match refusal {
        Refusal::Quarantined => failure.help(&format!("outrigger start --reset {id}")),
        Refusal::Stopped => failure.help(&format!("outrigger start {id}")),
        Refusal::NextUnderWay | Refusal::Closing => failure,
    }
}

/// The last failure of a plugin, as the answer of a control that waited for it to serve.
fn failure(plugin: &Plugin) -> Failure {
    let details = plugin.details();
    let id = plugin.view.id.as_str();
    let mut failure = absent(&plugin.view, format!("`{id}` failed: {}", details.last_failure));
    if let Some(last) = details.failures.last() {
        for (key, value) in
            [("phase", &last.phase), ("exit", &last.exit)].into_iter().filter(|(_, value)| !value.is_empty())
        {
            failure = failure.meta(key, value);
        }
    }
    failure.help(&format!("outrigger why {id}"))
}

/// A plugin that does not serve, with its state and, unless it is quarantined, when to try again.
pub(crate) fn absent(view: &View, message: String) -> Failure {
    let status = view.status();
    let failure = Failure::new(ErrorReason::PluginAbsent, message)
        .meta("plugin_id", view.id.as_str())
        .meta("state", state_name(status.state));
    match (status.state, status.next_start) {
        (PluginState::Quarantined | PluginState::Stopped, _) => failure,
        (_, Some(at)) => failure.retry(at.saturating_duration_since(tokio::time::Instant::now())),
        (_, None) => failure.retry(Duration::from_secs(1)),
    }
}
