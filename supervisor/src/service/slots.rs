//! How many invocations a plugin has at once: places in flight, and who waits for one.
//!
//! Pure bookkeeping. Waiting calls are served in order; a call whose own handler is at its cap lets later ones of other
//! handlers pass. What waits for room of the whole plugin lets nobody pass, or a large call would wait for ever behind
//! small ones.

use std::collections::VecDeque;

/// Bytes of invocations in flight of one plugin (architecture §14).
pub(crate) const MAX_IN_FLIGHT_BYTES: usize = 8 * 1024 * 1024;
/// Calls that may wait for a place (architecture §14).
pub(crate) const MAX_WAITING: usize = 256;
/// Bytes of calls that wait (architecture §14).
pub(crate) const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// What one call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Index of the handler.
    pub(crate) handler: usize,
    /// Size of its payload.
    pub(crate) bytes: usize,
}

/// Whether a call may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Now; a place is taken.
    Now,
    /// Later: it waits under this ticket.
    Wait(u64),
    /// Not: too many wait already.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: u64,
    demand: Demand,
}

/// The places of one launch.
#[derive(Debug)]
pub(crate) struct Slots {
    max: usize,
    caps: Vec<usize>,
    taken: usize,
    taken_bytes: usize,
    taken_by: Vec<usize>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    next_ticket: u64,
}

impl Slots {
    /// Places for `max` invocations, and for each handler at most its cap.
    pub(crate) fn new(max: usize, caps: Vec<usize>) -> Self {
        let taken_by = vec![0; caps.len()];
        Self {
            max,
            caps,
            taken: 0,
            taken_bytes: 0,
            taken_by,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            next_ticket: 0,
        }
    }

    /// The plugin as a whole has room.
    fn fits(&self, demand: Demand) -> bool {
        // One call always fits when nothing is in flight, however large: its bound is that of the message.
        let bytes = self.taken == 0 || self.taken_bytes + demand.bytes <= MAX_IN_FLIGHT_BYTES;
        self.taken < self.max && bytes
    }

    fn is_capped(&self, handler: usize) -> bool {
        self.taken_by[handler] >= self.caps[handler]
    }

    fn take(&mut self, demand: Demand) {
        self.taken += 1;
        self.taken_bytes += demand.bytes;
        self.taken_by[demand.handler] += 1;
    }

    /// Takes a place, or puts the call into the queue.
    pub(crate) fn admit(&mut self, demand: Demand) -> Admission {
        // Whoever waits under its handler's cap waits for room, and is before everybody.
        let overtakes = self.waiting.iter().any(|waiting| !self.is_capped(waiting.demand.handler));
        if !overtakes && !self.is_capped(demand.handler) && self.fits(demand) {
            self.take(demand);
            return Admission::Now;
        }
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + demand.bytes > MAX_WAITING_BYTES {
            return Admission::Refused;
        }
        self.next_ticket += 1;
        self.waiting.push_back(Waiting { ticket: self.next_ticket, demand });
        self.waiting_bytes += demand.bytes;
        Admission::Wait(self.next_ticket)
    }

    /// Gives a place back and returns the tickets that have one now.
    pub(crate) fn release(&mut self, demand: Demand) -> Vec<u64> {
        self.taken -= 1;
        self.taken_bytes -= demand.bytes;
        self.taken_by[demand.handler] -= 1;
        self.promote()
    }

    /// Takes a call out of the queue that waits no more, and returns the tickets that have a place now.
    pub(crate) fn withdraw(&mut self, ticket: u64) -> Vec<u64> {
        let index = self.waiting.iter().position(|waiting| waiting.ticket == ticket);
        if let Some(waiting) = index.and_then(|index| self.waiting.remove(index)) {
            self.waiting_bytes -= waiting.demand.bytes;
        }
        self.promote()
    }

