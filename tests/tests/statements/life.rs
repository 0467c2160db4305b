//! Failure, backoff, quarantine, limits.

use std::time::Duration;

use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::FailureCause;
use outrigger_proto::types::v1::{HandlerOutcome, PluginState};
use outrigger_tests::hooks::assert_stopped;
use outrigger_tests::{Neighbour, Package, Setup, within};
use serde_json::{Value, json};

use crate::LIMIT;

/// Q2: "Restart with exponential backoff and jitter, a crash budget per window, then quarantine with the last exit reason
/// and last stderr lines; manual release."
#[tokio::test]
async fn q02_failures_back_off_longer_and_longer_and_end_in_quarantine_until_released() {
    const FIRST: Duration = Duration::from_millis(100);
    within(LIMIT, async {
        let failing = Package::misbehaving("failing", "exit", Phase::Starting);
        let world = Setup::new()
            .await
            .set("backoff_first", "100ms")
            .set("backoff_max", "10s")
            .set_raw("quarantine_after", "5")
            .plugin(failing)
            .start()
            .await;
        let status = world.wait_for("failing", PluginState::Quarantined).await;
        assert!(status.retry_after.is_some(), "a probe is due: {status:?}");
        let explained = world.failed("failing", 5).await;
        assert_eq!(explained.failures.len(), 5);
        let time = |index: usize| {
            let time = explained.failures[index].time.expect("a failure has its time");
            Duration::new(time.seconds.unsigned_abs(), time.nanos.unsigned_abs())
        };
        // Newest first. A wait is at least half of first · 2ⁿ; what came on top is the launch itself.
        for n in 0..4_u32 {
            let (older, newer) = (time(4 - n as usize), time(3 - n as usize));
            let wait = newer.saturating_sub(older);
            assert!(wait >= FIRST * 2_u32.pow(n) / 2, "wait {n} was {wait:?}");
        }
        let last = &explained.failures[0];
        assert_eq!((last.cause(), last.exit_status), (FailureCause::Exit, Some(3)));
        assert!(last.stderr_tail.iter().any(|line| line.contains("exit strikes (starting)")), "{last:?}");

        // Mended, and released by hand only.
        Package::well_behaved("failing").write(&world.dir().join("packages"));
        world.start_plugin("failing", false).await.expect_err("a start alone does not release it");
        let status = world.start_plugin("failing", true).await.expect("it is released");
        assert_eq!((status.state(), status.recent_failures), (PluginState::Ready, 0));
        assert!(world.call("failing", &json!({})).await.goes_on());
    })
    .await;
}

/// Q2, the probe: a quarantined plugin is tried again when its probe is due, and serves if it is mended by then.
#[tokio::test]
async fn q02_a_due_probe_tries_a_quarantined_plugin_again() {
    within(LIMIT, async {
        let script = "if [ -e \"$OUTRIGGER_DATA_DIR/mended\" ]; then exec \"$0\" \"$@\"; else exit 3; fi";
        let mut package = Package::well_behaved("probed");
        let own = std::mem::take(&mut package.command);
        package.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        package.command.extend(own);
        let world = Setup::new()
            .await
            .set_raw("quarantine_after", "2")
            .set("probe_first", "300ms")
            .set("probe_max", "300ms")
            .plugin(package)
            .start()
            .await;
        world.wait_for("probed", PluginState::Quarantined).await;
        // A probe that fails leads back into quarantine, with one failure more.
        world.failed("probed", 3).await;
        world.wait_for("probed", PluginState::Quarantined).await;
        std::fs::write(world.data_dir("probed").join("mended"), "").expect("mend it");
        world.ready("probed").await;
        assert!(world.call("probed", &json!({})).await.goes_on());
    })
    .await;
}

