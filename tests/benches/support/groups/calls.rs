//! Calls: one in flight, then many.

use std::process::Command;

use serde_json::json;

use super::Setting;
use crate::support::Result;
use crate::support::host::Host;
use crate::support::measure::Numbers;
use crate::support::rows::Bound::{AtLeast, AtMost, Shown};
use crate::support::rows::Row;
use crate::support::rows::Unit::{Nanos, Rate};
use crate::support::samples::Samples;
use crate::support::supervised::{self, Plugin};

/// Calls in flight where it is many.
pub(crate) const MANY: usize = 64;

pub(super) fn measure(setting: &Setting<'_>, samples: &mut Samples) -> Result<()> {
    let Setting { extent, directory, go } = *setting;
    let supervised = directory.join("s");
    supervised::write(&supervised, &[Plugin::guard("guard", &["exec"])])?;
    // The order matters twice: the runtime attaches to the supervisor before it, and asks it for its time.
    let mut hosts = vec![
        ("raw", Host::start("raw", directory)?),
        ("unary", Host::start("unary", directory)?),
        ("bare", Host::start("bare", directory)?),
        ("short", Host::start("short", directory)?),
        ("relay", Host::start("relay", directory)?),
        ("one hop", Host::start("supervisor", &supervised)?),
    ];
    hosts.push(("two hops", Host::start("runtime", &supervised)?));
    if let Some(go) = go {
        hosts.push(("go-plugin", Host::run("go-plugin", Command::new(go))?));
    }
    for round in 0..extent.rounds {
        for turn in 0..hosts.len() {
            let count = hosts.len();
            let (name, host) = &mut hosts[(round + turn) % count];
            samples.push(name, "latency", &host.latency(extent.window)?);
        }
        for turn in 0..hosts.len() {
            let index = (round + turn) % hosts.len();
            match hosts[index].0 {
                // It has one connection and no ids: one call at a time.
                "raw" => {}
                "two hops" => {
                    let before = supervisor_cpu(&mut hosts)?;
                    let numbers = hosts[index].1.rate(extent.window, MANY)?;
                    let cpu = supervisor_cpu(&mut hosts)? - before;
                    // Some calls come before and after the window; they are counted with it.
                    let share = 30.0 / extent.window.as_millis() as f64;
                    let each = cpu / (numbers["calls"] * (1.0 + share));
                    samples.push("two hops", "rate", &numbers);
                    samples.push("two hops", "supervisor", &Numbers::from([("cpu".to_owned(), each)]));
                }
                name => {
                    let numbers = hosts[index].1.rate(extent.window, MANY)?;
                    samples.push(name, "rate", &numbers);
                }
            }
        }
    }
    Ok(())
}

fn supervisor_cpu(hosts: &mut [(&str, Host)]) -> Result<f64> {
    let supervisor = hosts.iter_mut().find(|(name, _)| *name == "one hop").ok_or("no supervisor")?;
    Ok(supervisor.1.ask(&json!({ "do": "cpu" }))?["cpu"])
}

pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let (bare, short, relay, go) = ("bare stream", "short answer", "relay", "go-plugin");
    let ratio = |what, unit, ours, against, bound| samples.ratio(what, unit, ours, against, bound);
    vec![
        ratio("one hop, p50", Nanos, "one hop latency p50", (bare, "bare latency p50"), AtMost(1.1, 1.35)),
        ratio("two hops, p50", Nanos, "two hops latency p50", (bare, "bare latency p50"), AtMost(2.2, 2.8)),
        ratio("one hop, rate", Rate, "one hop rate rate", (bare, "bare rate rate"), AtLeast(0.8, 0.5)),
        ratio("two hops, rate", Rate, "two hops rate rate", (bare, "bare rate rate"), AtLeast(0.45, 0.25)),
        ratio("CPU a call, one hop, many", Nanos, "one hop rate cpu", (bare, "bare rate cpu"), AtMost(1.4, 2.5)),
        ratio("one hop, p50", Nanos, "one hop latency p50", (go, "go-plugin latency p50"), AtMost(0.3, 0.4)),
        ratio("two hops, p50", Nanos, "two hops latency p50", (go, "go-plugin latency p50"), AtMost(0.6, 0.8)),
        ratio("one hop, rate", Rate, "one hop rate rate", (go, "go-plugin rate rate"), AtLeast(10.0, 5.0)),
        ratio("bare stream, p50", Nanos, "bare latency p50", ("raw ping-pong", "raw latency p50"), Shown),
        ratio("bare call and short answer, p50", Nanos, "short latency p50", (bare, "bare latency p50"), Shown),
        ratio("bare call and short answer, rate", Rate, "short rate rate", (bare, "bare rate rate"), Shown),
        ratio("one hop, p50", Nanos, "one hop latency p50", (short, "short latency p50"), Shown),
        ratio("two hops, p50", Nanos, "two hops latency p50", (short, "short latency p50"), Shown),
        ratio("one hop, rate", Rate, "one hop rate rate", (short, "short rate rate"), Shown),
        ratio("two hops, rate", Rate, "two hops rate rate", (short, "short rate rate"), Shown),
        ratio("relay of two bare streams, p50", Nanos, "relay latency p50", (bare, "bare latency p50"), Shown),
        ratio("relay of two bare streams, rate", Rate, "relay rate rate", (bare, "bare rate rate"), Shown),
        ratio("two hops, p50", Nanos, "two hops latency p50", (relay, "relay latency p50"), Shown),
        ratio("two hops, rate", Rate, "two hops rate rate", (relay, "relay rate rate"), Shown),
        ratio("tonic unary, p50", Nanos, "unary latency p50", (bare, "bare latency p50"), Shown),
        ratio("tonic unary, rate", Rate, "unary rate rate", (bare, "bare rate rate"), Shown),
        ratio("one hop, p99", Nanos, "one hop latency p99", (bare, "bare latency p99"), Shown),
        ratio("two hops, p99", Nanos, "two hops latency p99", (bare, "bare latency p99"), Shown),
        ratio("CPU a call, one hop, one", Nanos, "one hop latency cpu", (bare, "bare latency cpu"), Shown),
        ratio("CPU a call, two hops, many", Nanos, "two hops supervisor cpu", (bare, "bare rate cpu"), Shown),
    ]
}