    /// Empties the queue.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn promote(&mut self) -> Vec<u64> {
        let mut granted = Vec::new();
        let mut index = 0;
        while let Some(Waiting { ticket, demand }) = self.waiting.get(index).copied() {
            if self.is_capped(demand.handler) {
                index += 1;
            } else if self.fits(demand) {
                self.take(demand);
                self.waiting_bytes -= demand.bytes;
                self.waiting.remove(index);
                granted.push(ticket);
            } else {
                break;
            }
        }
        granted
    }

    /// Not even a small call could wait.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.waiting_bytes >= MAX_WAITING_BYTES
    }

    /// Invocations in flight.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Calls that wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes in flight and waiting.
    pub(crate) fn bytes(&self) -> usize {
        self.taken_bytes + self.waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small(handler: usize) -> Demand {
        Demand { handler, bytes: 1 }
    }

    #[test]
    fn calls_wait_in_order() {
        let mut slots = Slots::new(1, vec![1]);
        assert_eq!(slots.admit(small(0)), Admission::Now);
        assert_eq!(slots.admit(small(0)), Admission::Wait(1));
        assert_eq!(slots.admit(small(0)), Admission::Wait(2));
        assert_eq!(slots.release(small(0)), [1]);
        assert_eq!(slots.release(small(0)), [2]);
        assert_eq!(slots.release(small(0)), [0; 0]);
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn a_full_handler_lets_others_pass() {
        let mut slots = Slots::new(2, vec![1, 1]);
        assert_eq!(slots.admit(small(0)), Admission::Now);
        assert_eq!(slots.admit(small(0)), Admission::Wait(1));
        assert_eq!(slots.admit(small(1)), Admission::Now);
        assert_eq!(slots.admit(small(1)), Admission::Wait(2));
        assert_eq!(slots.release(small(1)), [2]);
    }

    #[test]
    fn the_queue_has_its_bound() {
        let mut slots = Slots::new(1, vec![1]);
        assert_eq!(slots.admit(small(0)), Admission::Now);
        for ticket in 1..=MAX_WAITING as u64 {
            assert_eq!(slots.admit(small(0)), Admission::Wait(ticket));
        }
        assert_eq!(slots.admit(small(0)), Admission::Refused);
        slots.withdraw(7);
        slots.withdraw(7);
        assert!(matches!(slots.admit(small(0)), Admission::Wait(_)));
        assert_eq!(slots.admit(small(0)), Admission::Refused);
    }

    #[test]
    fn a_large_call_is_not_overtaken_by_small_ones() {
        let mut slots = Slots::new(64, vec![64, 64]);
        let large = Demand { handler: 0, bytes: MAX_IN_FLIGHT_BYTES / 2 + 1 };
        assert_eq!(slots.admit(large), Admission::Now);
        assert_eq!(slots.admit(large), Admission::Wait(1));
        assert_eq!(slots.admit(small(0)), Admission::Wait(2));
        assert_eq!(slots.admit(small(1)), Admission::Wait(3));
        assert_eq!(slots.release(large), [1, 2, 3]);
    }

    #[test]
    fn who_leaves_the_queue_lets_the_next_pass() {
        let mut slots = Slots::new(64, vec![64]);
        let large = Demand { handler: 0, bytes: MAX_IN_FLIGHT_BYTES / 2 + 1 };
        assert_eq!(slots.admit(large), Admission::Now);
        assert_eq!(slots.admit(large), Admission::Wait(1));
        assert_eq!(slots.admit(small(0)), Admission::Wait(2));
        assert_eq!(slots.withdraw(1), [2]);
    }

    #[test]
    fn bytes_have_their_bound() {
        let mut slots = Slots::new(64, vec![64]);
        let half = Demand { handler: 0, bytes: MAX_IN_FLIGHT_BYTES / 2 };
        assert_eq!(slots.admit(half), Admission::Now);
        assert_eq!(slots.admit(half), Admission::Now);
        assert_eq!(slots.admit(half), Admission::Wait(1));
        assert_eq!(slots.admit(half), Admission::Wait(2));
        assert_eq!(slots.admit(small(0)), Admission::Refused);
        assert_eq!(slots.release(half), [1]);
    }

    proptest! {
        /// Whatever comes and goes: no bound is passed, nothing is lost, and at the end nothing is taken.
        #[test]
        fn places_are_never_lost(steps in prop::collection::vec((0usize..3, 0u8..4), 1..200)) {
            let mut slots = Slots::new(4, vec![2, 4, 1]);
            let mut running: Vec<Demand> = Vec::new();
            let mut waiting: Vec<(u64, Demand)> = Vec::new();
            for (handler, action) in steps {
                let granted = match action {
                    0 | 1 => {
                        match slots.admit(small(handler)) {
                            Admission::Now => running.push(small(handler)),
                            Admission::Wait(ticket) => waiting.push((ticket, small(handler))),
                            Admission::Refused => {}
                        }
                        Vec::new()
                    }
                    2 if !running.is_empty() => slots.release(running.remove(0)),
                    _ if !waiting.is_empty() => {
                        let (ticket, _) = waiting.remove(0);
                        slots.withdraw(ticket)
                    }
                    _ => Vec::new(),
                };
                for ticket in granted {
                    let index = waiting.iter().position(|(waits, _)| *waits == ticket);
                    prop_assert!(index.is_some());
                    if let Some(index) = index {
                        running.push(waiting.remove(index).1);
                    }
                }
                prop_assert_eq!(slots.taken(), running.len());
                prop_assert_eq!(slots.waiting(), waiting.len());
                prop_assert!(slots.taken() <= 4);
                // Nobody waits who could run.
                let caps = [2, 4, 1];
                let capped = |handler: usize| running.iter().filter(|demand| demand.handler == handler).count() >= caps[handler];
                prop_assert!(running.len() == 4 || waiting.iter().all(|(_, demand)| capped(demand.handler)));
            }
        }
    }
}
