//! `plugin.toml`: what a plugin's author asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::environment;
use super::file::{self, ReadError};
use super::grants::{name, scope};
use super::keys::{
    self, GUARD, MANIFEST, MOST_ARGUMENT_BYTES, MOST_ARGUMENTS, MOST_CLAIMS, MOST_DESCRIPTION, MOST_EXIT_CODES,
    MOST_GUARDS, MOST_NAME, MOST_SECRETS, MOST_VERSION,
};
use super::problem::{Problem, Problems};
use super::reader::{Document, Node, Report, Table};
use crate::domain::guard::{Guard, Tools};
use crate::domain::hook::Hook;
use crate::domain::ids::{PluginId, PluginIdError, RESERVED_STREAMS};
use crate::domain::launch::Connect;
use crate::domain::names::{self, NameError};
use crate::domain::rights::Scope;
use crate::domain::spec::{Claim, ReloadMode, RestartPolicy};

/// Name of the file in the package.
pub const FILE_NAME: &str = "plugin.toml";
/// Longest manifest, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// Exit code that says "my configuration is wrong" (`EX_CONFIG` of sysexits.h): to start again would not help.
const FINAL_EXIT_CODE: i32 = 78;

/// A manifest, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Where it was read.
    pub file: PathBuf,
    /// Id of the plugin.
    pub id: PluginId,
    /// Version, 1 to 64 characters.
    pub version: String,
    /// Program and arguments as written; at least the program.
    pub command: Vec<String>,
    /// Name for people.
    pub name: Option<String>,
    /// One line for people. Empty: none.
    pub description: String,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Exit codes after which it is not.
    pub final_exit_codes: Vec<i32>,
    /// How a reload goes.
    pub reload: ReloadMode,
    /// Which address form it uses.
    pub connect: Connect,
    /// Its configuration's schema: a path in the package that leads nowhere else.
    pub config_schema: Option<PathBuf>,
    /// Secrets it asks for.
    pub secrets: BTreeSet<String>,
    /// What it asks for and guards.
    pub request: Request,
    /// The lines of its keys, for problems that show later.
    pub lines: BTreeMap<String, usize>,
}

/// The part of a manifest that concerns others: it holds even where the rest is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Rights asked for.
    pub scopes: BTreeSet<Scope>,
    /// Guards declared.
    pub guards: Vec<Guard>,
    /// Names claimed, with their lines.
    pub claims: BTreeMap<Claim, usize>,
}

/// Why there is no manifest, and what could be read all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// The plugin's id, if that is sound.
    pub id: Option<PluginId>,
    /// What it asks for and guards, if all of that is sound: nothing misspelt could belong to it.
    pub request: Option<Request>,
    /// What is wrong; not empty.
    pub problems: Vec<Problem>,
}

/// Reads the manifest of a package.
///
/// # Errors
/// Everything that is wrong with it, and what could be read all the same.
pub fn read(package: &Path) -> Result<Manifest, Box<Unreadable>> {
    let path = package.join(FILE_NAME);
    match file::read_in_package(package, Path::new(FILE_NAME), MAX_BYTES) {
        Ok(text) => parse(&path, &text),
        Err(error) => {
            let right = match error {
                ReadError::NotFound => "a package with a plugin.toml",
                _ => error.right(),
            };
            Err(Unreadable::from_problems(vec![Problem::of_file(&path, error.to_string(), right)]))
        }
    }
}

