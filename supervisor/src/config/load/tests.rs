use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::config::schema;
use crate::domain::guard::{Guard, Tools};
use crate::domain::hook::Hook;
use crate::domain::rights::{Scope, Tier};
use crate::domain::spec::{BrokenEntry, Claim, PluginSpec};

/// A directory with an `outrigger.toml` and packages beside it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        fs::write(&path, text).expect("a file");
        // Whatever the umask is.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("permissions");
        path
    }

    /// A package `plugins/NAME` with an executable and a manifest of this id.
    fn package(&self, name: &str, id: &str, further: &str) {
        let program = self.write(&format!("plugins/{name}/run"), "#!/bin/sh\n");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("permissions");
        let manifest = format!("id = \"{id}\"\nversion = \"1\"\ncommand = [\"./run\"]\n{further}\n");
        self.write(&format!("plugins/{name}/plugin.toml"), &manifest);
    }

    fn secret(&self, name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
        path
    }

    fn try_load(&self, text: &str, remembered: &dyn Fn(&Path) -> Option<PluginId>) -> Result<Config, Problems> {
        let path = self.write("outrigger.toml", text);
        load(&path, &self.path("state"), remembered)
    }

    fn load(&self, text: &str) -> Config {
        self.try_load(text, &|_| None).expect("the file is sound")
    }

    /// Texts with the directory's path taken away.
    fn told(&self, texts: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
        let prefix = format!("{}/", self.directory.path().display());
        texts.into_iter().map(|text| text.to_string().replace(&prefix, "")).collect()
    }
}

fn split(entry: &Entry) -> Result<&PluginSpec, &BrokenEntry> {
    match entry {
        Entry::Sound(spec) => Ok(spec),
        Entry::Broken(broken) => Err(broken),
    }
}

fn sound(entry: &Entry) -> &PluginSpec {
    split(entry).expect("it is sound")
}

fn broken(entry: &Entry) -> &BrokenEntry {
    split(entry).expect_err("it is broken")
}

fn ids(config: &Config) -> Vec<&str> {
    config.entries.iter().map(|entry| entry.id().as_str()).collect()
}

const GATE: &str = "[[plugin]]\npackage = \"plugins/gate\"\n";

#[test]
fn without_a_file_there_are_no_plugins() {
    let place = Place::new();
    let config = load(&place.path("nowhere/outrigger.toml"), &place.path("state"), &|_| None).expect("no file is fine");
    assert_eq!((config.settings, config.entries.len()), (Settings::default(), 0));
    symlink("nothing", place.path("outrigger.toml")).expect("a link");
    let problems = load(&place.path("outrigger.toml"), &place.path("state"), &|_| None).expect_err("a link to nothing");
    assert_eq!(place.told(&problems.0), ["outrigger.toml: does not exist; a file that is there"]);
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let place = Place::new();
    let path = place.write("outrigger.toml", "");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).expect("permissions");
    let problems = load(&path, &place.path("state"), &|_| None).expect_err("it is refused");
    assert_eq!(
        place.told(&problems.0),
        ["outrigger.toml: can be written by others (mode 0646); take the permission away: chmod o-rw"]
    );
    let long = "#".repeat(operator::MAX_BYTES + 1);
    let problems = place.try_load(&long, &|_| None).map(drop).expect_err("it is too long");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("permissions");
    assert_eq!(problems.0.len(), 1);
    let problems = place.try_load(&long, &|_| None).map(drop).expect_err("it is too long");
    assert_eq!(place.told(&problems.0), ["outrigger.toml: is longer than 1048576 bytes; a shorter file"]);
}

