//! `outrigger.toml`: what the operator decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::convert::{self, Configuration};
use super::environment;
use super::file;
use super::grants::{self, Decision};
use super::keys::{
    self, CALL, ENTRY, HOOK, LIMITS, MEMORY, MOST_ARGUMENT_BYTES, MOST_PLUGINS, MOST_SECRETS, OPERATOR, PROCESSES,
    SECRET_FILE, STARTUP,
};
use super::problem::{Problem, Problems, perhaps};
use super::reader::{Document, Node, Report, Table};
use super::supervisor::{self, SUPERVISOR};
use crate::domain::guard::OnAbsent;
use crate::domain::hook::Hook;
use crate::domain::rights::Tier;
use crate::domain::settings::Settings;
use crate::domain::spec::{HookSetting, PluginLimits};

/// Longest file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The operator's file.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// Settings of the supervisor.
    pub settings: Settings,
    /// The entries, in the file's order.
    pub plugins: Vec<PluginEntry>,
}

/// One `[[plugin]]`. What is wrong with it is missing here and told in `problems`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginEntry {
    /// The file.
    pub file: PathBuf,
    /// Its index in the file.
    pub index: usize,
    /// The line it begins at.
    pub line: usize,
    /// Directory of its manifest, absolute, and as written.
    pub package: Option<(PathBuf, String)>,
    /// How far it is trusted.
    pub tier: Tier,
    /// Rights granted and denied. `None`: not all of tier, grants, denials and roots is sound.
    pub decision: Option<Decision>,
    /// Its configuration.
    pub config: Configuration,
    /// Files of its secrets, with the lines they stand at.
    pub secrets: BTreeMap<String, (PathBuf, usize)>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Bounds of its tree.
    pub limits: PluginLimits,
    /// Time for its calls.
    pub timeout: Option<Duration>,
    /// Settings for single hooks.
    pub hooks: BTreeMap<Hook, HookSetting>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl PluginEntry {
    /// A problem of one of its keys; without a line, of the entry.
    pub(super) fn problem(
        &self,
        key: &str,
        line: Option<usize>,
        value: Option<String>,
        message: String,
        right: &str,
    ) -> Problem {
        let key = format!("plugin[{}].{key}", self.index);
        Problem { line: line.or(Some(self.line)), key, value, ..Problem::of_file(&self.file, message, right) }
    }
}

/// Parses the operator's file. Packages are relative to its directory.
///
/// # Errors
/// It is not TOML, has a key that is not known at its top, or its `[supervisor]` is wrong. What is wrong with single
/// entries is told, too, but alone is no error: it stays in the entry.
pub fn parse(file: &Path, text: &str) -> Result<Operator, Problems> {
    let document = Document::parse(file, text)?;
    let report = Report::new(&document);
    let root = document.root(&report);
    root.refuse_unknown(OPERATOR);
    let settings = root.get("supervisor").and_then(|node| node.table(SUPERVISOR));
    let settings = settings.map(|table| supervisor::read(&table)).unwrap_or_default();
    let nodes = root.get("plugin").and_then(|node| node.list(MOST_PLUGINS)).unwrap_or_default();
    let entries = nodes.into_iter().enumerate().filter(|(_, node)| node.any_table().is_some());
    let plugins: Vec<_> = entries.map(|(index, node)| read_entry(file, index, &node, Report::new(&document))).collect();
    let problems = report.finish();
    if problems.is_empty() {
        return Ok(Operator { settings, plugins });
    }
    Err(Problems(problems.into_iter().chain(plugins.into_iter().flat_map(|plugin| plugin.problems)).collect()))
}

