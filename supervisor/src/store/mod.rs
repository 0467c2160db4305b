//! The durable state in SQLite: one file, one thread that writes, readable with the `sqlite3` shell (architecture §11).
//!
//! `lock` makes sure of being alone, `migrations` knows the tables, `writer` commits, `rows` turns requests into SQL,
//! `forms` says how guards and rights are written, and `text` cuts what is longer than it may be.

mod forms;
mod lock;
mod migrations;
mod rows;
mod text;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};

use crate::domain::ids::{Generation, PluginId};
use crate::domain::launch::BoxFuture;
use crate::domain::store::{FailureRecord, LaunchNote, PluginRecord, Quarantine, Remembered, Store, StoreError};
use lock::Lock;
use writer::{BUSY, GROUP, Request, Safety, Task, Writer};

/// Name of the database in the state directory.
const DATABASE: &str = "outrigger.db";

/// Requests in the queue, in all. Twice a group, so that the next one gathers while one is committed.
const QUEUE: usize = 2 * GROUP;

/// Requests of one plugin in the queue: one is done while the next waits, and none crowds the others out.
const SHARE: usize = 4;

/// Size of the write-ahead log from which on it is checkpointed though there is work to do, bytes.
const WAL_BOUND: u64 = 8 * 1024 * 1024;

/// What the operator can set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Everything survives the end of power before it is acknowledged, not only what is power-safe by itself. Each
    /// commit then costs a sync, some milliseconds.
    pub power_safe_everything: bool,
}

/// The store. Cheap to share behind an [`Arc`]; all methods may be called at once.
///
/// Futures do nothing before they are polled. Dropped before it is ready, a write may or may not be done.
/// Dropping the store does what is queued, checkpoints, and waits for that; [`SqliteStore::close`] does the same
/// without blocking.
pub struct SqliteStore {
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread>>,
}

struct Shared {
    options: Options,
    /// `None`: closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    room: Arc<Semaphore>,
    /// One for each plugin of the operator's file that ever wrote.
    shares: Mutex<HashMap<PluginId, Arc<Semaphore>>>,
}

struct Thread {
    handle: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

/// Why the store could not be opened. Nothing was changed, but that a missing directory was made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made or read.
    #[error("use the state directory `{path}`: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("use the state directory `{path}`: {why}")]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// Another supervisor uses it.
    #[error("lock the state directory `{path}`: {} uses it", holder_name(*holder))]
    Held {
        /// The directory.
        path: PathBuf,
        /// The other's process id. `None`: it has not said yet.
        holder: Option<u32>,
    },
    /// The SQLite that this program was linked with loses data.
    #[error("use SQLite {found}: {oldest} is the oldest that loses no committed write")]
    Library {
        /// As `sqlite3_libversion_number` has it.
        found: i32,
        /// The same.
        oldest: i32,
    },
    /// A newer supervisor wrote it.
    #[error("read the store: its file has version {found}, and this program knows versions up to version {known}")]
    Newer {
        /// The file's version.
        found: i64,
        /// The newest this program knows.
        known: u32,
    },
    /// The database cannot be opened, or is damaged.
    #[error("open the store: {0}")]
    Database(#[from] rusqlite::Error),
    /// The thread could not be started.
    #[error("start the store's thread: {0}")]
    Thread(#[source] io::Error),
}

fn holder_name(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another supervisor".to_owned(), |pid| format!("the supervisor with process {pid}"))
}

impl SqliteStore {
    /// Opens the store in a state directory, makes what is missing, and migrates an older file. Blocks.
    ///
    /// # Errors
    /// When the directory is another's, held, or exposed; when the file is newer or damaged.
    pub fn open(state_dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_bounded(state_dir, options, WAL_BOUND)
    }

    fn open_bounded(state_dir: &Path, options: Options, wal_bound: u64) -> Result<Self, OpenError> {
        migrations::check_library()?;
        let (lock, directory) = Lock::acquire(state_dir)?;
        let path = directory.join(DATABASE);
        let db = open_database(&path).map_err(|error| match error {
            OpenError::Directory { source, .. } => OpenError::Directory { path: directory, source },
            error => error,
        })?;
        let (queue, inbox) = mpsc::channel();
        let (done, ended) = oneshot::channel();
        let writer = Writer { db, wal: path.with_extension("db-wal"), wal_bound, inbox };
        let handle = thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                writer.run();
                // The next supervisor may come once the database is closed.
                drop(lock);
                let _ = done.send(());
            })
            .map_err(OpenError::Thread)?;
        let shared = Shared {
            options,
            queue: Mutex::new(Some(queue)),
            room: Arc::new(Semaphore::new(QUEUE)),
            shares: Mutex::new(HashMap::new()),
        };
        Ok(Self { shared: Arc::new(shared), thread: Mutex::new(Some(Thread { handle, ended })) })
    }

