//! `env` of both files.

use std::collections::BTreeMap;

use super::keys::{MOST_ENVIRONMENT_BYTES, MOST_VARIABLE_BYTES, MOST_VARIABLES};
use super::reader::Table;

/// Variables that only the operator may set: the supervisor sets them so that a plugin finds its programs and its own
/// directories, and what a loader reads decides which code runs.
const OPERATOR_ONLY: &[&str] = &["PATH", "HOME", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"];
const LONGEST_NAME: usize = 128;

/// Reads variables. Values are never shown, as people put secrets there in spite of all advice.
pub(super) fn read(table: &Table<'_>, by_operator: bool) -> BTreeMap<String, String> {
    if table.len() > MOST_VARIABLES {
        table.fail(&format!("has {} variables", table.len()), &format!("at most {MOST_VARIABLES}"));
        return BTreeMap::new();
    }
    let mut variables = BTreeMap::new();
    for (name, node) in table.iter() {
        let node = node.hidden();
        if !is_name(name) {
            node.fail(
                "is not the name of a variable",
                &format!("1 to {LONGEST_NAME} of A-Z, a-z, 0-9 and `_`, beginning with a letter or `_`"),
            );
        } else if name.starts_with("OUTRIGGER_") {
            node.fail("is set by the supervisor", "a name that does not begin with OUTRIGGER_");
        } else if !by_operator && OPERATOR_ONLY.contains(&name) {
            node.fail("is not for a manifest", "leave it out; the operator can set it in outrigger.toml");
        } else if let Some(value) = node.plain_bytes(MOST_VARIABLE_BYTES) {
            variables.insert(name.to_owned(), value);
        }
    }
    let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MOST_ENVIRONMENT_BYTES {
        table.fail(&format!("has {bytes} bytes"), &format!("at most {MOST_ENVIRONMENT_BYTES} in names and values"));
    }
    variables
}

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= LONGEST_NAME
        && bytes.first().is_some_and(|byte| !byte.is_ascii_digit())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
