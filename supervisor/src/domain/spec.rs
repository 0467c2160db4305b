//! A configured plugin, checked: what manifest and operator decided together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::guard::{Guard, OnAbsent};
use super::hook::Hook;
use super::ids::PluginId;
use super::launch::Connect;
use super::rights::{Rights, Tier};

/// One entry of `outrigger.toml`, in the file's order.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there are few entries, and fewer that are broken")]
pub enum Entry {
    /// It can be started.
    Sound(Box<PluginSpec>),
    /// It cannot: quarantined before any process. What it last guarded holds.
    Broken(BrokenEntry),
}

impl Entry {
    /// The plugin.
    #[must_use]
    pub fn id(&self) -> &PluginId {
        match self {
            Self::Sound(spec) => &spec.id,
            Self::Broken(broken) => &broken.id,
        }
    }
}

/// An entry that cannot be started.
#[derive(Debug, Clone)]
pub struct BrokenEntry {
    /// The plugin: the manifest's id, or, where it cannot be read, what the entry's package was last known as or is called.
    pub id: PluginId,
    /// Where its package is.
    pub package_dir: PathBuf,
    /// Its tier, as the operator set it.
    pub tier: Tier,
    /// What is wrong, one sentence each: file, line, key, value, what would be right.
    pub problems: Vec<String>,
    /// Its guards and rights, where the manifest could be read and something else is wrong. `None`: as they last were.
    pub guards: Option<(Vec<Guard>, Rights)>,
    /// The operator's settings for its hooks.
    pub hooks: BTreeMap<Hook, HookSetting>,
}

/// A plugin that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSpec {
    /// Its id.
    pub id: PluginId,
    /// Name for people; the id where the manifest has none.
    pub name: String,
    /// Version from the manifest.
    pub version: String,
    /// One line for people. Empty: none.
    pub description: String,
    /// How far it is trusted.
    pub tier: Tier,
    /// The directory of `plugin.toml`, absolute.
    pub package_dir: PathBuf,
    /// Where it keeps its data, absolute.
    pub data_dir: PathBuf,
    /// Program (absolute) and arguments, placeholders replaced.
    pub command: Vec<String>,
    /// Which address form it uses.
    pub connect: Connect,
    /// Variables of manifest and operator.
    pub environment: BTreeMap<String, String>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Exit codes that mean "do not start me again".
    pub final_exit_codes: Vec<i32>,
    /// How a reload goes.
    pub reload: ReloadMode,
    /// Its configuration, a JSON object that satisfies its schema.
    pub config_json: Bytes,
    /// Its secrets, by the names its manifest asks for.
    pub secrets: BTreeMap<String, Secret>,
    /// What it may do.
    pub rights: Rights,
    /// The guards its manifest declares.
    pub guards: Vec<Guard>,
    /// The names its manifest claims.
    pub claims: Claims,
    /// The operator's settings for its hooks.
    pub hooks: BTreeMap<Hook, HookSetting>,
    /// The operator's time for its calls where no hook's setting says otherwise.
    pub timeout: Option<Duration>,
    /// Bounds of its process tree.
    pub limits: PluginLimits,
}

/// Names a manifest claims, unique over plugins: of two the first in `outrigger.toml` has it, whether or not it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Every name claimed.
    pub names: BTreeSet<Claim>,
    /// Those an earlier plugin has, and which.
    pub taken: BTreeMap<Claim, PluginId>,
}

impl Claims {
    /// Whether the plugin has the name: claimed, and not taken by an earlier plugin.
    #[must_use]
    pub fn holds(&self, claim: &Claim) -> bool {
        self.names.contains(claim) && !self.taken.contains_key(claim)
    }
}

/// One name claimed. Displayed as `tool:NAME`, `command:NAME`, `slot:NAME`, `entry-field:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// A tool, served or described.
    Tool(String),
    /// A command's name or alias.
    Command(String),
    /// A promoted slot of a session's entry.
    Slot(String),
    /// A field of a session's entry that transitions change.
    EntryField(String),
}

impl Claim {
    /// The name alone.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tool(name) | Self::Command(name) | Self::Slot(name) | Self::EntryField(name) => name,
        }
    }

    /// Whether only one plugin can have both. Slots and entry fields are fields of the same entry.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        let field = |claim: &Self| matches!(claim, Self::Slot(_) | Self::EntryField(_));
        self == other || (field(self) && field(other) && self.name() == other.name())
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Tool(_) => "tool",
            Self::Command(_) => "command",
            Self::Slot(_) => "slot",
            Self::EntryField(_) => "entry-field",
        };
        write!(f, "{kind}:{}", self.name())
    }
}

/// What the operator set for one hook of one plugin (`[plugin.hooks.NAME]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookSetting {
    /// Time one call may take; beats the plugin's wish and the catalogue.
    pub timeout: Option<Duration>,
    /// What happens while the plugin is absent; guards only.
    pub on_absent: OnAbsent,
}

/// When a plugin that ended on its own is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// After every end that nobody asked for, with backoff.
    #[default]
    OnFailure,
    /// Not: such an end quarantines it without a probe.
    Never,
}

/// How a reload goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReloadMode {
    /// The new generation beside the old one.
    #[default]
    Overlap,
    /// The new generation after the old one; guards deny meanwhile.
    StopFirst,
}

/// Bounds of a plugin's process tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginLimits {
    /// Time from a launch to Registered. `None`: the supervisor's setting.
    pub startup: Option<Duration>,
    /// Memory of the tree, bytes. `None`: not limited.
    pub memory_bytes: Option<u64>,
    /// Processes of the tree. `None`: not limited.
    pub processes: Option<u32>,
}

/// A secret value. It is in no log and no listing; `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
