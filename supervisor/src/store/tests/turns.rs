//! Who is served when, and what a failure of one means for the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, oneshot};

use super::durable::wait_for_queue;
use super::*;
use crate::store::writer::{GROUP, Request, Task, take_turn};
use crate::store::{QUEUE, SHARE};

type Log = Arc<Mutex<Vec<(String, i64)>>>;

/// Queues a request that writes down its name and the durability of its transaction (1: NORMAL, 2: FULL).
async fn queue(
    store: &SqliteStore,
    log: &Log,
    id: &str,
    safety: Safety,
    name: &str,
) -> tokio::task::JoinHandle<Result<(), StoreError>> {
    let before = QUEUE - store.shared.room.available_permits();
    let (log, name) = (Arc::clone(log), name.to_owned());
    let task = tokio::spawn(store.submit(Some(plugin(id)), safety, move |db| {
        let synchronous = db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        log.lock().expect("nobody panics").push((name.clone(), synchronous));
        Ok(())
    }));
    wait_for_queue(store, before + 1).await;
    task
}

#[tokio::test]
async fn a_turn_takes_one_of_each_plugin_and_process_safe_ones_first() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let log = Log::default();
    let guard = store.hold().await;
    let mut tasks = Vec::new();
    for (id, safety, name) in [
        ("a", Safety::Power, "a1"),
        ("a", Safety::Process, "a2"),
        ("b", Safety::Process, "b1"),
        ("a", Safety::Process, "a3"),
        ("b", Safety::Power, "b2"),
        ("c", Safety::Power, "c1"),
        ("d", Safety::Process, "d1"),
    ] {
        tasks.push(queue(&store, &log, id, safety, name).await);
    }
    drop(guard);
    for task in tasks {
        within(task).await.expect("it runs").expect("it is done");
    }
    let log = log.lock().expect("nobody panics");
    let log: Vec<_> = log.iter().map(|(name, synchronous)| (name.as_str(), *synchronous)).collect();
    // First turn: b1 d1 | a1 c1. Second: a2 | b2. Third: a3.
    assert_eq!(log, [("b1", 1), ("d1", 1), ("a1", 2), ("c1", 2), ("a2", 1), ("b2", 2), ("a3", 1)]);
}

#[tokio::test]
async fn a_switch_makes_everything_power_safe() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { power_safe_everything: true };
    let store = SqliteStore::open(directory.path(), options).expect("the store opens");
    let log = Log::default();
    within(queue(&store, &log, "a", Safety::Process, "a1").await).await.expect("it runs").expect("it is done");
    assert_eq!(*log.lock().expect("nobody panics"), [("a1".to_owned(), 2)]);
}

#[test]
fn a_turn_is_bounded() {
    let room = Arc::new(Semaphore::new(10_000));
    let permit = || Arc::clone(&room).try_acquire_owned().expect("there is room");
    let request = |id: usize| {
        let job = Box::new(Task::new(|_: &Connection| Ok(()), oneshot::channel().0));
        let plugin = Some(plugin(&format!("p{id}")));
        Request { plugin, safety: Safety::Process, job, room: [permit(), permit()] }
    };
    // Every third plugin has two.
    let mut waiting: VecDeque<_> = (0..600).map(|number| request(number % 450)).collect();
    let sizes: Vec<_> = std::iter::from_fn(|| {
        let [process_safe, power_safe] = take_turn(&mut waiting);
        assert!(power_safe.is_empty());
        let mut ids: Vec<_> = process_safe.iter().map(|request| request.plugin.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), process_safe.len(), "one of each plugin");
        (!process_safe.is_empty()).then_some(process_safe.len())
    })
    .collect();
    assert_eq!(sizes, [GROUP, GROUP, 600 - 2 * GROUP]);
}

#[tokio::test]
async fn a_request_that_fails_harms_no_neighbour() {
    // A failure of the statement, and one that takes the whole transaction with it.
    for poison in ["INSERT INTO plugin (id, generation) VALUES ('x', -1)", "ROLLBACK; SELECT * FROM nothing"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = open(directory.path());
        let guard = store.hold().await;
        let mut neighbours = Vec::new();
        for number in 0..3 {
            neighbours.push(tokio::spawn(store.begin_launch(plugin(&format!("before{number}")), note(number))));
        }
        wait_for_queue(&store, 4).await;
        let failing = tokio::spawn(store.submit(Some(plugin("bad")), Safety::Process, move |db| {
            db.execute("INSERT INTO plugin (id, generation) VALUES ('bad', 1)", [])?;
            db.execute_batch(poison)
        }));
        wait_for_queue(&store, 5).await;
        for number in 0..3 {
            neighbours.push(tokio::spawn(store.begin_launch(plugin(&format!("after{number}")), note(number))));
        }
        wait_for_queue(&store, 8).await;
        drop(guard);
        let failed = within(failing).await.expect("it runs");
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{poison}: {failed:?}");
        for neighbour in neighbours {
            assert_eq!(within(neighbour).await.expect("it runs").expect("it is done").0, 1, "{poison}: done once");
        }
        let records = within(store.load()).await.expect("it loads");
        let ids: Vec<_> = records.iter().map(|record| record.plugin.as_str()).collect();
        assert_eq!(ids, ["after0", "after1", "after2", "before0", "before1", "before2"], "{poison}");
        assert!(records.iter().all(|record| record.generation.0 == 1), "{poison}");
    }
}

#[tokio::test]
async fn the_queue_is_bounded_and_one_plugin_cannot_fill_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let guard = store.hold().await;
    let mut greedy = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        greedy.spawn(store.begin_launch(plugin("greedy"), note(number)));
    }
    wait_for_queue(&store, 1 + SHARE).await;
    let mut others = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        others.spawn(store.begin_launch(plugin(&format!("p{number}")), note(number)));
    }
    wait_for_queue(&store, QUEUE).await;
    assert_eq!(store.shared.share(Some(&plugin("greedy"))).available_permits(), 0);
    drop(guard);
    assert!(within(others.join_all()).await.into_iter().all(|answer| answer.is_ok()));
    let mut taken: Vec<_> =
        within(greedy.join_all()).await.into_iter().map(|answer| answer.expect("it is kept").0).collect();
    taken.sort();
    assert_eq!(taken, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(store.shared.room.available_permits(), QUEUE, "all room was given back");
}

#[tokio::test]
async fn a_request_nobody_waits_for_gives_its_room_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    drop(store.begin_launch(plugin("a"), note(1)));
    let guard = store.hold().await;
    let task = tokio::spawn(store.begin_launch(plugin("a"), note(2)));
    wait_for_queue(&store, 2).await;
    task.abort();
    assert!(within(task).await.expect_err("it was aborted").is_cancelled());
    drop(guard);
    let generation = within(store.begin_launch(plugin("a"), note(3))).await.expect("it is kept");
    assert_eq!(generation.0, 2, "what was never polled was not done, and what was queued was");
    assert_eq!(store.shared.room.available_permits(), QUEUE);
}
