//! A file that somebody changed or that lost some bits.

use std::os::unix::fs::FileExt;

use super::*;
use crate::domain::rights::{Rights, Tier};
use crate::domain::store::{Quarantine, Remembered};
use crate::store::OpenError;

async fn filled(directory: &Path) {
    let store = open(directory);
    for id in ["a", "b"] {
        within(store.begin_launch(plugin(id), note(1))).await.expect("it is kept");
        for number in 0..3 {
            within(store.add_failure(plugin(id), failure(number))).await.expect("it is kept");
        }
        let quarantine =
            Quarantine { since: time(1), probe_at: Some(time(2)), failed_probes: 1, reason: "It failed.".into() };
        within(store.set_quarantine(plugin(id), Some(quarantine))).await.expect("it is kept");
        let rights = Rights::new(Tier::Community, Default::default(), &Default::default(), Default::default());
        let remembered = Remembered { package_dir: "/p".into(), guards: vec![], rights };
        within(store.remember_guards(plugin(id), remembered)).await.expect("it is kept");
    }
    within(store.close()).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_rest_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    filled(directory.path()).await;
    outside(directory.path())
        .execute_batch(
            r#"UPDATE failure SET evidence = '{"a": 1}' WHERE plugin = 'a' AND at_ms % 2 = 0;
               UPDATE quarantine SET failed_probes = 5000000000 WHERE plugin = 'a';
               UPDATE remembered_guards SET guards = '[{"hook": "before_lunch", "policy": false}]' WHERE plugin = 'a';
               UPDATE launch SET nonce = CAST(x'ff' AS TEXT) WHERE plugin = 'a';
               INSERT INTO plugin (id, generation) VALUES ('No Id', 1), (CAST(x'ff' AS TEXT), 1);"#,
        )
        .expect("an operator may");
    let store = open(directory.path());
    let a = record(&store, "a").await;
    assert_eq!(a.damage.len(), 4, "{:?}", a.damage);
    assert!(a.damage.iter().any(|told| told.contains("before_lunch")), "{:?}", a.damage);
    assert_eq!((a.failures.len(), a.running.len(), a.remembered), (2, 0, None));
    let quarantine = a.quarantine.expect("that it is quarantined is certain");
    assert_eq!(quarantine.probe_at, None, "an operator decides");
    let b = record(&store, "b").await;
    assert_eq!((b.damage, b.failures.len(), b.running.len()), (vec![], 3, 1));
    assert!(b.remembered.is_some());
    assert_eq!(within(store.load()).await.expect("it loads").len(), 2);
}

#[tokio::test]
async fn no_flipped_bit_panics_or_hangs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    filled(directory.path()).await;
    let path = directory.path().join(DATABASE);
    let sound = std::fs::read(&path).expect("it can be read");
    // xorshift64 with a fixed seed.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut refused, mut failed) = (0, 0);
    for _ in 0..60 {
        std::fs::write(&path, &sound).expect("it can be written");
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it can be written");
        for _ in 0..64 {
            let at = next() % sound.len() as u64;
            file.write_at(&[next() as u8], at).expect("it can be written");
        }
        match SqliteStore::open(directory.path(), Options::default()) {
            Err(error) => {
                assert!(matches!(error, OpenError::Database(_) | OpenError::Newer { .. }), "{error}");
                refused += 1;
            }
            Ok(store) => {
                let loaded = within(store.load()).await;
                let begun = within(store.begin_launch(plugin("a"), note(1))).await;
                let added = within(store.add_failure(plugin("b"), large_failure(1))).await;
                failed += usize::from(loaded.is_err() || begun.is_err() || added.is_err());
                within(store.close()).await;
            }
        }
    }
    assert!(refused + failed > 0, "nothing was damaged");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join(DATABASE), "this is a text\n".repeat(1_000)).expect("it can be written");
    let refused = SqliteStore::open(directory.path(), Options::default()).err().expect("it is none");
    assert!(matches!(refused, OpenError::Database(_)), "{refused}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    std::os::unix::fs::symlink("/dev/null", directory.path().join(DATABASE)).expect("it is ours");
    let refused = SqliteStore::open(directory.path(), Options::default()).err().expect("it is a link");
    assert!(matches!(refused, OpenError::Directory { .. }), "{refused}");
}
