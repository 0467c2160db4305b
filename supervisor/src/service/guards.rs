//! Which guards of a plugin hold.

use crate::domain::guard::{Guard, guard_counts};
use crate::domain::spec::PluginSpec;
use crate::domain::store::Remembered;

/// Guards that count: declared, and their scope is among the effective rights.
pub(crate) fn counting(spec: &PluginSpec) -> Vec<Guard> {
    spec.guards.iter().filter(|guard| guard_counts(guard, &spec.rights).is_ok()).cloned().collect()
}

/// What is kept of a readable manifest.
pub(crate) fn remembered(spec: &PluginSpec) -> Remembered {
    Remembered {
        package_dir: spec.package_dir.to_string_lossy().into_owned(),
        guards: spec.guards.clone(),
        rights: spec.rights.clone(),
    }
}
