//! The host's side of agent events: a log of what was published, and the plugin's stream over it.

use outrigger_proto::plugin::v1::{
    EventDelivery, EventGap, EventsRequest, EventsResponse, GapReason, SubscriptionRegistration,
};
use outrigger_proto::types::v1::{AgentEvent, ErrorReason};
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::error_info;

/// Events published to the plugin, and its stream. Bounded by what the test publishes.
#[derive(Default)]
pub(super) struct Events {
    /// The plugin's subscriptions that were accepted. `None`: it is not registered yet.
    pub(super) subscriptions: Option<Vec<SubscriptionRegistration>>,
    log: Vec<Entry>,
    seq: u64,
    stream: Option<Stream>,
    streams: u64,
    acknowledged: u64,
    /// Every request to open the stream, oldest first.
    pub(super) requests: Vec<EventsRequest>,
}

/// An event that matches, or a number whose event is gone.
struct Entry {
    seq: u64,
    delivery: Option<EventDelivery>,
    /// The stream whose queue was full when it came. 0: none.
    missed_by: u64,
}

struct Stream {
    sender: mpsc::UnboundedSender<Result<EventsResponse, Status>>,
    /// Place in the log of what it sends next.
    next: usize,
    /// Its first place, and the number after which it begins.
    first: usize,
    begins_after: u64,
    credits: usize,
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    /// The plugin's queue is full; the ring has it.
    Missed,
    /// The ring does not have it any more.
    Gone,
}

impl Events {
    /// Gives an event a number, and sends it if the plugin has a subscription that it matches.
    pub(super) fn publish(&mut self, event: AgentEvent, redelivered: bool, fate: Fate) -> u64 {
        self.seq += 1;
        let subscriptions = self.subscriptions.as_deref().unwrap_or_default();
        let matching: Vec<_> = subscriptions.iter().filter(|item| matches(item, &event)).collect();
        if matching.is_empty() {
            return self.seq;
        }
        let all = subscriptions.len();
        let ids = matching.iter().filter(|_| all > 1).map(|item| item.subscription_id.clone());
        let delivery = EventDelivery {
            seq: self.seq,
            session_handle: handle("session", &event.session_key),
            run_handle: handle("run", &event.run_id),
            subscription_ids: ids.collect(),
            event: Some(event),
            redelivered,
        };
        let missed_by = if fate == Fate::Missed { self.streams } else { 0 };
        let delivery = (fate != Fate::Gone).then_some(delivery);
        self.log.push(Entry { seq: self.seq, delivery, missed_by });
        self.pump();
        self.seq
    }

    /// Opens the plugin's stream.
    pub(super) fn open(
        &mut self,
        request: EventsRequest,
        epoch: u64,
    ) -> Result<mpsc::UnboundedReceiver<Result<EventsResponse, Status>>, Status> {
        let refused = |reason, message| error_info::status(Code::FailedPrecondition, reason, message);
        match self.subscriptions.as_deref() {
            None => return Err(refused(ErrorReason::SessionNotOpen, "the plugin is not registered")),
            Some([]) => return Err(refused(ErrorReason::HandlerUnknown, "the plugin has no subscription")),
            Some(_) => {}
        }
        if request.credits > 1_024 {
            let message = "more than 1,024 credits";
            return Err(error_info::status(Code::InvalidArgument, ErrorReason::FieldInvalid, message));
        }
        if let Some(old) = self.stream.take() {
            let message = "another stream was opened";
            let _ = old.sender.send(Err(error_info::status(Code::Aborted, ErrorReason::StreamReplaced, message)));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut first = EventsResponse::default();
        let begins_after = match request.resume_after {
            None => self.acknowledged,
            Some(cursor) if cursor.epoch == epoch => cursor.seq,
            Some(_) => {
                first.gap = Some(EventGap { reason: GapReason::EpochChanged.into(), ..Default::default() });
                self.acknowledged
            }
        };
        first.begins_after_seq = begins_after;
        let _ = sender.send(Ok(first));
        let next = self.log.partition_point(|entry| entry.seq <= begins_after);
        let credits = if request.credits == 0 { usize::MAX } else { request.credits as usize };
        self.requests.push(request);
        self.streams += 1;
        self.stream = Some(Stream { sender, next, first: next, begins_after, credits });
        self.pump();
        Ok(receiver)
    }

    /// Takes an acknowledgement.
    ///
    /// # Errors
    /// The number was not sent yet.
    pub(super) fn acknowledge(&mut self, seq: u64) -> Result<(), String> {
        let sent = self.stream.as_ref().map_or(0, |stream| {
            stream.next.checked_sub(1).and_then(|at| self.log.get(at)).map_or(0, |entry| entry.seq)
        });
        if seq > sent.max(self.acknowledged) {
            return Err(format!("event {seq} was acknowledged and not yet sent"));
        }
        self.acknowledged = self.acknowledged.max(seq);
        self.pump();
        Ok(())
    }

    /// The highest number acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The number of the last event for the plugin. 0: there was none.
    pub(super) fn last(&self) -> u64 {
        let mut sent = self.log.iter().rev().filter(|entry| entry.delivery.is_some() && entry.missed_by == 0);
        sent.next().map_or(0, |entry| entry.seq)
    }

    /// The stream acknowledges.
    pub(super) fn acknowledges(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.credits < usize::MAX)
    }

    /// Ends the stream: with a status, or in order.
    pub(super) fn end(&mut self, status: Option<Status>) {
        if let (Some(stream), Some(status)) = (self.stream.take(), status) {
            let _ = stream.sender.send(Err(status));
        }
    }

    /// Sends what the credits allow.
    fn pump(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let done = stream.begins_after.max(self.acknowledged);
        let sent = self.log.get(stream.first..stream.next).unwrap_or_default();
        let mut open = sent.iter().filter(|entry| entry.delivery.is_some() && entry.seq > done).count();
        let mut message = EventsResponse::default();
        while let Some(entry) = self.log.get(stream.next) {
            match &entry.delivery {
                Some(delivery) if entry.missed_by != self.streams => {
                    if open >= stream.credits {
                        break;
                    }
                    open += 1;
                    message.events.push(delivery.clone());
                    let _ = stream.sender.send(Ok(std::mem::take(&mut message)));
                }
                kept => {
                    let gap = message.gap.get_or_insert_with(|| EventGap { from_seq: entry.seq, ..Default::default() });
                    gap.to_seq = entry.seq;
                    gap.count += 1;
                    let reason = if kept.is_some() { GapReason::SlowSubscriber } else { GapReason::RingOverwritten };
                    gap.set_reason(reason);
                }
            }
            stream.next += 1;
        }
        if message.gap.is_some() {
            let _ = stream.sender.send(Ok(message));
        }
    }
}

fn matches(item: &SubscriptionRegistration, event: &AgentEvent) -> bool {
    let listed = |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|name| name == wanted);
    listed(&item.streams, &event.stream) && listed(&item.agent_ids, &event.agent_id)
}

/// The plugin's handle for something by its name.
fn handle(kind: &str, name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{kind}-handle-of-{name}") }
}
