use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::rights::{Grant, Scope};

const WHOLE: &str = r#"
[supervisor]
startup = "20s"
quarantine_after = 3
plugin_bytes_per_second = "64MiB"

[[plugin]]
package = "plugins/policy-gate"
tier = "trusted"
grants = ["transition.later", "state"]
"#;

fn parse_text(text: &str) -> Result<Operator, Problems> {
    parse(Path::new("/etc/outrigger/outrigger.toml"), text)
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| problem.to_string().replace("/etc/outrigger/", "")).collect()
}

/// What is wrong with the only entry of a sound file.
fn entry_problems(text: &str) -> Vec<String> {
    let operator = parse_text(&format!("[[plugin]]\npackage = \"a\"\n{text}\n")).expect("the file is sound");
    told(&operator.plugins[0].problems)
}

fn file_problems(text: &str) -> Vec<String> {
    parse_text(text).map_or_else(|Problems(problems)| told(&problems), |_| Vec::new())
}

#[test]
fn a_whole_file_is_read() {
    let text = r#"
        [supervisor]
        startup = "20s"
        quarantine_after = 3
        plugin_bytes_per_second = "64MiB"

        [[plugin]]
        package = "plugins/policy-gate"
        tier = "trusted"
        grants = [
            "state",
            { scope = "schedule", pending-turns = 16, min-interval-ms = 500 },
            { scope = "transition", names = ["goalMode"] },
            { scope = "attach", names = ["/srv/a"], files = 3 },
        ]
        deny = ["inject"]
        attach_roots = ["/srv/reports"]
        config = { port = 80, tags = ["a", { b = 1.5 }], at = "x" }
        secrets = { api_key = { file = "/etc/outrigger/api_key" } }
        env = { PATH = "/opt/bin", MODE = "x" }
        limits = { startup = "10s", memory = "512MiB", processes = 64 }
        timeout = "3s"
        [plugin.hooks.before_tool_call]
        timeout = "2s"
        on_absent = "skip"
        [plugin.hooks.agent_end]
        timeout = "600s"

        [[plugin]]
        package = "/opt/other"
    "#;
    let operator = parse_text(text).expect("it is sound");
    let expected = Settings {
        startup: Duration::from_secs(20),
        quarantine_after: 3,
        plugin_bytes_per_second: 64 << 20,
        ..Settings::default()
    };
    assert_eq!(operator.settings, expected);
    let [gate, other] = <&[_; 2]>::try_from(operator.plugins.as_slice()).expect("two plugins");
    assert_eq!(told(&gate.problems), [""; 0]);
    let (package, written) = gate.package.clone().expect("a package");
    assert_eq!(
        (package.as_path(), written.as_str()),
        (Path::new("/etc/outrigger/plugins/policy-gate"), "plugins/policy-gate")
    );
    assert_eq!(gate.tier, Tier::Trusted);
    let decision = gate.decision.clone().expect("it is sound");
    let granted = |scope| decision.granted.get(&scope).cloned().expect("it is granted");
    assert_eq!(granted(Scope::State), Grant::default());
    assert_eq!(
        granted(Scope::Schedule).quotas,
        BTreeMap::from([("pending-turns".into(), 16), ("min-interval-ms".into(), 500)])
    );
    assert_eq!(granted(Scope::Attach).names, ["/srv/a".to_owned(), "/srv/reports".to_owned()].into());
    assert_eq!(granted(Scope::Transition).names, ["goalMode".to_owned()].into());
    assert_eq!(decision.denied, [Scope::Inject].into());
    assert_eq!(gate.config.value, json!({ "port": 80, "tags": ["a", { "b": 1.5 }], "at": "x" }));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&gate.config.text).expect("JSON"), gate.config.value);
    assert_eq!(gate.secrets["api_key"].0, Path::new("/etc/outrigger/api_key"));
    assert_eq!(gate.env["PATH"], "/opt/bin");
    let limits =
        PluginLimits { startup: Some(Duration::from_secs(10)), memory_bytes: Some(512 << 20), processes: Some(64) };
    assert_eq!(gate.limits, limits);
    assert_eq!(gate.timeout, Some(Duration::from_secs(3)));
    let setting = HookSetting { timeout: Some(Duration::from_secs(2)), on_absent: OnAbsent::Skip };
    assert_eq!(gate.hooks[&Hook::BeforeToolCall], setting);
    assert_eq!(gate.hooks[&Hook::AgentEnd].timeout, Some(Duration::from_secs(600)));
    assert_eq!(other.package.clone().expect("a package").0, Path::new("/opt/other"));
    assert_eq!((other.tier, other.index, &*other.config.text), (Tier::Community, 1, &b"{}"[..]));
}

