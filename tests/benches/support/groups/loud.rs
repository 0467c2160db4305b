//! Hooks while a runtime publishes as many events as the supervisor takes, to the same plugin.

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::rows::Bound::{AtMost, Shown};
use crate::support::rows::Row;
use crate::support::rows::Unit::{Nanos, Rate};
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin, Reads};

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let (extent, supervised) = (setting.extent.lighter(), setting.directory.join("n"));
    supervised::write(&supervised, &[Plugin::guard("guard", &["exec"]).reading(Reads::Credits(32))])?;
    let mut supervisor = Host::start("supervisor", &supervised)?;
    let mut runtime = Host::start("runtime", &supervised)?;
    let mut came = 0.0;
    for round in 0..extent.rounds {
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                samples.push("quiet", "latency", &supervisor.latency(extent.window)?);
                continue;
            }
            runtime.ask(&json!({ "do": "flood" }))?;
            let loud = supervisor.latency(extent.window)?;
            let published = runtime.ask(&json!({ "do": "end flood" }))?;
            samples.push("loud", "latency", &loud);
            samples.push("loud", "events", &published);
            let mark = runtime.ask(&json!({ "do": "mark" }))?;
            let counts = super::book(&mut supervisor, &mark, "guard", true)?;
            if counts["events"] <= came {
                return Err("no event came to the plugin".into());
            }
            came = counts["events"];
        }
    }
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let quiet = "quiet";
    vec![
        samples.ratio(
            "hook under events, p50",
            Nanos,
            "loud latency p50",
            (quiet, "quiet latency p50"),
            AtMost(3.0, 6.0),
        ),
        samples.ratio("hook under events, p99", Nanos, "loud latency p99", (quiet, "quiet latency p99"), Shown),
        samples.alone("events published meanwhile", Rate, "loud events rate", Shown),
    ]
}
