//! The demonstration's own directory: packages, configuration, sockets, state. Removed when dropped.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::python::Python;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// What the recorded agent's failing command contains: the Python guard is configured to block it.
const BLOCKED_TEXT: &str = "exit 3";
/// A command of the recorded agent that the Rust guard is configured to block.
const DENIED_PATTERN: &str = "uname *";
/// The plugin that is killed.
pub(super) const VICTIM: &str = "file-guard";
/// The tool it guards.
pub(super) const VICTIM_TOOL: &str = "read";

/// The traces, so that the demonstration needs no files beside the program.
pub(super) const TRACES: [(&str, &str); 5] = [
    ("plain.jsonl", include_str!("../../../../sdk-fixtures/traces/plain.jsonl")),
    ("exec.jsonl", include_str!("../../../../sdk-fixtures/traces/exec.jsonl")),
    ("fail.jsonl", include_str!("../../../../sdk-fixtures/traces/fail.jsonl")),
    ("files.jsonl", include_str!("../../../../sdk-fixtures/traces/files.jsonl")),
    ("multi.jsonl", include_str!("../../../../sdk-fixtures/traces/multi.jsonl")),
];

/// The plugins' programs, built beside this one.
pub(super) struct Programs {
    policy_gate: PathBuf,
    audit_observer: PathBuf,
    misbehave: PathBuf,
}

impl Programs {
    /// Finds them.
    pub(super) fn find() -> Result<Self, Failure> {
        let own = own_program()?;
        let dir = own.parent().unwrap_or(Path::new("/"));
        let find = |name: &str| {
            let path = dir.join(name);
            path.is_file().then_some(path).ok_or_else(|| {
                Failure::new(Exit::Failed, format!("the plugin `{name}` is not beside {}", own.display()))
                    .remedy("build all with `cargo build --workspace`, then run the `outrigger` of that directory")
            })
        };
        Ok(Self {
            policy_gate: find("policy-gate")?,
            audit_observer: find("audit-observer")?,
            misbehave: find("misbehave")?,
        })
    }
}

/// This program's file.
pub(super) fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Failed, format!("this program's own file cannot be found: {error}")))
}

