//! Commands that need no supervisor.

use std::path::Path;

use outrigger::cli::{ConfigProblem, ConfigReport, Exit};
use serde_json::json;

use crate::run::{Run, outrigger};

fn sound(_: &Path) -> ConfigReport {
    let notes = vec!["one hostile plugin costs at most 32 MiB".to_owned()];
    ConfigReport { plugins: vec!["a".to_owned(), "b".to_owned()], problems: Vec::new(), notes }
}

fn wrong(file: &Path) -> ConfigReport {
    let problem = |line, message: &str| ConfigProblem { file: file.to_owned(), line, message: message.to_owned() };
    ConfigReport {
        plugins: vec!["a".to_owned()],
        problems: vec![problem(Some(3), "`tire` is not known: tier?\u{1b}"), problem(None, "cannot be read")],
        notes: Vec::new(),
    }
}

#[test]
fn check_tells_every_problem_with_its_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let good = Run::new(dir.path(), &["check", "o.toml"]).checking(sound).go();
    let expected = "note: one hostile plugin costs at most 32 MiB\no.toml is sound, 2 plugins: a, b\n";
    assert_eq!((good.exit, good.out.as_str()), (Exit::Done, expected));
    let bad = Run::new(dir.path(), &["check", "o.toml"]).checking(wrong).go();
    let expected = "\
o.toml:3: `tire` is not known: tier?\\u{1b}
o.toml: cannot be read
o.toml: 2 problems
";
    assert_eq!((bad.exit, bad.out.as_str()), (Exit::Failed, expected));
    let json = Run::new(dir.path(), &["check", "o.toml", "--json"]).checking(wrong).go().json();
    assert_eq!(json["valid"], false);
    assert_eq!(
        json["problems"][0],
        json!({ "file": "o.toml", "line": 3, "message": "`tire` is not known: tier?\u{1b}" })
    );
}

#[test]
fn init_writes_once_and_overwrites_when_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let target = dir.path().join("etc/deep");
    let target = target.to_str().expect("UTF-8");
    let file = Path::new(target).join("outrigger.toml");
    let written = outrigger(dir.path(), &["init", target]);
    assert_eq!(written.exit, Exit::Done, "{}", written.err);
    assert!(written.out.starts_with(&format!("wrote {}\n", file.display())), "{}", written.out);
    let template = std::fs::read_to_string(&file).expect("it was written");
    template.parse::<toml::Table>().expect("it is TOML");

    std::fs::write(&file, "# mine\n").expect("edit it");
    let refused = outrigger(dir.path(), &["init", target]);
    assert_eq!(refused.exit, Exit::Failed);
    assert!(refused.err.contains("is there already") && refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "# mine\n");
    let forced = outrigger(dir.path(), &["init", target, "--force", "--json"]);
    assert_eq!(forced.json(), json!({ "file": file, "overwritten": true }));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), template);
    let left: Vec<_> = std::fs::read_dir(target).expect("list").filter_map(Result::ok).map(|e| e.file_name()).collect();
    assert_eq!(left, ["outrigger.toml"], "nothing else is left");
}

#[test]
fn the_template_is_sound_where_it_is_uncommented() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let target = dir.path().to_str().expect("UTF-8");
    assert_eq!(outrigger(dir.path(), &["init", target]).exit, Exit::Done);
    let template = std::fs::read_to_string(dir.path().join("outrigger.toml")).expect("it was written");
    let begins = [
        "[[plugin]]",
        "[plugin.",
        "package =",
        "tier =",
        "grants =",
        "deny =",
        "config =",
        "secrets =",
        "limits =",
        "timeout =",
        "on_absent =",
    ];
    let examples: String = template
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| begins.iter().any(|begin| line.starts_with(begin)))
        .map(|line| format!("{line}\n"))
        .collect();
    let table: toml::Table = examples.parse().expect("the examples are TOML");
    let plugin = table["plugin"][0].as_table().expect("a plugin");
    assert_eq!(plugin.len(), begins.len() - 3, "all examples are of the one plugin: {plugin:?}");
    assert_eq!(plugin["hooks"]["before_tool_call"]["on_absent"].as_str(), Some("deny"));
}

#[test]
fn a_demonstration_has_no_json() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ran = outrigger(dir.path(), &["demo", "--json"]);
    assert_eq!(ran.exit, Exit::Usage);
}