#[test]
fn a_plugin_is_what_both_files_say() {
    let place = Place::new();
    place.package(
        "gate",
        "policy-gate",
        r#"
name = "Gate"
env = { A = "manifest", B = "manifest" }
config_schema = "config.schema.json"
secrets = ["api_key"]
scopes = ["hooks.tools", "schedule"]
tools = ["deploy_status"]
[[guard]]
hook = "before_tool_call"
tools = ["exec"]
"#,
    );
    place.write(
        "plugins/gate/config.schema.json",
        r#"{ "required": ["port"], "properties": { "port": { "type": "integer" } } }"#,
    );
    let secret = place.secret("api_key", b"hunter2\n\n", 0o640);
    let config = place.load(&format!(
        r#"
[supervisor]
stable = "2m"
[[plugin]]
package = "./plugins/gate"
tier = "trusted"
grants = [{{ scope = "schedule", pending-turns = 16 }}]
config = {{ port = 80 }}
secrets = {{ api_key = {{ file = "{}" }} }}
env = {{ B = "operator" }}
limits = {{ processes = 64 }}
timeout = "3s"
[plugin.hooks.before_tool_call]
on_absent = "skip"
"#,
        secret.display()
    ));
    assert_eq!(config.settings.stable.as_secs(), 120);
    assert_eq!(place.told(&config.warnings), [""; 0]);
    let spec = sound(&config.entries[0]);
    let package = place.path("plugins/gate");
    assert_eq!((spec.id.as_str(), spec.name.as_str(), spec.tier), ("policy-gate", "Gate", Tier::Trusted));
    assert_eq!(spec.package_dir, package);
    assert_eq!(spec.data_dir, place.path("state/data/policy-gate"));
    assert_eq!(spec.command, [package.join("run").to_str().expect("UTF-8")]);
    assert_eq!(spec.environment, [("A", "manifest"), ("B", "operator")].map(|(k, v)| (k.into(), v.into())).into());
    assert_eq!(&*spec.config_json, br#"{"port":80}"#);
    assert_eq!(spec.secrets["api_key"].0, "hunter2\n");
    assert!(!format!("{spec:?}").contains("hunter2"));
    assert_eq!(spec.rights.effective()[&Scope::Schedule].quotas["pending-turns"], 16);
    assert!(spec.rights.decide(Scope::State).is_err());
    let guard = Guard { hook: Hook::BeforeToolCall, tools: Tools::from_list(["exec".to_owned()]), policy: false };
    assert_eq!(spec.guards, [guard]);
    assert!(spec.claims.holds(&Claim::Tool("deploy_status".to_owned())));
    assert_eq!((spec.limits.processes, spec.timeout.map(|timeout| timeout.as_secs())), (Some(64), Some(3)));
    assert_eq!(spec.hooks.len(), 1);
}

#[test]
fn a_broken_plugin_leaves_the_others_alone() {
    let place = Place::new();
    place.package("gate", "gate", "scopes = [\"hooks.tools\"]\nnmae = \"x\"\n[[guard]]\nhook = \"before_tool_call\"");
    place.package("other", "other", "");
    place.package("late", "late", "scopes = [\"hooks.tools\"]\nname = 1\n[[guard]]\nhook = \"before_tool_call\"");
    let config = place.load(
        "[[plugin]]\npackage = \"plugins/gate\"\ntimeout = 3\n\
         [plugin.hooks.before_tool_call]\non_absent = \"skip\"\n\
         [[plugin]]\npackage = \"plugins/other\"\n\
         [[plugin]]\npackage = \"plugins/late\"\ntier = \"trusted\"\n\
         [[plugin]]\npackage = \"plugins/none\"\n\
         [[plugin]]\npackage = \"plugins/late\"\ntier = \"x\"\n\
         [[plugin]]\n",
    );
    assert_eq!(ids(&config), ["gate", "other", "late", "none", "late-2", "plugin-2"]);
    let gate = broken(&config.entries[0]);
    assert_eq!(
        place.told(&gate.problems),
        [
            "outrigger.toml:3: plugin[0].timeout: 3 is not a length of time; a whole number with ms, s, m or h, as \"200ms\" \
             or \"10s\"",
            "plugins/gate/plugin.toml:5: nmae: is not a known key; perhaps `name`",
        ]
    );
    // A key that is not known may have been a guard.
    assert_eq!(gate.guards, None);
    assert_eq!(gate.hooks[&Hook::BeforeToolCall].on_absent, crate::domain::guard::OnAbsent::Skip);
    sound(&config.entries[1]);
    let (guards, rights) = broken(&config.entries[2]).guards.clone().expect("they could be read");
    assert_eq!((guards.len(), rights.tier(), rights.decide(Scope::HooksTools)), (1, Tier::Trusted, Ok(())));
    let none = broken(&config.entries[3]);
    assert_eq!(place.told(&none.problems), ["plugins/none/plugin.toml: does not exist; a package with a plugin.toml"]);
    assert_eq!(none.package_dir, place.path("plugins/none"));
    // Its tier is wrong, so its rights are not known.
    assert_eq!(broken(&config.entries[4]).guards, None);
    assert_eq!(
        place.told(&broken(&config.entries[5]).problems),
        ["outrigger.toml:16: plugin[5].package: is missing; 1 to 4096 characters"]
    );
}

#[test]
fn of_two_with_one_id_the_first_has_it() {
    let place = Place::new();
    place.package("gate", "gate", "tools = [\"x\"]");
    place.package("copy", "gate", "tools = [\"x\"]\n[[guard]]\nhook = \"before_install\"");
    place.package("named", "gate-2", "");
    let config = place.load(
        "[[plugin]]\npackage = \"plugins/gate\"\n[[plugin]]\npackage = \"plugins/copy\"\n\n[[plugin]]\npackage = \"plugins/named\"\n",
    );
    assert_eq!(ids(&config), ["gate", "gate-3", "gate-2"]);
    sound(&config.entries[0]);
    sound(&config.entries[2]);
    let copy = broken(&config.entries[1]);
    let told = "outrigger.toml:3: plugin[1].package: \"plugins/copy\" is a second plugin `gate`; the first one is at line 1; \
                each plugin once";
    assert_eq!(place.told(&copy.problems), [told]);
    assert_eq!(place.told(&config.warnings), [told]);
    assert_eq!(copy.guards.clone().expect("they could be read").0.len(), 1);
    let inline = "plugin = [{ package = \"plugins/gate\" }, { package = \"plugins/gate\" }]";
    assert_eq!(ids(&place.load(inline)), ["gate", "gate-2"]);
}

/// A manifest that cannot be read is known by its package, so that it guards what it last guarded.
#[test]
fn a_package_is_remembered() {
    let place = Place::new();
    place.write("plugins/gate/plugin.toml", "id =");
    place.package("other", "old", "");
    let gate = place.path("plugins/gate");
    let remembered = |path: &Path| (path == gate).then(|| "old".parse().expect("an id"));
    let text = format!("{GATE}[[plugin]]\npackage = \"plugins/other\"\n");
    let config = place.try_load(&text, &remembered).expect("the file is sound");
    assert_eq!(ids(&config), ["old", "old-2"]);
    assert_eq!(broken(&config.entries[0]).guards, None);
    assert_eq!(ids(&place.load(&text)), ["gate", "old"]);
}

#[test]
fn packages_without_an_id_are_named_after_their_directory() {
    let place = Place::new();
    let long = "x".repeat(100);
    let names = ["Policy Gate", "-._", "tool", &long, &format!("{long}y")];
    let text: String = names.iter().map(|name| format!("[[plugin]]\npackage = \"{name}\"\n")).collect();
    let config = place.load(&text);
    let expected = ["policy-gate", "plugin-2", "tool-2", &"x".repeat(64), &format!("{}-2", "x".repeat(62))];
    assert_eq!(ids(&config), expected);
}

#[test]
fn of_two_that_claim_a_name_the_first_has_it() {
    let place = Place::new();
    let names = "tools = [\"t\"]\ncommands = [\"c\"]\nslots = [\"s\"]\nentry_fields = [\"e\"]";
    // Broken, but what it claims could be read, and it may be mended.
    place.package("gate", "gate", &format!("{names}\nname = 1"));
    place.package("other", "other", "tools = [\"c\", \"t\"]\ncommands = [\"t\"]\nslots = [\"e\", \"x\"]");
    place.package("third", "third", "slots = [\"x\"]");
    let config = place
        .load(&format!("{GATE}[[plugin]]\npackage = \"plugins/other\"\n[[plugin]]\npackage = \"plugins/third\"\n"));
    let other = &sound(&config.entries[1]).claims;
    let held: Vec<_> = other.names.iter().filter(|claim| other.holds(claim)).map(ToString::to_string).collect();
    assert_eq!(held, ["tool:c", "command:t", "slot:x"]);
    assert_eq!(other.taken[&Claim::Slot("e".to_owned())].as_str(), "gate");
    assert_eq!(
        place.told(&config.warnings),
        [
            "plugins/other/plugin.toml:4: tools: \"t\" is plugin `gate`'s, which comes first in outrigger.toml; `other` does \
             without this tool",
            "plugins/other/plugin.toml:6: slots: \"e\" is plugin `gate`'s, which comes first in outrigger.toml; `other` does \
             without this field",
            "plugins/third/plugin.toml:4: slots: \"x\" is plugin `other`'s, which comes first in outrigger.toml; `third` does \
             without this field",
        ]
    );
}

#[test]
fn a_configuration_must_satisfy_its_schema() {
    let place = Place::new();
    place.package("gate", "gate", "config_schema = \"schemas/config.json\"");
    let problems = |text: &str| place.told(&broken(&place.load(&format!("{GATE}{text}\n")).entries[0]).problems);
    assert_eq!(
        problems(""),
        ["plugins/gate/plugin.toml:4: config_schema: \"schemas/config.json\" does not exist; a file that is there"]
    );
    place.write(
        "plugins/gate/schemas/config.json",
        r#"{ "required": ["port"], "properties": { "hosts": { "items": { "type": "string" } } } }"#,
    );
    assert_eq!(
        problems(""),
        ["outrigger.toml:1: plugin[0].config: an object is not what the schema wants; the key \"port\""]
    );
    assert_eq!(
        problems("[plugin.config]\nport = 1\nhosts = [\n  \"a\",\n  2,\n]"),
        ["outrigger.toml:7: plugin[0].config.hosts[1]: 2 is not what the schema wants; type string"]
    );
    sound(&place.load(&format!("{GATE}config = {{ port = 1 }}\n")).entries[0]);
    place.write("plugins/gate/schemas/config.json", r#"{ "$ref": "file:///etc/passwd" }"#);
    assert_eq!(
        problems(""),
        [
            "plugins/gate/schemas/config.json: cannot be used: use the schema: `$ref` \"file:///etc/passwd\" is not to a place \
             in the schema itself (`#` or `#/…`)",
        ]
    );
    place.write("plugins/gate/schemas/config.json", &" ".repeat(schema::MAX_BYTES + 1));
    assert_eq!(
        problems(""),
        [
            "plugins/gate/plugin.toml:4: config_schema: \"schemas/config.json\" is longer than 65536 bytes; a shorter file",
        ]
    );
    fs::remove_dir_all(place.path("plugins/gate/schemas")).expect("remove it");
    place.write("elsewhere/config.json", "true");
    symlink("../../elsewhere", place.path("plugins/gate/schemas")).expect("a link");
    assert_eq!(
        problems(""),
        [
            "plugins/gate/plugin.toml:4: config_schema: \"schemas/config.json\" is a symbolic link or leads through one; the \
             file itself",
        ]
    );
}

#[test]
fn secrets_must_be_asked_for_given_and_kept() {
    let place = Place::new();
    place.package("gate", "gate", "secrets = [\"key\"]");
    let file = |name: &str, path: &Path| format!("secrets.{name} = {{ file = \"{}\" }}", path.display());
    let problems = |text: &str| place.told(&broken(&place.load(&format!("{GATE}{text}\n")).entries[0]).problems);
    assert_eq!(
        problems(""),
        ["outrigger.toml:1: plugin[0].secrets.key: is missing, and plugin `gate` asks for it; { file = \"/…\" }"]
    );
    let good = place.secret("good", b"hunter2\n", 0o600);
    let both = format!("{}\n{}", file("key", &good), file("other", &good));
    assert_eq!(
        problems(&both),
        ["outrigger.toml:4: plugin[0].secrets.other: is given, but plugin `gate` does not ask for it; leave it out"]
    );
    let cases: [(PathBuf, &str); 6] = [
        (place.path("none"), "does not exist; a file that is there"),
        (
            place.secret("open", b"hunter2", 0o604),
            "can be read by others (mode 0604); take the permission away: chmod o-rw",
        ),
        (place.secret("empty", b"\n", 0o600), "is empty; a file with the secret"),
        (place.secret("long", &[b'x'; 65_537], 0o600), "is longer than 65536 bytes; a shorter file"),
        (place.secret("binary", b"\xff", 0o600), "is not UTF-8; a text in UTF-8"),
        (place.path("plugins"), "is not a regular file; an ordinary file"),
    ];
    for (path, expected) in cases {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(
            problems(&file("key", &path)),
            [format!("outrigger.toml:3: plugin[0].secrets.key.file: \"{name}\" {expected}")],
        );
    }
    let longest = place.secret("longest", &[b'x'; 65_536], 0o600);
    sound(&place.load(&format!("{GATE}{}\n", file("key", &longest))).entries[0]);
}

#[test]
fn a_command_must_be_executable() {
    let place = Place::new();
    place.package("gate", "gate", "");
    let with = |command: &str| {
        place.write("plugins/gate/plugin.toml", &format!("id = \"gate\"\nversion = \"1\"\ncommand = {command}\n"));
        place.load(GATE)
    };
    let problems = |command: &str| place.told(&broken(&with(command).entries[0]).problems);
    assert_eq!(
        problems("[\"./none\"]"),
        ["plugins/gate/plugin.toml:3: command: \"./none\" does not exist (plugins/gate/none); an executable file"]
    );
    assert_eq!(
        problems("[\"./plugin.toml\"]"),
        [
            "plugins/gate/plugin.toml:3: command: \"./plugin.toml\" is not executable (plugins/gate/plugin.toml); an executable file"
        ]
    );
    assert_eq!(
        problems("[\"../gate/\"]"),
        ["plugins/gate/plugin.toml:3: command: \"../gate/\" is not a file (plugins/gate/../gate/); an executable file"]
    );
    assert_eq!(
        problems("[\"no-such-program\"]"),
        ["plugins/gate/plugin.toml:3: command: \"no-such-program\" is not a program on the PATH; one in \
             /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin, or \"./no-such-program\" for one in the package",]
    );
    let config = with("[\"sh\", \"{package}/main.sh\", \"--data={data}/x\"]");
    let command = &sound(&config.entries[0]).command;
    assert!(command[0].starts_with('/') && command[0].ends_with("/sh"), "{command:?}");
    assert_eq!(place.told(&command[1..]), ["plugins/gate/main.sh", "--data=state/data/gate/x"]);
    assert_eq!(sound(&with("[\"/bin/sh\"]").entries[0]).command, ["/bin/sh"]);
}

#[test]
fn what_has_no_effect_is_told() {
    let place = Place::new();
    place.package("gate", "gate", "scopes = [\"state\"]");
    let config = place.load(&format!("{GATE}grants = [\"state\", \"lease\"]\nconfig = {{ a = 1 }}\n"));
    sound(&config.entries[0]);
    assert_eq!(
        place.told(&config.warnings),
        [
            "outrigger.toml:4: plugin[0].config: is not checked, as plugin `gate` has no config_schema",
            "outrigger.toml:1: plugin[0].grants: has no effect for `lease`: plugin `gate` does not ask for it",
        ]
    );
}

#[test]
fn a_wrong_supervisor_fails_the_whole() {
    let place = Place::new();
    let problems = place.try_load("[supervisor]\nping = \"1\"\n", &|_| None).map(drop).expect_err("it is wrong");
    assert_eq!(problems.0.len(), 1);
    assert_eq!(problems.to_string(), problems.0[0].to_string());
}

#[test]
fn one_plugin_is_read_again() {
    let place = Place::new();
    place.package("gate", "gate", "");
    let path = place.write("outrigger.toml", GATE);
    let again = |id: &str| {
        reload_entry(&path, &place.path("state"), &|_| None, &id.parse().expect("an id")).expect("the file is sound")
    };
    assert_eq!(sound(&again("gate").expect("it is there")).version, "1");
    place.package("gate", "gate", "name = \"new\"");
    assert_eq!(sound(&again("gate").expect("it is there")).name, "new");
    place.package("gate", "gate", "name = 1");
    broken(&again("gate").expect("it is there"));
    assert!(again("other").is_none());
}

/// Guards hold for a package whose name leads through `..` and links.
#[test]
fn packages_are_found_where_the_operator_says() {
    let place = Place::new();
    place.package("gate", "gate", "");
    fs::create_dir(place.path("etc")).expect("a directory");
    symlink(place.path("plugins/gate"), place.path("etc/current")).expect("a link");
    let path = place.write("etc/outrigger.toml", "[[plugin]]\npackage = \"current\"\n");
    let config = load(&path, &place.path("state"), &|_| None).expect("the file is sound");
    assert_eq!(sound(&config.entries[0]).package_dir, place.path("etc/current"));
    place.write("etc/outrigger.toml", "[[plugin]]\npackage = \"../plugins/gate\"\n");
    let config = load(&path, &place.path("state"), &|_| None).expect("the file is sound");
    let canonical = place.path("plugins/gate").canonicalize().expect("it exists");
    assert_eq!(sound(&config.entries[0]).package_dir, canonical);
}