fn read_entry(file: &Path, index: usize, node: &Node<'_>, report: Report<'_>) -> PluginEntry {
    let mut entry = PluginEntry {
        file: file.to_owned(),
        index,
        line: node.line(),
        package: None,
        tier: Tier::default(),
        decision: None,
        config: Configuration::default(),
        secrets: BTreeMap::new(),
        env: BTreeMap::new(),
        limits: PluginLimits::default(),
        timeout: None,
        hooks: BTreeMap::new(),
        problems: Vec::new(),
    };
    if let Some(table) = node.clone().reported_to(&report).table(ENTRY) {
        entry.package = table.get("package").and_then(|node| package(file, &node));
        let before = report.count();
        let read_tier = |node: Node<'_>| node.choice("a tier", &keys::tiers(), Tier::from_name);
        let tier = table.get("tier").map_or(Some(Tier::default()), read_tier);
        entry.tier = tier.unwrap_or_default();
        let decision = grants::read(&table, tier);
        // A misspelt key may be one of these.
        let keys_are_known = table.iter().all(|(name, _)| ENTRY.iter().any(|key| key.name == name));
        entry.decision = (report.count() == before && keys_are_known).then_some(decision);
        entry.config = table.get("config").and_then(|node| convert::to_json(&node)).unwrap_or_default();
        entry.secrets = table.get("secrets").map(|node| secrets(&node)).unwrap_or_default();
        let env = table.get("env").and_then(|node| node.any_table());
        entry.env = env.map(|table| environment::read(&table, true)).unwrap_or_default();
        entry.limits =
            table.get("limits").and_then(|node| node.table(LIMITS)).map(|table| limits(&table)).unwrap_or_default();
        entry.timeout = table.get("timeout").and_then(|node| node.duration(CALL));
        entry.hooks =
            table.get("hooks").and_then(|node| node.any_table()).map(|table| hooks(&table)).unwrap_or_default();
    }
    entry.problems = report.finish();
    entry
}

fn package(file: &Path, node: &Node<'_>) -> Option<(PathBuf, String)> {
    let written = node.plain_bytes(MOST_ARGUMENT_BYTES)?;
    if written.trim().is_empty() {
        node.fail("is empty", "the directory of the plugin's plugin.toml");
        return None;
    }
    match file::absolute(file.parent().unwrap_or(Path::new("")), Path::new(&written)) {
        Ok(path) => Some((path, written)),
        Err(error) => {
            node.fail(&format!("cannot be made absolute: {error}"), "an absolute path");
            None
        }
    }
}

/// Where the secrets are. Nothing that stands in their place is shown: it may be the secret itself.
fn secrets(node: &Node<'_>) -> BTreeMap<String, (PathBuf, usize)> {
    let mut files = BTreeMap::new();
    let Some(table) = node.clone().hidden().any_table() else { return files };
    if table.len() > MOST_SECRETS {
        table.fail(&format!("has {} secrets", table.len()), &format!("at most {MOST_SECRETS}"));
        return files;
    }
    for (name, node) in table.iter() {
        if node.value.as_table().is_none() {
            node.fail("is not a reference to a file", "{ file = \"/…\" }");
            continue;
        }
        let Some(file) = node.table(SECRET_FILE).and_then(|table| table.get("file")) else { continue };
        let Some(path) = file.plain_bytes(MOST_ARGUMENT_BYTES) else { continue };
        if Path::new(&path).is_absolute() {
            files.insert(name.to_owned(), (path.into(), file.line()));
        } else {
            file.fail("is not an absolute path", "a path that begins with `/`");
        }
    }
    files
}

fn limits(table: &Table<'_>) -> PluginLimits {
    PluginLimits {
        startup: table.get("startup").and_then(|node| node.duration(STARTUP)),
        memory_bytes: table.get("memory").and_then(|node| node.size(MEMORY)),
        processes: table.get("processes").and_then(|node| node.count(PROCESSES)),
    }
}

fn hooks(table: &Table<'_>) -> BTreeMap<Hook, HookSetting> {
    let mut settings = BTreeMap::new();
    for (name, node) in table.iter() {
        let Some(hook) = Hook::from_name(name) else {
            node.hidden().fail("is not a hook", &perhaps(name, &keys::hooks()));
            continue;
        };
        let Some(table) = node.table(HOOK) else { continue };
        let timeout = table.get("timeout").and_then(|node| node.duration(CALL));
        let on_absent = table.get("on_absent").and_then(|node| on_absent(&node, hook)).unwrap_or_default();
        settings.insert(hook, HookSetting { timeout, on_absent });
    }
    settings
}

fn on_absent(node: &Node<'_>, hook: Hook) -> Option<OnAbsent> {
    if !hook.is_guard() {
        let right = format!("leave it out; it is for {}", keys::guard_hooks().join(", "));
        node.fail(&format!("is set, but `{}` fails open", hook.name()), &right);
        return None;
    }
    node.choice("a way to treat what is guarded", &keys::absences(), |name| match name {
        "deny" => Some(OnAbsent::Deny),
        "skip" => Some(OnAbsent::Skip),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
