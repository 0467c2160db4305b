//! Agent events: filters, order, acknowledgement and credits, gaps, redelivery, the end.

use std::sync::Arc;
use std::time::Duration;

use outrigger_sdk::proto::plugin::v1::{EventCursor, GapReason, VerdictReason};
use outrigger_sdk::proto::types::v1::{AgentEvent, Provenance};
use outrigger_sdk::testkit::TestHost;
use outrigger_sdk::{AfterGap, Event, Gap, HandlerError, Launch, Plugin, ReadEvents};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tonic::{Code, Status};

const LIMIT: Duration = Duration::from_secs(10);

/// What a handler or the handler of gaps saw.
#[derive(Debug, PartialEq)]
enum Seen {
    Event(u64),
    Gap { from: u64, to: u64, count: u64, reason: GapReason },
}

/// A plugin that subscribes to everything and tells what it sees.
fn watcher(after: AfterGap) -> (Plugin, UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let gaps = sender.clone();
    let plugin = Plugin::new()
        .subscribe("all", [""; 0], move |event: Event, _| {
            let _ = sender.send(Seen::Event(event.seq()));
            async { Ok(()) }
        })
        .on_gap(move |gap: Gap, _| {
            let (from, to) = gap.range();
            let _ = gaps.send(Seen::Gap { from, to, count: gap.count(), reason: gap.reason() });
            async move { Ok(after) }
        });
    (plugin.build(), seen)
}

async fn next<T>(seen: &mut UnboundedReceiver<T>) -> T {
    timeout(LIMIT, seen.recv()).await.expect("something comes").expect("the handler is there")
}

#[tokio::test]
async fn a_subscription_is_registered_and_gets_what_it_asked_for() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let tell = |name: &'static str, sender: UnboundedSender<_>| {
        move |event: Event, launch: Launch| {
            let told = (name, event.seq(), event.stream().to_owned(), launch.generation());
            let _ = sender.send(told);
            async { Ok(()) }
        }
    };
    let plugin = Plugin::new()
        .subscribe("tools", ["tool", "item"], tell("tools", sender.clone()))
        .description("tool calls")
        .agents(["main"])
        .must_accept()
        .subscribe("life", ["lifecycle", "tool"], tell("life", sender));
    let host = TestHost::start(plugin).await.expect("ready");
    let items = host.registered().subscriptions;
    assert_eq!((&*items[0].subscription_id, &*items[0].description), ("tools", "tool calls"));
    assert_eq!(
        (&items[0].streams[..], &items[0].agent_ids[..]),
        (&["tool".into(), "item".into()][..], &["main".into()][..])
    );
    assert!(items[0].must_accept && !items[1].must_accept);

    let other =
        AgentEvent { run_id: "r".into(), stream: "tool".into(), agent_id: "other".into(), ..Default::default() };
    host.publish("assistant", json!({}));
    host.publish("tool", json!({}));
    host.publish_event(other);
    host.publish("lifecycle", json!({}));
    for expected in [("tools", 2, "tool"), ("life", 2, "tool"), ("life", 3, "tool"), ("life", 4, "lifecycle")] {
        let (name, seq, stream, generation) = next(&mut seen).await;
        assert_eq!(((name, seq, &*stream), generation), (expected, 1));
    }
    host.acknowledged_up_to(4).await;
    assert_eq!(host.event_requests()[0].credits, 32);
    host.shutdown().await.expect("in order");
}

#[tokio::test]
async fn an_event_tells_what_it_is() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let plugin = Plugin::new().subscribe("all", [""; 0], move |event: Event, _| {
        let _ = sender.send(event);
        async { Ok(()) }
    });
    let host = TestHost::start(plugin).await.expect("ready");
    host.redeliver_event(AgentEvent {
        run_id: "r1".into(),
        stream: "lifecycle".into(),
        data_json: r#"{"phase":"end"}"#.into(),
        seq: 9,
        time: Some(std::time::SystemTime::UNIX_EPOCH.into()),
        session_key: "k".into(),
        agent_id: "main".into(),
        provenance: Provenance::Host.into(),
        terminal: true,
        ..Default::default()
    });
    let event = next(&mut seen).await;
    assert_eq!((event.seq(), event.run_seq(), event.run_id(), event.stream()), (1, 9, "r1", "lifecycle"));
    assert_eq!((event.session_key(), event.session_handle()), ("k", "session-handle-of-k"));
    assert_eq!((event.run_handle(), event.agent_id(), event.plugin_id()), ("run-handle-of-r1", "main", ""));
    assert_eq!(event.data::<Value>().expect("JSON"), json!({"phase": "end"}));
    assert_eq!(event.time(), Some(std::time::SystemTime::UNIX_EPOCH));
    assert_eq!(event.provenance(), Provenance::Host);
    assert!(event.is_terminal() && event.is_redelivered());
    assert!(event.subscription_ids().is_empty(), "there is only one");
    assert!(event.data::<Vec<u8>>().is_err());
}

