//! What plugins register and answer.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::FailureCause;
use outrigger_proto::types::v1::{HandlerOutcome, ItemKind, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, within};
use serde_json::json;

use crate::{LIMIT, NEIGHBOUR, look};

/// X5: the registration handshake runs once per process; each item has accept or reason.
///
/// Q5: registration is a handshake that happens exactly once per process generation.
///
/// Q12: the registration reply has accepted or a machine-readable reason for each item; status shows it.
///
/// Q20: every table in memory has a cap: a registration's items.
#[tokio::test]
async fn x05_q05_q12_q20_each_item_of_the_one_registration_has_a_verdict() {
    within(LIMIT, async {
        let setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        let faulty = |name| Package::misbehaving(name, name, Phase::Starting);
        let world = setup
            .plugin(Package::well_behaved("plain"))
            .plugin(faulty("undeclared-guard"))
            .plugin(faulty("unknown-hook"))
            .plugin(faulty("too-many-items"))
            .plugin(faulty("oversized-json"))
            .plugin(Package::misbehaving("register-twice", "register-twice", Phase::Idle))
            // Wants to guard a tool that its manifest does not declare, and would rather not serve without.
            .plugin(Package::policy_gate("{ deny_tools = [\"undeclared-tool\"] }"))
            .start()
            .await;

        // Refused items are told to the plugin, to the operator with a reason and a remedy, and counted; others serve.
        for (plugin, item, verdict, message) in [
            ("undeclared-guard", "undeclared", "GuardNotDeclared", "declare"),
            ("unknown-hook", "unknown", "HookUnknown", "9999"),
        ] {
            let status = world.ready(plugin).await;
            assert_eq!(status.refused_items, 1, "{status:?}");
            let full = world.full(plugin).await;
            let told: Vec<_> = full.items.iter().map(|item| (item.id.as_str(), item.kind(), item.accepted)).collect();
            assert_eq!(told, [("guard", ItemKind::Hook, true), (item, ItemKind::Hook, false)]);
            assert!(full.items[1].message.contains(message), "{full:?}");
            world.told(plugin, "verdict on guard: Accepted").await;
            world.told(plugin, &format!("verdict on {item}: {verdict}")).await;
            assert_eq!(world.call(plugin, &json!({})).await.short(), "go-on/allow");
        }
        assert!(world.full("undeclared-guard").await.items[1].remedy.contains("[[guard]]"));

        // A table with a bound: what is beyond it is refused one by one, the rest is judged as ever.
        let status = world.ready("too-many-items").await;
        let full = world.full("too-many-items").await;
        assert_eq!((full.items.len(), status.refused_items), (300, 300 - 256));
        assert!(full.items[..256].iter().all(|item| item.accepted), "{full:?}");
        let beyond: Vec<_> = full.items.iter().map(|item| item.message.contains("more than 256")).collect();
        assert_eq!(beyond.iter().position(|beyond| *beyond), Some(256));
        assert!(beyond[256..].iter().all(|beyond| *beyond));
        assert_eq!(world.call("too-many-items", &json!({})).await.short(), "go-on/allow");

        // One that is too long as a whole serves nothing; the guard it declared holds all the same.
        world.ready("oversized-json").await;
        let full = world.full("oversized-json").await;
        assert!(!full.items.is_empty() && full.items.iter().all(|item| !item.accepted), "{full:?}");
        assert!(full.items.iter().all(|item| item.message.contains("longer than 262144 bytes")), "{full:?}");
        assert_stopped(&world.call("oversized-json", &json!({})).await, "oversized-json", HandlerOutcome::Absent);

        // A plugin may refuse to start without an item.
        world.wait_for("policy-gate", PluginState::Waiting).await;
        let failure = world.failed("policy-gate", 1).await.failures.remove(0);
        assert_eq!(failure.cause_name, "registration-refused", "{failure:?}");
        assert!(failure.message.contains("`denied-tools`"), "{failure:?}");

        // Once: a second registration ends the launch.
        world.wait_for("register-twice", PluginState::Waiting).await;
        let failure = world.failed("register-twice", 1).await.failures.remove(0);
        assert_eq!((failure.cause(), failure.generation), (FailureCause::ProtocolViolation, 1), "{failure:?}");

        // And once per process, whatever is called in between.
        world.ready("plain").await;
        for _ in 0..20 {
            assert!(world.call("plain", &json!({})).await.goes_on());
        }
        let reloaded = world.reload("plain").await.expect("reload it");
        assert_eq!(reloaded.plugin.map(|plugin| plugin.generation), Some(2));
        for _ in 0..20 {
            assert!(world.call("plain", &json!({})).await.goes_on());
        }
        world.stop("plain").await.expect("stop it, so that all it wrote is there");
        let lines = world.log_of("plain").await;
        let registered = lines.iter().filter(|line| line.text.contains("verdict on")).map(|line| line.generation);
        assert_eq!(registered.collect::<Vec<_>>(), [1, 2], "{lines:?}");
    })
    .await;
}

