//! What `check` needs of the configuration: the binary hands the function in, so that this module does not depend on how
//! configuration is read.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Reads the configuration at this path and everything it names, and tells all that is wrong. Starts nothing.
pub type ConfigCheck = fn(&Path) -> ConfigReport;

/// What a configuration holds, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigReport {
    /// Plugins whose entries are sound, in the file's order.
    pub plugins: Vec<String>,
    /// All that is wrong, in the order of files and lines. Empty: it can be run.
    pub problems: Vec<ConfigProblem>,
    /// What is worth knowing and not wrong, one sentence each: the worst-case sum of limits, for instance.
    pub notes: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigProblem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1. `None`: the file as a whole.
    pub line: Option<u32>,
    /// What is wrong and what would be right, one sentence, naming the key.
    pub message: String,
}
