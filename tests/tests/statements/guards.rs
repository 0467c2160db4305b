//! Guards whose plugin is not there, and what a start comes to.

use std::fs;
use std::time::{Duration, SystemTime};

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::{FailureCause, GetSupervisorRequest, GuardState};
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Package, Setup, World, within};
use serde_json::json;

use crate::{LIMIT, NEIGHBOUR, arrange, look};

/// X13: while a plugin that guards is down, matching tool calls are blocked (not allowed through).
///
/// Q14: with a reason saying so; last-fired time and counts per hook are visible.
#[tokio::test]
async fn x13_q14_a_guard_that_is_down_blocks_and_says_so() {
    within(LIMIT, async {
        let setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        let world = setup
            .plugin(Package::well_behaved(NEIGHBOUR))
            .plugin(arrange::waiting_for_go("starting"))
            .plugin(Package::misbehaving("waiting", "exit", Phase::Idle))
            .plugin(Package::misbehaving("quarantined", "final-exit", Phase::Idle))
            .plugin(Package::of_program("unstartable", &["./nothing"]).guard(&["unstartable"]))
            .start()
            .await;
        // From the first moment a runtime can call.
        let called = world.call("starting", &json!({})).await;
        assert_stopped(&called, "starting", HandlerOutcome::Absent);

        world.wait_for("starting", PluginState::Starting).await;
        world.wait_for("waiting", PluginState::Waiting).await;
        world.wait_for("quarantined", PluginState::Quarantined).await;
        for plugin in ["starting", "waiting", "quarantined"] {
            let before = world.status(plugin).await.denials;
            for _ in 0..3 {
                let called = world.call(plugin, &json!({})).await;
                assert_stopped(&called, plugin, HandlerOutcome::Absent);
                assert!(called.reason.starts_with(&format!("{plugin}: is {plugin}")), "{}", called.reason);
                let state = called.decided_by.as_ref().map(|report| report.plugin_state().as_str_name());
                let name = format!("PLUGIN_STATE_{}", plugin.to_uppercase());
                assert_eq!(state, Some(name.as_str()));
            }
            assert_eq!(world.status(plugin).await.denials, before + 3);
            let hooks = look::hooks(&world, plugin).await;
            let told: Vec<_> = hooks.iter().map(|hook| (hook.guard(), hook.tool_names.clone())).collect();
            assert_eq!(told, [(GuardState::Denying, vec![plugin.to_owned()])], "{hooks:?}");
        }
        assert!(!world.call("unstartable", &json!({})).await.goes_on());

        // Tools that nobody down guards are none of this.
        world.ready(NEIGHBOUR).await;
        assert_eq!(world.call("another", &json!({})).await.short(), "go-on/unasked");
        let begin = SystemTime::now();
        for block in [true, false, false, true, false] {
            assert_eq!(world.call(NEIGHBOUR, &json!({ "block": block })).await.goes_on(), !block);
        }
        let stats = look::stats(&world, NEIGHBOUR).await;
        assert_eq!(
            (look::count(&stats, HandlerOutcome::Allow), look::count(&stats, HandlerOutcome::Deny)),
            (3, 2),
            "{stats:?}"
        );
        let last = SystemTime::try_from(stats.last_called_at.expect("it was called")).expect("a time");
        assert!(last + Duration::from_millis(10) >= begin && last <= SystemTime::now(), "{last:?}");

        // It comes back, and asks again; only an operator's stop takes the guard away.
        fs::write(world.data_dir("starting").join("go"), "").expect("let it go on");
        world.ready("starting").await;
        assert_eq!(world.call("starting", &json!({})).await.short(), "go-on/allow");
        world.stop("starting").await.expect("stop it");
        assert_eq!(world.call("starting", &json!({})).await.short(), "go-on/unasked");
        assert_eq!(world.full("starting").await.guards[0].state(), GuardState::Lifted);
    })
    .await;
}

/// Q3: the start result lists each plugin: ready, degraded, quarantined, and why. A bad config quarantines only its
/// plugin, before spawn.
#[tokio::test]
async fn q03_a_start_tells_who_is_ready_degraded_or_quarantined_and_why() {
    within(LIMIT, async {
        let setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        let world = setup
            .plugin(Package::well_behaved("ready"))
            .plugin(Package::misbehaving("degraded", "undeclared-guard", Phase::Starting))
            .plugin(Package::misbehaving("crashed", "exit", Phase::Starting))
            .plugin(Package::policy_gate("{ deny_tools = 7 }"))
            .plugin(Package::well_behaved("bad-entry").entry("limits = { memory = \"lots\" }"))
            .plugin(Package::well_behaved("bad-manifest").manifest("restart = \"perhaps\""))
            .start()
            .await;
        let ready = world.ready("ready").await;
        world.ready("degraded").await;
        world.wait_for("crashed", PluginState::Waiting).await;
        for (plugin, why) in [("policy-gate", "deny_tools"), ("bad-entry", "memory"), ("bad-manifest", "restart")] {
            let status = world.wait_for(plugin, PluginState::Quarantined).await;
            assert!(status.message.contains(why), "{status:?}");
            // Before spawn: there never was a launch, nor a process.
            assert_eq!((status.generation, status.pid, status.guards), (0, 0, 1), "{status:?}");
            assert!(world.processes_of(plugin).is_empty());
            let explained = world.failed(plugin, 1).await;
            assert_eq!(explained.failures[0].cause(), FailureCause::NotLaunchable, "{explained:?}");
            assert!(explained.failures[0].message.contains(why), "{explained:?}");
        }
        // Its guards hold.
        assert_stopped(&world.call("exec", &json!({})).await, "policy-gate", HandlerOutcome::Absent);
        assert_stopped(&world.call("bad-entry", &json!({})).await, "bad-entry", HandlerOutcome::Absent);

        let answer = world.admin().get_supervisor(GetSupervisorRequest {}).await.expect("ask").into_inner();
        let mut counts: Vec<_> = answer.plugins.iter().map(|count| (count.state(), count.count)).collect();
        counts.retain(|(_, count)| *count > 0);
        counts.sort();
        assert_eq!(counts, [(PluginState::Waiting, 1), (PluginState::Ready, 2), (PluginState::Quarantined, 3)]);

        let shown = shown(&world).await;
        for (plugin, words) in [
            ("ready", vec!["ready"]),
            ("degraded", vec!["ready", "1"]),
            ("crashed", vec!["waiting", "status 3"]),
            ("policy-gate", vec!["quarantined", "deny_tools"]),
            ("bad-entry", vec!["quarantined", "memory"]),
            ("bad-manifest", vec!["quarantined", "restart"]),
        ] {
            let line = shown.iter().find(|line| line["plugin_id"] == plugin).expect("every plugin is listed");
            let text = line.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
        let degraded = shown.iter().find(|line| line["plugin_id"] == "degraded").expect("it is listed");
        assert_eq!(degraded["refused_items"], 1, "{degraded}");
        look::assert_untouched(&world, "ready", &ready).await;
        assert_eq!(world.call("ready", &json!({})).await.short(), "go-on/allow");
    })
    .await;
}

/// The plugins as `outrigger status --json` has them.
async fn shown(world: &World) -> Vec<serde_json::Value> {
    let output = world.cli(&["--json", "status"]).await;
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    document["plugins"].as_array().expect("it lists plugins").clone()
}
