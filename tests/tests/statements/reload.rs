//! One generation after another.

use std::fs;

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::ReloadPluginRequest;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, within};
use serde_json::json;

use crate::look::{self, History};
use crate::{LIMIT, arrange};

/// X12: hot reload: in-flight calls finish on the old generation; no window with no generation for fail-closed policies.
///
/// Q21: reload = start the new process, handshake, swap atomically, drain the old with a deadline, kill. New code is
/// always really new.
#[tokio::test]
async fn x12_q21_a_reload_finishes_calls_on_the_old_generation_and_leaves_no_window() {
    within(LIMIT, async {
        let gate = Package::well_behaved("gate").timeout("20s");
        let world = Setup::new().await.set("drain", "10s").plugin(gate.clone()).start().await;
        let old = world.ready("gate").await;
        let history = History::of(&world, "gate").await;
        // Calls all the time, half of them with a no as their right outcome: a window would be a wrong one.
        let calls = Neighbour::watch(&world.runtime(), "gate");

        let hold = json!({ "hold": true });
        let swap = async {
            world.told("gate", "holds invocation").await;
            // New code: what the files say now.
            let manifest = gate.manifest_text().replace("version = \"0.1.0\"", "version = \"0.2.0\"");
            fs::write(world.package_dir("gate").join("plugin.toml"), manifest).expect("write the new manifest");
            world.reload("gate").await.expect("reload it")
        };
        let (held, reloaded) = tokio::join!(world.call("gate", &hold), swap);
        assert_eq!(held.short(), "go-on/allow", "the old generation finished it: {held:?}");
        let new = reloaded.plugin.expect("the answer has the status");
        assert_eq!((reloaded.previous_generation, new.generation, new.state()), (1, 2, PluginState::Ready));
        assert_eq!((old.version.as_str(), new.version.as_str()), ("0.1.0", "0.2.0"));
        assert_ne!(old.pid, new.pid);
        assert_eq!(world.call("gate", &json!({})).await.short(), "go-on/allow");
        look::assert_only_launch(&world, "gate", new.pid).await;

        let hold = world.call("gate", &hold);
        let (held, again) = tokio::join!(hold, async {
            while !world.log_of("gate").await.iter().any(|line| line.generation == 2 && line.text.contains("holds")) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            world.reload("gate").await.expect("reload it again")
        });
        assert_eq!(held.short(), "go-on/allow", "{held:?}");
        assert_eq!(again.previous_generation, 2, "the next call was the new generation's");

        calls.finish().await.assert_unharmed();
        let states: Vec<_> = history.seen().iter().map(|status| (status.generation, status.state())).collect();
        assert!(states.iter().all(|(_, state)| *state == PluginState::Ready), "{states:?}");
        assert_eq!(world.causes("gate").await, [""; 0], "a reload is no failure");
    })
    .await;
}

/// X12: what does not finish in its time is cut off.
///
/// Q21: drain the old with a deadline, kill.
#[tokio::test]
async fn x12_q21_a_call_that_outlasts_the_drain_ends_with_the_old_generation() {
    within(LIMIT, async {
        // The first generation holds its calls, and does not answer when it drains either.
        let gate = arrange::at_first("gate", "never-answer", Phase::Draining).timeout("50s");
        let world = Setup::new().await.set("drain", "50s").plugin(gate).start().await;
        world.ready("gate").await;
        let reload = async {
            world.told("gate", "holds invocation").await;
            let drain = prost_types::Duration { seconds: 0, nanos: 200_000_000 };
            let request = ReloadPluginRequest { plugin_id: "gate".to_owned(), drain_timeout: Some(drain) };
            world.admin().reload_plugin(request).await.expect("reload it").into_inner()
        };
        let params = json!({});
        let (held, reloaded) = tokio::join!(world.call("gate", &params), reload);
        assert_stopped(&held, "gate", HandlerOutcome::Error);
        let new = reloaded.plugin.expect("the answer has the status");
        assert_eq!((reloaded.previous_generation, new.generation), (1, 2));
        assert_eq!(world.call("gate", &json!({})).await.short(), "go-on/allow");
        look::assert_only_launch(&world, "gate", new.pid).await;
        assert_eq!(world.causes("gate").await, [""; 0], "a reload is no failure");
    })
    .await;
}

/// X15: reload whose new process fails the handshake: the old generation still serves.
///
/// Q23: a failed new generation leaves the old one serving.
#[tokio::test]
async fn x15_q23_a_reload_that_fails_leaves_the_old_generation_serving() {
    within(LIMIT, async {
        let next = [
            ("exit-before-hello", Phase::Starting, ["crashed"].as_slice()),
            ("wrong-token", Phase::Starting, &["crashed"]),
            ("bad-version", Phase::Starting, &["protocol-unsupported"]),
            // They register, and fail their trial; its exit may be noticed before the trial's end.
            ("never-answer", Phase::Hook, &["canary-failed"]),
            ("exit", Phase::Hook, &["canary-failed", "crashed"]),
        ];
        let mut setup = Setup::new().await.plugin(Package::well_behaved("unreadable"));
        for (fault, when, _) in next {
            setup = setup.plugin(arrange::later(fault, fault, when).timeout("400ms"));
        }
        let world = setup.start().await;
        for (plugin, _, causes) in next {
            let old = world.ready(plugin).await;
            let history = History::of(&world, plugin).await;
            let calls = Neighbour::watch(&world.runtime(), plugin);
            let refused = world.reload(plugin).await.expect_err("the new generation fails");
            assert!(refused.message().contains(plugin), "{refused:?}");
            let failures = world.failed(plugin, 1).await.failures;
            assert_eq!((failures.len(), failures[0].generation), (1, 2), "{failures:?}");
            assert!(causes.contains(&failures[0].cause_name.as_str()), "{failures:?}");
            assert_eq!(world.call(plugin, &json!({})).await.short(), "go-on/allow");
            calls.finish().await.assert_unharmed();
            let now = world.status(plugin).await;
            assert_eq!((now.state(), now.generation, now.pid), (PluginState::Ready, 1, old.pid), "{now:?}");
            let states: Vec<_> = history.seen().iter().map(|status| status.state()).collect();
            assert!(states.iter().all(|state| *state == PluginState::Ready), "{states:?}");
            look::assert_only_launch(&world, plugin, old.pid).await;
        }

        // Files that are wrong do not even stop what runs.
        let old = world.ready("unreadable").await;
        fs::write(world.package_dir("unreadable").join("plugin.toml"), "id = ").expect("break the manifest");
        let refused = world.reload("unreadable").await.expect_err("its manifest cannot be read");
        assert!(refused.message().contains("nothing was changed"), "{refused:?}");
        look::assert_untouched(&world, "unreadable", &old).await;
        assert_eq!(world.call("unreadable", &json!({})).await.short(), "go-on/allow");
    })
    .await;
}
