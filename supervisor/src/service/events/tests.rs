//! The bus without a connection: order, gaps, credits, hand-over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use outrigger_proto::plugin::v1::GapReason;
use outrigger_proto::types::v1 as types;

use super::bus::Bus;
use super::filter::{Filter, Subscription};
use super::lane::{self, Burst, Opening, Resume};
use super::pace::Pace;
use super::ring;
use super::subscriber::{Ended, OpenError, Standing};
use crate::domain::ids::{Generation, PluginId};

const G1: Generation = Generation(1);
const G2: Generation = Generation(2);

/// A bus with one plugin.
struct Bench {
    bus: Arc<Bus>,
    plugin: PluginId,
}

impl Bench {
    fn new() -> Self {
        let (bus, plugin) = (Bus::new(7), "p".parse().expect("an id"));
        bus.add(&plugin);
        bus.set_present(&plugin, true);
        Self { bus, plugin }
    }

    /// One whose first generation serves.
    fn serving() -> Self {
        let bench = Self::new();
        bench.serve(G1);
        bench
    }

    fn serve(&self, generation: Generation) {
        self.bus.serve(&self.plugin, generation, filter());
    }

    fn open(&self, generation: Generation, credits: usize) -> u64 {
        self.open_at(generation, credits, Resume::Cursor).expect("it opens")
    }

    fn open_at(&self, generation: Generation, credits: usize, resume: Resume) -> Result<u64, OpenError> {
        let opening = Opening { credits, credit_bytes: 16 * 1024, resume, filter: filter() };
        self.bus.open(&self.plugin, generation, opening)
    }

    fn poll(&self, generation: Generation, number: u64) -> Poll<Result<Burst, Ended>> {
        self.bus.poll(&self.plugin, generation, number, &Context::from_waker(Waker::noop()))
    }

    /// Numbers of all that can be read now, with gaps as (from, to, count).
    fn read(&self, generation: Generation, number: u64) -> Vec<Told> {
        let mut told = Vec::new();
        while let Poll::Ready(Ok(burst)) = self.poll(generation, number) {
            told.extend(burst.begins_after.map(Told::Begins));
            told.extend(burst.gap.map(|gap| Told::Gap(gap.from, gap.to, gap.count, gap.reason)));
            let mark = |ready: &lane::Ready| match ready.redelivered {
                true => Told::Again(ready.event.seq),
                false => Told::Event(ready.event.seq),
            };
            told.extend(burst.events.iter().map(mark));
        }
        told
    }

