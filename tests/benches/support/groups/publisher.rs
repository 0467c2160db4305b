//! What a runtime's publishing loses to a subscriber that stops reading, is killed or is reloaded.
//!
//! Each is compared with what differs in that alone: one that stops reading with its absence, the others with the same
//! subscriber left in peace. Another subscriber reads all the time.

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::rows::Bound::{AtLeast, Shown};
use crate::support::rows::Row;
use crate::support::rows::Unit::Rate;
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin, Reads};

/// The subscriber that always reads.
const STEADY: &str = "steady";
/// The subscriber that is killed and reloaded.
const OTHER: &str = "other";
/// The subscriber that takes one event and no more.
const DEAF: &str = "deaf";

/// Each way: its name, who is there beside the steady one, and what happens to it.
const WAYS: [(&str, Option<&str>, Option<&str>); 5] = [
    ("alone", None, None),
    ("deaf", Some(DEAF), None),
    ("reads", Some(OTHER), None),
    ("killed", Some(OTHER), Some("kill at once")),
    ("reloaded", Some(OTHER), Some("reload")),
];

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let (extent, supervised) = (setting.extent.lighter(), setting.directory.join("w"));
    let reads = |id| Plugin::guard(id, &[]).reading(Reads::Credits(32));
    supervised::write(&supervised, &[reads(STEADY), reads(OTHER), Plugin::guard(DEAF, &[]).reading(Reads::One)])?;
    let mut supervisor = Host::start("supervisor", &supervised)?;
    let mut runtime = Host::start("runtime", &supervised)?;
    for plugin in [OTHER, DEAF] {
        supervisor.ask(&json!({ "do": "stop", "plugin": plugin }))?;
    }
    for round in 0..extent.rounds {
        for turn in 0..WAYS.len() {
            let (name, beside, happens) = WAYS[(round + turn) % WAYS.len()];
            if let Some(plugin) = beside {
                supervisor.ask(&json!({ "do": "start", "plugin": plugin }))?;
            }
            caught_up(&mut supervisor, &mut runtime, beside)?;
            runtime.ask(&json!({ "do": "flood" }))?;
            std::thread::sleep(extent.window / 3);
            if let (Some(plugin), Some(happens)) = (beside, happens) {
                supervisor.ask(&json!({ "do": happens, "plugin": plugin }))?;
            }
            std::thread::sleep(extent.window * 2 / 3);
            samples.push(name, "publisher", &runtime.ask(&json!({ "do": "end flood" }))?);
            caught_up(&mut supervisor, &mut runtime, beside)?;
            if let Some(plugin) = beside {
                supervisor.ask(&json!({ "do": "stop", "plugin": plugin }))?;
            }
        }
    }
    Ok(())
}

/// Waits until who reads has what was published.
fn caught_up(supervisor: &mut Host, runtime: &mut Host, beside: Option<&str>) -> Result<()> {
    let mark = runtime.ask(&json!({ "do": "mark" }))?;
    super::book(supervisor, &mark, STEADY, true)?;
    if beside == Some(OTHER) {
        super::book(supervisor, &mark, OTHER, false)?;
    }
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let ratio = |what, ours, against, bound| samples.ratio(what, Rate, ours, against, bound);
    // These bounds are this benchmark's own: the budget has only "unchanged".
    let unchanged = || AtLeast(0.95, 0.85);
    let alone = ("without it", "alone publisher rate");
    let reads = ("left in peace", "reads publisher rate");
    vec![
        ratio("events published, one stops reading", "deaf publisher rate", alone, unchanged()),
        ratio("events published, one is killed", "killed publisher rate", reads, unchanged()),
        ratio("events published, one reloads", "reloaded publisher rate", reads, unchanged()),
        ratio("events published, one more reads", "reads publisher rate", alone, Shown),
    ]
}
