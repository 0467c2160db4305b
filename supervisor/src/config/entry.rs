//! One plugin, from its entry and its manifest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::command;
use super::file;
use super::manifest::{Manifest, Request, Unreadable};
use super::operator::PluginEntry;
use super::problem::Problem;
use super::schema::{self, Schema};
use super::secrets;
use crate::domain::guard::Guard;
use crate::domain::ids::PluginId;
use crate::domain::rights::Rights;
use crate::domain::spec::{BrokenEntry, Claim, Claims, Entry, PluginSpec};

/// An entry with its manifest, as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) entry: PluginEntry,
    pub(super) manifest: Result<Manifest, Box<Unreadable>>,
    pub(super) package_dir: PathBuf,
}

impl Draft {
    /// The id in the manifest.
    pub(super) fn id(&self) -> Option<&PluginId> {
        match &self.manifest {
            Ok(manifest) => Some(&manifest.id),
            Err(unreadable) => unreadable.id.as_ref(),
        }
    }

    /// What the manifest asks for and guards, where all of that is sound.
    pub(super) fn request(&self) -> Option<&Request> {
        match &self.manifest {
            Ok(manifest) => Some(&manifest.request),
            Err(unreadable) => unreadable.request.as_ref(),
        }
    }

    /// Guards and rights, where manifest and entry say both soundly.
    fn guards(&self) -> Option<(Vec<Guard>, Rights)> {
        let (request, decision) = (self.request()?, self.entry.decision.as_ref()?);
        let rights = Rights::new(self.entry.tier, request.scopes.clone(), &decision.granted, decision.denied.clone());
        Some((request.guards.clone(), rights))
    }

    /// An entry that cannot be started, for these reasons beside what is wrong in the files.
    pub(super) fn broken(self, id: PluginId, further: Vec<Problem>) -> Entry {
        let guards = self.guards();
        let of_manifest = self.manifest.err().map(|unreadable| unreadable.problems).unwrap_or_default();
        let problems =
            self.entry.problems.iter().chain(&of_manifest).chain(&further).map(ToString::to_string).collect();
        Entry::Broken(BrokenEntry {
            id,
            package_dir: self.package_dir,
            tier: self.entry.tier,
            problems,
            guards,
            hooks: self.entry.hooks,
        })
    }

    /// The plugin, or why it cannot be started.
    pub(super) fn build(
        self,
        id: PluginId,
        data_dir: PathBuf,
        taken: BTreeMap<Claim, PluginId>,
        warnings: &mut Vec<Problem>,
    ) -> Entry {
        let mut problems = Vec::new();
        let (Ok(manifest), Some((guards, rights))) = (&self.manifest, self.guards()) else {
            return self.broken(id, problems);
        };
        self.warn(manifest, warnings);
        let secrets = secrets::read(manifest, &self.entry, &mut problems);
        check_configuration(manifest, &self.entry, &self.package_dir, &mut problems);
        let command = command::resolve(&manifest.command, &self.package_dir, &data_dir);
        let command = command.unwrap_or_else(|error| {
            problems.push(manifest.problem("command", Some(error.value), error.message, &error.right));
            Vec::new()
        });
        if !problems.is_empty() || !self.entry.problems.is_empty() {
            return self.broken(id, problems);
        }
        let mut environment = manifest.env.clone();
        environment.extend(self.entry.env.clone());
        Entry::Sound(Box::new(PluginSpec {
            name: manifest.name.clone().unwrap_or_else(|| id.to_string()),
            id,
            version: manifest.version.clone(),
            description: manifest.description.clone(),
            tier: self.entry.tier,
            data_dir,
            command,
            connect: manifest.connect,
            environment,
            restart: manifest.restart,
            final_exit_codes: manifest.final_exit_codes.clone(),
            reload: manifest.reload,
            config_json: self.entry.config.text,
            secrets,
            rights,
            guards,
            claims: Claims { names: manifest.request.claims.keys().cloned().collect(), taken },
            hooks: self.entry.hooks,
            timeout: self.entry.timeout,
            limits: self.entry.limits,
            package_dir: self.package_dir,
        }))
    }

    /// What is not wrong, but has no effect.
    fn warn(&self, manifest: &Manifest, warnings: &mut Vec<Problem>) {
        if manifest.config_schema.is_none() && !self.entry.config.lines.is_empty() {
            let message = format!("is not checked, as plugin `{}` has no config_schema", manifest.id);
            let line = self.entry.config.lines.get("").copied();
            warnings.push(self.entry.problem("config", line, None, message, ""));
        }
        let granted = self.entry.decision.iter().flat_map(|decision| decision.granted.keys());
        for scope in granted.filter(|scope| !manifest.request.scopes.contains(scope)) {
            let message = format!("has no effect for `{scope}`: plugin `{}` does not ask for it", manifest.id);
            warnings.push(self.entry.problem("grants", None, None, message, ""));
        }
    }
}

/// Checks the configuration against the manifest's schema.
fn check_configuration(manifest: &Manifest, entry: &PluginEntry, package: &Path, problems: &mut Vec<Problem>) {
    let Some(relative) = &manifest.config_schema else { return };
    let text = match file::read_in_package(package, relative, schema::MAX_BYTES) {
        Ok(text) => text,
        Err(error) => {
            let value = Some(format!("\"{}\"", relative.display()));
            problems.push(manifest.problem("config_schema", value, error.to_string(), error.right()));
            return;
        }
    };
    match Schema::compile(text.as_bytes()) {
        Err(error) => {
            let message = format!("cannot be used: {error}");
            problems.push(Problem::of_file(&package.join(relative), message, ""));
        }
        Ok(schema) => problems.extend(schema.mismatches(&entry.config.value).into_iter().map(|mismatch| {
            let line = line_of(entry, &mismatch.place);
            let key = format!("config{}", dotted(&mismatch.place));
            entry.problem(&key, line, Some(mismatch.value), "is not what the schema wants".to_owned(), &mismatch.wants)
        })),
    }
}

/// The line of a place in the configuration, or of what holds it.
fn line_of(entry: &PluginEntry, mut pointer: &str) -> Option<usize> {
    loop {
        if let Some(line) = entry.config.lines.get(pointer) {
            return Some(*line);
        }
        pointer = &pointer[..pointer.rfind('/')?];
    }
}

/// A JSON pointer as the path of a TOML key.
fn dotted(pointer: &str) -> String {
    let parts = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
    let is_index = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.map(|part| if is_index(&part) { format!("[{part}]") } else { format!(".{part}") }).collect()
}
