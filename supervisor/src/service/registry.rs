//! Who is asked, in which order: an immutable snapshot, replaced whole at each change and pinned by each dispatch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use outrigger_proto::types::v1 as types;
use tokio::sync::watch;

use super::registration::{self, Handler, Tool};
use super::session::Session;
use super::view::{Handler as Counts, View};
use crate::domain::guard::{Guard, OnAbsent, Tools};
use crate::domain::hook::Hook;
use crate::domain::ids::{Generation, PluginId};
use crate::domain::spec::HookSetting;

/// Plugins that are named as guards of a hook (the wire contract's bound).
const MAX_GUARD_IDS: usize = 64;

/// What one plugin contributes.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) view: Arc<View>,
    /// Its name for people.
    pub(crate) name: String,
    /// It ships with the host.
    pub(crate) bundled: bool,
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
}

impl Asked {
    /// The handler as it was registered.
    pub(crate) fn handler(&self) -> &Handler {
        &self.session.registration.handlers[self.index]
    }

    /// Its place in the order: trusted policies, those of bundled plugins first, then by priority. Equal ones stay in
    /// the order of plugins, then of the registration.
    fn rank(&self) -> (u8, std::cmp::Reverse<i32>) {
        match (self.handler().policy, self.part.bundled) {
            (true, true) => (0, std::cmp::Reverse(0)),
            (true, false) => (1, std::cmp::Reverse(0)),
            (false, _) => (2, std::cmp::Reverse(self.handler().priority)),
        }
    }
}

/// A guard that holds and that its plugin does not serve, for these tools.
pub(crate) struct Unserved {
    pub(crate) part: Arc<Part>,
    pub(crate) tools: Tools,
    /// It is a trusted tool policy.
    pub(crate) policy: bool,
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

/// A tool of a plugin: served, or by the last registration while the plugin is away, or described.
#[derive(Clone)]
pub(crate) struct Listed {
    pub(crate) part: Arc<Part>,
    tools: Arc<[Tool]>,
    index: usize,
}

impl Listed {
    /// The tool as it was registered.
    pub(crate) fn tool(&self) -> &Tool {
        &self.tools[self.index]
    }

    /// Nothing of it has changed for those who list it.
    fn is_as(&self, other: &Self) -> bool {
        self.part.view.id == other.part.view.id
            && self.part.name == other.part.name
            && self.part.session.is_some() == other.part.session.is_some()
            && self.tool() == other.tool()
    }
}

/// Everything plugins contribute at one moment.
pub(crate) struct Snapshot {
    /// Contribution epoch: rises when what the runtime has to call changes.
    pub(crate) epoch: u64,
    /// What each plugin contributes, in the order of `outrigger.toml`.
    pub(crate) parts: Vec<Arc<Part>>,
    tables: BTreeMap<Hook, Table>,
    /// Ids of plugins that serve.
    serving: BTreeSet<String>,
    /// Tools by plugin and name.
    pub(crate) tools: Vec<Listed>,
    /// Tools that are not served, as a runtime has their names for itself, by the plugins that registered them.
    withdrawn: BTreeMap<PluginId, Arc<BTreeSet<String>>>,
    /// Rises when the tools change, or whether they can be called.
    pub(crate) catalogue: u64,
    /// What the runtime is told.
    pub(crate) interests: Vec<types::HookInterest>,
    /// Some plugin may still begin to serve for the first time.
    pub(crate) starting: bool,
}

impl Snapshot {
    /// Whether a plugin of this id serves.
    pub(crate) fn serves(&self, plugin: &str) -> bool {
        self.serving.contains(plugin)
    }

    /// The table of a hook. `None`: no plugin wants or guards it.
    pub(crate) fn table(&self, hook: Hook) -> Option<&Table> {
        self.tables.get(&hook)
    }

    /// The tool that a plugin serves by this name, or served when it was last there.
    pub(crate) fn served_tool(&self, name: &str) -> Option<&Listed> {
        let serves = |listed: &&Listed| listed.tool().name == name && listed.tool().served.is_some();
        self.tools.iter().filter(serves).min_by_key(|listed| listed.part.position)
    }

    /// Tools of what a plugin registered last that are not served, as a runtime has their names for itself.
    pub(crate) fn withdrawn(&self, plugin: &PluginId) -> Option<&BTreeSet<String>> {
        self.withdrawn.get(plugin).map(Arc::as_ref)
    }

