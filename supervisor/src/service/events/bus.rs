//! The bus: gives each event its number, keeps the newest, and lays it before every subscriber. Nothing here waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use outrigger_proto::types::v1 as types;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::event::Event;
use super::filter::Filter;
use super::lane::{Burst, Opening};
use super::ring::Ring;
use super::subscriber::{Ended, OpenError, Standing, Subscriber};
use crate::domain::ids::{Generation, PluginId};

/// The bus of one supervisor.
pub(crate) struct Bus {
    epoch: u64,
    state: Mutex<State>,
    /// Number of the newest event, for who follows the ring.
    newest: watch::Sender<u64>,
    /// Streams that plugins want.
    wanted: watch::Sender<Wanted>,
}

#[derive(Default)]
struct State {
    last: u64,
    opened: u64,
    ring: Ring,
    subscribers: BTreeMap<PluginId, Subscriber>,
    /// Streams that operators watch, by the number of the watch; none: all.
    watches: BTreeMap<u64, BTreeSet<String>>,
}

/// Streams that plugins want, and operators who watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Somebody wants every stream.
    pub(crate) all: bool,
    pub(crate) streams: BTreeSet<String>,
}

/// How one subscriber fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events published for it that it has not acknowledged.
    pub(crate) lag: u64,
    /// Events that it will never get, since the supervisor's start.
    pub(crate) dropped: u64,
    /// Its emissions that were refused for their rate.
    pub(crate) refused: u64,
}

/// What somebody who follows the ring reads.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) events: Vec<Arc<Event>>,
    /// Where to go on.
    pub(crate) next: u64,
    /// Events of any kind that the ring lost before these.
    pub(crate) lost: u64,
}

impl Bus {
    /// A bus without events. The epoch tells this start of the supervisor from others.
    pub(crate) fn new(epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            state: Mutex::default(),
            newest: watch::channel(0).0,
            wanted: watch::channel(Wanted::default()).0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch of all numbers.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Number of the newest event; 0: there was none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.lock().last
    }

    /// Numbers an event and lays it before everybody; its number.
    pub(crate) fn publish(
        &self,
        runtime_id: &Arc<str>,
        run_id: &Arc<str>,
        session: &Arc<types::SessionRef>,
        event: &types::AgentEvent,
    ) -> u64 {
        let seq = self.lay(runtime_id, run_id, session, event);
        self.wake();
        seq
    }

