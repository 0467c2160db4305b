//! What was acknowledged is there, within its bounds, and only for one supervisor.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::*;
use crate::domain::guard::{Guard, Tools};
use crate::domain::hook::Hook;
use crate::domain::ids::Generation;
use crate::domain::rights::{Rights, Scope, Tier};
use crate::domain::store::{KEPT_FAILURES, Quarantine, Remembered};
use crate::store::OpenError;

fn quarantine() -> Quarantine {
    Quarantine {
        since: time(1_700_000_000_001),
        probe_at: Some(time(1_700_000_060_001)),
        failed_probes: 2,
        reason: "It failed six times.".into(),
    }
}

fn remembered() -> Remembered {
    let scopes = BTreeSet::from([Scope::HooksTools, Scope::State]);
    Remembered {
        package_dir: "/srv/plugins/gate".into(),
        guards: vec![
            Guard { hook: Hook::BeforeToolCall, tools: Tools::from_list(["exec".to_owned()]), policy: false },
            Guard { hook: Hook::BeforeAgentRun, tools: Tools::All, policy: true },
        ],
        rights: Rights::new(Tier::Community, scopes, &Default::default(), BTreeSet::from([Scope::State])),
    }
}

#[tokio::test]
async fn reopening_shows_everything_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    assert_eq!(within(store.load()).await.expect("it loads"), []);
    let (gate, other) = (plugin("gate"), plugin("another"));
    for number in 1..=3 {
        let generation = within(store.begin_launch(gate.clone(), note(number))).await.expect("it is kept");
        assert_eq!(generation, Generation(u64::from(number)));
    }
    within(store.end_launch(gate.clone(), Generation(2))).await.expect("it is kept");
    within(store.end_launch(gate.clone(), Generation(99))).await.expect("it is not there already");
    within(store.add_failure(gate.clone(), failure(1))).await.expect("it is kept");
    within(store.set_quarantine(gate.clone(), Some(quarantine()))).await.expect("it is kept");
    within(store.remember_guards(gate.clone(), remembered())).await.expect("it is kept");
    within(store.set_quarantine(other.clone(), None)).await.expect("there is none already");
    let never = Quarantine { probe_at: None, ..quarantine() };
    within(store.set_quarantine(other.clone(), Some(never.clone()))).await.expect("it is kept");
    drop(store);

    let store = open(directory.path());
    let records = within(store.load()).await.expect("it loads");
    let expected = [
        PluginRecord {
            plugin: other,
            generation: Generation(0),
            running: vec![],
            quarantine: Some(never),
            failures: vec![],
            remembered: None,
            damage: vec![],
        },
        PluginRecord {
            plugin: gate.clone(),
            generation: Generation(3),
            running: vec![(Generation(1), note(1)), (Generation(3), note(3))],
            quarantine: Some(quarantine()),
            failures: vec![failure(1)],
            remembered: Some(remembered()),
            damage: vec![],
        },
    ];
    assert_eq!(records, expected);

    within(store.set_quarantine(gate.clone(), None)).await.expect("it is lifted");
    within(store.close()).await;
    let store = open(directory.path());
    let gate = record(&store, "gate").await;
    assert_eq!((gate.quarantine, gate.failures.len()), (None, 1), "the failures stay, for `why`");
}

#[tokio::test]
async fn the_last_ten_failures_stay_and_are_cut() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    for number in 0..25 {
        within(store.add_failure(plugin("a"), failure(number))).await.expect("it is kept");
    }
    within(store.add_failure(plugin("b"), failure(7))).await.expect("it is kept");
    let kept: Vec<_> = (25 - u32::try_from(KEPT_FAILURES).expect("ten")..25).map(failure).collect();
    assert_eq!(record(&store, "a").await.failures, kept);
    assert_eq!(record(&store, "b").await.failures, [failure(7)]);

    let endless = || "\u{1}é\0".repeat(100_000);
    let failure = FailureRecord {
        cause: endless(),
        message: endless(),
        phase: endless(),
        exit: endless(),
        stderr_tail: vec![endless(); 100],
        evidence: vec![endless(); 100],
        ..failure(1)
    };
    within(store.add_failure(plugin("b"), failure)).await.expect("it is cut, not refused");
    let row_bytes: i64 = outside(directory.path())
        .query_row(
            "SELECT max(length(cast(cause || message || phase || exit || stderr_tail || evidence AS BLOB))) FROM failure",
            [],
            |row| row.get(0),
        )
        .expect("it can be read from outside");
    assert!(row_bytes < 140_000, "{row_bytes} bytes");
}

