//! The plugins' states as the supervisor tells them.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_proto::admin::v1 as admin;
use tokio::time::{Instant, timeout_at};
use tonic::Streaming;

use crate::cli::connection::Admin;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::plugin::Plugin;

/// The latest status of each plugin.
pub(super) struct Watch {
    changes: Streaming<admin::WatchPluginsResponse>,
    latest: BTreeMap<String, Plugin>,
}

impl Watch {
    /// Begins to watch.
    pub(super) async fn begin(client: &mut Admin) -> Result<Self, Failure> {
        let request = admin::WatchPluginsRequest::default();
        let changes = client.watch_plugins(request).await?.into_inner();
        Ok(Self { changes, latest: BTreeMap::new() })
    }

    /// A plugin's latest status.
    pub(super) fn plugin(&self, id: &str) -> Option<&Plugin> {
        self.latest.get(id)
    }

    /// All of them, by id.
    pub(super) fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        self.latest.values()
    }

    /// Takes statuses in until `done`, and tells of each plugin whose state or generation differs from before. `what` is said
    /// where it does not come within `limit`.
    pub(super) async fn until<F>(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
        mut changed: F,
    ) -> Result<(), Failure>
    where
        F: FnMut(&Plugin) -> Result<(), Failure>,
    {
        let deadline = Instant::now() + limit;
        while !done(self) {
            let Ok(message) = timeout_at(deadline, self.changes.message()).await else {
                let states: Vec<_> = self.latest.values().map(crate::cli::command::control::now).collect();
                return Err(Failure::new(Exit::Failed, format!("{what} did not happen in time")).details(states));
            };
            let Some(message) = message? else {
                return Err(Failure::new(Exit::NoSupervisor, "the supervisor has stopped in the middle of the story"));
            };
            for plugin in message.plugins.into_iter().map(Plugin::from) {
                let key = |plugin: &Plugin| (plugin.state.clone(), plugin.generation);
                let before = self.latest.insert(plugin.plugin_id.clone(), plugin.clone());
                if before.as_ref().map(key) != Some(key(&plugin)) {
                    changed(&plugin)?;
                }
            }
        }
        Ok(())
    }
}