/// Parses a manifest; `file` is its name in problems.
///
/// # Errors
/// As for [`read`].
pub fn parse(file: &Path, text: &str) -> Result<Manifest, Box<Unreadable>> {
    let document = Document::parse(file, text).map_err(|Problems(problems)| Unreadable::from_problems(problems))?;
    let report = Report::new(&document);
    let root = document.root(&report);
    // A key that is not known may be a guard misspelt, so the request is sound only without any.
    root.refuse_unknown(MANIFEST);
    let request = read_request(&root);
    let request_is_sound = report.count() == 0;

    root.require(MANIFEST);
    let id = root.get("id").and_then(|node| plugin_id(&node));
    let version = root.get("version").and_then(|node| node.line_of_text(MOST_VERSION));
    let command = root.get("command").and_then(|node| read_command(&node));
    let name = root.get("name").and_then(|node| node.line_of_text(MOST_NAME));
    let description = root.get("description").and_then(|node| node.line_of_text(MOST_DESCRIPTION)).unwrap_or_default();
    let env = root.get("env").and_then(|node| node.any_table()).map(|table| environment::read(&table, false));
    let restart = root.get("restart").and_then(|node| node.choice("a restart policy", &keys::restarts(), restart));
    let final_exit_codes = root.get("final_exit_codes").map(|node| exit_codes(&node));
    let reload = root.get("reload").and_then(|node| node.choice("a way to reload", &keys::reloads(), reload));
    let connect = root.get("connect").and_then(|node| node.choice("a way to connect", &keys::connects(), connect));
    let config_schema = root.get("config_schema").and_then(|node| path_in_package(&node));
    let secrets = root.get("secrets").map(|node| node.set(MOST_SECRETS, secret_name)).unwrap_or_default();

    let lines = root.iter().map(|(key, node)| (key.to_owned(), node.line())).collect();
    let problems = report.finish();
    match (id, version, command) {
        (Some(id), Some(version), Some(command)) if problems.is_empty() => Ok(Manifest {
            file: file.to_owned(),
            id,
            version,
            command,
            name,
            description,
            env: env.unwrap_or_default(),
            restart: restart.unwrap_or_default(),
            final_exit_codes: final_exit_codes.unwrap_or_else(|| vec![FINAL_EXIT_CODE]),
            reload: reload.unwrap_or_default(),
            connect: connect.unwrap_or_default(),
            config_schema,
            secrets,
            request,
            lines,
        }),
        (id, ..) => Err(Box::new(Unreadable { id, request: request_is_sound.then_some(request), problems })),
    }
}

impl Manifest {
    /// A problem of one of its keys.
    pub(super) fn problem(&self, key: &str, value: Option<String>, message: String, right: &str) -> Problem {
        Problem {
            line: self.lines.get(key).copied(),
            key: key.to_owned(),
            value,
            ..Problem::of_file(&self.file, message, right)
        }
    }
}

impl Unreadable {
    fn from_problems(problems: Vec<Problem>) -> Box<Self> {
        Box::new(Self { id: None, request: None, problems })
    }
}

fn restart(name: &str) -> Option<RestartPolicy> {
    match name {
        "on-failure" => Some(RestartPolicy::OnFailure),
        "never" => Some(RestartPolicy::Never),
        _ => None,
    }
}

fn reload(name: &str) -> Option<ReloadMode> {
    match name {
        "overlap" => Some(ReloadMode::Overlap),
        "stop-first" => Some(ReloadMode::StopFirst),
        _ => None,
    }
}

fn connect(name: &str) -> Option<Connect> {
    match name {
        "relative" => Some(Connect::Relative),
        "absolute" => Some(Connect::Absolute),
        _ => None,
    }
}

fn plugin_id(node: &Node<'_>) -> Option<PluginId> {
    match node.string()?.parse() {
        Ok(id) => Some(id),
        Err(PluginIdError::Shape(_)) => {
            node.fail("is not a plugin id", "1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit");
            None
        }
        Err(PluginIdError::Reserved(_)) => {
            let right = format!("any but {}", RESERVED_STREAMS.join(", "));
            node.fail("is the name of an event stream of the host", &right);
            None
        }
    }
}

fn read_command(node: &Node<'_>) -> Option<Vec<String>> {
    let items = node.list(MOST_ARGUMENTS)?;
    if items.is_empty() {
        node.fail("is empty", "the program, then its arguments");
        return None;
    }
    let arguments: Vec<_> = items.iter().map(|item| item.plain_bytes(MOST_ARGUMENT_BYTES)).collect();
    if arguments.first().is_some_and(|program| program.as_deref() == Some("")) {
        items[0].fail("is not a program", "a path, or a name on the PATH");
        return None;
    }
    arguments.into_iter().collect()
}

