//! A disk that is full or busy, and the bound of the log.

use super::*;
use crate::store::SqliteStore;

#[tokio::test]
async fn a_full_disk_is_told_and_gets_over() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let before = within(store.begin_launch(plugin("a"), note(1))).await.expect("it is kept");
    let set_most = |most: i64| {
        move |db: &Connection| db.pragma_update_and_check(None, "max_page_count", most, |row| row.get::<_, i64>(0))
    };
    let pages: i64 = store
        .on_writer(|db| db.pragma_query_value(None, "page_count", |row| row.get(0)))
        .await
        .expect("it can be asked");
    store.on_writer(set_most(pages)).await.expect("it can be set");

    // A large one and small ones in one turn: only what does not fit fails.
    let guard = store.hold().await;
    let small = tokio::spawn(store.begin_launch(plugin("a"), note(2)));
    let large = tokio::spawn(store.add_failure(plugin("b"), large_failure(1)));
    let other = tokio::spawn(store.begin_launch(plugin("c"), note(2)));
    super::durable::wait_for_queue(&store, 4).await;
    drop(guard);
    let refused = within(large).await.expect("it runs");
    let Err(StoreError::Unavailable(why)) = &refused else { unreachable!("it was done: {refused:?}") };
    assert!(why.contains("full"), "{why}");
    let after = within(small).await.expect("it runs").expect("it fits into a page that is there");
    assert_eq!(after.0, before.0 + 1);
    assert_eq!(within(other).await.expect("it runs").expect("it fits").0, 1);
    for number in 0..50 {
        within(store.add_failure(plugin("b"), large_failure(number))).await.expect_err("it is still full");
    }

    store.on_writer(set_most(1 << 30)).await.expect("it can be set");
    within(store.add_failure(plugin("b"), failure(3))).await.expect("there is room again");
    let record = record(&store, "b").await;
    assert_eq!(record.failures, [failure(3)], "what was refused left nothing");
}

#[tokio::test]
async fn another_writer_delays_and_then_refuses() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let other = outside(directory.path());
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
    let refused = within(store.begin_launch(plugin("a"), note(1))).await;
    let Err(StoreError::Unavailable(why)) = &refused else { unreachable!("it was done: {refused:?}") };
    assert!(why.contains("locked"), "{why}");

    let waiting = tokio::spawn(store.begin_launch(plugin("a"), note(1)));
    super::durable::wait_for_queue(&store, 1).await;
    other.execute_batch("COMMIT").expect("it can end");
    assert_eq!(within(waiting).await.expect("it runs").expect("it was free in time").0, 1);
}

#[tokio::test]
async fn the_log_is_bounded_under_load() {
    const BOUND: u64 = 256 * 1024;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open_bounded(directory.path(), Options::default(), BOUND).expect("the store opens");
    let mut longest = 0;
    for number in 0..100 {
        within(store.add_failure(plugin("a"), large_failure(number))).await.expect("it is kept");
        longest = longest.max(log_size(directory.path()));
    }
    // Beyond the bound by at most what two turns add: a failure has 128 KiB, and rewrites the pages of the one it ends.
    assert!(longest < BOUND + 2 * 512 * 1024, "{longest} bytes, of some 13 MB written");
    assert!(longest > 0);
}

#[tokio::test]
async fn a_reader_delays_the_checkpoint_and_no_write() {
    const BOUND: u64 = 256 * 1024;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open_bounded(directory.path(), Options::default(), BOUND).expect("the store opens");
    within(store.begin_launch(plugin("a"), note(1))).await.expect("it is kept");
    let reader = outside(directory.path());
    reader.execute_batch("BEGIN; SELECT * FROM plugin").expect("it reads");
    for number in 0..40 {
        within(store.add_failure(plugin("a"), large_failure(number))).await.expect("it is kept");
    }
    assert!(log_size(directory.path()) > BOUND, "the reader holds it");
    reader.execute_batch("COMMIT").expect("it ends");
    wait_for_checkpoint(directory.path()).await;
}

#[tokio::test]
async fn an_idle_store_checkpoints() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    within(store.begin_launch(plugin("a"), note(1))).await.expect("it is kept");
    wait_for_checkpoint(directory.path()).await;
    // And once more after it slept.
    within(store.begin_launch(plugin("a"), note(2))).await.expect("it is kept");
    assert!(log_size(directory.path()) > 0);
    wait_for_checkpoint(directory.path()).await;
}

async fn wait_for_checkpoint(directory: &Path) {
    within(async {
        while log_size(directory) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
