//! The rounds: every host is alive all the time, and each is asked in turn, another one first in every round.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::host::Host;
use super::measure::Numbers;
use super::rows::{Bound, Middle, Row, Unit, Values};
use super::{Result, supervised};

/// Calls in flight where it is many.
pub(crate) const MANY: usize = 64;
/// Plugins of the rows about memory.
const CROWD: usize = 64;
/// Names of the times that all of them are started, used and stopped.
const CYCLES: [&str; 4] = ["first cycle", "second cycle", "third cycle", "fourth cycle"];

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Rounds.
    pub(crate) rounds: usize,
    /// Length of a window.
    pub(crate) window: Duration,
    /// Starts, and kills, in each round.
    pub(crate) starts: usize,
}

/// One value for each round, by name.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    fn push(&mut self, host: &str, kind: &str, numbers: &Numbers) {
        for (name, value) in numbers {
            self.0.entry(format!("{host} {kind} {name}")).or_default().push(*value);
        }
    }

    fn values(&self, name: &str) -> std::result::Result<&Vec<f64>, String> {
        self.0.get(name).ok_or_else(|| format!("no `{name}`"))
    }

    fn middle(&self, name: &str) -> std::result::Result<Middle, String> {
        Middle::of(self.values(name)?.clone()).ok_or_else(|| format!("no `{name}`"))
    }

    /// A row with ratios round by round.
    pub(crate) fn ratio(&self, what: &str, unit: Unit, ours: &str, against: (&'static str, &str), bound: Bound) -> Row {
        let values = || {
            let (mine, theirs) = (self.values(ours)?, self.values(against.1)?);
            let ratios = mine.iter().zip(theirs).map(|(mine, theirs)| mine / theirs).collect();
            let ratio = Middle::of(ratios);
            Ok(Values { ours: self.middle(ours)?, theirs: Some((against.0, self.middle(against.1)?)), ratio })
        };
        Row { what: what.to_owned(), values: values(), bound, unit }
    }

    /// A row without a comparator.
    pub(crate) fn alone(&self, what: &str, unit: Unit, ours: &str, bound: Bound) -> Row {
        let values = self.middle(ours).map(|ours| Values { ours, theirs: None, ratio: None });
        Row { what: what.to_owned(), values, bound, unit }
    }
}

/// Measures calls: one in flight, then many.
pub(crate) fn calls(extent: Extent, directory: &Path, go: Option<&Path>, samples: &mut Samples) -> Result<()> {
    let supervised = directory.join("s");
    supervised::write(&supervised, &[("guard".to_owned(), vec!["exec".to_owned()])])?;
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

/// Measures starts and crashes.
pub(crate) fn lives(extent: Extent, directory: &Path, go: Option<&Path>, samples: &mut Samples) -> Result<()> {
    let supervised = directory.join("l");
    let tools = vec!["exec".to_owned(), "wait".to_owned()];
    supervised::write(&supervised, &[("guard".to_owned(), tools)])?;
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

/// Measures memory: of a supervisor for each plugin, and of keepers.
pub(crate) fn memory(directory: &Path, samples: &mut Samples) -> Result<()> {
    let (none, crowd) = (directory.join("0"), directory.join("64"));
    supervised::write(&none, &[])?;
    let plugins: Vec<_> = (0..CROWD).map(|number| (format!("p{number}"), vec![format!("tool-{number}")])).collect();
    supervised::write(&crowd, &plugins)?;
    let bytes = |host: &mut Host| Ok::<_, super::Failure>(host.ask(&json!({ "do": "memory" }))?["bytes"]);
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
