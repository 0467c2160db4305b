//! Ready package directories of the Python plugins.

use std::fs;
use std::io;
use std::path::Path;

use super::PythonEnv;
use crate::package::{list, text, with};

const GATE: &str = include_str!("../../plugins/python-gate/plugin.toml");
const MISBEHAVE: &str = include_str!("../../plugins/python-misbehave/plugin.toml");
const TOOLS: &str = include_str!("../../plugins/python-tools/plugin.toml");
const CONFIG_SCHEMA: &str = include_str!("../../plugins/python-gate/config.schema.json");
const GATE_SCRIPT: &str = include_str!("../../python/stock_gate.py");
const TOOLS_SCRIPT: &str = include_str!("../../python/stock_tools.py");
const MISBEHAVE_SCRIPT: &str = include_str!("../../python/stock_misbehave.py");

/// The faults that `stock_misbehave.py` has; their phases are those in [`FAULTS`](crate::faults::FAULTS).
pub const PYTHON_FAULTS: &[&str] = &[
    "exit",
    "exit-zero",
    "final-exit",
    "close-socket",
    "never-answer",
    "answer-late",
    "answer-twice",
    "answer-wrong-id",
    "answer-wrong-type",
    "hang",
    "stop-self",
    "ignore-sigterm",
    "flood-stdout",
    "burn-cpu",
];

impl PythonEnv {
    /// Writes the package of `python-gate` into `directory`, which is made if it is not there: manifest, script and stubs,
    /// with this environment's interpreter as `command[0]`.
    ///
    /// # Errors
    /// When something cannot be written, or the interpreter's path is not UTF-8.
    pub fn write_gate(&self, directory: &Path) -> io::Result<()> {
        self.write(directory, GATE, &["-B", "{package}/stock_gate.py"])
    }

    /// Writes the package of `python-misbehave`, as [`write_gate`](Self::write_gate). `arguments` are the script's own,
    /// for instance `["--fault", "hang", "--when", "idle"]`.
    ///
    /// # Errors
    /// As [`write_gate`](Self::write_gate).
    pub fn write_misbehave(&self, directory: &Path, arguments: &[&str]) -> io::Result<()> {
        let mut command = vec!["-B", "{package}/stock_misbehave.py"];
        command.extend(arguments);
        self.write(directory, MISBEHAVE, &command)?;
        fs::write(directory.join("stock_misbehave.py"), MISBEHAVE_SCRIPT)
    }

    /// Writes the package of `python-tools`, as [`write_gate`](Self::write_gate).
    ///
    /// # Errors
    /// As [`write_gate`](Self::write_gate).
    pub fn write_tools(&self, directory: &Path) -> io::Result<()> {
        self.write(directory, TOOLS, &["-B", "{package}/stock_tools.py"])?;
        fs::write(directory.join("stock_tools.py"), TOOLS_SCRIPT)
    }

    fn write(&self, directory: &Path, manifest: &str, arguments: &[&str]) -> io::Result<()> {
        // Without -B the interpreter would write into the package, which is then another one than was approved.
        let mut command = vec![text(&self.interpreter)?];
        command.extend(arguments);
        fs::create_dir_all(directory)?;
        fs::write(directory.join("plugin.toml"), with(manifest, "command", &list(&command)))?;
        fs::write(directory.join("config.schema.json"), CONFIG_SCHEMA)?;
        fs::write(directory.join("stock_gate.py"), GATE_SCRIPT)?;
        copy(&self.stubs, directory)
    }
}

/// Copies what is in a directory; the stubs are a few levels deep.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Fault;

    #[test]
    fn faults_of_the_script_are_those_of_the_table() {
        for name in PYTHON_FAULTS {
            assert!(Fault::named(name).is_some(), "{name} is not in the table");
            assert!(MISBEHAVE_SCRIPT.contains(&format!("\"{name}\"")), "the script has no {name}");
        }
    }
}
