//! The one thread that writes.
//!
//! Requests that wait are committed together, so that one sync serves many. In each turn the thread takes at most one
//! request of each plugin and at most [`GROUP`] in all: first the process-safe ones in one transaction that is not
//! synced, then the power-safe ones in one that is. A plugin's own requests stay in order. Each request has a savepoint
//! of its own, so that one that fails changes nothing and harms no neighbour; where a failure takes the whole
//! transaction with it (a full disk may), each is done again alone. Nothing is answered before its commit.
//!
//! Checkpoints happen when nothing is to be done, and in between only where the log has grown beyond its bound. They
//! never wait for a reader.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::warn;

use crate::domain::ids::PluginId;
use crate::domain::store::StoreError;

/// Most requests in one turn.
pub(super) const GROUP: usize = 256;

/// How long nothing has to happen before the log is checkpointed.
const IDLE: Duration = Duration::from_millis(500);

/// How long another process may hold the database's lock before a request is refused. The `sqlite3` shell holds it for
/// the length of a statement.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// What a commit has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    /// The end of any process.
    Process,
    /// The end of power, too.
    Power,
}

impl Safety {
    fn pragma(self) -> &'static str {
        match self {
            Self::Process => "NORMAL",
            Self::Power => "FULL",
        }
    }
}

/// Something to do inside a transaction. It may be done more than once, until it is answered.
pub(super) trait Job: Send {
    /// Does it, and keeps what came of it.
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()>;
    /// Tells whoever waits: what came of it, as it is committed, or why nothing was changed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job with what it answers.
pub(super) struct Task<T, F> {
    work: F,
    made: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Task<T, F> {
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work, made: None, reply }
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.made = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { made, reply, .. } = *self;
        let answer = committed.and_then(|()| {
            made.ok_or_else(|| StoreError::Unavailable("the request was committed without being done".into()))
        });
        // Nobody waits any more: it is done all the same.
        let _ = reply.send(answer);
    }
}

/// A job in the queue.
pub(super) struct Request {
    /// Whose it is. `None`: nobody's.
    pub(super) plugin: Option<PluginId>,
    pub(super) safety: Safety,
    pub(super) job: Box<dyn Job>,
    /// Room in the queue and in the plugin's share.
    pub(super) room: [OwnedSemaphorePermit; 2],
}

impl Request {
    /// Gives the room back and tells whoever waits.
    fn answer(self, committed: Result<(), StoreError>) {
        drop(self.room);
        self.job.answer(committed);
    }
}

/// The thread's own.
pub(super) struct Writer {
    pub(super) db: Connection,
    /// The write-ahead log, for its size.
    pub(super) wal: PathBuf,
    /// Size of the log from which on it is checkpointed though there is work to do, bytes.
    pub(super) wal_bound: u64,
    /// Bounded by the room that each request holds.
    pub(super) inbox: Receiver<Request>,
}

/// A transaction that was lost.
enum Lost {
    /// It could not begin: nobody else would fare better now.
    NotBegun(rusqlite::Error),
    /// Something in it took it down.
    Midway(rusqlite::Error),
}

impl Writer {
    /// Works until nobody can send any more, then checkpoints and closes the database.
    pub(super) fn run(self) {
        let Self { db, wal, wal_bound, inbox } = self;
        let mut desk = Desk::new(db, wal, wal_bound);
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match receive(&inbox, desk.dirty) {
                    Ok(request) => waiting.push_back(request),
                    Err(RecvTimeoutError::Timeout) => {
                        desk.checkpoint();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            waiting.extend(inbox.try_iter());
            let [process_safe, power_safe] = take_turn(&mut waiting);
            desk.commit(process_safe, Safety::Process);
            desk.commit(power_safe, Safety::Power);
            desk.bound_log();
        }
        desk.checkpoint();
        if let Err((_, error)) = desk.db.close() {
            warn!(%error, "the store could not be closed cleanly; nothing acknowledged is lost");
        }
    }
}

/// Waits for a request; while there is something to checkpoint only until it is time for that.
fn receive(inbox: &Receiver<Request>, dirty: bool) -> Result<Request, RecvTimeoutError> {
    if dirty { inbox.recv_timeout(IDLE) } else { inbox.recv().map_err(|_| RecvTimeoutError::Disconnected) }
}

/// Takes the first request of each plugin, the process-safe and the power-safe ones apart.
pub(super) fn take_turn(waiting: &mut VecDeque<Request>) -> [Vec<Request>; 2] {
    let mut seen = HashSet::new();
    let mut turn = [Vec::new(), Vec::new()];
    for request in std::mem::take(waiting) {
        if seen.len() < GROUP && seen.insert(request.plugin.clone()) {
            let group = match request.safety {
                Safety::Process => &mut turn[0],
                Safety::Power => &mut turn[1],
            };
            group.push(request);
        } else {
            waiting.push_back(request);
        }
    }
    turn
}

/// Does what was taken in a turn.
struct Desk {
    db: Connection,
    wal: PathBuf,
    wal_bound: u64,
    /// Size of the log at which the next checkpoint is tried though there is work to do.
    checkpoint_at: u64,
    /// Something was committed since the last complete checkpoint.
    dirty: bool,
    synchronous: Option<Safety>,
}

impl Desk {
    fn new(db: Connection, wal: PathBuf, wal_bound: u64) -> Self {
        // A log that an earlier process left is moved as soon as there is nothing else to do.
        Self { db, wal, wal_bound, checkpoint_at: wal_bound, dirty: true, synchronous: None }
    }

