//! Agent events: what subscribers do to themselves, to each other, and to the runtime that publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use outrigger_proto::runtime::v1::{EndRunRequest, PublishEventsRequest, PublishEventsResponse, RunEnd};
use outrigger_proto::types::v1::{AgentEvent, RunRef};
use outrigger_tests::programs::program;
use outrigger_tests::world::PATIENCE;
use outrigger_tests::{Package, Setup, World, processes, within};
use rustix::process::Signal;
use serde_json::Value;

use crate::LIMIT;

/// A plugin that writes down the events it reads.
fn reader(id: &str, arguments: &[&str]) -> Package {
    let program = program("event-reader");
    let program = program.to_str().expect("the build directory's path is text");
    Package::of_program(id, &[program]).arguments(arguments).scopes(&["events.read"])
}

fn event(run: &str, position: u64) -> AgentEvent {
    AgentEvent {
        run_id: run.to_owned(),
        seq: position,
        stream: "lifecycle".to_owned(),
        data_json: format!("{{\"phase\":\"model\",\"padding\":\"{}\"}}", "x".repeat(300)).into(),
        ..AgentEvent::default()
    }
}

/// Publishes positions of several runs, interleaved, in messages of 256.
async fn publish(world: &World, runs: u64, positions: std::ops::RangeInclusive<u64>) -> PublishEventsResponse {
    let all: Vec<AgentEvent> =
        positions.flat_map(|position| (0..runs).map(move |run| event(&format!("run-{run}"), position))).collect();
    let messages: Vec<_> = all.chunks(256).map(|events| PublishEventsRequest { events: events.to_vec() }).collect();
    let published = world.runtime().publish_events(tokio_stream::iter(messages)).await;
    let mut answers = published.expect("events are taken in").into_inner();
    let mut told = PublishEventsResponse::default();
    while let Some(so_far) = answers.message().await.expect("events are taken in") {
        told = so_far;
    }
    told
}

/// What a reader wrote down, one entry a line.
fn book(world: &World, plugin: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.data_dir(plugin).join("events")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line is written at once")).collect()
}

/// Waits until a reader's book is as wanted.
async fn until(world: &World, plugin: &str, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let book = book(world, plugin);
        if wanted(&book) {
            return book;
        }
        assert!(Instant::now() < deadline, "{what}: {} entries, the last {:?}", book.len(), book.last());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn numbers(book: &[Value]) -> Vec<u64> {
    book.iter().filter_map(|entry| entry["seq"].as_u64()).collect()
}

/// Events read and events that gaps stand for.
fn accounted(book: &[Value]) -> u64 {
    let gaps: u64 = book.iter().filter_map(|entry| entry["gap"][2].as_u64()).sum();
    gaps + numbers(book).iter().collect::<BTreeSet<_>>().len() as u64
}

/// Positions rise within each run, as far as an event was not sent before.
fn assert_ordered(book: &[Value]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in book.iter().filter(|entry| entry["redelivered"] == false) {
        let (run, position) = (entry["run"].as_str().expect("a run"), entry["position"].as_u64().expect("a position"));
        let before = last.insert(run, position).unwrap_or(0);
        assert!(position > before, "{run}: {position} after {before}");
    }
}

/// X7 for those who read: bounded buffer, others unaffected, drop count visible. One never reads its stream, one stands
/// still; what the third misses, if anything, is told to the number, and the publisher waits for none of them.
#[tokio::test]
async fn x07_subscribers_that_do_not_read_hold_nobody_up() {
    within(LIMIT, async {
        // One that stands still is not to count as unresponsive before it is let go on.
        let setup = Setup::new().await.set("idle_ping", "20s");
        let setup = setup.plugin(reader("deaf", &["--deaf"])).plugin(reader("stopped", &[]));
        let world = setup.plugin(reader("well", &["--credits", "1024"])).start().await;
        for plugin in ["deaf", "stopped", "well"] {
            world.ready(plugin).await;
        }
        for plugin in ["stopped", "well"] {
            until(&world, plugin, "its stream has begun", |book| !book.is_empty()).await;
        }
        let stopped = world.status("stopped").await.pid;
        processes::signal(stopped, Signal::STOP);
        let begin = Instant::now();
        let told = publish(&world, 4, 1..=1500).await;
        let took = begin.elapsed();
        processes::signal(stopped, Signal::CONT);
        assert_eq!((told.accepted, told.rejected), (6000, 0), "{told:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
        for plugin in ["well", "stopped"] {
            let book = until(&world, plugin, "all is accounted for", |book| accounted(book) == 6000).await;
            assert_ordered(&book);
            let mut sorted = numbers(&book);
            sorted.sort_unstable();
            assert_eq!(sorted, numbers(&book), "{plugin}: in the order of their numbers");
        }
        let deaf = world.status("deaf").await;
        assert!(deaf.events_dropped > 0 && deaf.event_lag > 0, "{deaf:?}");
        assert!(deaf.event_lag <= 6000, "{deaf:?}");
    })
    .await;
}

/// Killed between an event and its acknowledgement: the event comes again, marked, to the next generation, and nothing
/// is missing or out of order.
#[tokio::test]
async fn x04_a_subscriber_that_is_killed_misses_nothing() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(reader("reader", &["--hold", "10", "--credits", "8"])).start().await;
        let first = world.ready("reader").await;
        until(&world, "reader", "its stream has begun", |book| !book.is_empty()).await;
        publish(&world, 2, 1..=50).await;
        // 10 acknowledged, 8 in its hands, the rest waits.
        until(&world, "reader", "its credit is used up", |book| numbers(book).len() == 18).await;
        processes::signal(first.pid, Signal::KILL);
        publish(&world, 2, 51..=60).await;
        let book = until(&world, "reader", "all have come", |book| accounted(book) == 120).await;
        let second: Vec<_> = book.iter().filter(|entry| entry["generation"] == 2).cloned().collect();
        assert_eq!(second[0]["begins"], 10);
        assert_eq!(numbers(&second), (11..=120).collect::<Vec<_>>());
        let again: Vec<_> = second.iter().filter(|entry| entry["redelivered"] == true).collect();
        assert_eq!(again.len(), 8, "what it had in its hands, and nothing else: {again:?}");
        assert_ordered(&book);
    })
    .await;
}

