//! A supervisor's files: packages of the plugin under test, and a configuration with every limit raised that would
//! measure itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::Result;

/// Settings that differ from the defaults, and why.
pub(crate) const RAISED: &[(&str, &str, &str)] = &[
    ("plugin_bytes_per_second", "\"1GiB\"", "a plugin's answers are metered otherwise"),
    ("backoff_first", "\"10ms\"", "a killed plugin is needed again at once"),
    ("backoff_max", "\"10ms\"", "the same"),
    ("quarantine_after", "1000", "the same"),
];

/// Where a supervisor's files are.
pub(crate) struct Files {
    /// `outrigger.toml`.
    pub(crate) config: PathBuf,
    /// Directory of the sockets.
    pub(crate) runtime_dir: PathBuf,
    /// Directory of keys and durable state.
    pub(crate) state_dir: PathBuf,
}

impl Files {
    /// Those in this directory.
    pub(crate) fn of(directory: &Path) -> Self {
        let within = |name: &str| directory.join(name);
        Self { config: within("outrigger.toml"), runtime_dir: within("run"), state_dir: within("state") }
    }
}

/// Writes the files for these plugins, each with the tools it guards.
pub(crate) fn write(directory: &Path, plugins: &[(String, Vec<String>)]) -> Result<()> {
    fs::create_dir_all(directory)?;
    let mut config = "[supervisor]\n".to_owned();
    for (name, value, _) in RAISED {
        config += &format!("{name} = {value}\n");
    }
    let program = env!("CARGO_BIN_EXE_bench-plugin");
    for (id, tools) in plugins {
        let package = directory.join("packages").join(id);
        fs::create_dir_all(&package)?;
        let command: Vec<&str> = std::iter::once(program).chain(tools.iter().map(String::as_str)).collect();
        let manifest = format!(
            "id = {id:?}\nversion = \"1\"\ncommand = {command:?}\nconnect = \"absolute\"\nscopes = [\"hooks.tools\"]\n\
             [[guard]]\nhook = \"before_tool_call\"\ntools = {tools:?}\n"
        );
        fs::write(package.join("plugin.toml"), manifest)?;
        config += &format!("[[plugin]]\npackage = {:?}\n", package.display().to_string());
    }
    fs::write(directory.join("outrigger.toml"), config)?;
    Ok(())
}