/// X6: JSON that is too deep, too long, with duplicate keys or not UTF-8: refused, the connection stays up; a frame over
/// the message bound, or one that is not protobuf, ends the launch with its cause named.
#[tokio::test]
async fn x06_bad_json_costs_one_answer_and_a_bad_frame_the_launch() {
    within(LIMIT, async {
        let mut setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        setup = setup.plugin(Package::well_behaved(NEIGHBOUR));
        let in_answers = ["too-deep-json", "duplicate-key-json", "non-utf8-json"];
        for fault in in_answers {
            setup = setup.plugin(Package::misbehaving(fault, fault, Phase::Hook));
        }
        let in_host_calls = ["too-deep-json", "duplicate-key-json", "non-utf8-json", "oversized-json"];
        for fault in in_host_calls {
            setup = setup.plugin(Package::misbehaving(&format!("{fault}-call"), fault, Phase::Idle));
        }
        let frames = [("oversized-frame", "bytes"), ("not-protobuf", "")];
        for (fault, _) in frames {
            setup = setup.plugin(Package::misbehaving(fault, fault, Phase::Hook).timeout("20s"));
        }
        let world = setup.start().await;
        let then = world.ready(NEIGHBOUR).await;
        let neighbour = Neighbour::watch(&world.runtime(), NEIGHBOUR);

        for plugin in in_answers {
            let before = world.ready(plugin).await;
            for _ in 0..3 {
                let called = world.call(plugin, &json!({})).await;
                assert_stopped(&called, plugin, HandlerOutcome::Error);
                assert!(called.reason.contains("gave an invalid answer"), "{}", called.reason);
            }
            look::assert_untouched(&world, plugin, &before).await;
        }
        for fault in in_host_calls {
            let plugin = format!("{fault}-call");
            let before = world.ready(&plugin).await;
            let answer = world.told(&plugin, "called the host with").await;
            assert!(!answer.contains("Ok") && !answer.ends_with("None"), "{answer}");
            assert_eq!(world.call(&plugin, &json!({})).await.short(), "go-on/allow");
            look::assert_untouched(&world, &plugin, &before).await;
        }
        for (plugin, words) in frames {
            world.ready(plugin).await;
            assert_stopped(&world.call(plugin, &json!({})).await, plugin, HandlerOutcome::Error);
            world.wait_for(plugin, PluginState::Waiting).await;
            let failure = world.failed(plugin, 1).await.failures.remove(0);
            assert_eq!(failure.cause_name, "frame-invalid", "{failure:?}");
            assert!(failure.message.contains(words), "{failure:?}");
        }
        neighbour.finish().await.assert_unharmed();
        look::assert_untouched(&world, NEIGHBOUR, &then).await;
    })
    .await;
}

/// Q8: a plugin that burns CPU cannot delay another plugin's call: own process, own bounded queue, concurrency cap per
/// plugin.
///
/// Q20: every table in memory has a cap: the queue of calls that wait for a plugin.
#[tokio::test]
async fn q08_q20_a_busy_plugin_has_its_own_queue_which_has_an_end() {
    /// Places where the plugin says nothing, and calls that may wait for one.
    const FULL: usize = 16 + 256;
    /// Calls for which there is no room.
    const BEYOND: usize = 5;
    within(LIMIT, async {
        let burner = Package::misbehaving("burner", "burn-cpu", Phase::Idle).arguments(&["speak=yes"]);
        // Its pings may be late where it takes all processors.
        let setup = Setup::new().await.set("ping", "2s").set("cancel_grace", "20s");
        let world = setup.plugin(Package::well_behaved(NEIGHBOUR)).plugin(burner.timeout("60s")).start().await;
        let then = world.ready(NEIGHBOUR).await;
        world.ready("burner").await;
        world.told("burner", "threads spin").await;

        let stream = world.hook_stream().await;
        let hold = json!({ "hold": true });
        // There is no room for the last of these; they are told so at once rather than left waiting.
        let mut held: FuturesUnordered<_> = (0..FULL + BEYOND).map(|_| stream.call("burner", &hold)).collect();
        for _ in 0..BEYOND {
            let refused = held.next().await.expect("there are more").expect("the stream goes on");
            assert_stopped(&refused, "burner", HandlerOutcome::Absent);
            assert!(refused.reason.contains("over its bounds"), "{}", refused.reason);
        }
        let resources = world.status("burner").await.resources.expect("it runs");
        assert_eq!(resources.invocations_in_flight, 16, "its concurrency cap: {resources:?}");

        // All that stands before the burner's door, and the neighbour serves every call.
        let neighbour = Neighbour::watch(&world.runtime(), NEIGHBOUR);
        for block in [false, true, false] {
            let params = json!({ "block": block });
            let called = tokio::select! {
                called = stream.call(NEIGHBOUR, &params) => called.expect("the stream goes on"),
                early = held.next() => unreachable!("a held call was answered: {early:?}"),
            };
            assert_eq!(called.goes_on(), !block, "{called:?}");
        }
        assert_eq!(held.len(), FULL);

        // None of them is forgotten: the plugin answers those it has, the others are told that it goes.
        let stop = world.stop("burner");
        let answers = async { held.collect::<Vec<_>>().await };
        let (stopped, answers) = tokio::join!(stop, answers);
        stopped.expect("stop the burner");
        assert_eq!(answers.len(), FULL);
        for answer in answers {
            let called = answer.expect("every call has an outcome");
            assert!(called.goes_on() || called.is_stopped_by("burner"), "{called:?}");
        }
        neighbour.finish().await.assert_unharmed();
        look::assert_untouched(&world, NEIGHBOUR, &then).await;
    })
    .await;
}
