//! The pace of publishing: others get their turn often, readers are woken seldom.

use std::sync::Arc;

use super::bus::Bus;

/// Events after which others get their turn: hook calls wait for so many.
const TURN: u64 = 8;
/// Events after which readers are woken: a burst costs a reader's connection little more than one event does.
const BURST: u64 = 64;

/// Keeps the pace of one who publishes with [`Bus::lay`]. Readers are woken at last when it is dropped.
pub(crate) struct Pace {
    bus: Arc<Bus>,
    events: u64,
}

impl Pace {
    pub(crate) fn new(bus: Arc<Bus>) -> Self {
        Self { bus, events: 0 }
    }

    /// To be called after every event. Cancel safe.
    pub(crate) async fn step(&mut self) {
        self.events += 1;
        if self.events.is_multiple_of(BURST) {
            self.bus.wake();
        }
        if self.events.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }

    /// No event may come for a while.
    pub(crate) fn rest(&self) {
        self.bus.wake();
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.bus.wake();
    }
}
