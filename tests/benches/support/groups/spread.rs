//! Events spread to 1, 8 and 32 readers.

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::measure::Numbers;
use crate::support::rows::Bound::{AtLeast, AtMost, Shown};
use crate::support::rows::Row;
use crate::support::rows::Unit::{Nanos, Rate};
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin, Reads};

/// Each way: its name, whether the supervisor is measured, and readers and their credits.
const WAYS: [(&str, bool, usize, u32); 8] = [
    ("burst 1", false, 1, 0),
    ("burst 8", false, 8, 0),
    ("burst 32", false, 32, 0),
    ("acknowledged 32", false, 32, 32),
    ("spread 1", true, 1, 32),
    ("spread 8", true, 8, 32),
    ("spread 32", true, 32, 32),
    ("free 32", true, 32, 0),
];

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let extent = setting.extent.lighter();
    let mut burst = Host::start("burst", setting.directory)?;
    let mut supervisors = Vec::new();
    for (way, (_, _, readers, credits)) in WAYS.into_iter().enumerate().filter(|(_, (_, ours, ..))| *ours) {
        let supervised = setting.directory.join(format!("e{way}"));
        let reader = |number| Plugin::guard(format!("r{number}"), &[]).reading(Reads::Credits(credits));
        supervised::write(&supervised, &(0..readers).map(reader).collect::<Vec<_>>())?;
        supervisors.push((way, Host::start("supervisor", &supervised)?));
    }
    let millis = extent.window.as_millis() as u64;
    for round in 0..extent.rounds {
        for turn in 0..WAYS.len() {
            let way = (round + turn) % WAYS.len();
            let (name, _, readers, credits) = WAYS[way];
            let order = json!({ "do": "spread", "millis": millis, "readers": readers, "acknowledged": credits > 0 });
            let host = supervisors.iter_mut().find(|(of, _)| *of == way).map_or(&mut burst, |(_, host)| host);
            let mut numbers = host.ask(&order)?;
            numbers.extend(Numbers::from([("core".to_owned(), 1e9 / numbers["cpu"])]));
            samples.push(name, "events", &numbers);
        }
    }
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let ratio = |what, unit, ours, against, bound| samples.ratio(what, unit, ours, against, bound);
    let burst = "burst writer";
    let (one, thirty_two) = ("1 reader", "32 acknowledging");
    vec![
        ratio(
            "deliveries a core-second, 32 readers",
            Rate,
            "spread 32 events core",
            ("acknowledged", "acknowledged 32 events core"),
            AtLeast(0.8, 0.5),
        ),
        ratio(
            "CPU a delivery, 32 readers",
            Nanos,
            "spread 32 events cpu",
            (one, "spread 1 events cpu"),
            AtMost(1.2, 2.0),
        ),
        // As the burst writer's readers, these acknowledge nothing.
        ratio(
            "deliveries a core-second, 32 without credits",
            Rate,
            "free 32 events core",
            (burst, "burst 32 events core"),
            AtLeast(0.8, 0.5),
        ),
        ratio(
            "deliveries a core-second, 32 readers",
            Rate,
            "spread 32 events core",
            (burst, "burst 32 events core"),
            Shown,
        ),
        ratio("CPU a delivery, 1 reader", Nanos, "spread 1 events cpu", (burst, "burst 1 events cpu"), Shown),
        ratio("CPU a delivery, 8 readers", Nanos, "spread 8 events cpu", (burst, "burst 8 events cpu"), Shown),
        ratio("CPU a delivery, 32 readers", Nanos, "spread 32 events cpu", (burst, "burst 32 events cpu"), Shown),
        ratio("deliveries, 1 reader", Rate, "spread 1 events rate", (burst, "burst 1 events rate"), Shown),
        ratio("deliveries, 8 readers", Rate, "spread 8 events rate", (burst, "burst 8 events rate"), Shown),
        ratio("deliveries, 32 readers", Rate, "spread 32 events rate", (burst, "burst 32 events rate"), Shown),
        ratio("CPU a delivery, 32 without credits", Nanos, "free 32 events cpu", (burst, "burst 32 events cpu"), Shown),
        ratio(
            "CPU a delivery, 32 without credits",
            Nanos,
            "free 32 events cpu",
            (thirty_two, "spread 32 events cpu"),
            Shown,
        ),
        ratio("deliveries, 32 without credits", Rate, "free 32 events rate", (burst, "burst 32 events rate"), Shown),
    ]
}
