//! Configured plugins as tests want them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::guard::{Guard, Tools};
use crate::domain::hook::Hook;
use crate::domain::launch::Connect;
use crate::domain::rights::{Rights, Scope, Tier};
use crate::domain::settings::Settings;
use crate::domain::spec::{BrokenEntry, Claims, PluginLimits, PluginSpec, ReloadMode, RestartPolicy};

/// The defaults, but resources are sampled so seldom that a test which does not ask for it sees none.
pub(crate) fn settings() -> Settings {
    Settings { sample: Duration::from_secs(100 * 24 * 3600), ..Settings::default() }
}

/// A guard of `before_tool_call` for these tools; none: all.
pub(crate) fn guard(tools: &[&str]) -> Guard {
    let tools = Tools::from_list(tools.iter().map(|tool| (*tool).to_owned()));
    Guard { hook: Hook::BeforeToolCall, tools, policy: false }
}

/// A community plugin that declares a guard for all tools and has the right to it.
pub(crate) fn spec(id: &str) -> PluginSpec {
    let rights = Rights::new(Tier::Community, BTreeSet::from([Scope::HooksTools]), &BTreeMap::new(), BTreeSet::new());
    PluginSpec {
        id: id.parse().expect("an id"),
        name: id.to_owned(),
        version: "1.0.0".to_owned(),
        description: String::new(),
        tier: Tier::Community,
        package_dir: PathBuf::from(format!("/packages/{id}")),
        data_dir: PathBuf::from(format!("/data/{id}")),
        command: vec![format!("/packages/{id}/run")],
        connect: Connect::Relative,
        environment: BTreeMap::new(),
        restart: RestartPolicy::OnFailure,
        final_exit_codes: vec![78],
        reload: ReloadMode::Overlap,
        config_json: Bytes::new(),
        secrets: BTreeMap::new(),
        rights,
        guards: vec![guard(&[])],
        claims: Claims::default(),
        hooks: BTreeMap::new(),
        timeout: None,
        limits: PluginLimits::default(),
    }
}

/// An entry whose manifest cannot be read.
pub(crate) fn broken(id: &str) -> BrokenEntry {
    BrokenEntry {
        id: id.parse().expect("an id"),
        package_dir: PathBuf::from(format!("/packages/{id}")),
        tier: Tier::Community,
        problems: vec!["plugin.toml: line 1: no such key `x`".to_owned()],
        guards: None,
        hooks: BTreeMap::new(),
    }
}