#[tokio::test]
async fn what_cannot_be_cut_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let tools = Tools::from_list((0..50_000).map(|number| format!("tool-{number}")));
    let guards = vec![Guard { hook: Hook::BeforeToolCall, tools, policy: false }];
    let refused = within(store.remember_guards(plugin("a"), Remembered { guards, ..remembered() })).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { what: "guards", .. })), "{refused:?}");
    assert_eq!(within(store.load()).await.expect("it loads"), []);
}

#[tokio::test]
async fn launches_whose_end_is_never_told_are_bounded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    for number in 1..=100 {
        within(store.begin_launch(plugin("a"), note(number))).await.expect("it is kept");
    }
    let running: Vec<_> = record(&store, "a").await.running.iter().map(|(generation, _)| generation.0).collect();
    assert_eq!(running, (37..=100).collect::<Vec<_>>());
}

#[test]
fn generations_rise_by_one_under_concurrency() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let take = |number: u32| {
        let id = ["a", "b", "c"][number as usize % 3];
        let taken = store.begin_launch(plugin(id), note(number));
        async move { (id, taken.await.expect("it is kept").0) }
    };
    // Four threads with a runtime each, 150 requests at once in each.
    let worker = |first: u32| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(within(futures_util::future::join_all((first..first + 150).map(take))))
    };
    let mut taken = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|index| scope.spawn(move || worker(index * 150))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it ends")).collect::<Vec<_>>()
    });
    taken.sort();
    let expected = ["a", "b", "c"].into_iter().flat_map(|id| (1..=200).map(move |number| (id, number)));
    assert_eq!(taken, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_directory_has_one_store() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let refused = SqliteStore::open(directory.path(), Options::default()).err().expect("it is held");
    assert!(matches!(refused, OpenError::Held { holder: Some(pid), .. } if pid == std::process::id()), "{refused}");
    within(store.close()).await;
    open(directory.path());
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    within(store.begin_launch(plugin("a"), note(1))).await.expect("it is kept");
    let entries = std::fs::read_dir(directory.path()).expect("it can be listed");
    let entries: Vec<_> = entries.map(|entry| entry.expect("it can be read")).collect();
    assert_eq!(entries.len(), 4, "lock, database, log and its index: {entries:?}");
    for entry in entries {
        let mode = entry.metadata().expect("it is there").mode() & 0o7777;
        assert_eq!(mode, 0o600, "{entry:?} has mode {mode:o}");
    }
}

#[tokio::test]
async fn a_file_of_a_newer_supervisor_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    within(open(directory.path()).close()).await;
    outside(directory.path()).pragma_update(None, "user_version", 12).expect("it can be set");
    let refused = SqliteStore::open(directory.path(), Options::default()).err().expect("it is newer");
    assert!(matches!(refused, OpenError::Newer { found: 12, known: 1 }), "{refused}");
    outside(directory.path()).pragma_update(None, "user_version", 1).expect("it can be set");
    open(directory.path());
}

#[tokio::test]
async fn a_closed_store_has_done_what_was_queued() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Arc::new(open(directory.path()));
    let guard = store.hold().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        tasks.spawn(store.begin_launch(plugin(&format!("p{number}")), note(number)));
    }
    wait_for_queue(&store, 21).await;
    let closing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.close().await }
    });
    within(async {
        while crate::store::guard(&store.shared.queue).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let late = within(store.begin_launch(plugin("late"), note(1))).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    drop(guard);
    within(closing).await.expect("it closes");
    assert!(within(tasks.join_all()).await.into_iter().all(|answer| answer.is_ok()));
    let late = within(store.begin_launch(plugin("late"), note(1))).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    within(store.close()).await;
    assert!(!directory.path().join(DATABASE).with_extension("db-wal").exists(), "the log is in the database");
    let store = open(directory.path());
    assert_eq!(within(store.load()).await.expect("it loads").len(), 20);
}

/// Waits until so many requests are in the queue.
pub(super) async fn wait_for_queue(store: &SqliteStore, requests: usize) {
    within(async {
        while crate::store::QUEUE - store.shared.room.available_permits() < requests {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
