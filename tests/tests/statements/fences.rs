//! What a plugin gets and what it cannot pretend.

use std::collections::BTreeSet;
use std::fs;

use outrigger_fixtures::faults::Phase;
use outrigger_proto::types::v1::PluginState;
use outrigger_tests::world::FOREIGN_VARIABLE;
use outrigger_tests::{Neighbour, Package, Setup, processes, within};
use serde_json::json;

use crate::LIMIT;

/// X14: "environment of a child has only allowed names". Q9: "Child environment is built from an allow-list, not
/// inherited; working directory, file descriptors and umask set by the supervisor".
#[tokio::test]
async fn x14_q09_a_child_gets_the_allowed_names_and_nothing_of_the_supervisors() {
    within(LIMIT, async {
        let package = Package::well_behaved("fenced")
            .manifest("env = { FROM_MANIFEST = \"a\", BOTH = \"manifest\" }")
            .entry("env = { FROM_OPERATOR = \"b\", BOTH = \"operator\" }");
        let world = Setup::new().await.plugin(package).start().await;
        let pid = world.ready("fenced").await.pid;
        let environment = processes::environment(pid);
        let names: BTreeSet<_> = environment.keys().map(String::as_str).collect();
        let allowed = BTreeSet::from([
            "PATH",
            "HOME",
            "TMPDIR",
            "LANG",
            "TZ",
            "OUTRIGGER_TARGET",
            "OUTRIGGER_SOCKET",
            "OUTRIGGER_TOKEN",
            "OUTRIGGER_LAUNCH",
            "OUTRIGGER_PACKAGE_DIR",
            "OUTRIGGER_DATA_DIR",
            "FROM_MANIFEST",
            "FROM_OPERATOR",
            "BOTH",
        ]);
        let foreign: Vec<_> = names.difference(&allowed).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        assert!(processes::environment(world.pid()).contains_key(FOREIGN_VARIABLE), "the supervisor has it");
        let missing: Vec<_> = allowed.difference(&names).filter(|name| **name != "TZ").collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(environment["BOTH"], "operator");
        assert!(environment["HOME"].starts_with(&world.data_dir("fenced").display().to_string()), "{environment:?}");
        // What `inspect` lists is what it got.
        let listed = world.full("fenced").await.environment_names;
        let listed: BTreeSet<_> = listed.iter().map(String::as_str).collect();
        assert_eq!(listed.difference(&names).filter(|name| **name != "TZ").count(), 0, "{listed:?}");

        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).expect("read its working directory");
        assert_eq!(cwd, fs::canonicalize(world.package_dir("fenced")).expect("it is there"));
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read its status");
        assert!(status.lines().any(|line| line == "Umask:\t0077"), "{status}");
        assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
        // Nothing of the supervisor's is open in it: neither its state nor its log nor a socket file of others.
        let root = world.dir().display().to_string();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("list its descriptors") {
            let entry = entry.expect("list its descriptors");
            if let Ok(target) = fs::read_link(entry.path()) {
                assert!(!target.display().to_string().starts_with(&root), "{target:?} is open in it");
            }
        }
    })
    .await;
}

/// Q10: "Identity comes from the connection (socket handed over at spawn plus a one-time token), never from a field in a
/// message." A token is good for its own launch, once.
#[tokio::test]
async fn q10_another_launchs_token_is_good_for_nothing() {
    within(LIMIT, async {
        let thief = |token: &str| {
            Package::misbehaving("thief", "foreign-token", Phase::Starting).arguments(&[&format!("token={token}")])
        };
        let world = Setup::new()
            .await
            .set_raw("quarantine_after", "1")
            .plugin(thief("unknown"))
            .plugin(Package::well_behaved("victim"))
            .start()
            .await;
        let victim = world.ready("victim").await;
        world.wait_for("thief", PluginState::Quarantined).await;
        let token = processes::environment(victim.pid)["OUTRIGGER_TOKEN"].clone();
        assert!(token.len() >= 32, "{token}");
        thief(&token).write(&world.dir().join("packages"));
        let neighbour = Neighbour::watch(&world.runtime(), "victim");
        world.start_plugin("thief", true).await.expect_err("it is not welcomed");
        let told = world.explain("thief").await.failures[0].stderr_tail.join("\n");
        assert!(told.contains("Unauthenticated"), "{told}");
        neighbour.finish().await.assert_unharmed();
        let after = world.status("victim").await;
        assert_eq!((after.generation, after.pid), (victim.generation, victim.pid));
        // The token is in no log.
        assert!(!world.log_tail().contains(&token));
        let lines = world.log_of("thief").await;
        assert!(lines.iter().all(|line| !line.text.contains(&token)));
    })
    .await;
}

/// Q10, the connections: a second Session, a used token and a call without the session's secret are refused, each with a
/// status of its own, while the Session goes on.
#[tokio::test]
async fn q10_only_the_sessions_own_connection_is_the_plugin() {
    within(LIMIT, async {
        let faults = [
            ("reused-token", "reused token: status FailedPrecondition"),
            ("second-session", "second session: status FailedPrecondition"),
            ("second-connection", "without secret: status Unauthenticated"),
            ("early-host-call", "early host call: status Unauthenticated"),
        ];
        let setup = Setup::new().await;
        let world = faults.iter().fold(setup, |setup, (fault, _)| {
            let when = if *fault == "early-host-call" { Phase::Starting } else { Phase::Idle };
            setup.plugin(Package::misbehaving(fault, fault, when))
        });
        let world = world.start().await;
        for (fault, words) in faults {
            world.ready(fault).await;
            let told = world.told(fault, words.split(':').next().expect("it has a colon")).await;
            assert!(told.contains(words), "{fault}: {told}");
            assert!(world.call(fault, &json!({})).await.goes_on(), "{fault}");
            assert_eq!(world.status(fault).await.generation, 1, "{fault}");
        }
    })
    .await;
}

/// X9: "grandchildren of a plugin are gone after stop".
#[tokio::test]
async fn x09_detached_grandchildren_are_gone_after_a_stop() {
    within(LIMIT, async {
        let world =
            Setup::new().await.plugin(Package::misbehaving("detach", "detach-grandchild", Phase::Idle)).start().await;
        world.told("detach", "ignores SIGTERM").await;
        let all = world.processes_of("detach");
        assert!(all.len() >= 2, "the grandchild is there: {all:?}");
        world.stop("detach").await.expect("it stops");
        assert_eq!(world.processes_of("detach"), BTreeSet::new(), "when the stop is answered nothing is left");
        assert_eq!(world.status("detach").await.state(), PluginState::Stopped);
    })
    .await;
}
