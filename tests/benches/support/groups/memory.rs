//! Memory: of a supervisor for each plugin, and of keepers.

use serde_json::json;

use super::Setting;
use crate::support::host::Host;
use crate::support::measure::Numbers;
use crate::support::rows::Bound::{AtMost, Shown};
use crate::support::rows::Row;
use crate::support::rows::Unit::Bytes;
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin};
use crate::support::{Failure, Result};

/// Plugins.
const CROWD: usize = 64;
/// Names of the times that all of them are started, used and stopped.
const CYCLES: [&str; 4] = ["first cycle", "second cycle", "third cycle", "fourth cycle"];

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let directory = setting.directory;
    let (none, crowd) = (directory.join("0"), directory.join("64"));
    supervised::write(&none, &[])?;
    let plugin = |number| Plugin::guard(format!("p{number}"), &[&format!("tool-{number}")]);
    let plugins: Vec<_> = (0..CROWD).map(plugin).collect();
    supervised::write(&crowd, &plugins)?;
    let bytes = |host: &mut Host| Ok::<_, Failure>(host.ask(&json!({ "do": "memory" }))?["bytes"]);
    let empty = bytes(&mut Host::start("supervisor", &none)?)?;
    let mut host = Host::start("supervisor", &crowd)?;
    let idle = bytes(&mut host)?;
    host.ask(&json!({ "do": "large" }))?;
    let used = bytes(&mut host)?;
    let mut stopped = Vec::new();
    for cycle in CYCLES {
        if !stopped.is_empty() {
            host.ask(&json!({ "do": "start all" }))?;
            host.ask(&json!({ "do": "large" }))?;
        }
        host.ask(&json!({ "do": "stop all" }))?;
        stopped.push((cycle, bytes(&mut host)?));
    }
    drop(host);
    let kept = Host::start("keepers", &directory.join("0"))?.ask(&json!({ "do": "memory" }))?;
    let each = |all: f64| (all - empty) / CROWD as f64;
    let mut push = |name: &str, value| samples.push(name, "memory", &Numbers::from([("bytes".to_owned(), value)]));
    push("idle", each(idle));
    push("used", each(used));
    for (cycle, bytes) in stopped {
        push(cycle, bytes);
    }
    push("keeper image", kept["image"]);
    push("keeper program", kept["program"]);
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let ratio = |what, unit, ours, against, bound| samples.ratio(what, unit, ours, against, bound);
    let alone = |what, unit, ours, bound| samples.alone(what, unit, ours, bound);
    let kib = 1024.0;
    vec![
        alone("memory an idle plugin", Bytes, "idle memory bytes", AtMost(128.0 * kib, 256.0 * kib)),
        alone("memory a plugin after large calls", Bytes, "used memory bytes", AtMost(1024.0 * kib, 2048.0 * kib)),
        ratio(
            "memory after 2nd cycle of 64",
            Bytes,
            "second cycle memory bytes",
            ("1st cycle", "first cycle memory bytes"),
            AtMost(1.05, 1.15),
        ),
        alone("keeper, private", Bytes, "keeper image memory bytes", AtMost(64.0 * kib, 256.0 * kib)),
        alone(
            "keeper, private, fallback form",
            Bytes,
            "keeper program memory bytes",
            AtMost(1024.0 * kib, 2048.0 * kib),
        ),
        ratio(
            "memory after 3rd cycle of 64",
            Bytes,
            "third cycle memory bytes",
            ("2nd cycle", "second cycle memory bytes"),
            Shown,
        ),
        ratio(
            "memory after 4th cycle of 64",
            Bytes,
            "fourth cycle memory bytes",
            ("3rd cycle", "third cycle memory bytes"),
            Shown,
        ),
    ]
}