    /// Whether some plugin wants or guards `before_tool_call` for a tool: it runs only with a decision.
    pub(crate) fn gates(&self, tool: &str) -> bool {
        self.table(Hook::BeforeToolCall).is_some_and(|table| {
            table.asked.iter().any(|asked| asked.handler().tools.matches(tool))
                || table.unserved.iter().any(|unserved| unserved.tools.matches(tool))
        })
    }
}

#[derive(Default)]
struct Parts {
    parts: BTreeMap<PluginId, Arc<Part>>,
    /// Tools of each plugin, by its last registration.
    tools: BTreeMap<PluginId, Offered>,
    /// Names that runtimes have for tools of their own.
    reserved: Arc<BTreeSet<String>>,
    /// Plugins that are to run and have not served since the supervisor's start, nor were given up or stopped.
    starting: BTreeSet<PluginId>,
}

/// The tools of one registration.
struct Offered {
    generation: Generation,
    tools: Arc<[Tool]>,
    /// Names that a runtime took since. They do not come back: one that was refused at its registration does not either,
    /// so that it makes no difference who came first.
    withdrawn: Arc<BTreeSet<String>>,
}

impl Offered {
    fn withdraw(&mut self, reserved: &BTreeSet<String>) {
        let served = self.tools.iter().filter(|tool| tool.served.is_some());
        let taken = served.filter(|tool| reserved.contains(&tool.name) && !self.withdrawn.contains(&tool.name));
        let taken: Vec<String> = taken.map(|tool| tool.name.clone()).collect();
        if !taken.is_empty() {
            Arc::make_mut(&mut self.withdrawn).extend(taken);
        }
    }
}

/// The registry.
pub(crate) struct Registry {
    parts: Mutex<Parts>,
    snapshot: ArcSwap<Snapshot>,
    epoch: watch::Sender<u64>,
    /// Rises with each snapshot.
    revision: watch::Sender<u64>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        let empty = Snapshot {
            epoch: 1,
            parts: Vec::new(),
            tables: BTreeMap::new(),
            serving: BTreeSet::new(),
            tools: Vec::new(),
            withdrawn: BTreeMap::new(),
            catalogue: 1,
            interests: Vec::new(),
            starting: false,
        };
        Arc::new(Self {
            parts: Mutex::default(),
            snapshot: ArcSwap::from_pointee(empty),
            epoch: watch::channel(1).0,
            revision: watch::channel(0).0,
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

    /// Changes of the snapshot, also those that runtimes need not know.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// A plugin is about to be started: until it serves, or has settled otherwise, more is to come.
    pub(crate) fn expect(&self, plugin: PluginId) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.starting.insert(plugin);
        self.rebuild(&parts, &Changed::default());
    }

    /// A plugin will not serve for now: nobody waits for it any more. One that begins to serve has settled by that.
    pub(crate) fn settled(&self, plugin: &PluginId) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.starting.remove(plugin) {
            self.rebuild(&parts, &Changed::default());
        }
    }

    /// Sets what a plugin contributes. The change is complete when this returns: calls that begin later see it.
    pub(crate) fn set(&self, part: Part) {
        part.view.serve(part.session.clone());
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &part.session
            && parts.tools.get(&part.view.id).is_none_or(|offered| offered.generation != session.generation)
        {
            let mut offered = Offered {
                generation: session.generation,
                tools: Arc::clone(&session.registration.tools),
                withdrawn: Arc::default(),
            };
            offered.withdraw(&parts.reserved);
            parts.tools.insert(part.view.id.clone(), offered);
        }
        if part.session.is_some() {
            parts.starting.remove(&part.view.id);
        }
        parts.parts.insert(part.view.id.clone(), Arc::new(part));
        self.rebuild(&parts, &Changed::default());
    }

    /// Sets the names that runtimes have for tools of their own: what plugins serve by them is withdrawn. The names are
    /// asked for under the lock, so that of two runtimes that attach at once none is missed.
    pub(crate) fn reserve(&self, names: impl FnOnce() -> BTreeSet<String>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let reserved = names();
        if *parts.reserved == reserved {
            return;
        }
        parts.reserved = Arc::new(reserved);
        let Parts { tools, reserved, .. } = &mut *parts;
        tools.values_mut().for_each(|offered| offered.withdraw(reserved));
        self.rebuild(&parts, &Changed::default());
    }

