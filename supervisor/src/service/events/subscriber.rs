//! One plugin as the bus knows it, over all its generations: its cursor, its streams, and what came to nothing.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use outrigger_proto::plugin::v1::GapReason;
use tokio::sync::oneshot;

use super::emit::Budget;
use super::event::Event;
use super::filter::{Filter, Subscription};
use super::gap::Gap;
use super::lane::{Burst, Lane, Opening, Resume};
use super::ring::Ring;
use crate::domain::ids::Generation;

/// Whether a generation may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It serves.
    Current,
    /// It does not serve yet.
    Pending,
    /// Another has taken over.
    Stale,
}

/// A plugin.
#[derive(Default)]
pub(crate) struct Subscriber {
    /// It runs, or will again by itself: runs wait for it to settle.
    present: bool,
    serving: Option<Generation>,
    /// Highest generation that ever served.
    newest: Generation,
    /// What the generation that served last registered.
    registered: Option<Filter>,
    /// All up to here is done. `None`: no stream was ever opened.
    cursor: Option<u64>,
    /// Streams, oldest first: at most one of each generation that is there.
    lanes: Vec<Lane>,
    /// Highest number sent to each generation that is there, in whatever stream.
    sent: BTreeMap<Generation, u64>,
    /// Sent to a generation that ended, and not acknowledged.
    resend: BTreeMap<u64, Generation>,
    /// Behind the cursor and out of the ring.
    lost: Option<Gap>,
    /// Who waits until all up to a number is done.
    waiters: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    /// Events that gave way since the supervisor's start.
    pub(crate) dropped: u64,
    /// Emissions it may make now.
    pub(crate) budget: Budget,
    /// Emissions refused for their rate.
    pub(crate) refused: u64,
}

/// Why a stream is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Another generation has taken over.
    Stale,
    /// The place is in the future.
    NotYet,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All that was its own was sent, or its session has ended.
    Done,
    /// Another stream of the same generation took its place.
    Replaced,
}

impl Subscriber {
    /// Whether the generation may write.
    pub(crate) fn standing(&self, generation: Generation) -> Standing {
        if self.serving == Some(generation) {
            Standing::Current
        } else if generation > self.newest {
            Standing::Pending
        } else {
            Standing::Stale
        }
    }

    /// A generation serves from now on: what comes is its own, what was published is that of those before it.
    pub(crate) fn serve(&mut self, generation: Generation, registered: Filter, ring: &Ring, last: u64) {
        self.serving = Some(generation);
        self.newest = self.newest.max(generation);
        self.registered = Some(registered);
        for lane in self.lanes.iter_mut().filter(|lane| lane.generation != generation) {
            lane.hand_over(last);
        }
        self.advance(ring, last);
    }

    /// What a draining generation still gets: up to which number. 0: nothing, it has no stream.
    pub(crate) fn hand_over(&mut self, generation: Generation, ring: &Ring, last: u64) -> u64 {
        if self.serving == Some(generation) {
            self.serving = None;
        }
        let until = self.lanes.iter_mut().find(|lane| lane.generation == generation && lane.has_begun());
        let until = until.map_or(0, |lane| lane.hand_over(last));
        self.advance(ring, last);
        until
    }

    /// Whether it runs, or will again by itself.
    pub(crate) fn set_present(&mut self, present: bool) {
        self.present = present;
        if !present {
            self.waiters.clear();
        }
    }

    /// What it registered, while somebody could read it.
    pub(crate) fn wants(&self) -> &[Subscription] {
        match &self.registered {
            Some(filter) if self.present => &filter.subscriptions,
            _ => &[],
        }
    }

    /// The session of a generation has ended.
    pub(crate) fn end(&mut self, generation: Generation, ring: &Ring, last: u64) {
        while let Some(place) = self.lanes.iter().position(|lane| lane.generation == generation) {
            self.discard(place);
        }
        self.sent.remove(&generation);
        self.advance(ring, last);
    }

    /// Opens a stream; another of the same generation ends.
    pub(crate) fn open(
        &mut self,
        number: u64,
        generation: Generation,
        opening: Opening,
        ring: &Ring,
        last: u64,
    ) -> Result<(), OpenError> {
        if self.standing(generation) == Standing::Stale {
            return Err(OpenError::Stale);
        }
        if matches!(opening.resume, Resume::After(seq) if seq > last) {
            return Err(OpenError::NotYet);
        }
        while let Some(place) = self.lanes.iter().position(|lane| lane.generation == generation) {
            self.discard(place);
        }
        self.sent.entry(generation).or_default();
        self.lanes.push(Lane::new(number, generation, opening));
        self.advance(ring, last);
        Ok(())
    }

    /// Nobody reads the stream any more. What was sent of one that was handed over may still be acknowledged.
    pub(crate) fn close(&mut self, number: u64, ring: &Ring, last: u64) {
        if let Some(place) = self.lanes.iter().position(|lane| lane.number == number)
            && !self.lanes[place].is_finished()
        {
            self.discard(place);
            self.advance(ring, last);
        }
    }

    fn discard(&mut self, place: usize) {
        let mut lane = self.lanes.remove(place);
        self.resend.extend(lane.unacknowledged().map(|seq| (seq, lane.generation)));
        lane.wake();
    }

