//! Schemas, parsers, defaults and the reference for people say the same.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::keys::{ENTRY, GUARD, HOOK, LIMITS, SECRET_FILE};
use crate::config::manifest as manifest_file;
use crate::config::operator as operator_file;
use crate::config::schema::Schema;
use crate::config::supervisor::SUPERVISOR;
use crate::domain::quota::Quota;
use crate::domain::rights::{Scope, Tier};
use crate::domain::settings::Settings;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn reference() -> String {
    std::fs::read_to_string(docs().join("configuration.md")).expect("docs/configuration.md is there")
}

/// The checked-in schemas are those of the code.
#[test]
fn schemas_are_fresh() {
    for (name, schema) in [("plugin.schema.json", manifest()), ("outrigger.schema.json", operator())] {
        let path = docs().join("schema").join(name);
        let text = serde_json::to_string_pretty(&schema).expect("a JSON value can be written") + "\n";
        if std::env::var_os("OUTRIGGER_UPDATE").is_some() {
            std::fs::create_dir_all(docs().join("schema")).expect("make docs/schema");
            std::fs::write(&path, &text).expect("write the schema");
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == text,
            "docs/schema/{name} is not what the code says; \
             refresh it with `OUTRIGGER_UPDATE=1 cargo test -p outrigger schemas_are_fresh`"
        );
    }
}

/// The examples of the reference are what parsers and schemas accept; what a schema refuses a parser refuses, too.
#[test]
fn examples_are_right() {
    let text = reference();
    let mut blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    let (plugin, outrigger) = (blocks.next().expect("plugin.toml"), blocks.next().expect("outrigger.toml"));
    assert_eq!(blocks.next(), None);
    manifest_file::parse(Path::new("plugin.toml"), plugin).expect("it is sound");
    let read = operator_file::parse(Path::new("outrigger.toml"), outrigger).expect("it is sound");
    assert_eq!(read.plugins[0].problems, []);

    let json = |text: &str| toml::from_str::<Value>(text).expect("it is TOML");
    let compile = |schema: Value| Schema::compile(schema.to_string().as_bytes()).expect("it is a schema");
    let (manifest, operator) = (compile(manifest()), compile(operator()));
    assert_eq!(manifest.mismatches(&json(plugin)), []);
    assert_eq!(operator.mismatches(&json(outrigger)), []);

    let wrong = |schema: &Schema, text: &str, from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is in the example");
        assert!(!schema.accepts(&json(&changed)), "{to}");
        changed
    };
    for (from, to) in [
        ("id = ", "ident = "),
        ("\"overlap\"", "\"swap\""),
        ("[78]", "[256]"),
        ("\"state\"", "\"stat\""),
        ("\"exec\"", "\"*\""),
        ("GATE_MODE", "OUTRIGGER_MODE"),
        ("hook = \"before_tool_call\"", "hook = \"agent_end\""),
    ] {
        let changed = wrong(&manifest, plugin, from, to);
        manifest_file::parse(Path::new("plugin.toml"), &changed).expect_err(to);
    }
    for (from, to) in [
        ("tier =", "teir ="),
        ("\"community\"", "\"comunity\""),
        ("\"5s\"", "\"5\""),
        ("\"512MiB\"", "512"),
        ("pending-turns = 16", "pending-turns = \"16\""),
        ("before_tool_call", "before_tool"),
        ("{ file = \"/etc/outrigger/api_key\" }", "\"hunter2\""),
        ("/srv/reports", "srv/reports"),
    ] {
        let changed = wrong(&operator, outrigger, from, to);
        let read = operator_file::parse(Path::new("outrigger.toml"), &changed).expect("the file is sound");
        assert_ne!(read.plugins[0].problems, [], "{to}");
    }
}

#[test]
fn the_reference_names_every_key() {
    let text = reference();
    for key in [MANIFEST, GUARD, ENTRY, LIMITS, HOOK, SUPERVISOR].into_iter().flatten() {
        assert!(text.contains(&format!("\n| `{}` |", key.name)), "{}", key.name);
    }
    assert!(SECRET_FILE.iter().all(|key| text.contains(&format!("`{}` of a secret", key.name))));
}

/// Read as a file, the defaults that are told are the defaults.
#[test]
fn defaults_are_told_right() {
    let settings = |rows: Vec<(String, String)>| {
        let line = |(name, value): (String, String)| {
            let bare = value.parse::<u32>().is_ok() || value.parse::<bool>().is_ok();
            if bare { format!("{name} = {value}\n") } else { format!("{name} = \"{value}\"\n") }
        };
        assert_eq!(rows.len(), SUPERVISOR.len());
        let text: String = rows.into_iter().map(line).collect();
        operator_file::parse(Path::new("outrigger.toml"), &format!("[supervisor]\n{text}"))
            .expect("it is sound")
            .settings
    };
    let in_schema = SUPERVISOR.iter().filter_map(|key| {
        let (_, value) = key.about.split_once("Default ")?;
        Some((key.name.to_owned(), value.trim_end_matches('.').to_owned()))
    });
    assert_eq!(settings(in_schema.collect()), Settings::default());
    let text = reference();
    let (_, section) = text.split_once("### [supervisor]").expect("the section");
    let in_reference = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        (cells[1].clone(), cells[2].clone())
    });
    assert_eq!(settings(in_reference.collect()), Settings::default());
}

#[test]
fn the_reference_has_every_scope_and_quota() {
    let text = reference();
    for scope in Scope::all() {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{scope}` |"))).expect("a row");
        let default =
            Tier::ALL.into_iter().rev().skip(1).find(|tier| scope.is_default(*tier)).expect("bundled has all");
        let allowed = |tier| scope.is_allowed(tier);
        let ceiling = match (allowed(Tier::Workspace), allowed(Tier::Community)) {
            (true, _) => "all tiers",
            (false, true) => "not workspace",
            (false, false) => "bundled",
        };
        assert!(row.starts_with(&format!("| `{scope}` | {default}")), "{row}");
        assert!(row.contains(&format!("| {ceiling} |")), "{row}");
        for quota in Quota::of(scope) {
            let mut told = format!("`{}` {} / {}", quota.name, quota.community, quota.trusted);
            if quota.max < (1 << 53) - 1 {
                told += &format!(", at most {}", quota.max);
            }
            assert!(row.contains(&told), "{told}: {row}");
        }
    }
}