    /// Does what is queued, checkpoints, closes the file and gives the state directory back. What is asked for from now
    /// on is answered with [`StoreError::Closed`]. Safe to call again; cancel safe: the closing goes on.
    pub async fn close(&self) {
        self.shared.refuse_further();
        let Some(thread) = guard(&self.thread).take() else { return };
        // An error means that the thread has ended in another way, and so ended it has.
        let _ = thread.ended.await;
        join(thread.handle);
    }

    fn submit<T, F>(&self, plugin: Option<PluginId>, safety: Safety, work: F) -> BoxFuture<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let safety = if shared.options.power_safe_everything { Safety::Power } else { safety };
            let share = shared.share(plugin.as_ref());
            // The share first: who waits for it takes no room from the others.
            let share = share.acquire_owned().await.map_err(|_| StoreError::Closed)?;
            let room = Arc::clone(&shared.room).acquire_owned().await.map_err(|_| StoreError::Closed)?;
            let (reply, answer) = oneshot::channel();
            let job = Box::new(Task::new(work, reply));
            shared.send(Request { plugin, safety, job, room: [share, room] })?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

impl Shared {
    fn share(&self, plugin: Option<&PluginId>) -> Arc<Semaphore> {
        let Some(plugin) = plugin else { return Arc::new(Semaphore::new(1)) };
        let mut shares = guard(&self.shares);
        Arc::clone(shares.entry(plugin.clone()).or_insert_with(|| Arc::new(Semaphore::new(SHARE))))
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        match &*guard(&self.queue) {
            Some(queue) => queue.send(request).map_err(|_| StoreError::Closed),
            None => Err(StoreError::Closed),
        }
    }

    fn refuse_further(&self) {
        guard(&self.queue).take();
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.shared.refuse_further();
        if let Some(thread) = guard(&self.thread).take() {
            join(thread.handle);
        }
    }
}

fn join(handle: JoinHandle<()>) {
    if handle.join().is_err() {
        tracing::error!("the store's thread ended by a defect; nothing acknowledged is lost");
    }
}

/// A panic while one of these is held leaves nothing half done.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_database(path: &Path) -> Result<Connection, OpenError> {
    // Made here, so that nobody else can read it whatever the directory's mode; its companions get the same mode.
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|source| OpenError::Directory { path: path.to_owned(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let why = format!("the file system allows no write-ahead log (journal mode `{mode}`)");
        return Err(OpenError::Directory { path: path.to_owned(), source: io::Error::other(why) });
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    migrations::migrate(&mut db)?;
    Ok(db)
}

impl Store for SqliteStore {
    fn load(&self) -> BoxFuture<Result<Vec<PluginRecord>, StoreError>> {
        self.submit(None, Safety::Process, rows::load)
    }

    fn begin_launch(&self, plugin: PluginId, launch: LaunchNote) -> BoxFuture<Result<Generation, StoreError>> {
        let owner = plugin.clone();
        self.submit(Some(owner), Safety::Process, move |db| rows::begin_launch(db, &plugin, &launch))
    }

    fn end_launch(&self, plugin: PluginId, generation: Generation) -> BoxFuture<Result<(), StoreError>> {
        let owner = plugin.clone();
        self.submit(Some(owner), Safety::Process, move |db| rows::end_launch(db, &plugin, generation))
    }

    fn add_failure(&self, plugin: PluginId, failure: FailureRecord) -> BoxFuture<Result<(), StoreError>> {
        let owner = plugin.clone();
        let failure = rows::FailureRow::new(failure);
        self.submit(Some(owner), Safety::Process, move |db| rows::add_failure(db, &plugin, &failure))
    }

    fn set_quarantine(&self, plugin: PluginId, quarantine: Option<Quarantine>) -> BoxFuture<Result<(), StoreError>> {
        let owner = plugin.clone();
        self.submit(Some(owner), Safety::Power, move |db| rows::set_quarantine(db, &plugin, quarantine.as_ref()))
    }

    fn remember_guards(&self, plugin: PluginId, remembered: Remembered) -> BoxFuture<Result<(), StoreError>> {
        let row = match rows::RememberedRow::new(remembered) {
            Ok(row) => row,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let owner = plugin.clone();
        self.submit(Some(owner), Safety::Power, move |db| rows::remember_guards(db, &plugin, &row))
    }
}
