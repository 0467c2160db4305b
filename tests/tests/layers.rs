//! The layers of the supervisor: domain, config, service, then process, transport and store, then the binary. A module
//! uses only layers to its left. Paths are read from the sources, so that a new use in the wrong direction fails here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A layer, the layers it may use beside itself, and crates it must not know.
struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
    forbidden: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    // Pure: no I/O, no generated type.
    Layer {
        name: "domain",
        uses: &[],
        forbidden: &["outrigger_proto", "prost", "prost_types", "tonic", "hyper", "rusqlite", "rustix", "libc", "toml"],
    },
    Layer {
        name: "config",
        uses: &["domain"],
        forbidden: &["outrigger_proto", "prost", "prost_types", "tonic", "hyper", "rusqlite", "tokio"],
    },
    // It has neither processes, nor sockets, nor a database of its own, but the traits of the domain.
    Layer { name: "service", uses: &["config", "domain"], forbidden: &["rusqlite", "rustix", "libc"] },
    Layer {
        name: "process",
        uses: &["config", "domain"],
        forbidden: &["outrigger_proto", "prost", "prost_types", "tonic", "hyper", "rusqlite"],
    },
    Layer { name: "transport", uses: &["config", "domain"], forbidden: &["outrigger_proto", "prost", "rusqlite"] },
    Layer {
        name: "store",
        uses: &["config", "domain"],
        forbidden: &["outrigger_proto", "prost", "prost_types", "tonic", "hyper"],
    },
    // Names of hooks, ids and rights, what a text must not hold, and how a client dials: it knows a supervisor by its
    // sockets, like any other client.
    Layer {
        name: "cli",
        uses: &[
            "domain::hook",
            "domain::ids",
            "domain::rights",
            "domain::text",
            "transport::client",
            "transport::keys",
            "transport::paths",
        ],
        forbidden: &["rusqlite"],
    },
];

/// Source files that make the binary and the library's face of everything: they may use all.
const TOP: &[&str] = &["main.rs", "lib.rs", "run.rs", "supervisor.rs", "launcher.rs", "bench.rs"];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../supervisor/src")
}

/// All Rust files below a directory, as paths relative to it.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("list the sources") {
            let path = entry.expect("list the sources").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root).expect("it lies there").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The code without comments and the insides of texts.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    while at < chars.len() {
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            while at < chars.len() && !starts(at, "*/") {
                at += 1;
            }
            at += 2;
        } else if chars[at] == 'r' && (starts(at + 1, "\"") || starts(at + 1, "#\"") || starts(at + 1, "##\"")) {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            at += 2 + hashes;
            while at < chars.len() && !starts(at, &end) {
                at += 1;
            }
            at += end.len();
        } else if chars[at] == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if chars[at] == '\'' && (chars.get(at + 2) == Some(&'\'') || starts(at + 1, "\\")) {
            // A character, not a lifetime.
            at += 2;
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Identifiers and single signs.
fn tokens(code: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in code.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            out.push(std::mem::take(&mut word));
        }
        if !c.is_whitespace() {
            out.push(c.to_string());
        }
    }
    out
}

/// Paths from the crate's root that a file names, two segments of each, and the crates it names.
fn used(file: &Path, text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let tokens = tokens(&code(text));
    let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // How many `super` lead from the file's module to the crate's root.
    let own_depth = file.components().count() - usize::from(name == "mod");
    let mut inside: Vec<bool> = Vec::new();
    let (mut paths, mut crates) = (BTreeSet::new(), BTreeSet::new());
    let is = |at: usize, what: &str| tokens.get(at).is_some_and(|token| token == what);
    let follows = |at: usize| is(at, ":") && is(at + 1, ":");
    let mut at = 0;
    while at < tokens.len() {
        let begins_path = at == 0 || !is(at - 1, ":");
        match tokens[at].as_str() {
            "{" => inside.push(at >= 2 && tokens[at - 2] == "mod"),
            "}" => drop(inside.pop()),
            "crate" if begins_path && follows(at + 1) => below_root(&tokens, at + 3, &mut paths),
            "super" if begins_path => {
                let mut ups = 0;
                while is(at, "super") {
                    ups += 1;
                    at += if follows(at + 1) { 3 } else { 1 };
                }
                if ups == own_depth + inside.iter().filter(|module| **module).count() {
                    below_root(&tokens, at, &mut paths);
                }
                continue;
            }
            word if begins_path && follows(at + 1) => drop(crates.insert(word.to_owned())),
            _ => {}
        }
        at += 1;
    }
    (paths, crates)
}

