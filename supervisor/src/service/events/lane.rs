//! One open stream of one subscriber: what waits for it, what it was sent and has not acknowledged, what it missed.
//!
//! Pure: no task, no clock, no lock. The publisher pushes and never waits; where the queue is full the oldest event gives
//! way and is counted. Whoever reads the stream takes bursts, as far as credits go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use outrigger_proto::plugin::v1::GapReason;

use super::event::{Event, Form};
use super::filter::Filter;
use super::gap::Gap;
use super::ring::Ring;
use crate::domain::ids::Generation;

/// Events that may wait for one subscriber (architecture §14).
pub(crate) const MAX_QUEUE: usize = 1024;
/// Bytes that may wait, but never less than one event (architecture §14).
pub(crate) const MAX_QUEUE_BYTES: usize = 1024 * 1024;
/// Events of one message.
pub(crate) const MAX_BURST: usize = 64;
/// A message with so many bytes of events takes no more.
const FULL: usize = 64 * 1024;

/// Where a stream wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// After what the plugin acknowledged last.
    Cursor,
    /// After this number.
    After(u64),
    /// After a place of another start of the supervisor.
    OtherEpoch,
}

/// What a stream is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    /// Events that may be unacknowledged; 0: none need be.
    pub(crate) credits: usize,
    /// Bytes that may be unacknowledged, but never less than one event.
    pub(crate) credit_bytes: usize,
    pub(crate) resume: Resume,
    pub(crate) filter: Filter,
}

/// What the ring has for a stream that began behind the newest event.
#[derive(Debug, Clone, Copy)]
struct Replay {
    next: u64,
    until: u64,
}

/// An event to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) event: Arc<Event>,
    pub(crate) form: Form,
    /// Set by the bus, which knows what earlier generations were sent.
    pub(crate) redelivered: bool,
    /// Ids of the subscriptions that match, where there are several.
    pub(crate) subscriptions: Vec<String>,
}

/// One message.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// Set in the first message.
    pub(crate) begins_after: Option<u64>,
    pub(crate) gap: Option<Gap>,
    pub(crate) events: Vec<Ready>,
    bytes: usize,
}

impl Burst {
    pub(crate) fn is_empty(&self) -> bool {
        self.begins_after.is_none() && self.gap.is_none() && self.events.is_empty()
    }

    fn is_full(&self) -> bool {
        self.events.len() >= MAX_BURST || self.bytes >= FULL
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Number of the stream.
    pub(crate) number: u64,
    pub(crate) generation: Generation,
    pub(crate) opening: Opening,
    pub(crate) waker: Option<Waker>,
    begun: bool,
    begins_after: Option<u64>,
    /// Later events are another generation's.
    until: Option<u64>,
    replay: Option<Replay>,
    /// What the ring lost before the replay came to it.
    lost: Option<Gap>,
    queue: VecDeque<(Arc<Event>, Form)>,
    queue_bytes: usize,
    /// What gave way before the queue's front.
    overflow: Option<Gap>,
    /// Sent and not acknowledged: numbers and bytes.
    unacked: VecDeque<(u64, usize)>,
    unacked_bytes: usize,
    /// Highest number sent.
    pub(crate) sent: u64,
}

impl Lane {
    pub(crate) fn new(number: u64, generation: Generation, opening: Opening) -> Self {
        Self {
            number,
            generation,
            opening,
            waker: None,
            begun: false,
            begins_after: None,
            until: None,
            replay: None,
            lost: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            overflow: None,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            sent: 0,
        }
    }