#[test]
fn an_empty_file_has_the_defaults() {
    assert_eq!(parse_text(""), Ok(Operator { settings: Settings::default(), plugins: Vec::new() }));
}

/// What is wrong with the file as a whole, or with `[supervisor]`, fails everything.
#[test]
fn each_mistake_of_the_file_is_told() {
    let cases = [
        ("plugin = ", "outrigger.toml:1: is not TOML: string values must be quoted, expected literal string"),
        ("[[plugins]]\n", "outrigger.toml:1: plugins: is not a known key; perhaps `plugin`"),
        ("plugin = 1", "outrigger.toml:1: plugin: 1 is not an array; values in [ ]"),
        ("[plugin]\n", "outrigger.toml:1: plugin: a table is not an array; values in [ ]"),
        ("plugin = [3]", "outrigger.toml:1: plugin[0]: 3 is not a table; keys and values in { }"),
        ("supervisor = 1", "outrigger.toml:1: supervisor: 1 is not a table; keys and values in { }"),
        (
            "[supervisor]\nstart-up = \"1s\"",
            "outrigger.toml:2: supervisor.start-up: is not a known key; perhaps `startup`",
        ),
        (
            "[supervisor]\ndrain = 5",
            "outrigger.toml:2: supervisor.drain: 5 is not a length of time; a whole number with ms, s, m or h, as \"200ms\" \
             or \"10s\"",
        ),
        ("[supervisor]\ndrain = \"0s\"", "outrigger.toml:2: supervisor.drain: \"0s\" is out of range; 1ms to 24h"),
        ("[supervisor]\ndrain = \"25h\"", "outrigger.toml:2: supervisor.drain: \"25h\" is out of range; 1ms to 24h"),
        (
            "[supervisor]\nplugin_bytes_per_second = \"32MB\"",
            "outrigger.toml:2: supervisor.plugin_bytes_per_second: \"32MB\" is not a size; a whole number with B, KiB, MiB \
             or GiB, as \"512MiB\"",
        ),
        (
            "[supervisor]\nplugin_bytes_per_second = \"1KiB\"",
            "outrigger.toml:2: supervisor.plugin_bytes_per_second: \"1KiB\" is out of range; 64KiB to 16GiB",
        ),
        (
            "[supervisor]\nquarantine_after = 0",
            "outrigger.toml:2: supervisor.quarantine_after: 0 is out of range; a whole number from 1 to 1000",
        ),
        (
            "[supervisor]\nquarantine_after = 6.0",
            "outrigger.toml:2: supervisor.quarantine_after: 6.0 is not a whole number; a whole number from 1 to 1000",
        ),
        (
            "[supervisor]\nbackoff_first = \"10s\"\nbackoff_max = \"1s\"",
            "outrigger.toml:3: supervisor.backoff_max: \"1s\" is out of order; at least 10s, as `backoff_first`",
        ),
        (
            "[supervisor]\nprobe_first = \"2h\"",
            "outrigger.toml:2: supervisor.probe_first: \"2h\" is out of order; at most 1h, or a larger `probe_max`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(file_problems(text), [expected], "{text}");
    }
}

#[test]
fn a_wrong_file_tells_of_its_entries_too() {
    let found = file_problems("[supervisor]\nx = 1\n[[plugin]]\ntier = \"x\"\n");
    assert_eq!(found.len(), 3, "{found:#?}");
}

/// What is wrong with an entry stays with it.
#[test]
fn each_mistake_of_an_entry_is_told() {
    let many = format!("env = {{ {} }}", (0..129).map(|i| format!("A{i} = \"\"")).collect::<Vec<_>>().join(", "));
    let large: Vec<_> = (0..5).map(|i| format!("A{i} = \"{}\"", "x".repeat(30_000))).collect();
    let large = format!("env = {{ {} }}", large.join(", "));
    let cases: &[(&str, &str)] = &[
        ("teir = \"trusted\"", "outrigger.toml:3: plugin[0].teir: is not a known key; perhaps `tier`"),
        (
            "restart = \"never\"",
            "outrigger.toml:3: plugin[0].restart: is not a known key; one of package, tier, grants, deny, attach_roots, \
             config, secrets, env, limits, timeout, hooks",
        ),
        (
            "tier = \"comunity\"",
            "outrigger.toml:3: plugin[0].tier: \"comunity\" is not a tier; one of bundled, trusted, community, workspace",
        ),
        ("grants = [\"stat\"]", "outrigger.toml:3: plugin[0].grants[0]: \"stat\" is not a scope; perhaps `state`"),
        (
            "grants = [1]",
            "outrigger.toml:3: plugin[0].grants[0]: 1 is not a grant; a scope, or a table with `scope`, `names` and quotas",
        ),
        ("grants = [{}]", "outrigger.toml:3: plugin[0].grants[0].scope: is missing; the scope that is granted"),
        (
            "grants = [\"state\", { scope = \"state\" }]",
            "outrigger.toml:3: plugin[0].grants[1]: a table grants `state` a second time; one grant with all names and quotas",
        ),
        (
            "grants = [\"inject\"]\ndeny = [\"inject\"]",
            "outrigger.toml:3: plugin[0].grants[0]: \"inject\" grants `inject`, which `deny` takes away; one of the two",
        ),
        (
            "grants = [\"events.host-streams\"]",
            "outrigger.toml:3: plugin[0].grants[0]: \"events.host-streams\" grants `events.host-streams`, which tier \
             `community` can never have; leave it out, or another tier",
        ),
        (
            "grants = [\"transition\"]",
            "outrigger.toml:3: plugin[0].grants[0]: \"transition\" names no entry fields; { scope = \"transition\", names = \
             [\"…\"] }",
        ),
        (
            "grants = [{ scope = \"transition\" }]",
            "outrigger.toml:3: plugin[0].grants[0].names: is missing; the entry fields that are granted",
        ),
        (
            "grants = [{ scope = \"state\", names = [\"x\"] }]",
            "outrigger.toml:3: plugin[0].grants[0].names: an array is not for `state`, which is granted as a whole; leave it \
             out",
        ),
        (
            "grants = [{ scope = \"schedule\", pending_turns = 1 }]",
            "outrigger.toml:3: plugin[0].grants[0].pending_turns: 1 is set for a quota that `schedule` does not have; perhaps \
             `pending-turns`",
        ),
        (
            "grants = [{ scope = \"approvals\", pending-approvals = -1 }]",
            "outrigger.toml:3: plugin[0].grants[0].pending-approvals: -1 is out of range; a whole number from 0 to \
             9007199254740991",
        ),
        (
            "grants = [{ scope = \"inject\", injections = 33 }]",
            "outrigger.toml:3: plugin[0].grants[0].injections: 33 is out of range; a whole number from 0 to 32",
        ),
        (
            "grants = [{ scope = \"hooks.tools\", calls = 1 }]",
            "outrigger.toml:3: plugin[0].grants[0].calls: 1 is set for a quota that `hooks.tools` does not have; leave it out",
        ),
        (
            "attach_roots = [\"/srv\"]",
            "outrigger.toml:3: plugin[0].attach_roots: an array names roots, but the plugin may not attach; \"attach\" in \
             `grants`, or no roots",
        ),
        (
            "tier = \"trusted\"\nattach_roots = [\"srv\"]",
            "outrigger.toml:4: plugin[0].attach_roots[0]: \"srv\" is not an absolute path; a path that begins with `/`, \
             without `..`",
        ),
        (
            "tier = \"trusted\"\nattach_roots = [\"/srv/../etc\"]",
            "outrigger.toml:4: plugin[0].attach_roots[0]: \"/srv/../etc\" is not an absolute path; a path that begins with \
             `/`, without `..`",
        ),
        ("config = 1", "outrigger.toml:3: plugin[0].config: 1 is not a table; keys and values in { }"),
        (
            "config = { at = 2026-01-01 }",
            "outrigger.toml:3: plugin[0].config.at: 2026-01-01 is a date, which JSON does not have; the same in quotes",
        ),
        (
            "config = { x = [nan] }",
            "outrigger.toml:3: plugin[0].config.x[0]: nan is not a number in JSON; a finite number",
        ),
        (
            "config = { x = 9223372036854775808 }",
            "outrigger.toml:3: plugin[0].config.x: 9223372036854775808 is out of range; a whole number of 64 bits",
        ),
        (
            "[plugin.config.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.aa.bb.cc.dd.ee.ff]\nx = 1",
            "outrigger.toml:3: plugin[0].config: a table is beyond the bounds of a configuration: a value is nested deeper \
             than 32; a smaller one",
        ),
        // What stands in place of a secret is not shown.
        ("secrets = \"hunter2\"", "outrigger.toml:3: plugin[0].secrets: is not a table; keys and values in { }"),
        (
            "secrets = { key = \"hunter2\" }",
            "outrigger.toml:3: plugin[0].secrets.key: is not a reference to a file; { file = \"/…\" }",
        ),
        (
            "secrets = { key = { value = \"hunter2\", file = \"/x\" } }",
            "outrigger.toml:3: plugin[0].secrets.key.value: is not a known key; one of file",
        ),
        ("secrets = { key = {} }", "outrigger.toml:3: plugin[0].secrets.key.file: is missing; an absolute path"),
        (
            "secrets = { key = { file = \"hunter2\" } }",
            "outrigger.toml:3: plugin[0].secrets.key.file: is not an absolute path; a path that begins with `/`",
        ),
        (
            "env = { OUTRIGGER_SOCKET = \"hunter2\" }",
            "outrigger.toml:3: plugin[0].env.OUTRIGGER_SOCKET: is set by the supervisor; a name that does not begin with \
             OUTRIGGER_",
        ),
        (&large, "outrigger.toml:3: plugin[0].env: has 150010 bytes; at most 131072 in names and values"),
        (&many, "outrigger.toml:3: plugin[0].env: has 129 variables; at most 128"),
        (
            "limits = { cpu = 1 }",
            "outrigger.toml:3: plugin[0].limits.cpu: is not a known key; one of startup, memory, processes",
        ),
        (
            "limits = { startup = \"2h\" }",
            "outrigger.toml:3: plugin[0].limits.startup: \"2h\" is out of range; 1ms to 1h",
        ),
        (
            "limits = { memory = \"1KiB\" }",
            "outrigger.toml:3: plugin[0].limits.memory: \"1KiB\" is out of range; 1MiB to 16384GiB",
        ),
        (
            "limits = { processes = 0 }",
            "outrigger.toml:3: plugin[0].limits.processes: 0 is out of range; a whole number from 1 to 4194304",
        ),
        ("timeout = \"601s\"", "outrigger.toml:3: plugin[0].timeout: \"601s\" is out of range; 1ms to 10m"),
        (
            "[plugin.hooks.before_tool]\n",
            "outrigger.toml:3: plugin[0].hooks.before_tool: is not a hook; perhaps `before_tool_call`",
        ),
        (
            "[plugin.hooks.before_tool_call]\ntimeout = \"1d\"",
            "outrigger.toml:4: plugin[0].hooks.before_tool_call.timeout: \"1d\" is not a length of time; a whole number with \
             ms, s, m or h, as \"200ms\" or \"10s\"",
        ),
        (
            "[plugin.hooks.before_tool_call]\non_absent = \"allow\"",
            "outrigger.toml:4: plugin[0].hooks.before_tool_call.on_absent: \"allow\" is not a way to treat what is guarded; \
             one of deny, skip",
        ),
        (
            "[plugin.hooks.agent_end]\non_absent = \"deny\"",
            "outrigger.toml:4: plugin[0].hooks.agent_end.on_absent: \"deny\" is set, but `agent_end` fails open; leave it \
             out; it is for before_agent_run, before_tool_call, before_install",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(entry_problems(text), [*expected], "{text}");
    }
}

#[test]
fn a_package_is_needed() {
    let problems = |text: &str| told(&parse_text(text).expect("the file is sound").plugins[0].problems);
    assert_eq!(problems("[[plugin]]"), ["outrigger.toml:1: plugin[0].package: is missing; 1 to 4096 characters"]);
    assert_eq!(
        problems("[[plugin]]\npackage = \" \""),
        ["outrigger.toml:2: plugin[0].package: \" \" is empty; the directory of the plugin's plugin.toml"]
    );
}

/// Rights are decided only where all that decides them is sound, for a broken entry guards by them.
#[test]
fn rights_are_left_open_where_they_are_unsound() {
    let decision = |text: &str| {
        let operator = parse_text(&format!("[[plugin]]\npackage = \"a\"\n{text}\n")).expect("the file is sound");
        operator.plugins[0].decision.clone()
    };
    assert!(decision("timeout = 1").is_some());
    for text in ["tier = \"x\"", "deny = [\"x\"]", "grants = [1]", "attach_roots = 1", "denny = [\"inject\"]"] {
        assert_eq!(decision(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn random_text_does_no_harm(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_text(&text);
        let _ = parse_text(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_file_does_no_harm(at in 0..WHOLE.len(), byte in 0x20_u8..0x7f, cut in 0..8_usize) {
        let mut text = WHOLE.as_bytes().to_vec();
        text.splice(at..(at + cut).min(text.len()), [byte]);
        let _ = parse_text(&String::from_utf8_lossy(&text));
    }
}
