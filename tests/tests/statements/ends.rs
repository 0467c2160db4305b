//! Plugins that end, break the protocol, or leave processes behind.

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::{FailureCause, GetSupervisorRequest};
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, processes, within};
use serde_json::json;

use crate::{LIMIT, NEIGHBOUR, look};

/// X1: a plugin exits (0, non-zero, signal) during the hook: fail-closed hooks block with a reason naming the plugin.
///
/// Q1: a plugin's exit, signal or protocol error changes only that plugin's state; the supervisor has no path from plugin
/// failure to its own exit.
#[tokio::test]
async fn x01_q01_a_plugin_that_ends_in_the_hook_stops_that_call_and_nothing_else() {
    within(LIMIT, async {
        let ends = [
            ("exit-zero", FailureCause::Exit, Some(0), 0),
            ("exit", FailureCause::Exit, Some(3), 0),
            ("abort", FailureCause::Signal, None, 6),
            ("answer-wrong-id", FailureCause::ProtocolViolation, None, 0),
            ("not-protobuf", FailureCause::ProtocolViolation, None, 0),
        ];
        let mut setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        setup = setup.plugin(Package::well_behaved(NEIGHBOUR));
        for (fault, ..) in ends {
            setup = setup.plugin(Package::misbehaving(fault, fault, Phase::Hook).timeout("20s"));
        }
        // An operator may have it that calls pass while a plugin is absent.
        let skipped = Package::misbehaving("skipped", "exit", Phase::Hook).skipped_when_absent();
        let mut world = setup.plugin(skipped).start().await;
        let then = world.ready(NEIGHBOUR).await;
        let supervisor = world.pid();
        let neighbour = Neighbour::watch(&world.runtime(), NEIGHBOUR);

        for (fault, cause, exit_status, signal) in ends {
            world.ready(fault).await;
            let called = world.call(fault, &json!({})).await;
            assert_stopped(&called, fault, HandlerOutcome::Error);
            let waiting = world.wait_for(fault, PluginState::Waiting).await;
            assert_eq!((waiting.generation, waiting.pid, waiting.recent_failures), (1, 0, 1), "{waiting:?}");
            let failure = world.failed(fault, 1).await.failures.remove(0);
            assert_eq!(failure.cause(), cause, "{failure:?}");
            if cause != FailureCause::ProtocolViolation {
                assert_eq!((failure.exit_status, failure.signal), (exit_status, signal), "{failure:?}");
            }
            // From then on the guard denies, and says for whom.
            let called = world.call(fault, &json!({})).await;
            assert_stopped(&called, fault, HandlerOutcome::Absent);
            assert!(called.reason.contains("is waiting"), "{}", called.reason);
        }
        // The call in flight is no absence and stops; later ones pass, and say that nobody was asked.
        world.ready("skipped").await;
        assert_stopped(&world.call("skipped", &json!({})).await, "skipped", HandlerOutcome::Error);
        world.wait_for("skipped", PluginState::Waiting).await;
        let called = world.call("skipped", &json!({})).await;
        assert_eq!(called.short(), "go-on/absent", "{called:?}");

        neighbour.finish().await.assert_unharmed();
        look::assert_untouched(&world, NEIGHBOUR, &then).await;
        let answer = world.admin().get_supervisor(GetSupervisorRequest {}).await.expect("the supervisor answers");
        assert_eq!(answer.into_inner().pid, supervisor);
        assert!(world.terminate().await.success(), "nothing had to be killed");
    })
    .await;
}

/// X9: grandchildren of a plugin are gone after stop.
///
/// Q25: children die with the supervisor, however that ends.
#[tokio::test]
async fn x09_q25_grandchildren_are_gone_after_a_stop_and_with_the_supervisor() {
    within(LIMIT, async {
        let setup = Setup::new().await;
        let stopped = Package::misbehaving("stopped", "detach-grandchild", Phase::Idle);
        let orphaned = Package::misbehaving("orphaned", "detach-grandchild", Phase::Idle);
        let deaf = Package::misbehaving("deaf", "ignore-sigterm", Phase::Idle);
        let mut world = setup.plugin(stopped).plugin(orphaned).plugin(deaf).start().await;

        let mut grandchildren = Vec::new();
        for plugin in ["stopped", "orphaned"] {
            // In a session of its own, its parent gone, deaf to SIGTERM; it tells its number.
            let line = world.told(plugin, "ignores SIGTERM").await;
            let pid = line.split_whitespace().find_map(|word| word.parse().ok()).expect("the line has the number");
            grandchildren.push(processes::Identity::of(pid).expect("the grandchild runs"));
            assert!(world.processes_of(plugin).len() >= 2, "the plugin and its grandchild");
        }
        world.told("deaf", "ignores SIGTERM").await;
        assert!(grandchildren.iter().all(processes::Identity::lives));

        world.stop("stopped").await.expect("stop it");
        assert!(!grandchildren[0].lives(), "the answer to a stop says that nothing runs any more");
        world.assert_empty("stopped").await;
        assert!(grandchildren[1].lives(), "the other plugin's grandchild is none of this");

        world.kill();
        let left = processes::gone(std::time::Duration::from_secs(3), || world.left()).await;
        assert!(left.is_empty(), "{:?}", left.into_iter().map(processes::describe).collect::<Vec<_>>());
        assert!(!grandchildren[1].lives());
    })
    .await;
}
