//! The groups: each has hosts of its own, all alive at once, and asks them in turn, another one first in every round.

mod beside;
mod calls;
mod large;
mod lives;
mod loud;
mod memory;
mod publisher;
mod spread;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

pub(crate) use self::beside::GUARDS;
pub(crate) use self::calls::MANY;
use super::host::Host;
use super::measure::Numbers;
use super::rows::Row;
use super::samples::Samples;
use super::{Failure, Result};

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

impl Extent {
    /// The ordinary one.
    pub(crate) const FULL: Self = Self { rounds: 11, window: Duration::from_millis(300), starts: 5 };
    /// For a look.
    pub(crate) const SHORT: Self = Self { rounds: 3, window: Duration::from_millis(150), starts: 1 };

    /// Of a group with many windows: the least number of rounds that a median is taken of.
    fn lighter(self) -> Self {
        Self { rounds: self.rounds.min(7), window: self.window * 2 / 3, ..self }
    }
}

/// What a group measures with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) extent: Extent,
    /// For sockets and files; its path is short.
    pub(crate) directory: &'a Path,
    /// The go-plugin program, where Go is present.
    pub(crate) go: Option<&'a Path>,
}

/// Rows that are measured together.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// Has rows against go-plugin.
    pub(crate) go: bool,
    pub(crate) measure: fn(&Setting<'_>, &mut Samples) -> Result<()>,
    pub(crate) rows: fn(&Samples) -> Vec<Row>,
}

/// All groups.
pub(crate) const GROUPS: [Group; 8] = [
    Group { name: "calls", go: true, measure: calls::measure, rows: calls::rows },
    Group { name: "beside", go: false, measure: beside::measure, rows: beside::rows },
    Group { name: "large", go: false, measure: large::measure, rows: large::rows },
    Group { name: "spread", go: false, measure: spread::measure, rows: spread::rows },
    Group { name: "loud", go: false, measure: loud::measure, rows: loud::rows },
    Group { name: "publisher", go: false, measure: publisher::measure, rows: publisher::rows },
    Group { name: "lives", go: true, measure: lives::measure, rows: lives::rows },
    Group { name: "memory", go: false, measure: memory::measure, rows: memory::rows },
];

/// Reads what is wanted: `short`, names of groups, or both, with commas between.
pub(crate) fn wanted(words: &str) -> Result<(Extent, Vec<&'static Group>)> {
    let (mut extent, mut chosen) = (Extent::FULL, Vec::new());
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match GROUPS.iter().find(|group| group.name == word) {
            Some(group) => chosen.push(group),
            None if word == "short" => extent = Extent::SHORT,
            None => {
                let names = GROUPS.map(|group| group.name).join(", ");
                return Err(Failure::from(format!("OUTRIGGER_BENCH: `{word}` is not `short` nor a group: {names}")));
            }
        }
    }
    if chosen.is_empty() {
        chosen.extend(&GROUPS);
    }
    Ok((extent, chosen))
}

/// What a reader of events counted up to a mark of the runtime's: nothing is missing but what it was told of, and nothing
/// came in disorder. One that is there `always` has all events, or was told.
fn book(supervisor: &mut Host, mark: &Numbers, plugin: &str, always: bool) -> Result<Numbers> {
    let counts = supervisor.ask(&json!({ "do": "book", "plugin": plugin, "mark": mark["mark"] as u64 }))?;
    let exact = counts["skipped"] == counts["missing"] && counts["disorder"] == 0.0;
    let all = counts["events"] + counts["missing"] == mark["published"] && counts["again"] == 0.0;
    if !exact || always && !all {
        return Err(format!("`{plugin}` has {counts:?} of {mark:?}").into());
    }
    Ok(counts)
}
