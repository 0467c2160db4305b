//! Who follows the ring: operators, and runtimes that want what plugins emit. Each has a place in it and nothing else, so
//! a slow reader costs nothing and loses the oldest.

use std::collections::BTreeSet;
use std::sync::Arc;

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::types::v1 as types;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::bus::Bus;
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

/// Sends what is published from now on until nobody reads any more.
pub(crate) fn follow(
    bus: Arc<Bus>,
    filter: WatchFilter,
    sender: mpsc::Sender<Result<admin::WatchEventsResponse, Status>>,
) -> impl Future<Output = ()> + Send {
    let newest = bus.newest();
    let from = bus.last_seq() + 1;
    follow_from(bus, filter, sender, newest, from)
}

async fn follow_from(
    bus: Arc<Bus>,
    filter: WatchFilter,
    sender: mpsc::Sender<Result<admin::WatchEventsResponse, Status>>,
    mut newest: watch::Receiver<u64>,
    mut from: u64,
) {
    let mut dropped = 0;
    loop {
        newest.mark_unchanged();
        let read = bus.read(from, MAX_EVENTS, FULL, |event| filter.wants(event));
        dropped += read.lost;
        from = read.next;
        if let Some(last) = read.events.last() {
            let response = admin::WatchEventsResponse {
                events: read.events.iter().map(|event| decoded(event)).collect(),
                last_event_seq: last.seq,
                dropped: std::mem::take(&mut dropped),
            };
            if sender.send(Ok(response)).await.is_err() {
                return;
            }
        } else if from > bus.last_seq() {
            tokio::select! {
                () = sender.closed() => return,
                changed = newest.changed() => if changed.is_err() { return },
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