fn exit_codes(node: &Node<'_>) -> Vec<i32> {
    let codes = node.set(MOST_EXIT_CODES, |item| item.count(0..=255).and_then(|code| i32::try_from(code).ok()));
    codes.into_iter().collect()
}

fn path_in_package(node: &Node<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(node.plain_bytes(MOST_ARGUMENT_BYTES)?);
    let inside = path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    if !inside || path.file_name().is_none() {
        node.fail("is not a path in the package", "a relative path without `..`");
        return None;
    }
    Some(path)
}

fn secret_name(node: &Node<'_>) -> Option<String> {
    let text = node.string()?;
    let bytes = text.as_bytes();
    let sound = bytes.len() <= 64
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !sound {
        node.fail("is not the name of a secret", "1 to 64 of A-Z, a-z, 0-9, `_` and `-`, beginning with a letter");
    }
    sound.then(|| text.to_owned())
}

fn read_request(root: &Table<'_>) -> Request {
    let scopes = root.get("scopes").map(|node| node.set(64, scope)).unwrap_or_default();
    let guards = root.get("guard").and_then(|node| node.list(MOST_GUARDS)).unwrap_or_default();
    let guards = guards.iter().filter_map(read_guard).collect();
    let mut request = Request { scopes, guards, claims: BTreeMap::new() };
    claim(root, "tools", names::tool, Claim::Tool, &mut request);
    claim(root, "commands", names::command, Claim::Command, &mut request);
    claim(root, "slots", names::field, Claim::Slot, &mut request);
    claim(root, "entry_fields", names::field, Claim::EntryField, &mut request);
    request
}

fn claim(
    root: &Table<'_>,
    key: &str,
    check: impl Fn(&str) -> Result<(), NameError>,
    kind: impl Fn(String) -> Claim,
    request: &mut Request,
) {
    for node in root.get(key).and_then(|node| node.list(MOST_CLAIMS)).unwrap_or_default() {
        let Some(claim) = name(&node, &check).map(&kind) else { continue };
        if let Some(other) = request.claims.keys().find(|other| other.clashes(&claim)) {
            let right = if *other == claim { "each once" } else { "a field that is not a slot" };
            node.fail("is claimed twice", right);
        } else {
            request.claims.insert(claim, node.line());
        }
    }
}

fn read_guard(node: &Node<'_>) -> Option<Guard> {
    let table = node.table(GUARD)?;
    let hook_node = table.get("hook")?;
    let hook = hook_node.string().and_then(Hook::from_name);
    let Some(hook) = hook.filter(|hook| hook.is_guard()) else {
        let message = if hook.is_some() { "fails open, so it cannot be guarded" } else { "is not a hook" };
        hook_node.fail(message, &format!("one of {}", keys::guard_hooks().join(", ")));
        return None;
    };
    let mut tools = BTreeSet::new();
    if let Some(node) = table.get("tools") {
        if !hook.row().by_tool {
            node.fail(&format!("is set, but `{hook}` is not about tools", hook = hook.name()), "leave it out");
            return None;
        }
        tools = node.set(MOST_GUARDS, |item| name(item, names::tool));
        if tools.is_empty() {
            // An empty list reads like "none" and would mean "all". Where an element is wrong, that was said.
            if node.value.as_array().is_some_and(|items| items.is_empty()) {
                node.fail("is empty", "tools, or leave it out to mean all");
            }
            return None;
        }
    }
    let policy = table.get("policy").map_or(Some(false), |node| {
        let policy = node.boolean()?;
        if policy && hook != Hook::BeforeToolCall {
            node.fail(
                &format!("is set, but `{}` has no policies", hook.name()),
                "false, or hook = \"before_tool_call\"",
            );
            return None;
        }
        Some(policy)
    })?;
    Some(Guard { hook, tools: Tools::from_list(tools), policy })
}

#[cfg(test)]
mod tests;