    /// Begins after a number; `last` is the newest.
    pub(crate) fn begin(&mut self, after: u64, last: u64, gap: Option<Gap>) {
        self.begun = true;
        self.begins_after = Some(after);
        self.lost = gap;
        self.replay = (after < last).then_some(Replay { next: after + 1, until: last });
        self.wake();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Later events than `last` are another generation's. The first time counts; the number that does.
    pub(crate) fn hand_over(&mut self, last: u64) -> u64 {
        let until = *self.until.get_or_insert(last);
        self.wake();
        until
    }

    /// The number after which another generation has the events.
    pub(crate) fn handed_over_at(&self) -> Option<u64> {
        self.until
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The same, unless what waits needs more than new events to be sent.
    pub(crate) fn wake_for_events(&mut self) {
        let can_be_sent = |(event, form): &(Arc<Event>, Form)| self.has_credit(event.bytes(*form).len());
        if self.replay.is_none() && self.queue.front().is_some_and(can_be_sent) {
            self.wake();
        }
    }

    /// Takes a new event in, if it is one for this stream; whoever reads is woken apart. How many gave way for it.
    pub(crate) fn push(&mut self, event: &Arc<Event>) -> u64 {
        if !self.begun || self.until.is_some() {
            return 0;
        }
        let Some(form) = self.opening.filter.form(event) else { return 0 };
        self.queue_bytes += event.cost();
        self.queue.push_back((Arc::clone(event), form));
        let mut dropped = 0;
        while self.queue.len() > 1
            && (self.queue.len() > MAX_QUEUE || self.queue_bytes > MAX_QUEUE_BYTES)
            && let Some((oldest, _)) = self.queue.pop_front()
        {
            self.queue_bytes -= oldest.cost();
            Gap::add(&mut self.overflow, oldest.seq, GapReason::SlowSubscriber);
            dropped += 1;
        }
        dropped
    }

    /// The ring drops an event. True where it is lost for this stream.
    pub(crate) fn forget(&mut self, event: &Event) -> bool {
        let waits = self.replay.is_some_and(|replay| (replay.next..=replay.until).contains(&event.seq));
        let lost = waits && self.opening.filter.form(event).is_some();
        if lost {
            Gap::add(&mut self.lost, event.seq, GapReason::RingOverwritten);
        }
        lost
    }

    fn has_credit(&self, bytes: usize) -> bool {
        self.opening.credits == 0
            || self.unacked.is_empty()
            || (self.unacked.len() < self.opening.credits && self.unacked_bytes + bytes <= self.opening.credit_bytes)
    }

    fn send(&mut self, burst: &mut Burst, event: Arc<Event>, form: Form) {
        let bytes = event.bytes(form).len();
        self.sent = self.sent.max(event.seq);
        if self.opening.credits > 0 {
            self.unacked.push_back((event.seq, bytes));
            self.unacked_bytes += bytes;
        }
        burst.bytes += bytes;
        let subscriptions = self.opening.filter.matching(&event);
        burst.events.push(Ready { event, form, redelivered: false, subscriptions });
    }

    /// Takes what can be sent now in one message. A gap waits for the event behind it, as long as more can come: a
    /// subscriber without credit is so told once and not again and again.
    pub(crate) fn take(&mut self, ring: &Ring) -> Burst {
        let mut burst = Burst::default();
        if !self.begun {
            return burst;
        }
        burst.begins_after = self.begins_after.take();
        burst.events.reserve(self.queue.len().min(MAX_BURST));
        self.take_replay(ring, &mut burst);
        if self.replay.is_none() {
            self.take_queue(&mut burst);
        }
        if burst.begins_after.is_some() || self.until.is_some() {
            burst.gap = burst.gap.or_else(|| self.lost.take());
        }
        burst
    }

    fn take_replay(&mut self, ring: &Ring, burst: &mut Burst) {
        let Some(mut replay) = self.replay else { return };
        for event in ring.from(replay.next) {
            if event.seq > replay.until || burst.is_full() {
                break;
            }
            if let Some(form) = self.opening.filter.form(event) {
                if !self.has_credit(event.bytes(form).len()) {
                    replay.next = event.seq;
                    self.replay = Some(replay);
                    return;
                }
                burst.gap = burst.gap.or_else(|| self.lost.take());
                self.send(burst, Arc::clone(event), form);
            }
            replay.next = event.seq + 1;
        }
        self.replay = (replay.next <= replay.until && burst.is_full()).then_some(replay);
    }

    fn take_queue(&mut self, burst: &mut Burst) {
        // What is lost here lies behind what the message has already.
        if (self.lost.is_some() || self.overflow.is_some()) && !burst.events.is_empty() {
            return;
        }
        while !burst.is_full()
            && let Some((event, form)) = self.queue.front()
            && self.has_credit(event.bytes(*form).len())
        {
            if let Some(gap) = self.lost.take() {
                burst.gap = Some(gap);
                if self.overflow.is_some() {
                    return;
                }
            }
            burst.gap = burst.gap.or_else(|| self.overflow.take());
            if let Some((event, form)) = self.queue.pop_front() {
                self.queue_bytes -= event.cost();
                self.send(burst, event, form);
            }
        }
    }

    /// All events up to this number are done.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        while let Some((_, bytes)) = self.unacked.pop_front_if(|(first, _)| *first <= seq) {
            self.unacked_bytes -= bytes;
        }
        self.wake();
    }

    /// Everything that is its own has been sent: another generation has what comes.
    pub(crate) fn is_finished(&self) -> bool {
        let nothing_waits = self.replay.is_none() && self.queue.is_empty() && self.lost.is_none();
        self.until.is_some() && (!self.begun || (nothing_waits && self.begins_after.is_none()))
    }

    /// Everything that is its own has been sent and acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.is_finished() && self.unacked.is_empty()
    }

    /// Numbers sent and not acknowledged.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = u64> {
        self.unacked.iter().map(|(seq, _)| *seq)
    }
}
