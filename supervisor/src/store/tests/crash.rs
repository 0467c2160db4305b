//! A process that is killed at any moment loses nothing that it acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::domain::store::Quarantine;

/// Tells the child below where to write.
const STATE_DIR: &str = "OUTRIGGER_TEST_STATE_DIR";
const PLUGINS: [&str; 4] = ["a", "b", "c", "d"];
const ROUNDS: u32 = 20;

/// Not a test: the process that is killed. Writes until then and prints what was acknowledged, one line each.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn child_that_writes() {
    let Some(directory) = std::env::var_os(STATE_DIR) else { return };
    let store = open(Path::new(&directory));
    let tell = |what: &str, id: &str, number: u64| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{what} {id} {number}").and_then(|()| out.flush()).expect("the test reads");
    };
    let write = async |id: &str| {
        let id = plugin(id);
        loop {
            let generation = store.begin_launch(id.clone(), note(1)).await.expect("it is kept");
            tell("begun", id.as_str(), generation.0);
            let number = u32::try_from(generation.0).expect("few");
            store.add_failure(id.clone(), failure(number)).await.expect("it is kept");
            tell("failed", id.as_str(), generation.0);
            if number.is_multiple_of(3) {
                let quarantine =
                    Quarantine { since: time(1), probe_at: None, failed_probes: number, reason: "It failed.".into() };
                store.set_quarantine(id.clone(), Some(quarantine)).await.expect("it is kept");
                tell("quarantined", id.as_str(), generation.0);
            }
            store.end_launch(id.clone(), generation).await.expect("it is kept");
            tell("ended", id.as_str(), generation.0);
        }
    };
    tokio::join!(write("a"), write("b"), write("c"), write("d"));
}

/// Kills and reaps.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut acknowledged: BTreeMap<(String, String), u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = 1 + (random >> 33) % 300;
        let child = Command::new(std::env::current_exe().expect("it has a path"))
            .args(["--exact", "store::tests::crash::child_that_writes", "--ignored", "--nocapture"])
            .env(STATE_DIR, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it starts");
        let mut child = Killed(child);
        let out = child.0.stdout.take().expect("it is piped");
        let seen = within(tokio::task::spawn_blocking(move || {
            let mut seen = Vec::new();
            for line in BufReader::new(out).split(b'\n') {
                let line = String::from_utf8(line.expect("it can be read")).expect("it is text");
                let words: Vec<_> = line.split(' ').collect();
                let [what @ ("begun" | "failed" | "quarantined" | "ended"), id, number] = words[..] else { continue };
                seen.push((what.to_owned(), id.to_owned(), number.parse::<u64>().expect("a number")));
                if seen.len() as u64 == lines {
                    // What is in the pipe by then counts too.
                    child.0.kill().expect("it can be killed");
                }
            }
            seen
        }))
        .await
        .expect("it reads");
        assert!(seen.len() as u64 >= lines, "round {round}: the child ended by itself");
        for (what, id, number) in seen {
            acknowledged.insert((what, id), number);
        }

        let store = open(directory.path());
        for id in PLUGINS {
            let of = |what: &str| acknowledged.get(&(what.to_owned(), id.to_owned())).copied().unwrap_or(0);
            if of("begun") == 0 {
                continue;
            }
            let record = record(&store, id).await;
            // At most one write of a plugin was under way, and so may have been done without a word.
            let generation = record.generation.0;
            assert!((of("begun")..=of("begun") + 1).contains(&generation), "round {round}, {id}: {generation}");
            // What was done without a word is known from here on: the next round may add one more.
            let begun = ("begun".to_owned(), id.to_owned());
            let failed = record.failures.last().map_or(0, |failure| failure.generation.0);
            assert!(failed >= of("failed") && failed <= generation, "round {round}, {id}: {failed}");
            let quarantined = record.quarantine.map_or(0, |quarantine| u64::from(quarantine.failed_probes));
            assert!(
                quarantined >= of("quarantined") && quarantined <= generation,
                "round {round}, {id}: {quarantined}"
            );
            let back = record.running.iter().map(|(generation, _)| generation.0).filter(|at| *at == of("ended"));
            assert_eq!(back.count(), 0, "round {round}, {id}: an ended launch is back");
            assert_eq!(record.damage, Vec::<String>::new());
            acknowledged.insert(begun, generation);
        }
        within(store.close()).await;
        let sound: String =
            outside(directory.path()).query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it is checked");
        assert_eq!(sound, "ok", "round {round}");
    }
}
