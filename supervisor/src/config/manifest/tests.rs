use proptest::prelude::*;

use super::*;

const WHOLE: &str = r#"
id = "policy-gate"
version = "1.2.0"
command = ["./policy-gate", "--data={data}"]
connect = "absolute"
name = "Policy gate"
description = "Asks before anything is deployed"
env = { GATE_MODE = "strict" }
restart = "never"
final_exit_codes = [2, 78]
reload = "stop-first"
config_schema = "schemas/config.json"
secrets = ["api_key"]
scopes = ["hooks.tools", "state", "policy.trusted"]
tools = ["deploy_status"]
commands = ["gate", "gate-status"]
slots = ["gateState"]
entry_fields = ["gateMode"]

[[guard]]
hook = "before_tool_call"
tools = ["exec", "mcp:files.write"]

[[guard]]
hook = "before_tool_call"
policy = true

[[guard]]
hook = "before_install"
"#;

const LEAST: &str = "id = \"a\"\nversion = \"1\"\ncommand = [\"./a\"]\n";

fn parse_text(text: &str) -> Result<Manifest, Box<Unreadable>> {
    parse(Path::new("plugin.toml"), text)
}

fn problems(text: &str) -> Vec<String> {
    match parse_text(text) {
        Ok(_) => Vec::new(),
        Err(unreadable) => unreadable.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_whole_manifest_is_read() {
    let manifest = parse_text(WHOLE).expect("it is sound");
    assert_eq!(manifest.id.as_str(), "policy-gate");
    assert_eq!(manifest.command, ["./policy-gate", "--data={data}"]);
    assert_eq!(manifest.connect, Connect::Absolute);
    assert_eq!(manifest.restart, RestartPolicy::Never);
    assert_eq!(manifest.reload, ReloadMode::StopFirst);
    assert_eq!(manifest.final_exit_codes, [2, 78]);
    assert_eq!(manifest.config_schema.as_deref(), Some(Path::new("schemas/config.json")));
    assert_eq!(manifest.request.scopes, BTreeSet::from([Scope::HooksTools, Scope::State, Scope::PolicyTrusted]));
    assert_eq!(
        manifest.request.guards,
        [
            Guard {
                hook: Hook::BeforeToolCall,
                tools: Tools::from_list(["exec".to_owned(), "mcp:files.write".to_owned()]),
                policy: false
            },
            Guard { hook: Hook::BeforeToolCall, tools: Tools::All, policy: true },
            Guard { hook: Hook::BeforeInstall, tools: Tools::All, policy: false },
        ]
    );
    let claims: Vec<_> = manifest.request.claims.iter().map(|(claim, line)| format!("{claim}@{line}")).collect();
    assert_eq!(
        claims,
        [
            "tool:deploy_status@15",
            "command:gate@16",
            "command:gate-status@16",
            "slot:gateState@17",
            "entry-field:gateMode@18"
        ]
    );
}

#[test]
fn the_least_manifest_has_the_defaults() {
    let manifest = parse_text(LEAST).expect("it is sound");
    assert_eq!(manifest.restart, RestartPolicy::OnFailure);
    assert_eq!(manifest.reload, ReloadMode::Overlap);
    assert_eq!(manifest.connect, Connect::Relative);
    assert_eq!(manifest.final_exit_codes, [78]);
    assert_eq!((manifest.name, manifest.description.as_str()), (None, ""));
    assert_eq!(manifest.request, Request::default());
}

/// Each mistake alone, with the line it gives.
#[test]
fn each_mistake_is_told() {
    let long_name = format!("name = \"{}\"", "n".repeat(129));
    let long_name_told = format!("plugin.toml:4: name: \"{}…\" is too long; at most 128 characters", "n".repeat(80));
    let many_guards = "[[guard]]\nhook = \"before_install\"\n".repeat(257);
    let cases: &[(&str, &str)] = &[
        ("verison = \"1\"", "plugin.toml:4: verison: is not a known key; perhaps `version`"),
        (
            "homepage = \"x\"",
            "plugin.toml:4: homepage: is not a known key; one of id, version, command, connect, name, description, env, \
             restart, final_exit_codes, reload, config_schema, secrets, scopes, tools, commands, slots, entry_fields, guard",
        ),
        ("\"a b\" = 1\nname = 3", "plugin.toml:5: name: 3 is not a string; text in quotes"),
        (&long_name, &long_name_told),
        ("name = \" \"", "plugin.toml:4: name: \" \" is empty; 1 to 128 characters"),
        (
            "description = \"a\\u202eb\"",
            "plugin.toml:4: description: \"a\\u{202e}b\" has a character that cannot be shown; one line of text",
        ),
        ("env = 1", "plugin.toml:4: env: 1 is not a table; keys and values in { }"),
        ("env = { A = 1 }", "plugin.toml:4: env.A: is not a string; text in quotes"),
        (
            "env = { OUTRIGGER_TOKEN = \"hidden\" }",
            "plugin.toml:4: env.OUTRIGGER_TOKEN: is set by the supervisor; a name that does not begin with OUTRIGGER_",
        ),
        (
            "env = { PATH = \"hidden\" }",
            "plugin.toml:4: env.PATH: is not for a manifest; leave it out; the operator can set it in outrigger.toml",
        ),
        (
            "env = { \"A=B\" = \"\" }",
            "plugin.toml:4: env.\"A=B\": is not the name of a variable; 1 to 128 of A-Z, a-z, 0-9 and `_`, beginning with a \
             letter or `_`",
        ),
        ("env = { A = \"x\\u0000\" }", "plugin.toml:4: env.A: has a zero byte; text without it"),
        (
            "restart = \"always\"",
            "plugin.toml:4: restart: \"always\" is not a restart policy; one of on-failure, never",
        ),
        ("reload = true", "plugin.toml:4: reload: true is not a way to reload; one of overlap, stop-first"),
        ("connect = \"tcp\"", "plugin.toml:4: connect: \"tcp\" is not a way to connect; one of relative, absolute"),
        (
            "final_exit_codes = [256]",
            "plugin.toml:4: final_exit_codes[0]: 256 is out of range; a whole number from 0 to 255",
        ),
        (
            "final_exit_codes = [-1]",
            "plugin.toml:4: final_exit_codes[0]: -1 is out of range; a whole number from 0 to 255",
        ),
        ("final_exit_codes = [1, 1]", "plugin.toml:4: final_exit_codes[1]: 1 is there twice; each once"),
        ("final_exit_codes = 1", "plugin.toml:4: final_exit_codes: 1 is not an array; values in [ ]"),
        (
            "config_schema = \"../schema.json\"",
            "plugin.toml:4: config_schema: \"../schema.json\" is not a path in the package; a relative path without `..`",
        ),
        (
            "config_schema = \"/etc/schema.json\"",
            "plugin.toml:4: config_schema: \"/etc/schema.json\" is not a path in the package; a relative path without `..`",
        ),
        (
            "secrets = [\"api key\"]",
            "plugin.toml:4: secrets[0]: \"api key\" is not the name of a secret; 1 to 64 of A-Z, a-z, 0-9, `_` and `-`, \
             beginning with a letter",
        ),
        ("scopes = [\"hook.tools\"]", "plugin.toml:4: scopes[0]: \"hook.tools\" is not a scope; perhaps `hooks.tools`"),
        ("scopes = [\n  \"state\",\n  \"state\",\n]", "plugin.toml:6: scopes[1]: \"state\" is there twice; each once"),
        (
            "tools = [\"Exec\"]",
            "plugin.toml:4: tools[0]: \"Exec\" is not a tool id; 1 to 128 of a-z, 0-9, `_`, `-`, `.` and `:`, beginning with \
             a letter or digit",
        ),
        ("tools = [\"bash\"]", "plugin.toml:4: tools[0]: \"bash\" is an alias of a tool; the tool's own id"),
        (
            "commands = [\"2go\"]",
            "plugin.toml:4: commands[0]: \"2go\" is not the name of a command; 1 to 64 of a-z, 0-9, `_` and `-`, beginning \
             with a letter",
        ),
        (
            "slots = [\"toString\"]",
            "plugin.toml:4: slots[0]: \"toString\" is a member that every object inherits; another name",
        ),
        (
            "slots = [\"mode\"]\nentry_fields = [\"mode\"]",
            "plugin.toml:5: entry_fields[0]: \"mode\" is claimed twice; a field that is not a slot",
        ),
        ("commands = [\"go\", \"go\"]", "plugin.toml:4: commands[1]: \"go\" is claimed twice; each once"),
        (
            "[[guard]]",
            "plugin.toml:4: guard[0].hook: is missing; one of before_agent_run, before_tool_call, before_install",
        ),
        (
            "[[guard]]\nhook = \"before_tool\"",
            "plugin.toml:5: guard[0].hook: \"before_tool\" is not a hook; one of before_agent_run, before_tool_call, \
             before_install",
        ),
        (
            "[[guard]]\nhook = \"after_tool_call\"",
            "plugin.toml:5: guard[0].hook: \"after_tool_call\" fails open, so it cannot be guarded; one of before_agent_run, \
             before_tool_call, before_install",
        ),
        (
            "[[guard]]\nhook = \"before_install\"\ntools = [\"exec\"]",
            "plugin.toml:6: guard[0].tools: an array is set, but `before_install` is not about tools; leave it out",
        ),
        (
            "[[guard]]\nhook = \"before_tool_call\"\ntools = []",
            "plugin.toml:6: guard[0].tools: an array is empty; tools, or leave it out to mean all",
        ),
        (
            "[[guard]]\nhook = \"before_tool_call\"\ntools = [\"exec\", \"Write\"]",
            "plugin.toml:6: guard[0].tools[1]: \"Write\" is an alias of a tool; the tool's own id",
        ),
        (
            "[[guard]]\nhook = \"before_tool_call\"\ntools = [\"*\"]",
            "plugin.toml:6: guard[0].tools[0]: \"*\" has a wildcard; name the tools one by one, or none to mean all",
        ),
        (
            "[[guard]]\nhook = \"before_agent_run\"\npolicy = true",
            "plugin.toml:6: guard[0].policy: true is set, but `before_agent_run` has no policies; false, or hook = \
             \"before_tool_call\"",
        ),
        (
            "[[guard]]\nhook = \"before_install\"\npriority = 1",
            "plugin.toml:6: guard[0].priority: is not a known key; one of hook, tools, policy",
        ),
        ("guard = 1", "plugin.toml:4: guard: 1 is not an array; values in [ ]"),
        (&many_guards, "plugin.toml:4: guard: an array has 257 elements; at most 256"),
    ];
    for (text, expected) in cases {
        let found = problems(&format!("{LEAST}{text}\n"));
        assert!(found.iter().any(|line| line == expected), "{text}\nwanted: {expected}\nfound:  {found:#?}");
        let only = if text.starts_with("\"a b\"") { 2 } else { 1 };
        assert_eq!(found.len(), only, "{text}: {found:#?}");
    }
}

#[test]
fn what_is_required_is_missed() {
    assert_eq!(
        problems(""),
        [
            "plugin.toml: id: is missing; 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit",
            "plugin.toml: version: is missing; 1 to 64 characters",
            "plugin.toml: command: is missing; values in [ ]",
        ]
    );
    let cases = [
        (
            "id = \"A.b\"",
            "id: \"A.b\" is not a plugin id; 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit",
        ),
        (
            "id = \"tool\"",
            "id: \"tool\" is the name of an event stream of the host; any but lifecycle, tool, assistant, error, item, plan, \
             approval, command_output, patch, compaction, thinking, usage, model, supervisor",
        ),
        ("version = 1.2", "version: 1.2 is not a string; text in quotes"),
        ("command = []", "command: an array is empty; the program, then its arguments"),
        ("command = [\"\"]", "command[0]: \"\" is not a program; a path, or a name on the PATH"),
        ("command = [\"./a\", 1]", "command[1]: 1 is not a string; text in quotes"),
    ];
    for (text, expected) in cases {
        let key = text.split(' ').next().expect("a key");
        let others: String =
            LEAST.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
        assert_eq!(problems(&format!("{text}\n{others}")), [format!("plugin.toml:1: {expected}")]);
    }
}

#[test]
fn all_problems_come_together_by_line() {
    let found = problems("reload = 1\nid = \"A\"\n[[guard]]\nhook = 7\ntools = 8\n[env]\nOUTRIGGER_X = \"\"\n");
    let places: Vec<_> = found.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "plugin.toml: version:",
            "plugin.toml: command:",
            "plugin.toml:1: reload:",
            "plugin.toml:2: id:",
            "plugin.toml:4: guard[0].hook:",
            "plugin.toml:7: env.OUTRIGGER_X:",
        ],
        "{found:#?}"
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    assert_eq!(
        problems("id = \"a\"\nversion = \ncommand = [\"a\"]\n"),
        ["plugin.toml:2: is not TOML: string values must be quoted, expected literal string"]
    );
    assert_eq!(problems("id = \"a\"\nid = \"b\"\n"), ["plugin.toml:2: is not TOML: duplicate key"]);
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(problems(&deep), ["plugin.toml:1: is not TOML: cannot recurse further; max recursion depth met"]);
}

/// Guards and rights hold where nothing misspelt could belong to them.
#[test]
fn a_broken_manifest_tells_what_it_guards_only_if_that_is_sound() {
    let request = |text: &str| parse_text(text).expect_err("it is broken").request;
    let guard = "[[guard]]\nhook = \"before_tool_call\"\ntools = [\"exec\"]\n";
    let sound = request(&format!("id = \"a\"\nscopes = [\"hooks.tools\"]\nversion = 1\n{guard}")).expect("sound");
    assert_eq!(sound.guards.len(), 1);
    assert_eq!(sound.scopes, BTreeSet::from([Scope::HooksTools]));
    assert_eq!(request(&format!("{LEAST}{}", guard.replace("guard", "gaurd"))), None);
    assert_eq!(request(&format!("{LEAST}{}", guard.replace("exec", "Exec"))), None);
    assert_eq!(request(&format!("{LEAST}scopes = [\"hooks.tool\"]\n{guard}")), None);
    assert_eq!(request(&format!("{LEAST}{guard}tool = []\n")), None);
    assert_eq!(request("id ="), None);
    assert_eq!(parse_text("id = \"a\"\nx = 1\n").expect_err("it is broken").id, "a".parse().ok());
}

#[test]
fn only_a_regular_file_in_the_package_is_read() {
    let told = |package: &Path| {
        let unreadable = read(package).expect_err("it is refused");
        let line = unreadable.problems[0].to_string();
        line.replace(&format!("{}/", package.display()), "")
    };
    let directory = tempfile::tempdir().expect("a directory");
    let package = directory.path();
    let path = package.join(FILE_NAME);
    assert_eq!(told(package), "plugin.toml: does not exist; a package with a plugin.toml");

    std::os::unix::fs::symlink("elsewhere.toml", &path).expect("a link");
    std::fs::write(package.join("elsewhere.toml"), LEAST).expect("a file");
    assert_eq!(told(package), "plugin.toml: is a symbolic link or leads through one; the file itself");

    std::fs::remove_file(&path).expect("remove it");
    std::fs::create_dir(&path).expect("a directory");
    assert_eq!(told(package), "plugin.toml: is not a regular file; an ordinary file");

    std::fs::remove_dir(&path).expect("remove it");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    assert_eq!(told(package), "plugin.toml: is not a regular file; an ordinary file");

    std::fs::remove_file(&path).expect("remove it");
    std::fs::write(&path, b"id = \"\xff\"").expect("a file");
    assert_eq!(told(package), "plugin.toml: is not UTF-8; a text in UTF-8");

    let filler = |length: usize| format!("{LEAST}# {}", "x".repeat(length - LEAST.len() - 2));
    std::fs::write(&path, filler(MAX_BYTES)).expect("a file");
    assert!(read(package).is_ok());
    std::fs::write(&path, filler(MAX_BYTES + 1)).expect("a file");
    assert_eq!(told(package), "plugin.toml: is longer than 262144 bytes; a shorter file");
}

proptest! {
    #[test]
    fn random_text_does_no_harm(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_text(&text);
        let _ = parse_text(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_manifest_does_no_harm(at in 0..WHOLE.len(), byte in 0x20_u8..0x7f, cut in 0..8_usize) {
        let mut text = WHOLE.as_bytes().to_vec();
        text.splice(at..(at + cut).min(text.len()), [byte]);
        let _ = parse_text(&String::from_utf8_lossy(&text));
    }
}
