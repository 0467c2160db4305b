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
    /// Directory of what readers of events write down.
    pub(crate) books: PathBuf,
}

impl Files {
    /// Those in this directory.
    pub(crate) fn of(directory: &Path) -> Self {
        let within = |name: &str| directory.join(name);
        Self {
            config: within("outrigger.toml"),
            runtime_dir: within("run"),
            state_dir: within("state"),
            books: within("books"),
        }
    }
}

/// How a plugin reads events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reads {
    /// With so many credits; 0: it acknowledges none.
    Credits(u32),
    /// It takes one event and no other.
    One,
}

/// A plugin under test.
pub(crate) struct Plugin {
    id: String,
    /// The tools it guards.
    tools: Vec<String>,
    reads: Option<Reads>,
}

impl Plugin {
    /// A guard of these tools.
    pub(crate) fn guard(id: impl Into<String>, tools: &[&str]) -> Self {
        Self { id: id.into(), tools: tools.iter().map(|tool| (*tool).to_owned()).collect(), reads: None }
    }

    /// The same, which reads events, too.
    pub(crate) fn reading(self, reads: Reads) -> Self {
        Self { reads: Some(reads), ..self }
    }

    fn command(&self, book: &Path) -> Vec<String> {
        let mut command = vec![env!("CARGO_BIN_EXE_bench-plugin").to_owned()];
        if let Some(reads) = self.reads {
            command.extend(["--reads".to_owned(), book.display().to_string()]);
            command.extend(match reads {
                Reads::Credits(credits) => vec!["--credits".to_owned(), credits.to_string()],
                Reads::One => vec!["--deaf".to_owned()],
            });
        }
        command.extend(self.tools.iter().cloned());
        command
    }
}

/// Writes the files for these plugins.
pub(crate) fn write(directory: &Path, plugins: &[Plugin]) -> Result<()> {
    let books = directory.join("books");
    fs::create_dir_all(&books)?;
    let mut config = "[supervisor]\n".to_owned();
    for (name, value, _) in RAISED {
        config += &format!("{name} = {value}\n");
    }
    for plugin in plugins {
        let (id, tools) = (&plugin.id, &plugin.tools);
        let package = directory.join("packages").join(id);
        fs::create_dir_all(&package)?;
        let command = plugin.command(&books.join(id));
        let mut scopes = Vec::new();
        let mut guard = String::new();
        if !tools.is_empty() {
            scopes.push("hooks.tools");
            guard = format!("[[guard]]\nhook = \"before_tool_call\"\ntools = {tools:?}\n");
        }
        config += &format!("[[plugin]]\npackage = {:?}\n", package.display().to_string());
        if plugin.reads.is_some() {
            scopes.extend(["events.read", "hooks.conversation"]);
            // It is there from the first on, so that who waits for it knows of it.
            fs::write(books.join(id), "")?;
            config += "grants = [\"hooks.conversation\"]\n";
        }
        let manifest = format!(
            "id = {id:?}\nversion = \"1\"\ncommand = {command:?}\nconnect = \"absolute\"\nscopes = {scopes:?}\n{guard}"
        );
        fs::write(package.join("plugin.toml"), manifest)?;
    }
    fs::write(directory.join("outrigger.toml"), config)?;
    Ok(())
}
