//! Calls that meet a failing plugin.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::{ListHooksRequest, PluginStatus};
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, within};
use serde_json::json;

use crate::LIMIT;

/// X1: "plugin exits (0, non-zero, signal) during each hook kind: … fail-closed hooks block with a reason naming the
/// plugin". Q1: "A plugin's exit, signal or protocol error changes only that plugin's state."
#[tokio::test]
async fn x01_q01_a_plugin_that_ends_during_a_call_blocks_it_by_name_and_harms_nobody_else() {
    within(LIMIT, async {
        let ends = [
            ("exit-zero", "exited with status 0"),
            ("exit", "exited with status 3"),
            ("abort", "signal 6"),
            ("not-protobuf", "no message of the protocol"),
            ("answer-wrong-id", "broke the protocol"),
        ];
        let setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        let setup = setup.plugin(Package::well_behaved("neighbour"));
        let add =
            |setup: Setup, (fault, _): (&str, &str)| setup.plugin(Package::misbehaving(fault, fault, Phase::Hook));
        let world = ends.into_iter().fold(setup, add).start().await;
        world.ready("neighbour").await;
        let neighbour = Neighbour::watch(&world.runtime(), "neighbour");
        let supervisor = world.pid();
        for (fault, words) in ends {
            world.ready(fault).await;
            let called = world.call(fault, &json!({})).await;
            assert_stopped(&called, fault, HandlerOutcome::Error);
            // The stream's end may come before the exit record, which `why` then has.
            assert!(called.reason.contains("ended while it had the call"), "{fault}: {}", called.reason);
            let explained = world.failed(fault, 1).await;
            assert!(explained.failures[0].message.contains(words), "{fault}: {explained:?}");
            // From then on it is absent, and that denies as well.
            world.wait_for(fault, PluginState::Waiting).await;
            assert_stopped(&world.call(fault, &json!({})).await, fault, HandlerOutcome::Absent);
        }
        neighbour.finish().await.assert_unharmed();
        let status = world.status("neighbour").await;
        assert_eq!((status.state(), status.generation, status.restarts), (PluginState::Ready, 1, 0));
        assert_eq!(world.pid(), supervisor);
    })
    .await;
}

/// A plugin that never answers in its first launch and behaves in every later one.
fn stuck_once(id: &str) -> Package {
    let script = "if mkdir \"$OUTRIGGER_DATA_DIR/stuck-once\" 2>/dev/null; \
                  then exec \"$0\" \"$@\" --fault never-answer --when hook; else exec \"$0\" \"$@\"; fi";
    let mut package = Package::well_behaved(id);
    let own = std::mem::take(&mut package.command);
    package.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    package.command.extend(own);
    package
}

/// X2: "plugin hangs in each hook kind: deadline, cancel sent, then recycled if it never answers; other plugins' calls
/// unaffected". Q6: "Every host-to-plugin call has a deadline". Q7: "A passed deadline cancels the call; a plugin that
/// ignores the cancel for a grace time is recycled: the next generation first, then the old one's whole tree is killed.
/// The host records hook, plugin, elapsed, action."
#[tokio::test]
async fn x02_q06_q07_a_hung_call_ends_by_its_deadline_and_the_plugin_is_recycled() {
    within(LIMIT, async {
        let world = Setup::new()
            .await
            // Few enough time out meanwhile that its breaker stays closed.
            .plugin(stuck_once("stuck").timeout("1s"))
            .plugin(Package::well_behaved("neighbour"))
            .start()
            .await;
        world.ready("neighbour").await;
        let old = world.ready("stuck").await;
        let neighbour = Neighbour::watch(&world.runtime(), "neighbour");
        let begin = Instant::now();
        let called = world.call("stuck", &json!({})).await;
        assert_stopped(&called, "stuck", HandlerOutcome::Timeout);
        assert!(called.elapsed >= Duration::from_secs(1), "{:?}", called.elapsed);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());

        // The next generation first: at no time is the plugin absent.
        let stream = world.hook_stream().await;
        let next = loop {
            let status = world.status("stuck").await;
            assert_eq!(status.state(), PluginState::Ready, "{status:?}");
            if status.generation == 2 {
                break status;
            }
            let called = stream.call("stuck", &json!({})).await.expect("the call is carried out");
            assert_ne!(called.stopped_as(), Some(HandlerOutcome::Absent), "{called:?}");
        };
        assert_ne!(next.pid, old.pid);
        let called = stream.call("stuck", &json!({})).await.expect("the call is carried out");
        assert!(called.goes_on(), "{called:?}");
        let left = outrigger_tests::processes::gone(Duration::from_secs(3), || {
            world.processes_of("stuck").into_iter().filter(|pid| *pid == old.pid).collect()
        });
        assert!(left.await.is_empty(), "the old generation is killed");
        assert_eq!(world.causes("stuck").await, ["recycled"]);
        let told = world.told("stuck", "was cancelled").await;
        assert!(told.contains("invocation 1") && told.contains("has not ended"), "{told}");
        neighbour.finish().await.assert_unharmed();
    })
    .await;
}