#[tokio::test]
async fn an_event_is_done_when_its_handler_is_and_credits_hold_back_the_rest() {
    let places = Arc::new(Semaphore::new(0));
    let (sender, mut seen) = mpsc::unbounded_channel();
    let plugin = {
        let places = places.clone();
        Plugin::new()
            .subscribe("all", [""; 0], move |event: Event, _| {
                let (places, sender) = (places.clone(), sender.clone());
                async move {
                    let _ = sender.send(event.seq());
                    places.acquire().await?.forget();
                    Ok(())
                }
            })
            .read_events(|_| ReadEvents::new().credits(2))
    };
    let host = TestHost::start(plugin).await.expect("ready");
    for _ in 0..5 {
        host.publish("tool", json!({}));
    }
    assert_eq!(next(&mut seen).await, 1);
    host.ping().await;
    assert_eq!(host.acknowledged(), 0);
    places.add_permits(1);
    assert_eq!(next(&mut seen).await, 2);
    host.acknowledged_up_to(1).await;
    places.add_permits(4);
    for seq in 3..=5 {
        assert_eq!(next(&mut seen).await, seq, "in order");
    }
    host.acknowledged_up_to(5).await;
    assert!(host.violations().is_empty(), "{:?}", host.violations());
}

#[tokio::test]
async fn what_fails_in_a_handler_holds_nothing_up() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let plugin = Plugin::new()
        .subscribe("fails", [""; 0], |event: Event, _| async move {
            match event.seq() {
                1 => Err(HandlerError::new("no")),
                2 => unreachable!("a panic"),
                _ => Ok(()),
            }
        })
        .subscribe("panics-early", [""; 0], |event: Event, _| {
            assert!(event.seq() != 3, "before there is a future");
            async { Ok(()) }
        })
        .subscribe("sees", [""; 0], move |event: Event, _| {
            let _ = sender.send(event.seq());
            async { Ok(()) }
        });
    let host = TestHost::start(plugin).await.expect("ready");
    for seq in 1..=4 {
        host.publish("tool", json!({}));
        assert_eq!(next(&mut seen).await, seq);
    }
    host.acknowledged_up_to(4).await;
}

#[tokio::test]
async fn hooks_go_on_beside_a_slow_handler_of_events() {
    let held = Arc::new(Notify::new());
    let plugin = {
        let held = held.clone();
        Plugin::new()
            .subscribe("slow", [""; 0], move |_, _| {
                let held = held.clone();
                async move {
                    held.notified().await;
                    Ok(())
                }
            })
            .before_tool_call("guard", |_, _| async { Ok(outrigger_sdk::Decision::block("quick")) })
    };
    let host = TestHost::start(plugin).await.expect("ready");
    host.publish("tool", json!({}));
    host.events_opened(1).await;
    assert!(host.before_tool_call("exec", json!({})).await.expect("a decision").is_block());
    assert_eq!(host.acknowledged(), 0);
    held.notify_one();
    host.acknowledged_up_to(1).await;
}

