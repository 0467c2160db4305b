//! The shape of the database, version by version.
//!
//! `PRAGMA user_version` is the number of migrations that were applied. A migration is never changed once it was
//! released; a change is a new one at the end.

use rusqlite::{Connection, TransactionBehavior};

use super::OpenError;

/// The oldest SQLite that does not lose committed writes when a checkpoint races a writer: 3.51.3, see "The WAL-reset
/// bug" on <https://www.sqlite.org/wal.html>.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Every migration, in order.
///
/// Times are Unix milliseconds. A plugin's row comes before every other that names it, so that a generation is never
/// given twice whatever is deleted.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE plugin (
        id          TEXT    NOT NULL PRIMARY KEY,
        -- The latest that was taken; 0: never launched.
        generation  INTEGER NOT NULL CHECK (generation >= 0)
    ) STRICT, WITHOUT ROWID;

    -- Launches of which something may be left. A row goes when nothing is.
    CREATE TABLE launch (
        plugin      TEXT    NOT NULL REFERENCES plugin (id),
        generation  INTEGER NOT NULL,
        nonce       TEXT    NOT NULL,
        boot_id     TEXT    NOT NULL,
        PRIMARY KEY (plugin, generation)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE failure (
        id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        plugin      TEXT    NOT NULL REFERENCES plugin (id),
        at_ms       INTEGER NOT NULL,
        -- 0: before any launch.
        generation  INTEGER NOT NULL,
        cause       TEXT    NOT NULL,
        message     TEXT    NOT NULL,
        phase       TEXT    NOT NULL,
        exit        TEXT    NOT NULL,
        -- Lists of lines.
        stderr_tail TEXT    NOT NULL CHECK (json_valid(stderr_tail)),
        evidence    TEXT    NOT NULL CHECK (json_valid(evidence))
    ) STRICT;
    CREATE INDEX failure_of_plugin ON failure (plugin, id);

    CREATE TABLE quarantine (
        plugin        TEXT    NOT NULL PRIMARY KEY REFERENCES plugin (id),
        since_ms      INTEGER NOT NULL,
        -- NULL: only an operator releases it.
        probe_at_ms   INTEGER,
        failed_probes INTEGER NOT NULL CHECK (failed_probes >= 0),
        reason        TEXT    NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- What a readable manifest guarded and was allowed, for the day it cannot be read.
    CREATE TABLE remembered_guards (
        plugin      TEXT    NOT NULL PRIMARY KEY REFERENCES plugin (id),
        package_dir TEXT    NOT NULL,
        guards      TEXT    NOT NULL CHECK (json_valid(guards)),
        rights      TEXT    NOT NULL CHECK (json_valid(rights))
    ) STRICT, WITHOUT ROWID;
"];

/// Refuses a library with the bug.
pub(super) fn check_library() -> Result<(), OpenError> {
    let found = rusqlite::version_number();
    if found < OLDEST_SQLITE { Err(OpenError::Library { found, oldest: OLDEST_SQLITE }) } else { Ok(()) }
}

/// Brings a database to the newest version. Each migration is one transaction: a kill at any moment leaves the version
/// before it or after it.
pub(super) fn migrate(db: &mut Connection) -> Result<(), OpenError> {
    apply(db, MIGRATIONS)
}

fn apply(db: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let applied = usize::try_from(found).ok().filter(|applied| *applied <= migrations.len());
    let Some(applied) = applied else { return Err(OpenError::Newer { found, known }) };
    for (version, migration) in (1_i64..).zip(migrations).skip(applied) {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(db: &Connection) -> i64 {
        db.pragma_query_value(None, "user_version", |row| row.get(0)).expect("it has one")
    }

    #[test]
    fn every_table_is_strict() {
        let mut db = Connection::open_in_memory().expect("memory");
        migrate(&mut db).expect("a new file");
        migrate(&mut db).expect("once more changes nothing");
        assert_eq!(version(&db), 1);
        let loose: i64 = db
            .query_row(
                "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND NOT strict AND name NOT LIKE 'sqlite_%'",
                [],
                |row| row.get(0),
            )
            .expect("a count");
        assert_eq!(loose, 0);
        let tables: i64 = db
            .query_row("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND strict", [], |row| row.get(0))
            .expect("a count");
        assert_eq!(tables, 5);
    }

    #[test]
    fn a_newer_file_is_refused_and_untouched() {
        let mut db = Connection::open_in_memory().expect("memory");
        for found in [i64::from(i32::MAX), 2, -1] {
            db.pragma_update(None, "user_version", found).expect("it can be set");
            let refused = migrate(&mut db).expect_err("nobody knows it");
            assert!(matches!(refused, OpenError::Newer { known: 1, found: version } if version == found), "{refused}");
            assert!(refused.to_string().contains(&found.to_string()) && refused.to_string().contains("version 1"));
            assert_eq!(version(&db), found);
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before() {
        let mut db = Connection::open_in_memory().expect("memory");
        let broken = ["CREATE TABLE a (x INTEGER) STRICT", "CREATE TABLE b (x INTEGER) STRICT; CREATE TABLE a (y)"];
        apply(&mut db, &broken).expect_err("`a` is there");
        assert_eq!(version(&db), 1);
        db.query_row("SELECT count(*) FROM b", [], |_| Ok(())).expect_err("it went with its transaction");
        apply(&mut db, &["", "CREATE TABLE b (x INTEGER) STRICT"]).expect("a mended one goes on from there");
        assert_eq!(version(&db), 2);
    }

    #[test]
    fn the_library_has_no_known_bug() {
        check_library().expect("it is bundled");
    }
}
