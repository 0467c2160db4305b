//! The keys of both files: what is known, what is required, and what editors are told.
//!
//! The parsers refuse what is not listed here, and the JSON Schemas in `docs/schema` are made of the same tables.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::supervisor::SUPERVISOR;
use super::units;
use crate::domain::hook::CATALOGUE;
use crate::domain::rights::{Scope, Tier};

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) form: Form,
    /// One or two sentences for people.
    pub(super) about: &'static str,
}

/// What a value looks like.
#[derive(Debug)]
pub(super) enum Form {
    /// Text of at most so many characters.
    Text(usize),
    /// Text with a pattern (a regular expression as JSON Schema has it), and the pattern in words.
    Pattern(&'static str, &'static str),
    Choice(fn() -> Vec<&'static str>),
    Flag,
    Count(RangeInclusive<u32>),
    Duration(RangeInclusive<Duration>),
    Size(RangeInclusive<u64>),
    /// An array of at most so many.
    List(&'static Form, usize),
    Table(&'static [Key]),
    /// A table whose names have this pattern.
    Map(&'static str, &'static Form),
    /// A table with one of these keys each.
    MapOf(fn() -> Vec<&'static str>, &'static Form),
    /// Variables of a process, by name.
    Variables,
    /// Any table.
    Object,
    /// A scope, or a table with a scope, names and quotas.
    Grant,
}

impl Form {
    /// What would be right, in words, where the key is missing.
    pub(super) fn wanted(&self) -> String {
        match self {
            Self::Text(longest) => format!("1 to {longest} characters"),
            Self::Pattern(_, words) => (*words).to_owned(),
            Self::Choice(words) => format!("one of {}", words().join(", ")),
            Self::Flag => "true or false".to_owned(),
            Self::Count(range) => format!("a whole number from {} to {}", range.start(), range.end()),
            Self::Duration(_) => units::DURATION_FORM.to_owned(),
            Self::Size(_) => units::SIZE_FORM.to_owned(),
            Self::List(..) => "values in [ ]".to_owned(),
            Self::Table(_) | Self::Map(..) | Self::MapOf(..) | Self::Variables | Self::Object | Self::Grant => {
                "keys and values in { }".to_owned()
            }
        }
    }
}

const fn required(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, required: true, form, about }
}

const fn optional(name: &'static str, form: Form, about: &'static str) -> Key {
    Key { name, required: false, form, about }
}

const PLUGIN_ID: Form =
    Form::Pattern("^[a-z0-9][a-z0-9_-]{0,63}$", "1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit");
const TOOL: Form = Form::Pattern("^[a-z0-9][a-z0-9_.:-]{0,127}$", "the id of a tool");
const COMMAND: Form = Form::Pattern("^[a-z][a-z0-9_-]{0,63}$", "the name of a command");
const FIELD: Form = Form::Pattern("^[A-Za-z][A-Za-z0-9_]{0,63}$", "the name of an entry's field");
const SECRET: Form = Form::Pattern(SECRET_NAME, "the name of a secret");
const SECRET_NAME: &str = "^[A-Za-z][A-Za-z0-9_-]{0,63}$";
const ABSOLUTE_PATH: Form = Form::Pattern("^/", "an absolute path");
const SCOPE: Form = Form::Choice(scopes);

/// Guards of a manifest, and tools of one guard.
pub(super) const MOST_GUARDS: usize = 256;
/// Names a manifest may claim of one kind.
pub(super) const MOST_CLAIMS: usize = 256;
/// Entries of `outrigger.toml`.
pub(super) const MOST_PLUGINS: usize = 1_024;
/// Characters of a version, as on the wire.
pub(super) const MOST_VERSION: usize = 64;
/// Characters of a name for people.
pub(super) const MOST_NAME: usize = 128;
/// Characters of a description.
pub(super) const MOST_DESCRIPTION: usize = 512;
/// Program and arguments.
pub(super) const MOST_ARGUMENTS: usize = 64;
/// Bytes of one argument, and of a path: what the kernel takes as a path.
pub(super) const MOST_ARGUMENT_BYTES: usize = 4_096;
/// Variables of one table.
pub(super) const MOST_VARIABLES: usize = 128;
/// Bytes of one variable's value; the kernel takes 128 KiB, name included.
pub(super) const MOST_VARIABLE_BYTES: usize = 32_768;
/// Bytes of all variables of one table, names included. Both tables and the command fit the 2 MiB that the kernel takes.
pub(super) const MOST_ENVIRONMENT_BYTES: usize = 131_072;
/// Secrets of one plugin.
pub(super) const MOST_SECRETS: usize = 64;
/// Exit codes of one plugin.
pub(super) const MOST_EXIT_CODES: usize = 32;
/// Time one call may take, as on the wire.
pub(super) const CALL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);
/// Time a start may take.
pub(super) const STARTUP: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3_600);
/// Memory of a tree.
pub(super) const MEMORY: RangeInclusive<u64> = 1 << 20..=1 << 44;
/// Processes of a tree; the most that a 64-bit Linux can have.
pub(super) const PROCESSES: RangeInclusive<u32> = 1..=4_194_304;

