//! What the documents say of the code is so: examples are the files they claim to be, links and names lead somewhere, and
//! the table of RPCs is what is served.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| unreachable!("{path}: {error}"))
}

/// All files below a directory with this ending.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of the project").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let mut documents = files(&root().join("docs"), "md");
    documents.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    documents.extend([root().join("sdk-rust/README.md")]);
    documents
}

/// The text between `before` and `after`, each time they come.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split_once(after)).map(|(inside, _)| inside).collect()
}

#[test]
fn examples_are_the_files_they_come_from() {
    for (document, file, language) in [
        ("README.md", "sdk-rust/examples/minimal.rs", "rust"),
        ("README.md", "supervisor/examples/runtime.rs", "rust"),
        ("docs/protocol.md", "docs/examples/gate.py", "python"),
    ] {
        let block = format!("```{language}\n{}```\n", read(file));
        assert!(read(document).contains(&block), "{document} does not have the text of {file}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        for link in between(&text, "](", ")") {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.with_file_name("").join(file) };
            assert!(target.exists(), "{} links to {link}", document.display());
            if !anchor.is_empty() {
                let headings = fs::read_to_string(&target).expect("a document");
                let found = headings.lines().any(|line| line.starts_with('#') && anchor_of(line) == anchor);
                assert!(found, "{} links to {link}", document.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The anchor of a heading, as forges make it.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

#[test]
fn the_architecture_names_what_is_there() {
    let text = read("ARCHITECTURE.md");
    let mut seen = 0;
    // Every second piece stands in backticks; a fence has three, and so keeps the count.
    for reference in text.split('`').skip(1).step_by(2).filter(|text| text.contains(".rs")) {
        let (file, name) = reference.split_once("::").unwrap_or((reference, ""));
        let path =
            [format!("supervisor/src/{file}"), file.to_owned()].into_iter().find(|path| root().join(path).is_file());
        let path = path.unwrap_or_else(|| unreachable!("ARCHITECTURE.md names {reference}: no such file"));
        let source = read(&path);
        let words: BTreeSet<&str> = source.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        assert!(name.is_empty() || words.contains(name), "ARCHITECTURE.md names {reference}: not in that file");
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn the_table_of_calls_is_what_is_served() {
    let table = read("docs/protocol.md");
    for (service, proto, code) in [
        ("PluginService", "plugin/v1/plugin", "plugin_service"),
        ("HostService", "plugin/v1/host", "plugin_service"),
        ("RuntimeService", "runtime/v1/runtime", "runtime_service"),
        ("AdminService", "admin/v1/admin", "admin_service"),
    ] {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{service}` | `"))).expect("a row");
        let cells: Vec<BTreeSet<&str>> =
            row.split(" | ").skip(1).map(|cell| cell.split('`').skip(1).step_by(2).collect()).collect();
        let source = read(&format!("supervisor/src/service/{code}.rs"));
        let proto = read(&format!("proto/outrigger/{proto}.proto"));
        let calls = between(&proto, "\n  rpc ", "(");
        assert!(!calls.is_empty(), "{service}");
        // A stream whose messages are encoded already is a service of its own.
        let is_served = |call: &&&str| {
            source.contains(&format!("async fn {}(", snake(call)))
                || source.contains(&format!("ServerStreamingService<wire::{call}Request>"))
        };
        let (served, rest): (Vec<&str>, Vec<&str>) = calls.iter().partition(|call| is_served(call));
        assert_eq!(cells[0], served.into_iter().collect(), "{service}: served");
        assert_eq!(cells[1], rest.into_iter().collect(), "{service}: not served");
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
