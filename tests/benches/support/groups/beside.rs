//! Sixteen guards of one call, each in a plugin of its own: side by side, and in sequence.

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::rows::Bound::{AtMost, Shown};
use crate::support::rows::Row;
use crate::support::rows::Unit::Nanos;
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin};

/// Guards, and bare streams.
pub(crate) const GUARDS: usize = 16;

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let (extent, supervised) = (setting.extent.lighter(), setting.directory.join("g"));
    // The tool `beside` has guards without side effects.
    let plugins: Vec<_> = (0..GUARDS).map(|number| Plugin::guard(format!("g{number}"), &["beside", "exec"])).collect();
    supervised::write(&supervised, &plugins)?;
    let mut bare = Host::start("bare beside", setting.directory)?;
    let mut supervisor = Host::start("supervisor", &supervised)?;
    let millis = extent.window.as_millis() as u64;
    for round in 0..extent.rounds {
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => samples.push("16 bare", "latency", &bare.latency(extent.window)?),
                way => {
                    let (name, tool) = [("16 beside", "beside"), ("16 in sequence", "exec")][way - 1];
                    let asked = supervisor.ask(&json!({ "do": "asked", "tool": tool }))?["asked"];
                    if asked != GUARDS as f64 {
                        return Err(format!("{asked} of {GUARDS} guards were asked about `{tool}`").into());
                    }
                    let order = json!({ "do": "latency", "millis": millis, "tool": tool });
                    samples.push(name, "latency", &supervisor.ask(&order)?);
                }
            }
        }
    }
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let ratio = |what, ours, against, bound| samples.ratio(what, Nanos, ours, against, bound);
    let bare = ("16 bare streams", "16 bare latency p50");
    let sequence = ("in sequence", "16 in sequence latency p50");
    vec![
        ratio("16 guards side by side, p50", "16 beside latency p50", bare, AtMost(1.25, 1.8)),
        ratio("16 guards side by side, p50", "16 beside latency p50", sequence, Shown),
        ratio("16 guards in sequence, p50", "16 in sequence latency p50", bare, Shown),
        ratio(
            "CPU a call, 16 side by side",
            "16 beside latency cpu",
            ("16 bare streams", "16 bare latency cpu"),
            Shown,
        ),
    ]
}
