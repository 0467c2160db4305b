//! A plugin's secrets: files that the operator names, read when the configuration is loaded.

use std::collections::BTreeMap;

use super::file::{self, Keep};
use super::manifest::Manifest;
use super::operator::PluginEntry;
use super::problem::Problem;
use crate::domain::spec::Secret;

/// Longest secret, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Reads the secrets that manifest and operator agree on, and notes where they do not.
pub(super) fn read(manifest: &Manifest, entry: &PluginEntry, problems: &mut Vec<Problem>) -> BTreeMap<String, Secret> {
    for name in manifest.secrets.iter().filter(|name| !entry.secrets.contains_key(*name)) {
        let message = format!("is missing, and plugin `{}` asks for it", manifest.id);
        problems.push(entry.problem(&format!("secrets.{name}"), None, None, message, "{ file = \"/…\" }"));
    }
    let mut secrets = BTreeMap::new();
    for (name, (path, line)) in &entry.secrets {
        let key = format!("secrets.{name}");
        if !manifest.secrets.contains(name) {
            let message = format!("is given, but plugin `{}` does not ask for it", manifest.id);
            problems.push(entry.problem(&key, Some(*line), None, message, "leave it out"));
            continue;
        }
        let shown = Some(format!("\"{}\"", path.display()));
        match file::read_trusted(path, MAX_BYTES, Keep::Secret) {
            Ok(text) => {
                let value = text.strip_suffix('\n').unwrap_or(&text);
                if value.is_empty() {
                    let key = format!("{key}.file");
                    problems.push(entry.problem(
                        &key,
                        Some(*line),
                        shown,
                        "is empty".to_owned(),
                        "a file with the secret",
                    ));
                }
                secrets.insert(name.clone(), Secret(value.to_owned()));
            }
            Err(error) => {
                let key = format!("{key}.file");
                problems.push(entry.problem(&key, Some(*line), shown, error.to_string(), error.right()));
            }
        }
    }
    secrets
}
