//! Starts and crashes.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::measure::Numbers;
use crate::support::rows::Bound::{AtMost, Shown};
use crate::support::rows::Unit::Nanos;
use crate::support::rows::{Middle, Row};
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin};

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let Setting { extent, directory, go } = *setting;
    let supervised = directory.join("l");
    supervised::write(&supervised, &[Plugin::guard("guard", &["exec", "wait"])])?;
    let mut supervisor = Host::start("supervisor", &supervised)?;
    let mut floor = Host::start("floor", directory)?;
    let mut go = go.map(|go| Host::run("go-plugin", Command::new(go))).transpose()?;
    for _ in 0..extent.rounds {
        let mut round: BTreeMap<&str, Vec<Numbers>> = BTreeMap::new();
        for _ in 0..extent.starts {
            round.entry("floor start").or_default().push(floor.ask(&json!({ "do": "spawn" }))?);
            round.entry("our start").or_default().push(supervisor.ask(&json!({ "do": "spawn" }))?);
            if let Some(go) = &mut go {
                round.entry("go-plugin start").or_default().push(go.ask(&json!({ "do": "spawn" }))?);
            }
            // Each is its own comparator, so none is joined with others.
            samples.push("our kill", "", &supervisor.ask(&json!({ "do": "kill" }))?);
        }
        for (name, all) in round {
            for number in all.first().into_iter().flat_map(Numbers::keys) {
                let middle = Middle::of(all.iter().filter_map(|numbers| numbers.get(number).copied()).collect());
                let middle = middle.map_or(f64::NAN, |middle| middle.median);
                samples.push(name, "", &Numbers::from([(number.clone(), middle)]));
            }
        }
    }
    Ok(())
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let go = "go-plugin";
    let ratio = |what, unit, ours, against, bound| samples.ratio(what, unit, ours, against, bound);
    vec![
        ratio("start to first answer", Nanos, "our start  answer", (go, "go-plugin start  answer"), AtMost(0.4, 0.7)),
        ratio("start to ready", Nanos, "our start  ready", ("start + 1 byte", "floor start  ready"), AtMost(1.7, 2.2)),
        ratio("kill -9 to calls ended", Nanos, "our kill  ended", ("own pidfd", "our kill  pidfd"), AtMost(1.3, 2.0)),
        samples.alone("start asked to ready", Nanos, "our start  asked", Shown),
    ]
}
