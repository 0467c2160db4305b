//! Hooks while events come to the same plugin: from within the supervisor as many as the plugin takes, and from a runtime
//! as many as the supervisor takes.

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::rows::Bound::{AtMost, Shown};
use crate::support::rows::Row;
use crate::support::rows::Unit::{Nanos, Rate};
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin, Reads};

const PLUGIN: &str = "guard";

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let extent = setting.extent.lighter();
    let start = |name| {
        let supervised = setting.directory.join(name);
        supervised::write(&supervised, &[Plugin::guard(PLUGIN, &["exec"]).reading(Reads::Credits(32))])?;
        Ok::<_, crate::support::Failure>((Host::start("supervisor", &supervised)?, supervised))
    };
    let (mut within, _) = start("n")?;
    let (mut flooded, supervised) = start("f")?;
    let mut runtime = Host::start("runtime", &supervised)?;
    let among = json!({ "do": "latency among events", "millis": extent.window.as_millis() as u64 });
    let mut came = 0.0;
    for round in 0..extent.rounds {
        for turn in 0..4 {
            match (round + turn) % 4 {
                0 => samples.push("quiet", "latency", &within.latency(extent.window)?),
                1 => samples.push("among", "latency", &within.ask(&among)?),
                2 => samples.push("before flood", "latency", &flooded.latency(extent.window)?),
                _ => {
                    runtime.ask(&json!({ "do": "flood" }))?;
                    let latency = flooded.latency(extent.window)?;
                    samples.push("flood", "events", &runtime.ask(&json!({ "do": "end flood" }))?);
                    samples.push("flood", "latency", &latency);
                    let mark = runtime.ask(&json!({ "do": "mark" }))?;
                    let counts = super::book(&mut flooded, &mark, PLUGIN, true)?;
                    if counts["events"] <= came {
                        return Err("no event came to the plugin".into());
                    }
                    came = counts["events"];
                }
            }
        }
    }
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let ratio = |what, ours, against, bound| samples.ratio(what, Nanos, ours, ("quiet", against), bound);
    vec![
        ratio("hook among events, p50", "among latency p50", "quiet latency p50", AtMost(3.0, 6.0)),
        ratio("hook in a runtime's flood, p50", "flood latency p50", "before flood latency p50", AtMost(3.0, 6.0)),
        ratio("hook among events, p99", "among latency p99", "quiet latency p99", Shown),
        ratio("hook in a runtime's flood, p99", "flood latency p99", "before flood latency p99", Shown),
        samples.alone("events meanwhile, from within", Rate, "among latency events", Shown),
        samples.alone("events meanwhile, from a runtime", Rate, "flood events rate", Shown),
    ]
}