/// A planned reload under fire: each event exactly once, the earlier to the old generation, the later to the new.
#[tokio::test]
async fn q21_a_subscriber_that_is_reloaded_gets_each_event_once() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(reader("reader", &[])).start().await;
        world.ready("reader").await;
        until(&world, "reader", "its stream has begun", |book| !book.is_empty()).await;
        let publishing = async {
            for position in 1..=200 {
                publish(&world, 2, position..=position).await;
            }
        };
        let reloading = async {
            for _ in 0..2 {
                until(&world, "reader", "some have come", |book| numbers(book).len() > 20).await;
                world.reload("reader").await.expect("reload it");
            }
        };
        tokio::join!(publishing, reloading);
        let book = until(&world, "reader", "all have come", |book| accounted(book) == 400).await;
        assert_eq!(numbers(&book), (1..=400).collect::<Vec<_>>(), "once, in order");
        assert!(book.iter().all(|entry| entry["redelivered"] != true && entry["gap"].is_null()));
        let generations: Vec<_> = book.iter().filter_map(|entry| entry["generation"].as_u64()).collect();
        assert!(generations.is_sorted() && generations.last() == Some(&3), "each has its part");
        assert_eq!(world.causes("reader").await, [""; 0], "a reload is no failure");
    })
    .await;
}

/// The end of a run waits for who reads, and no longer than it may.
#[tokio::test]
async fn a_run_settles_with_who_reads_and_without_who_does_not() {
    within(LIMIT, async {
        let world = Setup::new().await.plugin(reader("reader", &["--hold", "2"])).start().await;
        world.ready("reader").await;
        until(&world, "reader", "its stream has begun", |book| !book.is_empty()).await;
        let end = async |run: &str| {
            let request = EndRunRequest {
                run: Some(RunRef { id: run.to_owned(), ..RunRef::default() }),
                end: RunEnd::Completed as i32,
                ..EndRunRequest::default()
            };
            let begin = Instant::now();
            let settled = world.runtime().end_run(request).await.expect("it is ended").into_inner().settled;
            (settled, begin.elapsed())
        };
        publish(&world, 1, 1..=2).await;
        let (settled, took) = end("run-0").await;
        assert!(settled && took < Duration::from_secs(4), "{took:?}");
        // What it does not acknowledge is not waited for beyond the bound.
        let told = publish(&world, 1, 3..=3).await;
        assert_eq!((told.accepted, told.rejected), (0, 1), "the run has ended: {told:?}");
        publish(&world, 2, 4..=4).await;
        let (settled, took) = end("run-1").await;
        assert!(!settled && took >= Duration::from_secs(5) && took < Duration::from_secs(9), "{took:?}");
        assert!(end("run-1").await.0, "there is nothing left to wait for");
    })
    .await;
}
