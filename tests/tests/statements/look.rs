//! What an operator can see, in the form the statements need it.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_proto::admin::v1::list_hooks_response::Handler;
use outrigger_proto::admin::v1::{HandlerStats, ListHooksRequest, PluginStatus, WatchPluginsRequest};
use outrigger_proto::types::v1::{HandlerOutcome, Hook};
use outrigger_tests::{World, processes};
use tokio::task::JoinHandle;

/// How long what is about to happen may take.
const SOON: Duration = Duration::from_secs(10);

/// Handlers and unserved guards of a plugin.
pub(crate) async fn hooks(world: &World, plugin: &str) -> Vec<Handler> {
    let request = ListHooksRequest { hook: Hook::BeforeToolCall as i32, plugin_id: plugin.to_owned() };
    world.admin().list_hooks(request).await.expect("list hooks").into_inner().handlers
}

/// How the only handler of a plugin fares.
pub(crate) async fn stats(world: &World, plugin: &str) -> HandlerStats {
    let mut hooks = hooks(world, plugin).await;
    assert_eq!(hooks.len(), 1, "{hooks:?}");
    hooks.remove(0).stats.expect("its guard is served")
}

/// How often a handler fared so.
pub(crate) fn count(stats: &HandlerStats, outcome: HandlerOutcome) -> u64 {
    stats.outcomes.iter().filter(|count| count.outcome() == outcome).map(|count| count.count).sum()
}

/// A plugin is as it was when it became ready: nothing that others did reached it.
pub(crate) async fn assert_untouched(world: &World, plugin: &str, then: &PluginStatus) {
    let now = world.status(plugin).await;
    assert_eq!(
        (now.state, now.generation, now.pid, now.restarts, now.recent_failures),
        (then.state, then.generation, then.pid, 0, 0),
        "{now:?}"
    );
    assert_eq!(world.causes(plugin).await, [""; 0]);
}

/// Waits until all living processes of a plugin are of one launch, that of this process.
pub(crate) async fn assert_only_launch(world: &World, plugin: &str, pid: u32) {
    let launch = |pid: u32| processes::environment(pid).remove("OUTRIGGER_LAUNCH");
    let own = launch(pid);
    assert!(own.is_some(), "the process {pid} of {plugin} lives");
    let others = || world.processes_of(plugin).into_iter().filter(|pid| launch(*pid) != own).collect::<BTreeSet<_>>();
    let left = processes::gone(SOON, others).await;
    assert!(left.is_empty(), "of other launches: {:?}", left.into_iter().map(processes::describe).collect::<Vec<_>>());
}

/// Notes every status of a plugin from now on.
pub(crate) struct History {
    notes: JoinHandle<()>,
    seen: std::sync::Arc<std::sync::Mutex<Vec<PluginStatus>>>,
}

impl History {
    /// Begins; the first status is that of now.
    pub(crate) async fn of(world: &World, plugin: &str) -> Self {
        let request = WatchPluginsRequest { plugin_ids: vec![plugin.to_owned()], ..WatchPluginsRequest::default() };
        let mut stream = world.admin().watch_plugins(request).await.expect("watch the plugin").into_inner();
        let seen = std::sync::Arc::<std::sync::Mutex<Vec<PluginStatus>>>::default();
        let notes = std::sync::Arc::clone(&seen);
        let notes = tokio::spawn(async move {
            while let Ok(Some(news)) = stream.message().await {
                notes.lock().expect("nobody panics with the lock").extend(news.plugins);
            }
        });
        Self { notes, seen }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Vec<PluginStatus> {
        self.seen.lock().expect("nobody panics with the lock").clone()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.notes.abort();
    }
}