/// `plugin.toml`.
pub(super) const MANIFEST: &[Key] = &[
    required("id", PLUGIN_ID, "Id of the plugin. Not the name of one of the host's event streams."),
    required("version", Form::Text(MOST_VERSION), "Version of the plugin."),
    required(
        "command",
        Form::List(&Form::Text(MOST_ARGUMENT_BYTES), MOST_ARGUMENTS),
        "Program and arguments. A program with a slash is relative to the package, one without is searched on the fixed \
         PATH. `{package}` and `{data}` in arguments become absolute paths.",
    ),
    optional(
        "connect",
        Form::Choice(connects),
        "Which form of the socket's address the plugin uses. Default relative.",
    ),
    optional("name", Form::Text(MOST_NAME), "Name for people. Default the id."),
    optional("description", Form::Text(MOST_DESCRIPTION), "One line for people."),
    optional("env", Form::Variables, "Variables for the plugin's process."),
    optional(
        "restart",
        Form::Choice(restarts),
        "Whether the plugin is started again after an end that nobody asked for. Default on-failure.",
    ),
    optional(
        "final_exit_codes",
        Form::List(&Form::Count(0..=255), MOST_EXIT_CODES),
        "Exit codes after which the plugin is not started again. Default [78].",
    ),
    optional(
        "reload",
        Form::Choice(reloads),
        "Whether the new generation starts beside the old one or after it. Default overlap.",
    ),
    optional(
        "config_schema",
        Form::Text(MOST_ARGUMENT_BYTES),
        "JSON Schema of the plugin's configuration, a file in the package.",
    ),
    optional("secrets", Form::List(&SECRET, MOST_SECRETS), "Secrets the plugin needs, by name."),
    optional("scopes", Form::List(&SCOPE, 64), "Rights the plugin asks for."),
    optional("tools", Form::List(&TOOL, MOST_CLAIMS), "Tools the plugin serves or describes."),
    optional("commands", Form::List(&COMMAND, MOST_CLAIMS), "Names and aliases of the plugin's commands."),
    optional("slots", Form::List(&FIELD, MOST_CLAIMS), "Fields of a session's entry that mirror the plugin's state."),
    optional(
        "entry_fields",
        Form::List(&FIELD, MOST_CLAIMS),
        "Fields of a session's entry that the plugin's transitions change.",
    ),
    optional(
        "guard",
        Form::List(&Form::Table(GUARD), MOST_GUARDS),
        "What the plugin guards: denied while the plugin is absent.",
    ),
];

/// `[[guard]]`.
pub(super) const GUARD: &[Key] = &[
    required("hook", Form::Choice(guard_hooks), "A hook that fails closed."),
    optional(
        "tools",
        Form::List(&TOOL, MOST_GUARDS),
        "Tools it guards, for before_tool_call: lower-case ids, no wildcards, no aliases. Left out: all.",
    ),
    optional("policy", Form::Flag, "It is a trusted tool policy. before_tool_call only. Default false."),
];