/// Q7: "A passed deadline cancels the call": the plugin is told, and one late answer costs one answer.
#[tokio::test]
async fn q07_a_late_answer_is_dropped_and_counted_and_costs_nothing_else() {
    within(LIMIT, async {
        let package = Package::misbehaving("late", "answer-late", Phase::Hook).timeout("200ms");
        let world = Setup::new().await.plugin(package).start().await;
        world.ready("late").await;
        for _ in 0..3 {
            assert_stopped(&world.call("late", &json!({})).await, "late", HandlerOutcome::Timeout);
        }
        world.told("late", "answers invocation 3 late").await;
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let handlers = world.full("late").await.handlers;
            if handlers.iter().any(|handler| handler.violations >= 3) {
                break;
            }
            assert!(Instant::now() < end, "late answers are counted: {handlers:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(world.status("late").await.generation, 1);
        assert_eq!(world.causes("late").await, Vec::<String>::new());
    })
    .await;
}

/// Q6: "configurable per plugin and hook, strongest setting wins": the caller's own deadline bounds what is configured.
#[tokio::test]
async fn q06_the_shortest_deadline_wins() {
    within(LIMIT, async {
        let package = |id: &str| Package::well_behaved(id);
        let world = Setup::new()
            .await
            .plugin(package("by-hook").entry("timeout = \"30s\"").timeout("200ms"))
            .plugin(package("by-plugin").entry("timeout = \"200ms\""))
            .start()
            .await;
        for id in ["by-hook", "by-plugin"] {
            world.ready(id).await;
            let called = world.call(id, &json!({ "hold": true })).await;
            assert_stopped(&called, id, HandlerOutcome::Timeout);
            assert!(called.elapsed < Duration::from_secs(10), "{id}: {:?}", called.elapsed);
        }
    })
    .await;
}

/// Q8: "A plugin that burns CPU cannot delay another plugin's call: own process, own bounded queue, concurrency cap per
/// plugin."
#[tokio::test]
async fn q08_a_plugin_that_burns_the_processors_does_not_stop_the_others() {
    within(LIMIT, async {
        let burning = Package::misbehaving("burning", "burn-cpu", Phase::Hook).arguments(&["speak=yes", "life=10"]);
        let world =
            Setup::new().await.plugin(burning.timeout("20s")).plugin(Package::well_behaved("neighbour")).start().await;
        world.ready("neighbour").await;
        world.ready("burning").await;
        let neighbour = Neighbour::watch(&world.runtime(), "neighbour");
        world.call("burning", &json!({})).await;
        world.told("burning", "threads spin").await;
        // A good number of calls beside the spinning threads.
        for _ in 0..50 {
            let called = world.call("neighbour", &json!({})).await;
            assert!(called.goes_on(), "{called:?}");
        }
        let report = neighbour.finish().await;
        report.assert_unharmed();
        assert!(report.slowest < Duration::from_secs(5), "{report:?}");
    })
    .await;
}

/// Q20: "Every table in memory has a cap and an eviction rule, tested": of one plugin 16 calls are in flight and 256 wait;
/// whatever comes on top finds it absent, at once.
#[tokio::test]
async fn q08_q20_the_queue_of_a_plugin_is_bounded_and_what_is_beyond_is_denied_at_once() {
    const IN_FLIGHT: usize = 16;
    const WAITING: usize = 256;
    const BEYOND: usize = 24;
    within(LIMIT, async {
        let world = Setup::new()
            .await
            .plugin(Package::well_behaved("busy").timeout("5s"))
            .plugin(Package::well_behaved("neighbour"))
            .start()
            .await;
        world.ready("busy").await;
        world.ready("neighbour").await;
        let neighbour = Neighbour::watch(&world.runtime(), "neighbour");
        let stream = world.hook_stream().await;
        let params = json!({ "hold": true });
        let calls = (0..IN_FLIGHT + WAITING + BEYOND).map(|_| stream.call("busy", &params));
        let called: Vec<_> =
            join_all(calls).await.into_iter().map(|called| called.expect("it is carried out")).collect();
        let count = |fared| called.iter().filter(|called| called.stopped_as() == Some(fared)).count();
        assert_eq!(count(HandlerOutcome::Absent), BEYOND);
        let absent = called.iter().find(|called| called.stopped_as() == Some(HandlerOutcome::Absent));
        let absent = absent.expect("some were absent");
        assert!(absent.reason.contains("over its bounds"), "{}", absent.reason);
        assert!(absent.elapsed < Duration::from_secs(4), "at once: {:?}", absent.elapsed);
        assert_eq!(count(HandlerOutcome::Timeout), IN_FLIGHT + WAITING);
        neighbour.finish().await.assert_unharmed();
        assert_eq!(world.status("busy").await.generation, 1, "it answered every cancel, so it lives");
    })
    .await;
}

/// X13: "while a trusted-policy plugin is down, matching tool calls are blocked". Q14: "While a declared trusted policy is
/// down, matching calls are blocked, with a reason saying so. Last-fired time and counts per hook are visible."
#[tokio::test]
async fn x13_q14_a_guard_that_is_down_blocks_what_it_guards_and_its_counts_are_visible() {
    within(LIMIT, async {
        let down = Package::of_program("down", &["/bin/sh", "-c", "exit 3"]).guard(&["guarded"]);
        let world = Setup::new()
            .await
            .set_raw("quarantine_after", "1")
            .plugin(down)
            .plugin(Package::well_behaved("up"))
            .start()
            .await;
        world.ready("up").await;
        world.wait_for("down", PluginState::Quarantined).await;
        for _ in 0..3 {
            let called = world.call("guarded", &json!({})).await;
            assert_stopped(&called, "down", HandlerOutcome::Absent);
            assert!(called.reason.starts_with("down: is quarantined"), "{}", called.reason);
        }
        assert!(world.call("not-guarded", &json!({})).await.goes_on());
        assert!(world.call("up", &json!({})).await.goes_on());
        assert_stopped(&world.call("up", &json!({ "block": true })).await, "up", HandlerOutcome::Deny);

        let listed = world.admin().list_hooks(ListHooksRequest::default()).await.expect("list hooks").into_inner();
        let up = listed.handlers.iter().find(|handler| handler.plugin_id == "up").expect("it has a handler");
        let stats = up.stats.as_ref().expect("it was asked");
        assert!(stats.last_called_at.is_some(), "{stats:?}");
        let count = |fared: HandlerOutcome| {
            stats.outcomes.iter().filter(|entry| entry.outcome() == fared).map(|entry| entry.count).sum::<u64>()
        };
        assert_eq!((count(HandlerOutcome::Allow), count(HandlerOutcome::Deny)), (1, 1), "{stats:?}");
        let denials: Vec<_> = join_all(["down", "up"].map(|id| world.status(id))).await;
        let denials: Vec<_> = denials.iter().map(|status: &PluginStatus| status.denials).collect();
        assert_eq!(denials, [3, 1]);
    })
    .await;
}

/// Q14, the breaker: five failures in a row open it; then the handler is absent, which denies, and is not asked.
#[tokio::test]
async fn q14_an_open_breaker_denies_too() {
    within(LIMIT, async {
        let package = Package::misbehaving("failing", "answer-unset", Phase::Hook);
        let world =
            Setup::new().await.set("breaker_first", "10m").set("breaker_max", "10m").plugin(package).start().await;
        world.ready("failing").await;
        for _ in 0..5 {
            assert_stopped(&world.call("failing", &json!({})).await, "failing", HandlerOutcome::Error);
        }
        let called = world.call("failing", &json!({})).await;
        assert_stopped(&called, "failing", HandlerOutcome::Absent);
        assert!(called.reason.contains("breaker"), "{}", called.reason);
        assert!(world.full("failing").await.handlers.iter().any(|handler| handler.breaker_open));
    })
    .await;
}

/// X6: "plugin sends JSON that is too deep, too long, with duplicate keys or not UTF-8: refused, connection stays up; a
/// frame over the message bound, or one that is not protobuf, ends the launch with its cause named".
#[tokio::test]
async fn x06_bad_json_is_refused_and_a_bad_frame_ends_the_launch() {
    within(LIMIT, async {
        let json_faults = ["too-deep-json", "duplicate-key-json", "non-utf8-json", "oversized-json"];
        let frame_faults = ["oversized-frame", "not-protobuf"];
        let setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        let all = json_faults.iter().chain(&frame_faults);
        let world = all.fold(setup, |setup, fault| setup.plugin(Package::misbehaving(fault, fault, Phase::Hook)));
        let world = world.start().await;
        for fault in json_faults {
            let status = world.ready(fault).await;
            // Each time, on the same connection.
            for _ in 0..3 {
                let called = world.call(fault, &json!({})).await;
                assert!(called.is_stopped_by(fault), "{fault}: {called:?}");
            }
            let after = world.status(fault).await;
            assert_eq!((after.state(), after.generation, after.pid), (PluginState::Ready, 1, status.pid), "{fault}");
        }
        for fault in frame_faults {
            world.ready(fault).await;
            assert_stopped(&world.call(fault, &json!({})).await, fault, HandlerOutcome::Error);
            let explained = world.failed(fault, 1).await;
            assert!(explained.failures[0].message.starts_with("frame-invalid: "), "{explained:?}");
        }
    })
    .await;
}
