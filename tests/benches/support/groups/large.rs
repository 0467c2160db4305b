//! Calls with an event of 256 KiB, which passes through as it is.

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::rows::Bound::Shown;
use crate::support::rows::Row;
use crate::support::rows::Unit::Nanos;
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin};

/// Bytes of the event.
const BYTES: usize = 256 * 1024;

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let (extent, supervised) = (setting.extent.lighter(), setting.directory.join("p"));
    supervised::write(&supervised, &[Plugin::guard("guard", &["exec"])])?;
    let mut hosts = [
        ("large bare", Host::start("bare", setting.directory)?),
        ("large short", Host::start("short", setting.directory)?),
        ("large one hop", Host::start("supervisor", &supervised)?),
        // Attaches to the one before it.
        ("large two hops", Host::start("runtime", &supervised)?),
    ];
    let order = json!({ "do": "latency", "millis": extent.window.as_millis() as u64, "bytes": BYTES });
    let count = hosts.len();
    for round in 0..extent.rounds {
        for turn in 0..count {
            let (name, host) = &mut hosts[(round + turn) % count];
            samples.push(name, "latency", &host.ask(&order)?);
        }
    }
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let ratio = |what, ours, against| samples.ratio(what, Nanos, ours, against, Shown);
    let bare = ("bare stream", "large bare latency p50");
    let short = ("short answer", "large short latency p50");
    vec![
        ratio("one hop, 256 KiB, p50", "large one hop latency p50", bare),
        ratio("one hop, 256 KiB, p50", "large one hop latency p50", short),
        ratio("two hops, 256 KiB, p50", "large two hops latency p50", bare),
        ratio("two hops, 256 KiB, p50", "large two hops latency p50", short),
        ratio("CPU a call, one hop, 256 KiB", "large one hop latency cpu", ("short answer", "large short latency cpu")),
    ]
}
