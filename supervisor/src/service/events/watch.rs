//! Who follows the ring: operators, and runtimes that want what plugins emit. Each has a place in it and nothing else, so
//! a slow reader costs nothing and loses the oldest.

use std::collections::BTreeSet;
use std::sync::Arc;

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::types::v1 as types;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::bus::{Bus, Watching};
use super::event::Event;

/// Events of one message.
const MAX_EVENTS: usize = 64;
/// Bytes of events of one message: with one of the longest it stays below the bound on messages.
const FULL: usize = 256 * 1024;

/// What an operator wants to see.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchFilter {
    /// None: all.
    pub(crate) streams: BTreeSet<String>,
    /// Empty: of all.
    pub(crate) runtime_id: String,
    /// Empty: of all.
    pub(crate) session_key: String,
    /// Empty: of all.
    pub(crate) run_id: String,
}

impl WatchFilter {
    fn wants(&self, event: &Event) -> bool {
        let is = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
        (self.streams.is_empty() || self.streams.contains(&event.stream))
            && is(&self.runtime_id, &event.runtime_id)
            && is(&self.session_key, &event.session.key)
            && is(&self.run_id, &event.run_id)
    }
}

fn decoded(event: &Event) -> types::AgentEvent {
    // It was encoded here.
    types::AgentEvent::decode(event.full.clone()).unwrap_or_default()
}

/// A place in the ring from which somebody reads.
pub(crate) struct Follow {
    bus: Arc<Bus>,
    filter: WatchFilter,
    newest: watch::Receiver<u64>,
    from: u64,
    /// The last number wanted. `None`: it goes on with what comes.
    until: Option<u64>,
    _watching: Option<Watching>,
}

impl Follow {
    /// Begins with so many of the newest events, and goes on with what comes unless it ends with those.
    pub(crate) fn new(bus: &Arc<Bus>, filter: WatchFilter, recent: usize, until_now: bool) -> Self {
        let newest = bus.newest();
        Self {
            from: bus.newest_of(recent, |event| filter.wants(event)),
            until: until_now.then(|| bus.last_seq()),
            _watching: (!until_now).then(|| bus.watch(filter.streams.clone())),
            bus: Arc::clone(bus),
            filter,
            newest,
        }
    }

    /// Sends until nobody reads any more.
    pub(crate) async fn run(mut self, sender: mpsc::Sender<Result<admin::WatchEventsResponse, Status>>) {
        let mut dropped = 0;
        loop {
            self.newest.mark_unchanged();
            let until = self.until.unwrap_or(u64::MAX);
            let wanted = |event: &Event| event.seq <= until && self.filter.wants(event);
            let read = self.bus.read(self.from, MAX_EVENTS, FULL, wanted);
            dropped += read.lost;
            self.from = read.next;
            if let Some(last) = read.events.last() {
                let response = admin::WatchEventsResponse {
                    events: read.events.iter().map(|event| decoded(event)).collect(),
                    last_event_seq: last.seq,
                    dropped: std::mem::take(&mut dropped),
                };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            if self.from > until {
                return;
            }
            if self.from > self.bus.last_seq() {
                tokio::select! {
                    () = sender.closed() => return,
                    changed = self.newest.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

/// What plugins emitted for runs of a runtime since a number, and where to go on.
pub(crate) fn emitted(bus: &Bus, runtime: &str, from: u64) -> (Vec<types::AgentEvent>, u64) {
    let of_it = |event: &Event| !event.plugin_id.is_empty() && *event.runtime_id == *runtime;
    let read = bus.read(from, MAX_EVENTS, FULL, of_it);
    (read.events.iter().map(|event| decoded(event)).collect(), read.next)
}