    fn acknowledge(&self, generation: Generation, seq: u64) {
        assert!(self.bus.acknowledge(&self.plugin, generation, seq), "{seq} was sent");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Begins(u64),
    Gap(u64, u64, u64, GapReason),
    Event(u64),
    Again(u64),
}

use Told::{Again, Begins, Event, Gap};

fn filter() -> Filter {
    Filter::new("p", false, [Subscription::default()].into())
}

/// Counts how often somebody is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lays so many events before readers, and wakes nobody.
fn lay(bus: &Bus, count: u64) {
    let event = types::AgentEvent { run_id: "r".to_owned(), stream: "lifecycle".to_owned(), ..Default::default() };
    for _ in 0..count {
        bus.lay(&"default".into(), &"r".into(), &Arc::default(), &event);
    }
}

fn publish_of(bus: &Bus, stream: &str, run: &str, bytes: usize) -> u64 {
    let data = format!("{{\"model\":\"{}\"}}", "m".repeat(bytes));
    let event = types::AgentEvent {
        run_id: run.to_owned(),
        stream: stream.to_owned(),
        data_json: data.into_bytes().into(),
        ..Default::default()
    };
    bus.publish(&"default".into(), &run.into(), &Arc::default(), &event)
}

/// Publishes so many that match; the number of the last.
fn publish(bus: &Bus, count: u64) -> u64 {
    (0..count).map(|_| publish_of(bus, "lifecycle", "r", 1)).last().unwrap_or(0)
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Told> {
    numbers.into_iter().map(Event).collect()
}

#[test]
fn events_have_rising_numbers_and_come_in_order_from_the_opening_on() {
    let bench = Bench::serving();
    assert_eq!(publish(&bench.bus, 3), 3);
    let stream = bench.open(G1, 0);
    assert_eq!(bench.read(G1, stream), [Begins(3)]);
    assert_eq!(publish(&bench.bus, 200), 203);
    publish_of(&bench.bus, "assistant", "r", 1);
    assert_eq!(bench.bus.last_seq(), 204);
    assert_eq!(bench.read(G1, stream), events(4..=203));
}

#[test]
fn a_burst_has_at_most_64_events() {
    let bench = Bench::serving();
    let stream = bench.open(G1, 0);
    publish(&bench.bus, 65);
    let Poll::Ready(Ok(burst)) = bench.poll(G1, stream) else { unreachable!("events wait") };
    assert_eq!(burst.events.len(), lane::MAX_BURST);
}

#[test]
fn credits_bound_what_is_unacknowledged_by_number() {
    let bench = Bench::serving();
    let stream = bench.open(G1, 32);
    publish(&bench.bus, 40);
    assert_eq!(bench.read(G1, stream)[1..], events(1..=32));
    assert!(bench.poll(G1, stream).is_pending());
    bench.acknowledge(G1, 1);
    assert_eq!(bench.read(G1, stream), events([33]));
    bench.acknowledge(G1, 1);
    assert!(bench.poll(G1, stream).is_pending(), "a repetition gives no credit");
    bench.acknowledge(G1, 33);
    assert_eq!(bench.read(G1, stream), events(34..=40));
    assert!(!bench.bus.acknowledge(&bench.plugin, G1, 41), "it was not sent");
    assert!(!bench.bus.acknowledge(&bench.plugin, G2, 1), "nothing was sent to that generation");
}

#[test]
fn credits_bound_what_is_unacknowledged_by_bytes_but_never_below_one_event() {
    let bench = Bench::serving();
    let stream = bench.open(G1, 1024);
    let own = |bytes: usize| types::AgentEvent {
        plugin_id: "p".to_owned(),
        data_json: vec![b' '; bytes].into(),
        ..Default::default()
    };
    let publish = |bytes| bench.bus.publish(&"default".into(), &"r".into(), &Arc::default(), &own(bytes));
    publish(20_000);
    publish(20_000);
    assert_eq!(bench.read(G1, stream)[1..], events([1]), "longer than the credit, so it comes alone");
    bench.acknowledge(G1, 1);
    assert_eq!(bench.read(G1, stream), events([2]));
    bench.acknowledge(G1, 2);
    for _ in 0..3 {
        publish(8_000);
    }
    assert_eq!(bench.read(G1, stream), events([3, 4]), "two have 16 KiB at most, three do not");
    bench.acknowledge(G1, 3);
    assert_eq!(bench.read(G1, stream), events([5]));
}

/// The oldest give way, at the bound exactly, and the gap counts what matched.
#[test]
fn a_full_queue_loses_the_oldest_and_says_which() {
    let bench = Bench::serving();
    let stream = bench.open(G1, 1);
    publish(&bench.bus, 1);
    assert_eq!(bench.read(G1, stream), [Begins(0), Event(1)]);
    publish(&bench.bus, lane::MAX_QUEUE as u64);
    assert_eq!(bench.bus.counts(&bench.plugin).dropped, 0);
    publish_of(&bench.bus, "assistant", "r", 1);
    publish(&bench.bus, 2);
    assert_eq!(bench.bus.counts(&bench.plugin).dropped, 2);
    assert_eq!(bench.bus.counts(&bench.plugin).lag, 1 + lane::MAX_QUEUE as u64 + 2);
    assert!(bench.poll(G1, stream).is_pending(), "without credit the gap waits for its event");
    bench.acknowledge(G1, 1);
    assert_eq!(bench.read(G1, stream), [Gap(2, 3, 2, GapReason::SlowSubscriber), Event(4)]);
    // What the ring still has can be read again.
    let again = bench.open_at(G1, 0, Resume::After(1)).expect("it opens");
    let told = bench.read(G1, again);
    let all = (2..=lane::MAX_QUEUE as u64 + 4).filter(|seq| *seq != lane::MAX_QUEUE as u64 + 2);
    assert_eq!(told[0], Begins(1));
    assert_eq!(told[1..], events(all));
}

#[test]
fn a_queue_is_bounded_in_bytes_too_and_holds_at_least_one_event() {
    let bench = Bench::serving();
    let own = |bytes: usize| types::AgentEvent {
        plugin_id: "p".to_owned(),
        data_json: vec![b' '; bytes].into(),
        ..Default::default()
    };
    let publish = |bytes| bench.bus.publish(&"default".into(), &"r".into(), &Arc::default(), &own(bytes));
    let stream = bench.open(G1, 1);
    publish(1);
    assert_eq!(bench.read(G1, stream)[1..], events([1]));
    for _ in 0..3 {
        publish(400_000);
    }
    assert_eq!(bench.bus.counts(&bench.plugin).dropped, 1, "the third does not fit beside two");
    publish(lane::MAX_QUEUE_BYTES);
    assert_eq!(bench.bus.counts(&bench.plugin).dropped, 3);
    bench.acknowledge(G1, 1);
    assert_eq!(bench.read(G1, stream), [Gap(2, 4, 3, GapReason::SlowSubscriber), Event(5)]);
}

/// X7 for subscribers: whatever one does, the publisher and the others go on.
#[test]
fn x07_one_that_never_reads_costs_the_others_nothing() {
    let bench = Bench::serving();
    let other: PluginId = "q".parse().expect("an id");
    bench.bus.add(&other);
    bench.bus.serve(&other, G1, filter());
    let opening = Opening { credits: 0, credit_bytes: 1, resume: Resume::Cursor, filter: filter() };
    let reading = bench.bus.open(&other, G1, opening).expect("it opens");
    bench.open(G1, 32);
    let mut read = Vec::new();
    for _ in 0..100 {
        publish(&bench.bus, 100);
        while let Poll::Ready(Ok(burst)) = bench.bus.poll(&other, G1, reading, &Context::from_waker(Waker::noop())) {
            assert_eq!(burst.gap, None);
            read.extend(burst.events.iter().map(|ready| ready.event.seq));
        }
    }
    assert_eq!(read, (1..=10_000).collect::<Vec<_>>());
    assert_eq!(bench.bus.counts(&other), Default::default());
    assert_eq!(bench.bus.counts(&bench.plugin).dropped, 10_000 - lane::MAX_QUEUE as u64);
}

#[test]
fn a_reader_is_woken_once_for_a_burst() {
    let bench = Bench::serving();
    let stream = bench.open(G1, 0);
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let poll = || bench.bus.poll(&bench.plugin, G1, stream, &Context::from_waker(&waker));
    assert!(poll().is_ready() && poll().is_pending());
    publish_of(&bench.bus, "assistant", "r", 1);
    assert_eq!(counter.0.load(Ordering::Relaxed), 0, "what does not match wakes nobody");
    publish(&bench.bus, 64);
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    assert!(poll().is_ready() && poll().is_pending());
    lay(&bench.bus, 3);
    assert_eq!(counter.0.load(Ordering::Relaxed), 1, "who publishes more wakes later");
    bench.bus.wake();
    bench.bus.wake();
    assert_eq!(counter.0.load(Ordering::Relaxed), 2);
}

/// Neither a full burst nor the end of what is published is left lying.
#[tokio::test]
async fn whoever_publishes_at_a_pace_wakes_readers_for_bursts_and_at_last() {
    let bench = Bench::serving();
    let stream = bench.open(G1, 0);
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut pace = Pace::new(Arc::clone(&bench.bus));
    let mut woken = Vec::new();
    for count in [63, 1, 64, 5, 0] {
        while bench.bus.poll(&bench.plugin, G1, stream, &Context::from_waker(&waker)).is_ready() {}
        let before = counter.0.load(Ordering::Relaxed);
        for _ in 0..count {
            lay(&bench.bus, 1);
            pace.step().await;
        }
        if count == 5 {
            pace.rest();
        }
        woken.push(counter.0.load(Ordering::Relaxed) - before);
    }
    assert_eq!(woken, [0, 1, 1, 1, 0]);
    lay(&bench.bus, 1);
    drop(pace);
    assert_eq!(counter.0.load(Ordering::Relaxed), 4, "dropped, it wakes");
}

#[test]
fn a_reader_without_credit_is_not_woken_for_what_it_cannot_be_sent() {
    let bench = Bench::serving();
    let stream = bench.open(G1, 2);
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let poll = || bench.bus.poll(&bench.plugin, G1, stream, &Context::from_waker(&waker));
    assert!(poll().is_ready() && poll().is_pending());
    publish(&bench.bus, 3);
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    assert!(poll().is_ready() && poll().is_pending());
    publish(&bench.bus, 3);
    assert_eq!(counter.0.load(Ordering::Relaxed), 1, "its credits are used up");
    bench.acknowledge(G1, 2);
    assert_eq!(counter.0.load(Ordering::Relaxed), 2);
}

/// Killed: what it had not acknowledged comes again, marked, then what it was never sent.
#[test]
fn a_generation_that_ends_leaves_what_it_did_not_acknowledge() {
    let bench = Bench::serving();
    let first = bench.open(G1, 4);
    publish(&bench.bus, 6);
    assert_eq!(bench.read(G1, first)[1..], events(1..=4));
    bench.acknowledge(G1, 2);
    assert_eq!(bench.read(G1, first), events([5, 6]));
    publish(&bench.bus, 1);
    bench.bus.end(&bench.plugin, G1);
    assert!(matches!(bench.poll(G1, first), Poll::Ready(Err(Ended::Done))));
    publish(&bench.bus, 1);
    bench.serve(G2);
    let second = bench.open(G2, 32);
    let expected = [Begins(2), Again(3), Again(4), Again(5), Again(6), Event(7), Event(8)];
    assert_eq!(bench.read(G2, second), expected);
    bench.acknowledge(G2, 4);
    bench.bus.end(&bench.plugin, G2);
    bench.serve(Generation(3));
    let third = bench.open(Generation(3), 0);
    let expected = [Begins(4), Again(5), Again(6), Again(7), Again(8)];
    assert_eq!(bench.read(Generation(3), third), expected);
}

#[test]
fn at_most_once_nothing_comes_again() {
    let bench = Bench::serving();
    let first = bench.open(G1, 0);
    publish(&bench.bus, 3);
    assert_eq!(bench.read(G1, first)[1..], events(1..=3));
    publish(&bench.bus, 1);
    bench.bus.end(&bench.plugin, G1);
    bench.serve(G2);
    let second = bench.open(G2, 0);
    assert_eq!(bench.read(G2, second), [Begins(3), Event(4)]);
}

/// What the ring lost while nobody was there is counted exactly.
#[test]
fn a_plugin_that_was_away_too_long_learns_what_it_missed() {
    let bench = Bench::serving();
    let first = bench.open(G1, 0);
    bench.read(G1, first);
    bench.bus.end(&bench.plugin, G1);
    publish(&bench.bus, 10);
    publish_of(&bench.bus, "assistant", "r", 1);
    publish(&bench.bus, ring::MAX_EVENTS as u64 - 8);
    bench.serve(G2);
    let second = bench.open(G2, 0);
    let told = bench.read(G2, second);
    assert_eq!(told[..3], [Begins(0), Gap(1, 3, 3, GapReason::RingOverwritten), Event(4)]);
    assert_eq!(told.len(), 2 + ring::MAX_EVENTS - 1, "all the ring has, but for the one that does not match");
    assert_eq!(bench.bus.counts(&bench.plugin).dropped, 3);
}

#[test]
fn a_stream_begins_where_it_wants_to_as_far_as_there_is_something() {
    let bench = Bench::serving();
    let last = publish(&bench.bus, ring::MAX_EVENTS as u64 + 5);
    let read = |resume| {
        let stream = bench.open_at(G1, 0, resume).expect("it opens");
        bench.read(G1, stream)
    };
    assert_eq!(read(Resume::After(last - 2))[..], [Begins(last - 2), Event(last - 1), Event(last)]);
    assert_eq!(read(Resume::After(last)), [Begins(last)]);
    assert_eq!(bench.open_at(G1, 0, Resume::After(last + 1)), Err(OpenError::NotYet));
    let told = read(Resume::After(2));
    assert_eq!(told[..3], [Begins(2), Gap(3, 5, 0, GapReason::RingOverwritten), Event(6)]);
    assert_eq!(told.len(), 2 + ring::MAX_EVENTS);
    let told = read(Resume::OtherEpoch);
    assert_eq!(told[..3], [Begins(5), Gap(0, 0, 0, GapReason::EpochChanged), Event(6)]);
    assert_eq!(told.len(), 2 + ring::MAX_EVENTS);
}

#[test]
fn another_stream_of_the_same_session_takes_the_place() {
    let bench = Bench::serving();
    let first = bench.open(G1, 32);
    publish(&bench.bus, 2);
    assert_eq!(bench.read(G1, first), [Begins(0), Event(1), Event(2)]);
    bench.acknowledge(G1, 1);
    let second = bench.open(G1, 32);
    assert!(matches!(bench.poll(G1, first), Poll::Ready(Err(Ended::Replaced))));
    bench.bus.close(&bench.plugin, first);
    // The generation has not ended, so it is no redelivery.
    assert_eq!(bench.read(G1, second), [Begins(1), Event(2)]);
    bench.acknowledge(G1, 2);
    publish(&bench.bus, 1);
    assert_eq!(bench.read(G1, second), events([3]));
}

/// A planned reload: each event once, the earlier ones to the old, the later ones to the new.
#[test]
fn a_reload_hands_over_at_a_number_exactly_once() {
    let bench = Bench::serving();
    let old = bench.open(G1, 2);
    publish(&bench.bus, 3);
    assert_eq!(bench.read(G1, old), [Begins(0), Event(1), Event(2)]);
    // The new one opens before it serves, and waits.
    assert_eq!(bench.bus.standing(&bench.plugin, G2), Standing::Pending);
    let new = bench.open(G2, 32);
    assert!(bench.poll(G2, new).is_pending());
    publish(&bench.bus, 1);
    bench.serve(G2);
    assert_eq!(bench.bus.hand_over(&bench.plugin, G1), 4, "the swap was at this number");
    assert_eq!(bench.bus.standing(&bench.plugin, G1), Standing::Stale);
    publish(&bench.bus, 2);
    assert!(bench.poll(G2, new).is_pending(), "the old one has events in its hands");
    bench.acknowledge(G1, 2);
    assert_eq!(bench.read(G1, old), events([3, 4]));
    assert!(matches!(bench.poll(G1, old), Poll::Ready(Err(Ended::Done))), "its stream ends after its last");
    bench.bus.close(&bench.plugin, old);
    assert!(bench.poll(G2, new).is_pending(), "two are not acknowledged");
    bench.acknowledge(G1, 4);
    assert_eq!(bench.read(G2, new), [Begins(4), Event(5), Event(6)]);
    assert_eq!(bench.open_at(G1, 1, Resume::Cursor), Err(OpenError::Stale));
}

/// An old generation that is killed while it drains loses nothing: what it had comes to the new one, first.
#[test]
fn a_reload_whose_old_generation_is_killed_delivers_in_order() {
    let bench = Bench::serving();
    let old = bench.open(G1, 2);
    publish(&bench.bus, 3);
    assert_eq!(bench.read(G1, old)[1..], events([1, 2]));
    bench.serve(G2);
    let new = bench.open(G2, 32);
    publish(&bench.bus, 1);
    assert!(bench.poll(G2, new).is_pending());
    bench.acknowledge(G1, 1);
    bench.bus.end(&bench.plugin, G1);
    assert_eq!(bench.read(G2, new), [Begins(1), Again(2), Event(3), Event(4)]);
}

/// Stop first, then start: between the two nothing is lost either.
#[test]
fn a_reload_that_stops_first_keeps_what_comes_in_between() {
    let bench = Bench::serving();
    let old = bench.open(G1, 8);
    publish(&bench.bus, 2);
    assert_eq!(bench.read(G1, old)[1..], events([1, 2]));
    assert_eq!(bench.bus.hand_over(&bench.plugin, G1), 2);
    publish(&bench.bus, 1);
    assert!(matches!(bench.poll(G1, old), Poll::Ready(Err(Ended::Done))));
    bench.acknowledge(G1, 2);
    bench.bus.end(&bench.plugin, G1);
    publish(&bench.bus, 1);
    let new = bench.open(G2, 8);
    assert!(bench.poll(G2, new).is_pending(), "it does not serve yet");
    bench.serve(G2);
    assert_eq!(bench.read(G2, new), [Begins(2), Event(3), Event(4)]);
    let without = Bench::serving();
    assert_eq!(without.bus.hand_over(&without.plugin, G1), 0, "it has no stream");
}

/// A new generation that never comes to serve takes nothing away from the old one.
#[test]
fn a_reload_that_fails_leaves_the_events_where_they_were() {
    let bench = Bench::serving();
    let old = bench.open(G1, 0);
    let new = bench.open(G2, 0);
    bench.bus.end(&bench.plugin, G2);
    assert!(matches!(bench.poll(G2, new), Poll::Ready(Err(Ended::Done))));
    publish(&bench.bus, 2);
    assert_eq!(bench.read(G1, old), [Begins(0), Event(1), Event(2)]);
    let again = bench.open(G1, 0);
    publish(&bench.bus, 1);
    assert_eq!(bench.read(G1, again), [Begins(2), Event(3)]);
}

#[test]
fn who_waits_for_a_run_hears_when_it_is_done() {
    let bench = Bench::serving();
    assert!(bench.bus.settled("default", "r", 1).is_empty(), "nobody has a stream");
    let stream = bench.open(G1, 8);
    publish_of(&bench.bus, "lifecycle", "r", 1);
    let end = publish_of(&bench.bus, "lifecycle", "r", 1);
    publish_of(&bench.bus, "lifecycle", "other", 1);
    let mut waiting = bench.bus.settled("default", "r", end);
    assert_eq!(waiting.len(), 1);
    assert!(bench.bus.settled("default", "unknown", end).is_empty());
    assert!(bench.bus.settled("another", "r", end).is_empty());
    bench.read(G1, stream);
    bench.acknowledge(G1, end - 1);
    assert!(waiting[0].try_recv().is_err());
    bench.acknowledge(G1, end);
    assert_eq!(waiting[0].try_recv(), Ok(()));
    assert!(bench.bus.settled("default", "r", end).is_empty(), "it is done already");
    // One that is stopped is not waited for, nor one that stops.
    let end = publish_of(&bench.bus, "lifecycle", "r", 1);
    let mut waiting = bench.bus.settled("default", "r", end);
    bench.bus.set_present(&bench.plugin, false);
    assert_eq!(waiting[0].try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
    assert!(bench.bus.settled("default", "r", end).is_empty());
}

#[test]
fn streams_that_are_wanted_are_known_while_their_plugin_may_read_them() {
    let bench = Bench::new();
    let wanted = bench.bus.wanted();
    let some = Subscription { streams: ["usage".to_owned()].into(), ..Default::default() };
    bench.bus.serve(&bench.plugin, G1, Filter::new("p", false, [some].into()));
    assert_eq!(wanted.borrow().streams.iter().collect::<Vec<_>>(), ["usage"]);
    bench.bus.end(&bench.plugin, G1);
    assert!(!wanted.borrow().streams.is_empty(), "it comes back");
    bench.serve(G2);
    assert!(wanted.borrow().all && wanted.borrow().streams.is_empty());
    bench.bus.set_present(&bench.plugin, false);
    assert_eq!(*wanted.borrow(), Default::default());
}