/// Reads what follows the root: a name with perhaps another below it, or a group of such.
fn below_root(tokens: &[String], at: usize, paths: &mut BTreeSet<String>) {
    let segment = |at: usize| -> String {
        let token = |at: usize| tokens.get(at).map_or("", String::as_str);
        let second = (token(at + 1) == ":" && token(at + 2) == ":" && token(at + 3) != "{").then(|| token(at + 3));
        second.map_or_else(|| token(at).to_owned(), |second| format!("{}::{second}", token(at)))
    };
    if tokens.get(at).is_none_or(|token| token != "{") {
        paths.insert(segment(at));
        return;
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return,
            "}" => depth -= 1,
            _ => {}
        }
        let begins = matches!(tokens[index].as_str(), "{" | ",") && depth == 1;
        if begins && tokens.get(index + 1).is_some_and(|next| next != "}") {
            paths.insert(segment(index + 1));
        }
    }
}

/// What a file uses that its layer may not.
fn offences(file: &Path, text: &str) -> Vec<String> {
    let first =
        file.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    if TOP.contains(&first.as_str()) {
        return Vec::new();
    }
    let own = first.trim_end_matches(".rs");
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == own) else {
        return vec![format!("{} belongs to no layer of this test", file.display())];
    };
    let (paths, crates) = used(file, text);
    let mut found = Vec::new();
    for path in paths {
        let target = path.split("::").next().unwrap_or_default();
        // A name of the root that is no module is the library's face, which no layer uses either.
        let allowed = target == layer.name || layer.uses.iter().any(|may| *may == target || *may == path);
        if !allowed {
            found.push(format!("{}: `{}` may not use `crate::{path}`", file.display(), layer.name));
        }
    }
    for name in crates.iter().filter(|name| layer.forbidden.contains(&name.as_str())) {
        found.push(format!("{}: `{}` may not know the crate `{name}`", file.display(), layer.name));
    }
    found
}

#[test]
fn no_module_uses_a_layer_to_its_right() {
    let root = sources();
    let files = files(&root);
    assert!(files.len() > 100, "the sources are there: {}", files.len());
    for layer in LAYERS {
        assert!(files.iter().any(|file| file.starts_with(layer.name)), "there is a layer `{}`", layer.name);
    }
    let read = |file: &PathBuf| fs::read_to_string(root.join(file)).expect("read a source");
    let found: Vec<_> = files.iter().flat_map(|file| offences(file, &read(file))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn sdk_and_fixtures_do_not_know_the_host() {
    for (member, forbidden) in [
        ("sdk-rust", &["outrigger "][..]),
        ("proto", &["outrigger ", "outrigger-sdk"]),
        ("sdk-fixtures", &["outrigger "]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(member).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("read the manifest");
        for line in manifest.lines() {
            let name = line.replace(['.', '='], " ") + " ";
            assert!(
                !forbidden.iter().any(|crate_name| name.starts_with(crate_name)),
                "{member} depends on the host: {line}"
            );
        }
    }
}

#[test]
fn the_rule_has_teeth() {
    for (file, text) in [
        ("process/start.rs", "use crate::service::actor::Actor;"),
        ("domain/ids.rs", "use crate::config;"),
        ("domain/ids.rs", "fn f() { crate::transport::paths::runtime_dir() }"),
        ("domain/mod.rs", "pub use super::store::SqliteStore;"),
        ("service/core.rs", "use super::super::process::Starter;"),
        ("service/core.rs", "mod tests { use super::super::super::store::SqliteStore; }"),
        ("service/core.rs", "use crate::{domain::ids::PluginId, store::{Options, SqliteStore}};"),
        ("store/rows.rs", "use crate::service::Report;"),
        ("cli/text.rs", "use crate::domain::launch::Plan;"),
        ("cli/text.rs", "use crate::Supervisor;"),
        ("domain/ids.rs", "use tonic::Status;"),
        ("extra.rs", ""),
    ] {
        assert_ne!(offences(Path::new(file), text), Vec::<String>::new(), "{file}: {text}");
    }
    for (file, text) in [
        (
            "process/start.rs",
            "// use crate::service::actor\nconst A: &str = \"crate::service\"; use crate::domain::ids;",
        ),
        (
            "process/start.rs",
            "const R: &str = r#\"crate::service \"quoted\" \"#; const C: char = '\"'; use crate::process::a;",
        ),
        ("service/core.rs", "use super::registry::Registry; mod tests { use super::super::registry; use super::*; }"),
        ("service/mod.rs", "use crate::{domain::ids, service::core};"),
        ("cli/text.rs", "use crate::domain::hook::Hook; fn f<'a>(a: &'a str) {}"),
        ("main.rs", "use crate::service::Report;"),
    ] {
        assert_eq!(offences(Path::new(file), text), Vec::<String>::new(), "{file}: {text}");
    }
}