#[tokio::test]
async fn a_gap_is_told_before_what_follows_it() {
    let (plugin, mut seen) = watcher(AfterGap::Continue);
    let host = TestHost::start(plugin).await.expect("ready");
    host.publish("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Event(1));
    host.publish_missed("tool", json!({}));
    host.publish("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Gap { from: 2, to: 2, count: 1, reason: GapReason::SlowSubscriber });
    assert_eq!(next(&mut seen).await, Seen::Event(3));
    host.acknowledged_up_to(3).await;
    assert_eq!(host.event_requests().len(), 1, "it did not ask again");
}

#[tokio::test]
async fn what_was_missed_comes_when_it_is_asked_for() {
    let (plugin, mut seen) = watcher(AfterGap::Replay);
    let host = TestHost::start(plugin).await.expect("ready");
    host.publish("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Event(1));
    host.publish_missed("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Gap { from: 2, to: 2, count: 1, reason: GapReason::SlowSubscriber });
    assert_eq!(next(&mut seen).await, Seen::Event(2));
    host.publish("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Event(3));
    host.acknowledged_up_to(3).await;
    assert_eq!(host.event_requests()[1].resume_after, Some(EventCursor { epoch: 1, seq: 1 }));
    assert!(host.violations().is_empty(), "{:?}", host.violations());
}

#[tokio::test]
async fn what_is_gone_is_asked_for_once() {
    let (plugin, mut seen) = watcher(AfterGap::Replay);
    let host = TestHost::start(plugin).await.expect("ready");
    let gone = || Seen::Gap { from: 1, to: 1, count: 1, reason: GapReason::RingOverwritten };
    host.publish_lost("tool", json!({}));
    host.publish("tool", json!({}));
    // Told, asked for, told again; then it goes on.
    assert_eq!(next(&mut seen).await, gone());
    assert_eq!(next(&mut seen).await, gone());
    assert_eq!(next(&mut seen).await, Seen::Event(2));
    host.acknowledged_up_to(2).await;
    assert_eq!(host.event_requests().len(), 2);
}

#[tokio::test]
async fn a_plugin_can_begin_where_it_wants() {
    let (plugin, mut seen) = watcher(AfterGap::Replay);
    let plugin = plugin.read_events(|launch| {
        assert_eq!(launch.event_epoch(), 7);
        ReadEvents::new().after(6, 40).of_sessions(["s1"]).of_runs(["r1", "r2"]).credits(0)
    });
    let host = TestHost::builder().welcome(|welcome| welcome.event_epoch = 7).start(plugin).await.expect("ready");
    // Of another start of the supervisor nothing can be had.
    assert_eq!(next(&mut seen).await, Seen::Gap { from: 0, to: 0, count: 0, reason: GapReason::EpochChanged });
    host.publish("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Event(1));
    let request = &host.event_requests()[0];
    assert_eq!(request.resume_after, Some(EventCursor { epoch: 6, seq: 40 }));
    assert_eq!((&request.session_handles[..], request.run_handles.len()), (&["s1".to_owned()][..], 2));
    // Without credits nothing is acknowledged.
    host.ping().await;
    assert_eq!((host.acknowledged(), host.event_requests().len()), (0, 1));
}

#[tokio::test]
async fn a_broken_stream_is_opened_again_where_it_was() {
    let (plugin, mut seen) = watcher(AfterGap::Continue);
    let host = TestHost::start(plugin).await.expect("ready");
    host.publish("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Event(1));
    host.acknowledged_up_to(1).await;
    host.end_events(Some(Status::unavailable("a moment")));
    host.publish("tool", json!({}));
    assert_eq!(next(&mut seen).await, Seen::Event(2));
    let request = host.event_requests().pop().expect("a request");
    assert_eq!(request.resume_after, Some(EventCursor { epoch: 1, seq: 1 }));
}

#[tokio::test]
async fn an_ended_or_refused_stream_is_not_opened_again() {
    for end in [None, Some(Status::new(Code::Aborted, "replaced"))] {
        let (plugin, mut seen) = watcher(AfterGap::Continue);
        let host = TestHost::start(plugin).await.expect("ready");
        host.publish("tool", json!({}));
        assert_eq!(next(&mut seen).await, Seen::Event(1));
        host.end_events(end);
        // The reader is gone, and its handlers with it.
        assert_eq!(timeout(LIMIT, seen.recv()).await.expect("an end"), None);
        assert_eq!(host.event_requests().len(), 1);
        host.shutdown().await.expect("in order");
    }
}

#[tokio::test]
async fn a_refused_subscription_opens_no_stream() {
    let (plugin, mut seen) = watcher(AfterGap::Continue);
    let builder = TestHost::builder().refuse_item("all", VerdictReason::NotServed);
    let host = builder.start(plugin).await.expect("it works without it");
    assert_eq!(timeout(LIMIT, seen.recv()).await.expect("an end"), None);
    assert!(host.event_requests().is_empty());
}

#[tokio::test]
async fn a_shutdown_lets_the_event_at_hand_end() {
    let (held, arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let plugin = {
        let (held, arrived) = (held.clone(), arrived.clone());
        Plugin::new().subscribe("all", [""; 0], move |event: Event, _| {
            let (held, arrived) = (held.clone(), arrived.clone());
            async move {
                assert_eq!(event.seq(), 1, "no further one is begun");
                arrived.notify_one();
                held.notified().await;
                Ok(())
            }
        })
    };
    let mut host = TestHost::start(plugin).await.expect("ready");
    host.publish("tool", json!({}));
    host.publish("tool", json!({}));
    timeout(LIMIT, arrived.notified()).await.expect("it is at hand");
    host.ask_to_exit(Duration::from_secs(10));
    host.ping().await;
    held.notify_one();
    host.ended().await.expect("in order");
    assert_eq!(host.acknowledged(), 1);
}
