//! Who is asked, in which order: an immutable snapshot, replaced whole at each change and pinned by each dispatch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use outrigger_proto::types::v1 as types;
use tokio::sync::watch;

use super::registration;
use super::session::Session;
use super::view::{Handler as Counts, View};
use crate::domain::guard::{Guard, OnAbsent, Tools};
use crate::domain::hook::Hook;
use crate::domain::ids::PluginId;
use crate::domain::spec::HookSetting;

/// What one plugin contributes.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) view: Arc<View>,
    /// Position in `outrigger.toml`.
    pub(crate) position: usize,
    /// Guards that hold now: declared, granted, and not lifted by the operator.
    pub(crate) guards: Vec<Guard>,
    /// The operator's settings.
    pub(crate) hooks: BTreeMap<Hook, HookSetting>,
    /// What serves.
    pub(crate) session: Option<Arc<Session>>,
}

impl Part {
    /// What happens while the plugin is absent.
    pub(crate) fn on_absent(&self, hook: Hook) -> OnAbsent {
        self.hooks.get(&hook).map(|setting| setting.on_absent).unwrap_or_default()
    }
}

/// One handler in the order of asking.
pub(crate) struct Asked {
    pub(crate) part: Arc<Part>,
    /// Its position in the session's registration.
    pub(crate) index: usize,
    pub(crate) session: Arc<Session>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) priority: i32,
}

impl Asked {
    /// The handler's id.
    pub(crate) fn handler(&self) -> &str {
        &self.session.registration.handlers[self.index].id
    }

    /// It is for this tool.
    pub(crate) fn wants(&self, tool: &str) -> bool {
        self.session.registration.handlers[self.index].tools.matches(tool)
    }
}

/// A guard that holds and that its plugin does not serve, for these tools.
pub(crate) struct Unserved {
    pub(crate) part: Arc<Part>,
    pub(crate) tools: Tools,
    pub(crate) on_absent: OnAbsent,
    pub(crate) counts: Arc<Counts>,
}

/// One hook.
#[derive(Default)]
pub(crate) struct Table {
    /// Handlers in order.
    pub(crate) asked: Vec<Asked>,
    /// Guards that nobody serves, in the plugins' order.
    pub(crate) unserved: Vec<Unserved>,
}

/// Everything plugins contribute at one moment.
pub(crate) struct Snapshot {
    /// Contribution epoch: rises when what the runtime has to call changes.
    pub(crate) epoch: u64,
    tables: BTreeMap<Hook, Table>,
    /// What the runtime is told.
    pub(crate) interests: Vec<types::HookInterest>,
}

impl Snapshot {
    /// The table of a hook. `None`: no plugin wants or guards it.
    pub(crate) fn table(&self, hook: Hook) -> Option<&Table> {
        self.tables.get(&hook)
    }
}

/// The registry.
pub(crate) struct Registry {
    parts: Mutex<BTreeMap<PluginId, Arc<Part>>>,
    snapshot: ArcSwap<Snapshot>,
    epoch: watch::Sender<u64>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        let empty = Snapshot { epoch: 1, tables: BTreeMap::new(), interests: Vec::new() };
        Arc::new(Self {
            parts: Mutex::new(BTreeMap::new()),
            snapshot: ArcSwap::from_pointee(empty),
            epoch: watch::channel(1).0,
        })
    }

    /// The snapshot now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The epoch and its changes.
    pub(crate) fn epochs(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// Sets what a plugin contributes. The change is complete when this returns: calls that begin later see it.
    pub(crate) fn set(&self, part: Part) {
        part.view.serve(part.session.clone());
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(part.view.id.clone(), Arc::new(part));
        self.rebuild(&parts);
    }

    fn rebuild(&self, parts: &BTreeMap<PluginId, Arc<Part>>) {
        let mut ordered: Vec<Arc<Part>> = parts.values().cloned().collect();
        ordered.sort_by_key(|part| part.position);
        let tables = tables(&ordered);
        let interests = interests(&ordered, &tables);
        let before = self.snapshot.load();
        let changed = before.interests != interests;
        let epoch = before.epoch + u64::from(changed);
        self.snapshot.store(Arc::new(Snapshot { epoch, tables, interests }));
        if changed {
            self.epoch.send_replace(epoch);
        }
    }
}

fn tables(parts: &[Arc<Part>]) -> BTreeMap<Hook, Table> {
    let mut tables: BTreeMap<Hook, Table> = BTreeMap::new();
    for part in parts {
        if let Some(session) = &part.session {
            for (index, handler) in session.registration.handlers.iter().enumerate() {
                tables.entry(handler.hook).or_default().asked.push(Asked {
                    part: Arc::clone(part),
                    index,
                    session: Arc::clone(session),
                    counts: part.view.handler(handler.hook, &handler.id),
                    priority: handler.priority,
                });
            }
        }
        for guard in &part.guards {
            let unserved = match &part.session {
                None => Some(guard.tools.clone()),
                Some(session) => registration::left_of(guard, &session.registration.handlers),
            };
            if let Some(tools) = unserved {
                tables.entry(guard.hook).or_default().unserved.push(Unserved {
                    part: Arc::clone(part),
                    tools,
                    on_absent: part.on_absent(guard.hook),
                    counts: part.view.handler(guard.hook, ""),
                });
            }
        }
    }
    for table in tables.values_mut() {
        // Stable: equal priorities stay in the order of plugins, then of the registration.
        table.asked.sort_by_key(|asked| std::cmp::Reverse(asked.priority));
    }
    tables
}

fn interests(parts: &[Arc<Part>], tables: &BTreeMap<Hook, Table>) -> Vec<types::HookInterest> {
    let mut interests = Vec::new();
    for (hook, table) in tables {
        let mut wanted: Vec<&Tools> = Vec::new();
        let mut duration = Duration::ZERO;
        for asked in &table.asked {
            let handler = &asked.session.registration.handlers[asked.index];
            wanted.push(&handler.tools);
            duration += handler.timeout;
        }
        let guards = || parts.iter().flat_map(|part| &part.guards).filter(|guard| guard.hook == *hook);
        wanted.extend(guards().map(|guard| &guard.tools));
        let all = wanted.iter().any(|tools| **tools == Tools::All);
        let mut tool_names: Vec<String> =
            if all { Vec::new() } else { wanted.iter().flat_map(|tools| tools.to_list()).collect() };
        tool_names.sort();
        tool_names.dedup();
        interests.push(types::HookInterest {
            hook: super::wire::hook(*hook) as i32,
            tool_names,
            triggers: Vec::new(),
            dispatch_kinds: Vec::new(),
            wants_messages: table
                .asked
                .iter()
                .any(|asked| asked.session.registration.handlers[asked.index].wants_messages),
            fail_closed: hook.is_guard() && guards().next().is_some(),
            // Twice, as guards may be asked again about what later handlers changed.
            max_duration: Some(super::wire::duration(duration * 2)),
        });
    }
    interests
}
