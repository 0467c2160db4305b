//! Ready package directories: the manifests of `plugins/` with the command that a test or demonstration wants.

use std::fs;
use std::io;
use std::path::Path;

const MISBEHAVE: &str = include_str!("../plugins/misbehave/plugin.toml");

/// Writes a package of the `misbehave` plugin into `directory`, which is made if it is not there.
///
/// `binary` is the built program; its absolute path becomes `command[0]`, so the package holds the manifest alone.
/// `tools` are declared as guarded and given to the program as its `--tool`s; empty leaves `misbehave`, the default of
/// both. `arguments` follow, for instance `["--fault", "hang", "--when", "idle"]`.
///
/// # Errors
/// When the directory or the manifest cannot be written, or `binary` is not UTF-8 or has no absolute path.
pub fn write_misbehave(
    directory: &Path,
    id: &str,
    binary: &Path,
    tools: &[&str],
    arguments: &[&str],
) -> io::Result<()> {
    let binary = std::path::absolute(binary)?;
    let mut command = vec![text(&binary)?];
    for tool in tools {
        command.extend(["--tool", tool]);
    }
    command.extend(arguments);
    fs::create_dir_all(directory)?;
    let mut manifest = with(&with(MISBEHAVE, "id", &quote(id)), "command", &list(&command));
    if !tools.is_empty() {
        manifest = with(&manifest, "tools", &list(tools));
    }
    fs::write(directory.join("plugin.toml"), manifest)
}

/// The manifest with another value for a key that has one line.
pub(crate) fn with(manifest: &str, key: &str, value: &str) -> String {
    let mut out = String::with_capacity(manifest.len() + value.len());
    for line in manifest.lines() {
        match line.split_once(" = ") {
            Some((name, _)) if name == key => out += &format!("{key} = {value}\n"),
            _ => out += &format!("{line}\n"),
        }
    }
    out
}

/// A TOML array of strings.
pub(crate) fn list(items: &[&str]) -> String {
    let items: Vec<_> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A path as it can be written in a manifest.
pub(crate) fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))
}

/// A TOML basic string: JSON's escapes are among its own, but JSON lets DEL stand.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_its_id_command_and_tools() {
        let directory = tempfile::tempdir().expect("make a directory");
        write_misbehave(directory.path(), "m-1", Path::new("/bin/mis\"b"), &["a", "b"], &["--fault", "exit"])
            .expect("write the package");
        let manifest = fs::read_to_string(directory.path().join("plugin.toml")).expect("read the manifest");
        for line in [
            "id = \"m-1\"",
            r#"command = ["/bin/mis\"b", "--tool", "a", "--tool", "b", "--fault", "exit"]"#,
            r#"tools = ["a", "b"]"#,
            "hook = \"before_tool_call\"",
        ] {
            assert!(manifest.lines().any(|found| found == line), "{line} is not in {manifest}");
        }
    }
}
