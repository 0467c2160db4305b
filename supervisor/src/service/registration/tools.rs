//! Tools: served to runtimes, described, or both.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1 as types;

use super::{Options, Refusal, check_options};
use crate::config::schema::{self, Schema, SchemaError};
use crate::domain::names;
use crate::domain::rights::Scope;
use crate::domain::spec::{Claim, PluginSpec};
use crate::domain::text;

/// Time of a call where nobody says otherwise (`InvokeToolRequest.timeout`).
const TIMEOUT: Duration = Duration::from_secs(120);
/// The most time one call may take.
const LONGEST: Duration = Duration::from_secs(3600);
/// Regular expressions in the schemas of one registration, all together: each can keep 256 KiB.
const MAX_PATTERNS: usize = 256;
/// Tags of a tool.
const MAX_TAGS: usize = 32;

/// A tool that was accepted.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its id, canonical.
    pub(crate) name: String,
    /// As it is served; `None`: it is only described.
    pub(crate) served: Option<Served>,
    /// What its plugin says of it.
    pub(crate) metadata: Option<types::ToolMetadata>,
}

/// A tool as it is served.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) spec: types::ToolSpec,
    /// Time for one call, as operator, wish and default decided.
    pub(crate) timeout: Duration,
    /// Most calls of it at once.
    pub(crate) max_concurrency: usize,
    /// What arguments satisfy.
    pub(crate) input: Schema,
    /// What structured answers satisfy. `None`: any value, or none.
    pub(crate) output: Option<Schema>,
}

impl PartialEq for Tool {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.metadata == other.metadata && self.served == other.served
    }
}

impl PartialEq for Served {
    // The schemas follow from the texts in `spec`.
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec && self.timeout == other.timeout && self.max_concurrency == other.max_concurrency
    }
}

/// The tools of one registration, as they are checked.
#[derive(Default)]
pub(super) struct Intake {
    names: HashSet<String>,
    tools: Vec<Tool>,
    patterns: usize,
}

impl Intake {
    /// Takes one tool; the time of one call, if it is served. Compiling schemas takes milliseconds.
    pub(super) fn check(
        &mut self,
        item: &wire::ToolRegistration,
        spec: &PluginSpec,
        reserved: &BTreeSet<String>,
    ) -> Result<Option<Duration>, Refusal> {
        let name = match (&item.spec, &item.metadata) {
            (Some(tool), _) => check_served_name(&tool.name)?,
            (None, Some(metadata)) => check_name("metadata.tool_name", &metadata.tool_name)?,
            (None, None) => return Err(Refusal::field("spec", "wants `spec`, `metadata` or both")),
        };
        if item.spec.is_some()
            && let Err(denial) = spec.rights.decide(Scope::ToolsServe)
        {
            return Err(Refusal {
                scope: denial.scope.name(),
                remedy: denial.remedy.clone(),
                ..Refusal::new(wire::VerdictReason::NotGranted, denial.to_string())
            });
        }
        check_claim(name, spec)?;
        if item.spec.is_some() && reserved.contains(name) {
            let why = format!("an agent runtime has a tool `{name}` of its own");
            return Err(Refusal::new(wire::VerdictReason::Reserved, why));
        }
        if self.names.contains(name) {
            let why = "an earlier tool of this registration has the id";
            return Err(Refusal::new(wire::VerdictReason::Taken, why));
        }
        let metadata = item.metadata.as_ref().map(|metadata| check_metadata(metadata, name)).transpose()?;
        let served = match &item.spec {
            Some(tool) => Some(self.check_served(tool, item.options.as_ref(), spec)?),
            None => {
                check_only_described(item.options.as_ref())?;
                None
            }
        };
        let timeout = served.as_ref().map(|served| served.timeout);
        self.names.insert(name.to_owned());
        self.tools.push(Tool { name: name.to_owned(), served, metadata });
        Ok(timeout)
    }

    fn check_served(
        &mut self,
        tool: &types::ToolSpec,
        options: Option<&wire::HandlerOptions>,
        spec: &PluginSpec,
    ) -> Result<Served, Refusal> {
        let description = text::units(tool.description.trim());
        if !(1..=4096).contains(&description) {
            return Err(Refusal::field("spec.description", "wants 1 to 4,096 characters"));
        }
        let Options { wish, max_concurrency } = check_options(options, LONGEST)?;
        if tool.input_schema_json.is_empty() {
            return Err(Refusal::field("spec.input_schema_json", "wants a JSON Schema of `type` `object`"));
        }
        let field = "spec.input_schema_json";
        let is_object = |schema: &serde_json::Value| schema.get("type").is_some_and(|kind| kind == "object");
        let parsed = serde_json::from_slice::<serde_json::Value>(&tool.input_schema_json);
        let input = self.compile(field, &tool.input_schema_json)?;
        if !parsed.is_ok_and(|schema| is_object(&schema)) {
            let why = "the schema of arguments wants `type` `object`";
            return Err(Refusal { field, ..Refusal::new(wire::VerdictReason::SchemaInvalid, why) });
        }
        let output = match tool.output_schema_json.is_empty() {
            true => None,
            false => Some(self.compile("spec.output_schema_json", &tool.output_schema_json)?),
        };
        let timeout = spec.timeout.or(wish).unwrap_or(TIMEOUT).min(LONGEST);
        let spec = types::ToolSpec { description: tool.description.trim().to_owned(), ..tool.clone() };
        Ok(Served { spec, timeout, max_concurrency, input, output })
    }