    /// The same for one of many: who reads is not woken before [`Self::wake`].
    pub(crate) fn lay(
        &self,
        runtime_id: &Arc<str>,
        run_id: &Arc<str>,
        session: &Arc<types::SessionRef>,
        event: &types::AgentEvent,
    ) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let State { last, ring, subscribers, .. } = &mut *state;
        let event = Event::new(*last, Arc::clone(runtime_id), Arc::clone(run_id), Arc::clone(session), event);
        let event = Arc::new(event);
        let gone = ring.push(Arc::clone(&event));
        for subscriber in subscribers.values_mut() {
            gone.iter().for_each(|event| subscriber.forget(event));
            subscriber.push(&event);
        }
        let seq = *last;
        drop(state);
        if self.newest.receiver_count() > 0 {
            self.newest.send_replace(seq);
        }
        seq
    }

    /// Wakes whoever can be sent something.
    pub(crate) fn wake(&self) {
        self.lock().subscribers.values_mut().for_each(Subscriber::wake);
    }

    /// Adds a configured plugin.
    pub(crate) fn add(&self, plugin: &PluginId) {
        self.lock().subscribers.entry(plugin.clone()).or_default();
    }

    /// A plugin of this id is configured.
    pub(crate) fn knows(&self, plugin: &str) -> bool {
        self.lock().subscribers.keys().any(|known| known.as_str() == plugin)
    }

    fn with<T>(&self, plugin: &PluginId, change: impl FnOnce(&mut Subscriber, &Ring, u64) -> T) -> T {
        let mut state = self.lock();
        let State { last, ring, subscribers, .. } = &mut *state;
        change(subscribers.entry(plugin.clone()).or_default(), ring, *last)
    }

    fn tell_wanted(&self) {
        let mut wanted = Wanted::default();
        let state = self.lock();
        let subscribed = state.subscribers.values().flat_map(Subscriber::wants);
        for streams in subscribed.map(|subscription| &subscription.streams).chain(state.watches.values()) {
            wanted.all |= streams.is_empty();
            wanted.streams.extend(streams.iter().cloned());
        }
        drop(state);
        self.wanted.send_if_modified(|before| {
            let changed = *before != wanted;
            *before = wanted;
            changed
        });
    }

    /// Streams that plugins want, and changes of it.
    pub(crate) fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// Somebody watches these streams, or all, until the guard is dropped.
    pub(crate) fn watch(self: &Arc<Self>, streams: BTreeSet<String>) -> Watching {
        let mut state = self.lock();
        state.opened += 1;
        let number = state.opened;
        state.watches.insert(number, streams);
        drop(state);
        self.tell_wanted();
        Watching { bus: Arc::clone(self), number }
    }

    /// A generation serves from now on: the events that come are its own.
    pub(crate) fn serve(&self, plugin: &PluginId, generation: Generation, registered: Filter) {
        self.with(plugin, |subscriber, ring, last| subscriber.serve(generation, registered, ring, last));
        self.tell_wanted();
    }

    /// The last number that still goes to a generation which drains for another; 0: it has no stream.
    pub(crate) fn hand_over(&self, plugin: &PluginId, generation: Generation) -> u64 {
        self.with(plugin, |subscriber, ring, last| subscriber.hand_over(generation, ring, last))
    }

    /// The session of a generation has ended.
    pub(crate) fn end(&self, plugin: &PluginId, generation: Generation) {
        self.with(plugin, |subscriber, ring, last| subscriber.end(generation, ring, last));
    }

    /// Whether the plugin runs, or will again by itself.
    pub(crate) fn set_present(&self, plugin: &PluginId, present: bool) {
        self.with(plugin, |subscriber, _, _| subscriber.set_present(present));
        self.tell_wanted();
    }

    /// Whether a generation may write.
    pub(crate) fn standing(&self, plugin: &PluginId, generation: Generation) -> Standing {
        self.with(plugin, |subscriber, _, _| subscriber.standing(generation))
    }

    /// Opens a stream; its number.
    ///
    /// # Errors
    /// Another generation has taken over, or the place is in the future.
    pub(crate) fn open(&self, plugin: &PluginId, generation: Generation, opening: Opening) -> Result<u64, OpenError> {
        let mut state = self.lock();
        state.opened += 1;
        let State { last, opened, ring, subscribers, .. } = &mut *state;
        let subscriber = subscribers.entry(plugin.clone()).or_default();
        subscriber.open(*opened, generation, opening, ring, *last).map(|()| *opened)
    }

    /// What can be sent on a stream now.
    pub(crate) fn poll(
        &self,
        plugin: &PluginId,
        generation: Generation,
        number: u64,
        cx: &Context<'_>,
    ) -> Poll<Result<Burst, Ended>> {
        self.with(plugin, |subscriber, ring, _| subscriber.poll(generation, number, ring, cx))
    }

    /// Nobody reads the stream any more.
    pub(crate) fn close(&self, plugin: &PluginId, number: u64) {
        self.with(plugin, |subscriber, ring, last| subscriber.close(number, ring, last));
    }

    /// All up to a number is done. False where that was not sent to this generation.
    pub(crate) fn acknowledge(&self, plugin: &PluginId, generation: Generation, seq: u64) -> bool {
        self.with(plugin, |subscriber, ring, last| subscriber.acknowledge(generation, seq, ring, last))
    }

    /// One for each subscriber that has not acknowledged everything of a run up to a number; it fires when it has, and
    /// is dropped when it will not.
    pub(crate) fn settled(&self, runtime: &str, run: &str, seq: u64) -> Vec<oneshot::Receiver<()>> {
        let mut state = self.lock();
        let State { ring, subscribers, .. } = &mut *state;
        subscribers.values_mut().filter_map(|subscriber| subscriber.settled(ring, runtime, run, seq)).collect()
    }

    /// Takes one emission of a plugin out of its budget.
    ///
    /// # Errors
    /// After what time one is free.
    pub(crate) fn charge(&self, plugin: &PluginId, per_minute: u64) -> Result<(), Duration> {
        self.with(plugin, |subscriber, _, _| {
            let charged = subscriber.budget.take(per_minute, Instant::now());
            subscriber.refused += u64::from(charged.is_err());
            charged
        })
    }

    /// How a subscriber fares.
    pub(crate) fn counts(&self, plugin: &PluginId) -> Counts {
        self.with(plugin, |subscriber, ring, _| Counts {
            lag: subscriber.lag(ring),
            dropped: subscriber.dropped,
            refused: subscriber.refused,
        })
    }

    /// Reads the ring from a number on: events that are wanted, until there are so many, or so many bytes of them.
    pub(crate) fn read(&self, from: u64, most: usize, bytes: usize, wanted: impl Fn(&Event) -> bool) -> Read {
        let state = self.lock();
        let first = state.ring.first().unwrap_or(state.last + 1);
        let mut read = Read { next: from.max(first), lost: first.saturating_sub(from), ..Read::default() };
        let mut taken = 0;
        for event in state.ring.from(read.next) {
            if read.events.len() >= most || taken >= bytes {
                break;
            }
            read.next = event.seq + 1;
            if wanted(event) {
                taken += event.full.len();
                read.events.push(Arc::clone(event));
            }
        }
        read
    }

    /// The number from which on the ring has so many events that are wanted, or all it has.
    pub(crate) fn newest_of(&self, count: usize, wanted: impl Fn(&Event) -> bool) -> u64 {
        let state = self.lock();
        let mut newest = state.ring.from(0).rev().filter(|event| wanted(event)).take(count);
        newest.by_ref().last().map_or(state.last + 1, |event| event.seq)
    }

    /// The newest number and its changes, for who follows the ring.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        let newest = self.newest.subscribe();
        self.newest.send_replace(self.last_seq());
        newest
    }
}

/// Somebody watches; dropping it says that nobody does.
pub(crate) struct Watching {
    bus: Arc<Bus>,
    number: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.bus.lock().watches.remove(&self.number);
        self.bus.tell_wanted();
    }
}