/// The directory. Dropping it removes it with all that is in it.
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes it, for this user only.
    pub(super) fn make() -> Result<Self, Failure> {
        let failed = |what: String| Failure::new(Exit::Failed, format!("no directory for the demonstration: {what}"));
        let random = getrandom::u32().map_err(|error| failed(error.to_string()))?;
        // Short: the sockets below it may have paths of 107 bytes.
        let path = std::env::temp_dir().join(format!("outrigger-demo-{random:08x}"));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the sockets.
    pub(super) fn runtime_dir(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Directory of keys and durable data.
    pub(super) fn state_dir(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.path.join("outrigger.toml")
    }

    /// What the supervisor writes.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// Writes a package for each plugin, and the configuration that names them in the order of asking.
    pub(super) fn write_packages(&self, programs: &Programs, python: Option<&Python>) -> Result<(), Failure> {
        self.write(programs, python)
            .map_err(|error| Failure::new(Exit::Failed, format!("{} cannot be written: {error}", self.path.display())))
    }

    fn write(&self, programs: &Programs, python: Option<&Python>) -> io::Result<()> {
        let mut packages = vec![
            Package {
                id: "policy-gate",
                manifest: include_str!("../../../../sdk-fixtures/plugins/policy-gate/plugin.toml"),
                schema: Some(include_str!("../../../../sdk-fixtures/plugins/policy-gate/config.schema.json")),
                command: vec![text(&programs.policy_gate)?],
                tools: None,
                config: Some(format!("{{ deny_patterns = [{}] }}", quote(DENIED_PATTERN))),
            },
            Package {
                id: VICTIM,
                manifest: include_str!("../../../../sdk-fixtures/plugins/misbehave/plugin.toml"),
                schema: None,
                command: vec![text(&programs.misbehave)?, "--tool".to_owned(), VICTIM_TOOL.to_owned()],
                tools: Some(VICTIM_TOOL),
                config: None,
            },
            Package {
                id: "audit-observer",
                manifest: include_str!("../../../../sdk-fixtures/plugins/audit-observer/plugin.toml"),
                schema: None,
                command: vec![text(&programs.audit_observer)?],
                tools: None,
                config: None,
            },
        ];
        if let Some(python) = python {
            let gate = Package {
                id: "python-gate",
                manifest: include_str!("../../../../sdk-fixtures/plugins/python-gate/plugin.toml"),
                schema: Some(include_str!("../../../../sdk-fixtures/plugins/python-gate/config.schema.json")),
                command: vec![text(&python.interpreter)?, "-B".to_owned(), text(&python.script)?],
                tools: None,
                config: Some(format!("{{ text = {} }}", quote(BLOCKED_TEXT))),
            };
            packages.insert(1, gate);
        }
        let mut config = String::new();
        for package in &packages {
            let dir = self.path.join("packages").join(package.id);
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("plugin.toml"), package.manifest())?;
            if let Some(schema) = package.schema {
                fs::write(dir.join("config.schema.json"), schema)?;
            }
            config.push_str(&package.entry());
        }
        fs::write(self.config(), config)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to be told, and the directory is among the temporary ones.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// One plugin: the package its author ships, with what the demonstration wants otherwise.
struct Package {
    id: &'static str,
    manifest: &'static str,
    schema: Option<&'static str>,
    command: Vec<String>,
    /// The tool its guard is for. `None`: as the manifest says.
    tools: Option<&'static str>,
    config: Option<String>,
}

impl Package {
    /// The manifest with other values for keys that have one line each.
    fn manifest(&self) -> String {
        let command: Vec<_> = self.command.iter().map(|part| quote(part)).collect();
        let mut manifest = String::new();
        for line in self.manifest.lines() {
            let line = match (line.split_once(" = ").map(|(key, _)| key), self.tools) {
                (Some("id"), _) => format!("id = {}", quote(self.id)),
                (Some("command"), _) => format!("command = [{}]", command.join(", ")),
                (Some("tools"), Some(tool)) => format!("tools = [{}]", quote(tool)),
                _ => line.to_owned(),
            };
            manifest.push_str(&line);
            manifest.push('\n');
        }
        manifest
    }

    fn entry(&self) -> String {
        let config = self.config.as_deref().map(|config| format!("config = {config}\n")).unwrap_or_default();
        format!("[[plugin]]\npackage = {}\n{config}\n", quote(&format!("packages/{}", self.id)))
    }
}

fn text(path: &Path) -> io::Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not UTF-8", path.display())))
}

/// A TOML basic string: JSON's escapes are among TOML's, but JSON lets DEL stand.
fn quote(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_configuration_are_toml() {
        let directory = Directory::make().expect("a directory");
        let program = PathBuf::from("/opt/odd \"name\"/p");
        let programs =
            Programs { policy_gate: program.clone(), audit_observer: program.clone(), misbehave: program.clone() };
        let python = Python { interpreter: program.clone(), script: PathBuf::from("/opt/gate.py") };
        assert!(directory.write_packages(&programs, Some(&python)).is_ok());

        let read = |path: PathBuf| -> toml::Table {
            fs::read_to_string(path).expect("it was written").parse().expect("it is TOML")
        };
        let config = read(directory.config());
        let entries = config["plugin"].as_array().expect("entries");
        let order: Vec<_> = entries.iter().filter_map(|entry| entry["package"].as_str()).collect();
        assert_eq!(
            order,
            ["packages/policy-gate", "packages/python-gate", "packages/file-guard", "packages/audit-observer"]
        );
        assert_eq!(entries[1]["config"]["text"].as_str(), Some(BLOCKED_TEXT));
        let manifest = read(directory.path().join("packages/python-gate/plugin.toml"));
        assert_eq!(manifest["command"][0].as_str(), Some("/opt/odd \"name\"/p"));
        assert_eq!(manifest["connect"].as_str(), Some("relative"));
        assert_eq!(manifest["guard"][0]["tools"][0].as_str(), Some("exec"));
        let victim = read(directory.path().join("packages/file-guard/plugin.toml"));
        assert_eq!(victim["id"].as_str(), Some(VICTIM));
        assert_eq!(victim["guard"][0]["tools"].as_array().map(Vec::len), Some(1));
        assert_eq!(victim["guard"][0]["tools"][0].as_str(), Some(VICTIM_TOOL));

        let path = directory.path().to_owned();
        drop(directory);
        assert!(!path.exists());
    }
}