    fn compile(&mut self, field: &'static str, text: &[u8]) -> Result<Schema, Refusal> {
        let invalid = |why: String| Refusal { field, ..Refusal::new(wire::VerdictReason::SchemaInvalid, why) };
        if text.len() > schema::MAX_BYTES {
            return Err(Refusal::field(field, format!("wants at most {} bytes", schema::MAX_BYTES)));
        }
        let too_many = || invalid(format!("the schemas of this registration have more than {MAX_PATTERNS} patterns"));
        if self.patterns > MAX_PATTERNS {
            return Err(too_many());
        }
        let schema = Schema::compile(text).map_err(|error: SchemaError| invalid(error.to_string()))?;
        self.patterns += schema.patterns();
        if self.patterns > MAX_PATTERNS { Err(too_many()) } else { Ok(schema) }
    }

    /// The accepted tools of a plugin that takes so many calls at once.
    pub(super) fn finish(mut self, max_in_flight: usize) -> Arc<[Tool]> {
        for served in self.tools.iter_mut().filter_map(|tool| tool.served.as_mut()) {
            served.max_concurrency = served.max_concurrency.min(max_in_flight);
        }
        self.tools.into()
    }
}

fn check_name<'a>(field: &'static str, name: &'a str) -> Result<&'a str, Refusal> {
    match names::tool(name) {
        Ok(()) => Ok(name),
        Err(error) => Err(Refusal::field(field, format!("`{}` {error}", text::clean(name, 64)))),
    }
}

/// The model calls it by this name, and models take fewer characters than runtimes.
fn check_served_name(name: &str) -> Result<&str, Refusal> {
    let name = check_name("spec.name", name)?;
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(rest) {
        let right = "wants 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter";
        return Err(Refusal::field("spec.name", right));
    }
    Ok(name)
}

/// The manifest claims it, and no earlier plugin has it.
fn check_claim(name: &str, spec: &PluginSpec) -> Result<(), Refusal> {
    let claim = Claim::Tool(name.to_owned());
    if !spec.claims.names.contains(&claim) {
        return Err(Refusal {
            remedy: format!("add to plugin.toml: tools = [\"{name}\"]"),
            ..Refusal::new(wire::VerdictReason::NotInManifest, format!("the manifest does not list the tool `{name}`"))
        });
    }
    match spec.claims.taken.get(&claim) {
        Some(owner) => {
            let why = format!("the tool `{name}` is plugin `{owner}`'s, which comes first in outrigger.toml");
            Err(Refusal::new(wire::VerdictReason::Taken, why))
        }
        None => Ok(()),
    }
}

fn check_metadata(metadata: &types::ToolMetadata, name: &str) -> Result<types::ToolMetadata, Refusal> {
    if !metadata.tool_name.is_empty() && metadata.tool_name != name {
        return Err(Refusal::field("metadata.tool_name", format!("wants `{name}`, or nothing: it is that tool's")));
    }
    if text::units(&metadata.display_name) > 128 {
        return Err(Refusal::field("metadata.display_name", "wants at most 128 characters"));
    }
    if text::units(&metadata.description) > 2000 {
        return Err(Refusal::field("metadata.description", "wants at most 2,000 characters"));
    }
    let is_tag = |tag: &String| (1..=64).contains(&text::units(tag));
    if metadata.tags.len() > MAX_TAGS || !metadata.tags.iter().all(is_tag) {
        return Err(Refusal::field("metadata.tags", format!("wants at most {MAX_TAGS}, each of 1 to 64 characters")));
    }
    Ok(types::ToolMetadata { tool_name: name.to_owned(), ..metadata.clone() })
}

fn check_only_described(options: Option<&wire::HandlerOptions>) -> Result<(), Refusal> {
    let only = |options: &wire::HandlerOptions| wire::HandlerOptions {
        must_accept: options.must_accept,
        ..Default::default()
    };
    if options.is_some_and(|options| *options != only(options)) {
        return Err(Refusal::field("options", "a tool that is only described takes `must_accept` alone"));
    }
    Ok(())
}
