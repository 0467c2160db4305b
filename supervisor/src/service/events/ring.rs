//! The newest events, bounded in number and bytes. Their numbers are dense, so that a place is found by arithmetic.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Event;

/// Events kept (architecture §14).
pub(crate) const MAX_EVENTS: usize = 8192;
/// Bytes kept, but never less than one event (architecture §14).
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Ring {
    /// Adds the event with the next number; those that gave way for it, oldest first.
    pub(crate) fn push(&mut self, event: Arc<Event>) -> Vec<Arc<Event>> {
        self.bytes += event.cost();
        self.events.push_back(event);
        let mut gone = Vec::new();
        while self.events.len() > 1
            && (self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES)
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= oldest.cost();
            gone.push(oldest);
        }
        gone
    }

    /// Number of the oldest event; `None`: there is none.
    pub(crate) fn first(&self) -> Option<u64> {
        self.events.front().map(|event| event.seq)
    }

    /// Events from a number on, as far back as there are.
    pub(crate) fn from(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let first = self.first().unwrap_or(seq);
        let skipped = usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX).min(self.events.len());
        self.events.range(skipped..)
    }
}

#[cfg(test)]
mod tests {
    use outrigger_proto::types::v1 as types;

    use super::*;

    fn event(seq: u64, bytes: usize) -> Arc<Event> {
        let event = types::AgentEvent { data_json: vec![b'1'; bytes].into(), ..Default::default() };
        Arc::new(Event::new(seq, "default".into(), "r".into(), Arc::default(), &event))
    }

    #[test]
    fn it_holds_so_many_events_and_finds_them_by_number() {
        let mut ring = Ring::default();
        assert_eq!((ring.first(), ring.from(5).count()), (None, 0));
        for seq in 1..=MAX_EVENTS as u64 {
            assert!(ring.push(event(seq, 1)).is_empty());
        }
        let gone = ring.push(event(MAX_EVENTS as u64 + 1, 1));
        assert_eq!(gone.iter().map(|event| event.seq).collect::<Vec<_>>(), [1]);
        assert_eq!(ring.first(), Some(2));
        assert_eq!(ring.from(0).count(), MAX_EVENTS);
        assert_eq!(ring.from(8000).next().map(|event| event.seq), Some(8000));
        assert_eq!(ring.from(9000).count(), 0);
    }

    #[test]
    fn it_holds_so_many_bytes_and_always_one_event() {
        let mut ring = Ring::default();
        let mut seq = 0;
        let mut gone = 0;
        while gone == 0 {
            seq += 1;
            gone = ring.push(event(seq, 64 * 1024)).len();
            assert!(ring.bytes <= MAX_BYTES);
        }
        assert_eq!(ring.bytes / ring.events[0].cost(), MAX_BYTES / ring.events[0].cost());
        ring.push(event(seq + 1, MAX_BYTES));
        assert_eq!(ring.first(), Some(seq + 1), "one longer than the bound takes the place of all");
        assert_eq!(ring.events.len(), 1);
    }
}
