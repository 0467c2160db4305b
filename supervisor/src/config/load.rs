//! Loading everything: the operator's file, every manifest, and what both decide together.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::claims::Register;
use super::entry::Draft;
use super::file::{self, Keep, ReadError};
use super::manifest;
use super::operator::{self, PluginEntry};
use super::problem::{Problem, Problems};
use crate::domain::ids::PluginId;
use crate::domain::settings::Settings;
use crate::domain::spec::Entry;

/// Longest id of a plugin.
const LONGEST_ID: usize = 64;

/// What is configured.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Settings of the supervisor.
    pub settings: Settings,
    /// The plugins, in the file's order, which is the order of asking. Ids are unique.
    pub entries: Vec<Entry>,
    /// What is not wrong, but not as somebody meant it.
    pub warnings: Vec<Problem>,
}

/// Loads `outrigger.toml` at `path` and the manifests of its plugins; plugins keep their data in `state_dir`/data/ID.
/// `remembered` gives the id under which a package was last known, for those whose manifest cannot be read. Reads files,
/// so not for the data thread.
///
/// Without a file there are no plugins, and the settings are the defaults.
///
/// # Errors
/// The file cannot be read, is not TOML, has a key at its top that is not known, or its `[supervisor]` is wrong. What is
/// wrong with one plugin is not an error: that plugin is [`Entry::Broken`].
pub fn load(path: &Path, state_dir: &Path, remembered: &dyn Fn(&Path) -> Option<PluginId>) -> Result<Config, Problems> {
    let of_file = |message: String, right: &str| Problems(vec![Problem::of_file(path, message, right)]);
    let text = match file::read_trusted(path, operator::MAX_BYTES, Keep::Unchanged) {
        Ok(text) => text,
        // A link to nothing is not the absence of a file: somebody meant one.
        Err(ReadError::NotFound) if path.symlink_metadata().is_err() => return Ok(Config::default()),
        Err(error) => return Err(of_file(error.to_string(), error.right())),
    };
    let here = |error: std::io::Error| of_file(format!("cannot be made absolute: {error}"), "an absolute path");
    let state_dir = std::path::absolute(state_dir).map_err(here)?;
    let operator = operator::parse(path, &text)?;
    let drafts: Vec<_> = operator.plugins.into_iter().map(|entry| draft(path, entry)).collect();
    let names = name(&drafts, remembered);
    let mut config = Config { settings: operator.settings, ..Config::default() };
    let mut register = Register::default();
    for (draft, Name { id, duplicate_of }) in drafts.into_iter().zip(names) {
        if let Some(first) = duplicate_of {
            let problem = draft.duplicate(&first);
            config.warnings.push(problem.clone());
            config.entries.push(draft.broken(id, vec![problem]));
            continue;
        }
        let file = draft.package_dir.join(manifest::FILE_NAME);
        let claims = draft.request().map(|request| &request.claims);
        let taken = claims.map(|claims| register.enter(&id, &file, claims, &mut config.warnings)).unwrap_or_default();
        let data_dir = state_dir.join("data").join(id.as_str());
        config.entries.push(draft.build(id, data_dir, taken, &mut config.warnings));
    }
    Ok(config)
}

/// Reads one plugin again, for its reload: its entry, its manifest, its schema and its secrets. `None`: the file has no
/// such plugin any more. Arguments and errors are those of [`load`].
///
/// # Errors
/// As for [`load`]: the file as a whole cannot be used.
pub fn reload_entry(
    path: &Path,
    state_dir: &Path,
    remembered: &dyn Fn(&Path) -> Option<PluginId>,
    plugin: &PluginId,
) -> Result<Option<Entry>, Problems> {
    // Whose an id or a claimed name is depends on the others, so they are read as well.
    Ok(load(path, state_dir, remembered)?.entries.into_iter().find(|entry| entry.id() == plugin))
}

fn draft(file: &Path, entry: PluginEntry) -> Draft {
    let (manifest, package_dir) = match &entry.package {
        Some((package, _)) => (manifest::read(package), package.clone()),
        // What is wrong is among the entry's problems.
        None => {
            let nothing = manifest::Unreadable { id: None, request: None, problems: Vec::new() };
            (Err(Box::new(nothing)), file.parent().map(Path::to_path_buf).unwrap_or_default())
        }
    };
    Draft { entry, manifest, package_dir }
}

/// What an entry is called.
struct Name {
    id: PluginId,
    /// Its manifest's id is that of an earlier entry: the id and that entry.
    duplicate_of: Option<First>,
}

/// The entry that has an id.
#[derive(Clone)]
struct First {
    id: PluginId,
    line: usize,
}

impl Draft {
    fn duplicate(&self, first: &First) -> Problem {
        let message = format!("is a second plugin `{}`; the first one is at line {}", first.id, first.line);
        let value = self.entry.package.as_ref().map(|(_, written)| super::problem::quoted(written));
        self.entry.problem("package", None, value, message, "each plugin once")
    }
}

/// Names every entry. Ids of manifests, and those remembered, go to the first that has them; whoever is left is named
/// after its package, with a number where that is taken, so that it can be shown and guards what it last guarded.
fn name(drafts: &[Draft], remembered: &dyn Fn(&Path) -> Option<PluginId>) -> Vec<Name> {
    let mut owners: HashMap<PluginId, First> = HashMap::new();
    let wanted: Vec<_> =
        drafts.iter().map(|draft| draft.id().cloned().or_else(|| remembered(&draft.package_dir))).collect();
    let first: Vec<_> = drafts
        .iter()
        .zip(&wanted)
        .map(|(draft, id)| {
            let id = id.clone()?;
            let first = First { id: id.clone(), line: draft.entry.line };
            match owners.get(&id) {
                Some(owner) => Some(Err(owner.clone())),
                None => {
                    owners.insert(id.clone(), first);
                    Some(Ok(id))
                }
            }
        })
        .collect();
    let mut used: BTreeSet<PluginId> = owners.into_keys().collect();
    drafts
        .iter()
        .zip(first)
        .map(|(draft, wanted)| match wanted {
            Some(Ok(id)) => Name { id, duplicate_of: None },
            Some(Err(first)) => Name { id: free(first.id.as_str(), &mut used), duplicate_of: Some(first) },
            None => Name { id: free(&plain(&draft.package_dir), &mut used), duplicate_of: None },
        })
        .collect()
}

/// The name of a package's directory, made to look like an id.
fn plain(package: &Path) -> String {
    let name = package.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mapped: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    mapped.trim_start_matches(['-', '_']).chars().take(LONGEST_ID).collect()
}

/// This id, or one made of it, that nobody has yet.
fn free(wanted: &str, used: &mut BTreeSet<PluginId>) -> PluginId {
    let numbered = (2..).map(|number| {
        let suffix = format!("-{number}");
        let cut: String = wanted.chars().take(LONGEST_ID - suffix.len()).collect();
        let base = if cut.is_empty() { "plugin" } else { &cut };
        format!("{base}{suffix}")
    });
    let id = std::iter::once(wanted.to_owned())
        .chain(numbered)
        .filter_map(|name| name.parse::<PluginId>().ok())
        .find(|id| !used.contains(id))
        .expect("numbers do not end before a finite set of ids does, and a number makes any plain name an id");
    used.insert(id.clone());
    id
}

#[cfg(test)]
mod tests;
