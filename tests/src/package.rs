//! Plugins as a test describes them: a package directory, and an entry in `outrigger.toml`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_fixtures::faults::Phase;
use serde_json::{Value, json};

use crate::programs::program;

/// One plugin.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its id, also the name of its directory.
    pub id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Tools of each guard; none: all tools.
    guards: Vec<Vec<String>>,
    /// Scopes that the manifest asks for.
    scopes: Vec<String>,
    /// Further lines of the manifest.
    manifest: String,
    /// Further lines of its entry.
    entry: String,
    hook: Vec<String>,
    /// The manifest as it is, in place of one made here; other files are copied from there.
    from: Option<PathBuf>,
}

impl Package {
    /// A plugin of any program; without guards.
    #[must_use]
    pub fn of_program(id: &str, command: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            guards: Vec::new(),
            scopes: ["hooks.tools", "state", "events.emit"].map(str::to_owned).to_vec(),
            manifest: String::new(),
            entry: String::new(),
            hook: Vec::new(),
            from: None,
        }
    }

    /// The `misbehave` plugin, which behaves well until told otherwise. It guards the tool of its own id, blocks a call
    /// with `"block": true` and holds one with `"hold": true`.
    #[must_use]
    pub fn well_behaved(id: &str) -> Self {
        let program = program("misbehave");
        let mut package = Self::of_program(id, &[text(&program), "--tool", id]);
        package.guards.push(vec![id.to_owned()]);
        package
    }

    /// The `misbehave` plugin with a fault.
    #[must_use]
    pub fn misbehaving(id: &str, fault: &str, when: Phase) -> Self {
        Self::well_behaved(id).arguments(&["--fault", fault, "--when", when.name()])
    }

    /// The `policy-gate` plugin, which guards `exec`. `config`: TOML of its configuration, an inline table.
    #[must_use]
    pub fn policy_gate(config: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-fixtures/plugins/policy-gate");
        let mut package = Self::of_program("policy-gate", &[text(&program("policy-gate"))]);
        package.from = Some(from);
        package.entry(&format!("config = {config}"))
    }

    /// A package that somebody has written already, by its directory.
    #[must_use]
    pub fn written(id: &str, directory: &Path) -> Self {
        let mut package = Self::of_program(id, &[]);
        package.from = Some(directory.to_owned());
        package
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Declares a guard of `before_tool_call` for these tools; none: all.
    #[must_use]
    pub fn guard(mut self, tools: &[&str]) -> Self {
        self.guards.push(tools.iter().map(|tool| (*tool).to_owned()).collect());
        self
    }

    /// Asks for these scopes, in place of what plugins here ask for otherwise.
    #[must_use]
    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self
    }

    /// Adds a line to the manifest.
    #[must_use]
    pub fn manifest(mut self, line: &str) -> Self {
        self.manifest += line;
        self.manifest.push('\n');
        self
    }

    /// Adds a line to the operator's entry.
    #[must_use]
    pub fn entry(mut self, line: &str) -> Self {
        self.entry += line;
        self.entry.push('\n');
        self
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(mut self, time: &str) -> Self {
        self.hook.push(format!("timeout = \"{time}\""));
        self
    }

    /// The operator lets calls pass while it is absent.
    #[must_use]
    pub fn skipped_when_absent(mut self) -> Self {
        self.hook.push("on_absent = \"skip\"".to_owned());
        self
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest_text(&self) -> String {
        let command = json!(self.command);
        if let Some(from) = &self.from {
            let written = fs::read_to_string(from.join("plugin.toml")).expect("the package has a manifest");
            if self.command.is_empty() {
                return written;
            }
            let line = |line: &str| match line.split_once(" = ") {
                Some(("command", _)) => format!("command = {command}\n"),
                _ => format!("{line}\n"),
            };
            return written.lines().map(line).collect();
        }
        let mut text = format!("id = {}\nversion = \"0.1.0\"\ncommand = {command}\n", json!(self.id));
        text += &format!("connect = \"absolute\"\nscopes = {}\n", json!(self.scopes));
        text += &self.manifest;
        for tools in &self.guards {
            text += "\n[[guard]]\nhook = \"before_tool_call\"\n";
            if !tools.is_empty() {
                writeln!(text, "tools = {}", json!(tools)).expect("a string takes all text");
            }
        }
        text
    }

    /// Writes the package below `packages`.
    ///
    /// # Panics
    /// A file cannot be written.
    pub fn write(&self, packages: &Path) {
        let directory = packages.join(&self.id);
        fs::create_dir_all(&directory).expect("make the package's directory");
        if let Some(from) = &self.from {
            copy(from, &directory);
        }
        fs::write(directory.join("plugin.toml"), self.manifest_text()).expect("write the manifest");
    }

    /// Its entry in the operator's file.
    pub(crate) fn entry_text(&self) -> String {
        let mut text =
            format!("\n[[plugin]]\npackage = {}\n{}", Value::from(format!("packages/{}", self.id)), self.entry);
        if !self.hook.is_empty() {
            writeln!(text, "hooks = {{ before_tool_call = {{ {} }} }}", self.hook.join(", "))
                .expect("a string takes all text");
        }
        text
    }
}

/// A path as it can stand in a manifest.
fn text(path: &Path) -> &str {
    path.to_str().expect("the build directory's path is text")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a directory of the package");
    for entry in fs::read_dir(from).expect("list the package") {
        let entry = entry.expect("list the package");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("ask for a file's type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy a file of the package");
        }
    }
}