/// `outrigger.toml`.
pub(super) const OPERATOR: &[Key] = &[
    optional("supervisor", Form::Table(SUPERVISOR), "Settings of the supervisor."),
    optional(
        "plugin",
        Form::List(&Form::Table(ENTRY), MOST_PLUGINS),
        "The plugins. The order in the file is the order of asking.",
    ),
];

/// `[[plugin]]`.
pub(super) const ENTRY: &[Key] = &[
    required(
        "package",
        Form::Text(MOST_ARGUMENT_BYTES),
        "Directory of the plugin's plugin.toml, relative to this file or absolute.",
    ),
    optional("tier", Form::Choice(tiers), "How far the plugin is trusted. Default community."),
    optional(
        "grants",
        Form::List(&Form::Grant, 64),
        "Rights beyond the tier's default, and quotas. Only what the manifest asks for takes effect.",
    ),
    optional("deny", Form::List(&SCOPE, 64), "Rights taken away from the tier's default."),
    optional(
        "attach_roots",
        Form::List(&ABSOLUTE_PATH, MOST_CLAIMS),
        "Directories from which the plugin may attach files.",
    ),
    optional("config", Form::Object, "The plugin's configuration, which satisfies the manifest's config_schema."),
    optional(
        "secrets",
        Form::Map(SECRET_NAME, &Form::Table(SECRET_FILE)),
        "Where the secrets are that the manifest asks for, by name.",
    ),
    optional(
        "env",
        Form::Variables,
        "Variables for the plugin's process, in place of the manifest's of the same names.",
    ),
    optional("limits", Form::Table(LIMITS), "Bounds of the plugin's process tree."),
    optional(
        "timeout",
        Form::Duration(CALL),
        "Time one call of the plugin may take, where no hook below says otherwise.",
    ),
    optional("hooks", Form::MapOf(hooks, &Form::Table(HOOK)), "Settings for single hooks."),
];

/// A secret of a `[[plugin]]`.
pub(super) const SECRET_FILE: &[Key] = &[required(
    "file",
    ABSOLUTE_PATH,
    "Absolute path of a file that others cannot read, at most 64 KiB. One newline at its end is left out.",
)];

/// `limits` of a `[[plugin]]`.
pub(super) const LIMITS: &[Key] = &[
    optional(
        "startup",
        Form::Duration(STARTUP),
        "Time from a launch until the plugin is registered. Default as in [supervisor].",
    ),
    optional("memory", Form::Size(MEMORY), "Memory of the tree. Default not limited."),
    optional("processes", Form::Count(PROCESSES), "Processes of the tree. Default not limited."),
];

/// `[plugin.hooks.NAME]`.
pub(super) const HOOK: &[Key] = &[
    optional("timeout", Form::Duration(CALL), "Time one call may take; beats the plugin's wish and the catalogue."),
    optional(
        "on_absent",
        Form::Choice(absences),
        "What happens to what the plugin guards while it is absent. Hooks that fail closed only. Default deny.",
    ),
];

pub(super) fn connects() -> Vec<&'static str> {
    vec!["relative", "absolute"]
}

pub(super) fn restarts() -> Vec<&'static str> {
    vec!["on-failure", "never"]
}

pub(super) fn reloads() -> Vec<&'static str> {
    vec!["overlap", "stop-first"]
}

pub(super) fn absences() -> Vec<&'static str> {
    vec!["deny", "skip"]
}

pub(super) fn tiers() -> Vec<&'static str> {
    Tier::ALL.iter().map(|tier| tier.name()).collect()
}

pub(super) fn scopes() -> Vec<&'static str> {
    Scope::all().map(Scope::name).collect()
}

pub(super) fn hooks() -> Vec<&'static str> {
    CATALOGUE.iter().map(|row| row.name).collect()
}

pub(super) fn guard_hooks() -> Vec<&'static str> {
    CATALOGUE.iter().filter(|row| row.hook.is_guard()).map(|row| row.name).collect()
}
