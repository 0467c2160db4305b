//! Tells plugins what comes to nothing of what they registered: hooks that no attached runtime calls, and tools whose names
//! a runtime has for itself.
//!
//! One task for all plugins. It is told once for each handler, and again only after that was otherwise in between. What a
//! session does not take now, for its rate or because its plugin does not read, is told later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1::NoticeKind;
use tokio_util::sync::CancellationToken;

use super::registration::Handler;
use super::registry::{Part, Registry, Snapshot};
use super::runtimes::Runtimes;
use super::session::Session;
use crate::domain::ids::{Generation, PluginId};

/// How long what a session did not take waits for the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// What one item is told: the kind of notice, and the handler's id.
type Item = (NoticeKind, bool, String);

/// What the serving generation of each plugin has been told and still holds. As large as what is registered.
#[derive(Default)]
pub(crate) struct Teller {
    told: BTreeMap<PluginId, (Generation, BTreeSet<Item>)>,
}

/// Runs until the supervisor stops.
pub(crate) async fn tell(
    registry: Arc<Registry>,
    runtimes: Arc<Runtimes>,
    gone: Duration,
    stopping: CancellationToken,
) {
    let mut registered = registry.revisions();
    let mut attached = runtimes.changes();
    let mut teller = Teller::default();
    loop {
        let all = teller.tell(&registry.snapshot(), &runtimes, gone);
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = registered.changed() => if changed.is_err() { return },
            changed = attached.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN), if !all => {}
        }
    }
}

impl Teller {
    /// Tells what is new. False where something is left to tell.
    fn tell(&mut self, snapshot: &Snapshot, runtimes: &Runtimes, gone: Duration) -> bool {
        let calls = runtimes.calls(gone);
        let uncalled = |handler: &&Handler| !calls.calls(handler.hook);
        let mut all = true;
        self.told.retain(|plugin, _| snapshot.serves(plugin.as_str()));
        for (part, session) in snapshot.parts.iter().filter_map(serving) {
            let (generation, told) = self.told.entry(part.view.id.clone()).or_default();
            if *generation != session.generation {
                (*generation, *told) = (session.generation, BTreeSet::new());
            }
            let mut now = BTreeMap::new();
            for handler in session.registration.handlers.iter().filter(uncalled) {
                let why = format!("no attached runtime calls `{}`: this handler is not asked", handler.hook.name());
                now.insert((NoticeKind::HookNotCalled, handler.policy, handler.id.clone()), why);
            }
            for tool in snapshot.withdrawn(&part.view.id).into_iter().flatten() {
                let why = format!("an agent runtime has a tool `{tool}` of its own: this one is not served any more");
                now.insert((NoticeKind::ItemWithdrawn, false, tool.clone()), why);
            }
            told.retain(|item| now.contains_key(item));
            for (item, why) in now.into_iter().filter(|(item, _)| !told.contains(item)).collect::<Vec<_>>() {
                if !session.notice(item.0, 0, &item.2, why) {
                    all = false;
                    break;
                }
                told.insert(item);
            }
        }
        all
    }
}

fn serving(part: &Arc<Part>) -> Option<(&Part, &Session)> {
    Some((part, part.session.as_deref()?))
}