    /// Does and answers all requests of a group.
    fn commit(&mut self, mut group: Vec<Request>, safety: Safety) {
        if group.is_empty() {
            return;
        }
        match self.transaction(&mut group, safety) {
            Ok(outcomes) => {
                for (request, outcome) in group.into_iter().zip(outcomes) {
                    request.answer(outcome.map_err(unavailable));
                }
            }
            Err(Lost::Midway(error)) if group.len() > 1 => {
                warn!(%error, requests = group.len(), "a group of writes was lost; each is done again alone");
                let mut group = group.into_iter();
                while let Some(request) = group.next() {
                    if let Err(error) = self.alone(request, safety) {
                        refuse(group, &error);
                        return;
                    }
                }
            }
            Err(Lost::Midway(error) | Lost::NotBegun(error)) => refuse(group, &error),
        }
    }

    /// Does one request in a transaction of its own. An error: no transaction can begin.
    fn alone(&mut self, request: Request, safety: Safety) -> Result<(), rusqlite::Error> {
        let mut group = [request];
        let done = self.transaction(&mut group, safety);
        let [request] = group;
        match done {
            Ok(outcomes) => {
                let outcome = outcomes.into_iter().collect::<Result<Vec<()>, _>>();
                request.answer(outcome.map(drop).map_err(unavailable));
                Ok(())
            }
            Err(Lost::Midway(error)) => {
                request.answer(Err(unavailable(error)));
                Ok(())
            }
            Err(Lost::NotBegun(error)) => {
                request.answer(Err(StoreError::Unavailable(error.to_string())));
                Err(error)
            }
        }
    }

    /// Runs the requests in one transaction. The outcomes are in the requests' order, and committed.
    fn transaction(&mut self, group: &mut [Request], safety: Safety) -> Result<Vec<rusqlite::Result<()>>, Lost> {
        self.begin(safety).map_err(Lost::NotBegun)?;
        let done = self.savepoints(group).and_then(|outcomes| {
            self.db.execute_batch("COMMIT")?;
            Ok(outcomes)
        });
        match done {
            Ok(outcomes) => {
                self.dirty = true;
                Ok(outcomes)
            }
            Err(error) => {
                if !self.db.is_autocommit()
                    && let Err(error) = self.db.execute_batch("ROLLBACK")
                {
                    warn!(%error, "a failed write could not be rolled back; the next one tries again");
                }
                Err(Lost::Midway(error))
            }
        }
    }

