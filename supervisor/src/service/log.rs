//! What a plugin printed, the newest of it: a bounded ring for `logs` and `why`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::domain::ids::Generation;

/// Bytes kept for each plugin (architecture §14).
pub(crate) const RING_BYTES: usize = 64 * 1024;
/// What a line costs besides its text.
const LINE_OVERHEAD: usize = 96;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
    /// By `WriteLogs`.
    Log,
    /// What the supervisor has to say of the plugin.
    Supervisor,
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
            Self::Supervisor => "supervisor",
        }
    }
}

/// One line. Its text has no character that could harm a terminal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) at: SystemTime,
    pub(crate) generation: Generation,
    pub(crate) source: Source,
    /// `trace` to `error`; empty where it is not known.
    pub(crate) level: &'static str,
    pub(crate) text: String,
    /// JSON object; empty where there is none.
    pub(crate) fields_json: String,
    pub(crate) truncated: bool,
}

impl Line {
    fn cost(&self) -> usize {
        self.text.len() + self.fields_json.len() + LINE_OVERHEAD
    }
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Number of the first line kept.
    first: u64,
    /// Lines that never came in, because there were too many a second.
    dropped: u64,
}

/// The ring of one plugin, over its generations.
pub(crate) struct LogRing {
    ring: Mutex<Ring>,
    /// Number of the next line.
    next: watch::Sender<u64>,
}

/// Lines read from a ring.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) lines: Vec<Line>,
    /// Where to go on.
    pub(crate) next: u64,
    /// Lines between the place asked for and the first one here that are gone.
    pub(crate) lost: u64,
}

impl LogRing {
    pub(crate) fn new() -> Self {
        Self { ring: Mutex::new(Ring::default()), next: watch::channel(0).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; the oldest give way.
    pub(crate) fn push(&self, line: Line) {
        let mut ring = self.lock();
        ring.bytes += line.cost();
        ring.lines.push_back(line);
        while ring.bytes > RING_BYTES && ring.lines.len() > 1 {
            if let Some(line) = ring.lines.pop_front() {
                ring.bytes -= line.cost();
                ring.first += 1;
            }
        }
        let next = ring.first + ring.lines.len() as u64;
        drop(ring);
        self.next.send_replace(next);
    }

    /// The supervisor's own word on the plugin.
    pub(crate) fn say(&self, at: SystemTime, generation: Generation, level: &'static str, text: String) {
        let source = Source::Supervisor;
        self.push(Line { at, generation, source, level, text, fields_json: String::new(), truncated: false });
    }

    /// Counts lines that were not taken in.
    pub(crate) fn add_dropped(&self, count: u64) {
        self.lock().dropped += count;
    }

    /// Lines dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// The place from which the newest `count` lines follow.
    pub(crate) fn newest(&self, count: u64) -> u64 {
        let ring = self.lock();
        let end = ring.first + ring.lines.len() as u64;
        end.saturating_sub(count).max(ring.first)
    }

    /// Lines from a place on, at most `most`.
    pub(crate) fn read(&self, from: u64, most: usize) -> Read {
        let ring = self.lock();
        let start = from.max(ring.first);
        let skip = usize::try_from(start - ring.first).unwrap_or(usize::MAX);
        let lines: Vec<Line> = ring.lines.iter().skip(skip).take(most).cloned().collect();
        Read { next: start + lines.len() as u64, lines, lost: start - from }
    }

    /// The number of the next line; changes when one comes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// The last lines of standard error of a generation.
    pub(crate) fn stderr_tail(&self, generation: Generation, count: usize) -> Vec<String> {
        let ring = self.lock();
        let of_it = |line: &&Line| line.source == Source::Stderr && line.generation == generation;
        let mut tail: Vec<String> =
            ring.lines.iter().rev().filter(of_it).take(count).map(|line| line.text.clone()).collect();
        tail.reverse();
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line {
            at: SystemTime::UNIX_EPOCH,
            generation: Generation(1),
            source: Source::Stderr,
            level: "",
            text: text.to_owned(),
            fields_json: String::new(),
            truncated: false,
        }
    }

    #[test]
    fn the_oldest_lines_give_way() {
        let ring = LogRing::new();
        let long = "x".repeat(8 * 1024);
        for _ in 0..100 {
            ring.push(line(&long));
        }
        let read = ring.read(0, 1000);
        assert!(read.lines.len() * long.len() <= RING_BYTES);
        assert_eq!(read.lost + read.lines.len() as u64, 100);
        assert_eq!(read.next, 100);
        assert_eq!(ring.newest(3), 97);
    }

    #[test]
    fn reading_goes_on_where_it_stopped() {
        let ring = LogRing::new();
        for text in ["a", "b", "c"] {
            ring.push(line(text));
        }
        let read = ring.read(0, 2);
        assert_eq!(read.lines.len(), 2);
        assert_eq!(ring.read(read.next, 2).lines[0].text, "c");
        assert_eq!(ring.stderr_tail(Generation(1), 2), ["b", "c"]);
        assert!(ring.stderr_tail(Generation(2), 2).is_empty());
    }
}