    /// Lets go of streams that are done, and lets the serving generation's begin when none before it is left.
    fn advance(&mut self, ring: &Ring, last: u64) {
        while let Some(place) = self.lanes.iter().position(Lane::is_done) {
            let mut lane = self.lanes.remove(place);
            lane.wake();
            if let Some(until) = lane.handed_over_at().filter(|_| lane.has_begun()) {
                self.done_up_to(until);
            }
        }
        // What an earlier generation has in its hands comes first: it may have to be sent again.
        if self.lanes.iter().any(|lane| lane.handed_over_at().is_some()) {
            return;
        }
        let serving = self.serving;
        let waits = |lane: &&mut Lane| Some(lane.generation) == serving && !lane.has_begun();
        let Some(lane) = self.lanes.iter_mut().find(waits) else { return };
        let first = ring.first().unwrap_or(last + 1);
        let (after, gap) = match (lane.opening.resume, self.cursor) {
            (Resume::Cursor, Some(cursor)) => (cursor, self.lost),
            (Resume::Cursor, None) => (last, None),
            (Resume::After(seq), _) => (seq, (seq + 1 < first).then(|| Gap::overwritten(seq + 1, first - 1))),
            (Resume::OtherEpoch, _) => (first - 1, Some(Gap::of_another_epoch())),
        };
        self.cursor.get_or_insert(after);
        self.lost = None;
        lane.begin(after, last, gap);
    }

    /// What can be sent on a stream of a generation now.
    pub(crate) fn poll(
        &mut self,
        generation: Generation,
        number: u64,
        ring: &Ring,
        cx: &Context<'_>,
    ) -> Poll<Result<Burst, Ended>> {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.number == number) else {
            let replaced = self.lanes.iter().any(|lane| lane.generation == generation);
            return Poll::Ready(Err(if replaced { Ended::Replaced } else { Ended::Done }));
        };
        let mut burst = lane.take(ring);
        let forgets = lane.opening.credits == 0;
        if burst.is_empty() {
            if lane.is_finished() {
                return Poll::Ready(Err(Ended::Done));
            }
            lane.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let sent = self.sent.entry(generation).or_default();
        *sent = lane.sent.max(*sent);
        for ready in &mut burst.events {
            ready.redelivered = self.resend.get(&ready.event.seq).is_some_and(|before| *before != generation);
        }
        if forgets && let Some(last) = burst.events.last() {
            self.done_up_to(last.event.seq);
        }
        Poll::Ready(Ok(burst))
    }

    /// All up to a number is done. False where that was not sent.
    pub(crate) fn acknowledge(&mut self, generation: Generation, seq: u64, ring: &Ring, last: u64) -> bool {
        if self.sent.get(&generation).is_none_or(|sent| seq > *sent) {
            return false;
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.generation == generation) {
            lane.acknowledge(seq);
        }
        self.done_up_to(seq);
        self.advance(ring, last);
        true
    }

    fn done_up_to(&mut self, seq: u64) {
        let cursor = self.cursor.get_or_insert(seq);
        *cursor = seq.max(*cursor);
        let behind = *cursor + 1;
        self.resend = self.resend.split_off(&behind);
        self.lost = self.lost.and_then(|gap| gap.after(*cursor));
        let waiting = self.waiters.split_off(&behind);
        for waiter in std::mem::replace(&mut self.waiters, waiting).into_values().flatten() {
            // Whoever waited may have gone.
            let _ = waiter.send(());
        }
    }

    /// Takes a new event in.
    pub(crate) fn push(&mut self, event: &std::sync::Arc<Event>) {
        for lane in &mut self.lanes {
            self.dropped += lane.push(event);
        }
    }

    /// Wakes whoever reads a stream for which there is something.
    pub(crate) fn wake(&mut self) {
        self.lanes.iter_mut().for_each(Lane::wake_for_events);
    }

    /// The ring drops an event.
    pub(crate) fn forget(&mut self, event: &Event) {
        let mut lost = false;
        for lane in &mut self.lanes {
            lost |= lane.forget(event);
        }
        if self.cursor.is_some_and(|cursor| event.seq > cursor) && self.matches(event) {
            Gap::add(&mut self.lost, event.seq, GapReason::RingOverwritten);
            // What a stream holds in its queue is not lost yet.
            lost |= self.lanes.is_empty();
        }
        self.dropped += u64::from(lost);
        self.resend.remove(&event.seq);
    }

    fn matches(&self, event: &Event) -> bool {
        let filter = self.lanes.last().map(|lane| &lane.opening.filter).or(self.registered.as_ref());
        filter.is_some_and(|filter| filter.form(event).is_some())
    }

    fn pending<'a>(&'a self, ring: &'a Ring) -> impl DoubleEndedIterator<Item = &'a Event> {
        let from = self.cursor.map_or(u64::MAX, |cursor| cursor + 1);
        ring.from(from).map(|event| &**event).filter(|event| self.matches(event))
    }

    /// Events published for it that it has not acknowledged.
    pub(crate) fn lag(&self, ring: &Ring) -> u64 {
        self.pending(ring).count() as u64 + self.lost.map_or(0, |gap| gap.count)
    }

    /// Says when everything of a run up to a number is done; at once where nothing is outstanding.
    pub(crate) fn settled(&mut self, ring: &Ring, runtime: &str, run: &str, seq: u64) -> Option<oneshot::Receiver<()>> {
        if !self.present {
            return None;
        }
        let newest = self.pending(ring).rev().find(|event| event.seq <= seq && event.is_of(runtime, run))?.seq;
        let (told, waiter) = oneshot::channel();
        self.waiters.entry(newest).or_default().push(told);
        Some(waiter)
    }
}
