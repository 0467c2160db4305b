//! The handshake.

use outrigger_fixtures::faults::Phase;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Package, Setup, within};
use serde_json::json;

use crate::LIMIT;

/// X5: "registration handshake runs once per process; each item has accept or reason". Q5: "Registration is a handshake
/// that happens exactly once per process generation." Q12: "The registration reply has accepted or a machine-readable
/// reason for each item; … status shows it." Q20: "Every table in memory has a cap".
#[tokio::test]
async fn x05_q05_q12_q20_each_item_is_accepted_or_refused_with_a_reason_once() {
    within(LIMIT, async {
        let world = Setup::new()
            .await
            .set("backoff_first", "10m")
            .set("backoff_max", "10m")
            .plugin(Package::misbehaving("undeclared", "undeclared-guard", Phase::Starting))
            .plugin(Package::misbehaving("unknown", "unknown-hook", Phase::Starting))
            .plugin(Package::misbehaving("many", "too-many-items", Phase::Starting))
            .plugin(Package::misbehaving("twice", "register-twice", Phase::Idle))
            .start()
            .await;
        for (id, refused) in [("undeclared", 1), ("unknown", 1)] {
            let status = world.ready(id).await;
            assert_eq!(status.refused_items, refused, "{status:?}");
            let items = world.full(id).await.items;
            assert_eq!(items.len(), 2, "{items:?}");
            assert!(items[0].accepted && items[0].message.is_empty(), "{items:?}");
            assert!(!items[1].accepted && !items[1].message.is_empty(), "{items:?}");
            assert!(world.call(id, &json!({})).await.goes_on(), "what was accepted serves");
        }
        // The verdict reached the plugin, too.
        world.told("undeclared", "verdict on undeclared: GuardNotDeclared").await;

        world.ready("many").await;
        let items = world.full("many").await.items;
        assert_eq!(items.len(), 300, "each item has its verdict");
        let too_many = items.iter().filter(|item| item.message.contains("more than 256")).count();
        assert_eq!(too_many, 300 - 256);

        let explained = world.failed("twice", 1).await;
        assert!(explained.failures[0].message.contains("second register"), "{explained:?}");
        world.wait_for("twice", PluginState::Waiting).await;
        assert_stopped(&world.call("twice", &json!({})).await, "twice", HandlerOutcome::Absent);
    })
    .await;
}

/// Q12: "the plugin may refuse to start on it": an item that must be accepted and is not ends the launch, and what the
/// manifest guards stays guarded.
#[tokio::test]
async fn q12_a_plugin_can_insist_on_an_item() {
    within(LIMIT, async {
        // The gate is to deny a tool that its manifest does not guard.
        let world = Setup::new()
            .await
            .set_raw("quarantine_after", "1")
            .plugin(Package::policy_gate("{ deny_tools = [\"write\"] }"))
            .start()
            .await;
        world.wait_for("policy-gate", PluginState::Quarantined).await;
        let explained = world.failed("policy-gate", 1).await;
        let failure = &explained.failures[0];
        assert!(failure.message.starts_with("registration-refused: "), "{failure:?}");
        assert!(failure.message.contains("denied-tools"), "it names the item: {failure:?}");
        assert_stopped(&world.call("exec", &json!({})).await, "policy-gate", HandlerOutcome::Absent);
        assert!(world.call("write", &json!({})).await.goes_on());
    })
    .await;
}