    fn savepoints(&self, group: &mut [Request]) -> rusqlite::Result<Vec<rusqlite::Result<()>>> {
        let mut outcomes = Vec::with_capacity(group.len());
        for request in group {
            self.db.execute_batch("SAVEPOINT request")?;
            let outcome = request.job.run(&self.db);
            match outcome {
                Ok(()) => self.db.execute_batch("RELEASE request")?,
                // The library has rolled everything back by itself.
                Err(error) if self.db.is_autocommit() => return Err(error),
                Err(_) => self.db.execute_batch("ROLLBACK TO request; RELEASE request")?,
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn begin(&mut self, safety: Safety) -> rusqlite::Result<()> {
        // One that a failed rollback left open would take the new requests into it.
        if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        if self.synchronous != Some(safety) {
            self.db.pragma_update(None, "synchronous", safety.pragma())?;
            self.synchronous = Some(safety);
        }
        self.db.execute_batch("BEGIN IMMEDIATE")
    }

    /// Checkpoints where the log is beyond its bound. A reader can keep that from having an effect; it is tried again
    /// when the log has grown by as much once more.
    fn bound_log(&mut self) {
        let size = self.log_size();
        if size >= self.checkpoint_at {
            self.checkpoint();
            self.checkpoint_at = self.log_size().saturating_add(self.wal_bound);
        }
    }

    fn log_size(&self) -> u64 {
        self.wal.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Moves the log into the database and empties it, as far as that goes without waiting for a reader.
    fn checkpoint(&mut self) {
        let unhurried = self.db.busy_timeout(Duration::ZERO);
        let done = unhurried
            .and_then(|()| self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)));
        match done {
            Ok(busy) => {
                self.dirty = busy != 0;
                if busy == 0 {
                    self.checkpoint_at = self.wal_bound;
                }
            }
            Err(error) => {
                warn!(%error, "the store's log could not be checkpointed; it is tried again later");
                // After the next write, so that a disk that stays full is not asked twice a second.
                self.dirty = false;
            }
        }
        if let Err(error) = self.db.busy_timeout(BUSY) {
            warn!(%error, "the store's time limit could not be set");
        }
    }
}

fn refuse(group: impl IntoIterator<Item = Request>, error: &rusqlite::Error) {
    for request in group {
        request.answer(Err(StoreError::Unavailable(error.to_string())));
    }
}

fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// Commits one request that stores `value`, for each of the values.
    fn store(desk: &mut Desk, values: &'static [i64], safety: Safety) -> Vec<Result<(), StoreError>> {
        let room = Arc::new(Semaphore::new(2 * values.len()));
        let permit = || Arc::clone(&room).try_acquire_owned().expect("there is room");
        let (requests, mut answers): (Vec<_>, Vec<_>) = values
            .iter()
            .map(|value| {
                let (reply, answer) = oneshot::channel();
                let work = move |db: &Connection| db.execute("INSERT INTO t VALUES (?1)", [value]).map(drop);
                let job = Box::new(Task::new(work, reply));
                (Request { plugin: None, safety, job, room: [permit(), permit()] }, answer)
            })
            .unzip();
        desk.commit(requests, safety);
        assert_eq!(room.available_permits(), 2 * values.len());
        answers.iter_mut().map(|answer| answer.try_recv().expect("it was answered")).collect()
    }

    fn desk(directory: &std::path::Path) -> Desk {
        let path = directory.join("t.db");
        let db = Connection::open(&path).expect("it can be made");
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (value INTEGER NOT NULL) STRICT").expect("a table");
        Desk::new(db, path.with_extension("db-wal"), 1 << 20)
    }

    fn stored(desk: &Desk) -> Vec<i64> {
        let mut select = desk.db.prepare("SELECT value FROM t ORDER BY value").expect("the table is there");
        select.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("they can be read")
    }

    #[test]
    fn a_database_that_cannot_be_written_is_told_and_gets_over() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut desk = desk(directory.path());
        desk.db.pragma_update(None, "query_only", true).expect("it can be set");
        for safety in [Safety::Process, Safety::Power] {
            for answer in store(&mut desk, &[1, 2], safety) {
                assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains("readonly")), "{answer:?}");
            }
        }
        desk.db.pragma_update(None, "query_only", false).expect("it can be set");
        assert!(store(&mut desk, &[3], Safety::Power).iter().all(Result::is_ok));
        assert_eq!(stored(&desk), [3]);
    }

    #[test]
    fn a_commit_that_fails_is_told_to_those_who_do_not_fit() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut desk = desk(directory.path());
        // Deferred keys are checked at the commit: the savepoints succeed, and then the whole group is lost.
        desk.db
            .execute_batch(
                "PRAGMA foreign_keys = ON; CREATE TABLE p (id INTEGER PRIMARY KEY) STRICT; INSERT INTO p VALUES (1), (3);
                 DROP TABLE t;
                 CREATE TABLE t (value INTEGER NOT NULL REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED) STRICT",
            )
            .expect("tables");
        let answers = store(&mut desk, &[1, 2, 3], Safety::Process);
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true], "{answers:?}");
        assert_eq!(stored(&desk), [1, 3], "each was done once");
        assert!(desk.db.is_autocommit());
    }

    #[test]
    fn a_transaction_left_open_takes_nothing_with_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut desk = desk(directory.path());
        desk.db.execute_batch("BEGIN; INSERT INTO t VALUES (1)").expect("it begins");
        assert!(store(&mut desk, &[2], Safety::Process).iter().all(Result::is_ok));
        assert_eq!(stored(&desk), [2]);
    }
}