    /// Names that no plugin may serve a tool by.
    pub(crate) fn reserved(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.parts.lock().unwrap_or_else(PoisonError::into_inner).reserved)
    }

    /// Plugins want other streams of events than before: the epoch rises.
    pub(crate) fn streams_changed(&self) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.rebuild(&parts, &Changed { streams: true, ..Changed::default() });
    }

    /// Tells that a plugin's tools can, or cannot, be called any more; of one without tools nothing is told.
    pub(crate) fn tools_changed(&self, plugin: &PluginId) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.tools.get(plugin).is_some_and(|offered| !offered.tools.is_empty()) {
            self.rebuild(&parts, &Changed { tools: true, ..Changed::default() });
        }
    }

    fn rebuild(&self, parts: &Parts, besides: &Changed) {
        let mut ordered: Vec<Arc<Part>> = parts.parts.values().cloned().collect();
        ordered.sort_by_key(|part| part.position);
        let tables = tables(&ordered);
        let interests = interests(&ordered, &tables);
        let before = self.snapshot.load();
        let tools = listed(parts);
        let same_tools = !besides.tools
            && tools.len() == before.tools.len()
            && tools.iter().zip(&before.tools).all(|(now, before)| now.is_as(before));
        let catalogue = before.catalogue + u64::from(!same_tools);
        let starting = !parts.starting.is_empty();
        let changed = before.interests != interests || !same_tools || besides.streams || before.starting != starting;
        let epoch = before.epoch + u64::from(changed);
        let serving =
            ordered.iter().filter(|part| part.session.is_some()).map(|part| part.view.id.to_string()).collect();
        let withdrawn = parts.tools.iter().filter(|(_, offered)| !offered.withdrawn.is_empty());
        let withdrawn = withdrawn.map(|(plugin, offered)| (plugin.clone(), Arc::clone(&offered.withdrawn))).collect();
        let snapshot =
            Snapshot { epoch, parts: ordered, tables, serving, tools, withdrawn, catalogue, interests, starting };
        self.snapshot.store(Arc::new(snapshot));
        self.revision.send_modify(|revision| *revision += 1);
        if changed {
            self.epoch.send_replace(epoch);
        }
    }
}

/// What changed for runtimes and cannot be seen in what plugins contribute.
#[derive(Default)]
struct Changed {
    tools: bool,
    streams: bool,
}

/// All tools, by plugin and name, but for those withdrawn.
fn listed(parts: &Parts) -> Vec<Listed> {
    let mut listed = Vec::new();
    for (plugin, Offered { tools, withdrawn, .. }) in &parts.tools {
        let Some(part) = parts.parts.get(plugin) else { continue };
        let first = listed.len();
        let listing = (0..tools.len()).filter(|index| !withdrawn.contains(&tools[*index].name));
        listed.extend(listing.map(|index| Listed { part: Arc::clone(part), tools: Arc::clone(tools), index }));
        listed[first..].sort_by(|a, b| a.tool().name.cmp(&b.tool().name));
    }
    listed
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
                    counts: part.view.handler(handler.hook, handler.policy, &handler.id),
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
                    policy: guard.policy,
                    on_absent: part.on_absent(guard.hook),
                    counts: part.view.handler(guard.hook, guard.policy, ""),
                });
            }
        }
    }
    for table in tables.values_mut() {
        table.asked.sort_by_key(Asked::rank);
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
            guard_plugin_ids: if hook.is_guard() { guarding(*hook, table) } else { Vec::new() },
        });
    }
    interests
}

/// Plugins that guard a hook, those that are asked first.
fn guarding(hook: Hook, table: &Table) -> Vec<String> {
    let asked = table.asked.iter().map(|asked| &asked.part);
    let parts = asked.chain(table.unserved.iter().map(|unserved| &unserved.part));
    let mut ids: Vec<String> = Vec::new();
    for part in parts.filter(|part| part.guards.iter().any(|guard| guard.hook == hook)) {
        if ids.len() == MAX_GUARD_IDS {
            break;
        }
        if !ids.iter().any(|id| id == part.view.id.as_str()) {
            ids.push(part.view.id.to_string());
        }
    }
    ids
}
