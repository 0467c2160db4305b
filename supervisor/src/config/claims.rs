//! Names that are unique over plugins: of two manifests that claim one the first in `outrigger.toml` has it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::problem::Problem;
use crate::domain::ids::PluginId;
use crate::domain::spec::Claim;

/// Who has which name so far.
#[derive(Debug, Default)]
pub(super) struct Register {
    /// By the kind of name that must be unique, and the name.
    owners: HashMap<(&'static str, String), PluginId>,
}

impl Register {
    /// Enters a plugin's claims; `file` is its manifest. Returns those that an earlier plugin has, with a warning each.
    pub(super) fn enter(
        &mut self,
        plugin: &PluginId,
        file: &Path,
        claims: &BTreeMap<Claim, usize>,
        warnings: &mut Vec<Problem>,
    ) -> BTreeMap<Claim, PluginId> {
        let mut taken = BTreeMap::new();
        for (claim, line) in claims {
            let (key, what) = match claim {
                Claim::Tool(_) => ("tools", "tool"),
                Claim::Command(_) => ("commands", "command"),
                // Both are fields of a session's entry.
                Claim::Slot(_) => ("slots", "field"),
                Claim::EntryField(_) => ("entry_fields", "field"),
            };
            let owner = self.owners.entry((what, claim.name().to_owned())).or_insert_with(|| plugin.clone());
            if owner != plugin {
                let message = format!("is plugin `{owner}`'s, which comes first in outrigger.toml");
                warnings.push(Problem {
                    line: Some(*line),
                    key: key.to_owned(),
                    value: Some(format!("\"{}\"", claim.name())),
                    ..Problem::of_file(file, message, format!("`{plugin}` does without this {what}"))
                });
                taken.insert(claim.clone(), owner.clone());
            }
        }
        taken
    }
}