/// Q3: "Start result lists each plugin: ready, degraded, quarantined, and why. A bad config quarantines only its plugin,
/// before spawn."
#[tokio::test]
async fn q03_a_bad_configuration_quarantines_its_plugin_before_any_process() {
    within(LIMIT, async {
        let world = Setup::new()
            .await
            .plugin(Package::policy_gate("{ deny_tools = 5 }"))
            .plugin(Package::well_behaved("plain"))
            .plugin(Package::misbehaving("degraded", "undeclared-guard", Phase::Starting))
            .start()
            .await;
        world.ready("plain").await;
        let degraded = world.ready("degraded").await;
        assert_eq!(degraded.refused_items, 1, "{degraded:?}");
        let status = world.wait_for("policy-gate", PluginState::Quarantined).await;
        assert_eq!((status.generation, status.pid), (0, 0), "no process was made: {status:?}");
        assert!(status.message.contains("deny_tools"), "{}", status.message);
        assert!(!world.data_dir("policy-gate").exists(), "not even its directory");
        assert_stopped(&world.call("exec", &json!({})).await, "policy-gate", HandlerOutcome::Absent);
        assert!(world.call("plain", &json!({})).await.goes_on());

        let output = world.cli(&["status", "policy-gate"]).await;
        assert_eq!(output.status.code(), Some(4), "it is not ready, which the exit code tells: {output:?}");
        let output = world.cli(&["--json", "status"]).await;
        assert!(output.status.success(), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        let text = told.to_string();
        for word in ["policy-gate", "quarantined", "plain", "ready", "degraded", "deny_tools"] {
            assert!(text.contains(word), "{word} is not in {text}");
        }
    })
    .await;
}

/// X8: "memory limit hit: only that plugin dies; backoff, then quarantine after N in a window". Q4: "Memory and CPU limit
/// per plugin process tree; over the limit, only that tree dies; peak and current use are visible per plugin."
#[tokio::test]
async fn x08_q04_over_its_memory_limit_a_plugin_dies_alone_and_is_quarantined_in_the_end() {
    const LIMIT_BYTES: u64 = 48 << 20;
    within(LIMIT, async {
        let leaking = Package::misbehaving("leaking", "leak", Phase::Idle).entry("limits = { memory = \"48MiB\" }");
        let world = Setup::new()
            .await
            .set_raw("quarantine_after", "2")
            .plugin(leaking)
            .plugin(Package::well_behaved("neighbour"))
            .start()
            .await;
        world.ready("neighbour").await;
        let neighbour = Neighbour::watch(&world.runtime(), "neighbour");
        world.wait_for("leaking", PluginState::Quarantined).await;
        let explained = world.failed("leaking", 2).await;
        assert_eq!(world.causes("leaking").await, ["resource-limit"; 2]);
        let failure = &explained.failures[0];
        assert_eq!(failure.cause(), FailureCause::ResourceLimit);
        assert!(failure.message.contains(&LIMIT_BYTES.to_string()), "it names the limit: {}", failure.message);
        assert!(!failure.evidence.is_empty(), "what it did is written down: {failure:?}");
        let status = world.status("leaking").await;
        assert!(status.peak_memory_bytes > LIMIT_BYTES, "{status:?}");
        world.assert_empty("leaking").await;

        let report = neighbour.finish().await;
        report.assert_unharmed();
        let used = world.status("neighbour").await.resources.expect("use is visible");
        assert!(
            used.memory_bytes > 0 && used.peak_memory_bytes >= used.memory_bytes && used.processes == 1,
            "{used:?}"
        );
        assert!(used.threads >= 1 && used.descriptors > 2, "{used:?}");
    })
    .await;
}

/// Q4, the tree: a limit of processes counts all of them, and the evidence names them.
#[tokio::test]
async fn q04_over_its_limit_of_processes_a_tree_dies_whole() {
    within(LIMIT, async {
        let many = Package::misbehaving("many", "many-processes", Phase::Idle)
            .arguments(&["count=20"])
            .entry("limits = { processes = 8 }");
        let world = Setup::new().await.set_raw("quarantine_after", "1").plugin(many).start().await;
        world.wait_for("many", PluginState::Quarantined).await;
        let explained = world.failed("many", 1).await;
        assert!(explained.failures[0].message.contains("21 processes, more than the 8"), "{explained:?}");
        world.assert_empty("many").await;
    })
    .await;
}
