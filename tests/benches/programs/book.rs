//! What a reader of events counts, and writes down when an event of the stream `mark` comes.
//!
//! The file is one JSON object: `mark`, the number in the event's data; `events`, all others; `again`, those of them that
//! came a second time; `missing`, told as gaps; `skipped`, positions of the run that did not come, both behind the
//! first event; `disorder`, events
//! behind a later one. It is there whole or not at all.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use outrigger_sdk::{Event, Gap, HandlerError};
use serde_json::{Value, json};

#[derive(Default)]
struct Counts {
    events: u64,
    again: u64,
    missing: u64,
    skipped: u64,
    disorder: u64,
    /// The last event: its number, and its position in the run.
    last: (u64, u64),
}

/// The counts of one launch.
pub(crate) struct Book {
    path: PathBuf,
    counts: Mutex<Counts>,
}

impl Book {
    pub(crate) fn new(path: &str) -> Self {
        Self { path: path.into(), counts: Mutex::default() }
    }

    /// Counts an event, or writes the counts down.
    pub(crate) fn event(&self, event: &Event) -> Result<(), HandlerError> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if event.stream() == "mark" {
            let data: Value = event.data()?;
            return Ok(self.write(&counts, &data["mark"])?);
        }
        let (seq, position) = (event.seq(), event.run_seq());
        counts.events += 1;
        counts.again += u64::from(event.is_redelivered());
        counts.disorder += u64::from(seq <= counts.last.0);
        if counts.last.0 > 0 {
            counts.skipped += position.saturating_sub(counts.last.1 + 1);
        }
        counts.last = (seq, position);
        Ok(())
    }

    /// Counts what is told to be missing, behind the first event.
    pub(crate) fn gap(&self, gap: Gap) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.last.0 > 0 {
            counts.missing += gap.count();
        }
    }

    fn write(&self, counts: &Counts, mark: &Value) -> io::Result<()> {
        let Counts { events, again, missing, skipped, disorder, .. } = counts;
        let text = json!({
            "mark": mark, "events": events, "again": again, "missing": missing, "skipped": skipped, "disorder": disorder,
        });
        let beside = self.path.with_extension("new");
        fs::write(&beside, text.to_string())?;
        fs::rename(beside, &self.path)
    }
}
