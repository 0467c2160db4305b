//! Requests as SQL, and rows as records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tracing::error;

use super::forms;
use super::text::{bounded, first_lines, last_lines};
use crate::domain::ids::{Generation, PluginId, PluginIdError};
use crate::domain::store::{
    FailureRecord, KEPT_FAILURES, LaunchNote, PluginRecord, Quarantine, Remembered, StoreError,
};

/// Longest sentence, bytes.
const SENTENCE: usize = 4 * 1024;
/// Longest name (a cause, a phase, a nonce), bytes.
const NAME: usize = 128;
/// Standard error and evidence kept of one failure, bytes each.
const LINES: usize = 64 * 1024;
/// Guards and rights remembered of one plugin, bytes each. Not cut: half a guard is none.
const REMEMBERED: usize = 256 * 1024;
/// Failures kept of one plugin, as SQL wants it.
const KEPT: i64 = KEPT_FAILURES as i64;
/// Launches noted as running of one plugin. More cannot be: it is for rows whose end could not be written.
const RUNNING: u32 = 64;

/// Takes the next generation and notes the launch.
pub(super) fn begin_launch(db: &Connection, plugin: &PluginId, launch: &LaunchNote) -> rusqlite::Result<Generation> {
    let generation: i64 = db
        .prepare_cached(
            "INSERT INTO plugin (id, generation) VALUES (?1, 1)
             ON CONFLICT (id) DO UPDATE SET generation = generation + 1
             RETURNING generation",
        )?
        .query_row([plugin.as_str()], |row| row.get(0))?;
    db.prepare_cached("INSERT INTO launch (plugin, generation, nonce, boot_id) VALUES (?1, ?2, ?3, ?4)")?.execute(
        params![
            plugin.as_str(),
            generation,
            bounded(launch.nonce.clone(), NAME),
            bounded(launch.boot_id.clone(), NAME)
        ],
    )?;
    db.prepare_cached(
        "DELETE FROM launch WHERE plugin = ?1 AND generation NOT IN
            (SELECT generation FROM launch WHERE plugin = ?1 ORDER BY generation DESC LIMIT ?2)",
    )?
    .execute(params![plugin.as_str(), RUNNING])?;
    Ok(to_generation(generation))
}

/// Notes that nothing is left of a launch.
pub(super) fn end_launch(db: &Connection, plugin: &PluginId, generation: Generation) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM launch WHERE plugin = ?1 AND generation = ?2")?
        .execute(params![plugin.as_str(), from_generation(generation)])?;
    Ok(())
}

/// A failure as it is kept, within its bounds.
pub(super) struct FailureRow {
    at_ms: i64,
    generation: i64,
    cause: String,
    message: String,
    phase: String,
    exit: String,
    stderr_tail: String,
    evidence: String,
}

impl FailureRow {
    /// Cuts what is too long.
    pub(super) fn new(failure: FailureRecord) -> Self {
        Self {
            at_ms: to_ms(failure.at),
            generation: from_generation(failure.generation),
            cause: bounded(failure.cause, NAME),
            message: bounded(failure.message, SENTENCE),
            phase: bounded(failure.phase, NAME),
            exit: bounded(failure.exit, NAME),
            stderr_tail: serde_json::Value::from(last_lines(failure.stderr_tail, LINES)).to_string(),
            evidence: serde_json::Value::from(first_lines(failure.evidence, LINES)).to_string(),
        }
    }
}

/// Adds a failure; the oldest beyond the bound goes.
pub(super) fn add_failure(db: &Connection, plugin: &PluginId, failure: &FailureRow) -> rusqlite::Result<()> {
    know(db, plugin)?;
    db.prepare_cached(
        "INSERT INTO failure (plugin, at_ms, generation, cause, message, phase, exit, stderr_tail, evidence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        plugin.as_str(),
        failure.at_ms,
        failure.generation,
        failure.cause,
        failure.message,
        failure.phase,
        failure.exit,
        failure.stderr_tail,
        failure.evidence,
    ])?;
    db.prepare_cached(
        "DELETE FROM failure WHERE plugin = ?1 AND id NOT IN
            (SELECT id FROM failure WHERE plugin = ?1 ORDER BY id DESC LIMIT ?2)",
    )?
    .execute(params![plugin.as_str(), KEPT])?;
    Ok(())
}

/// Sets or lifts the quarantine.
pub(super) fn set_quarantine(
    db: &Connection,
    plugin: &PluginId,
    quarantine: Option<&Quarantine>,
) -> rusqlite::Result<()> {
    let Some(quarantine) = quarantine else {
        db.prepare_cached("DELETE FROM quarantine WHERE plugin = ?1")?.execute([plugin.as_str()])?;
        return Ok(());
    };
    know(db, plugin)?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO quarantine (plugin, since_ms, probe_at_ms, failed_probes, reason)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        plugin.as_str(),
        to_ms(quarantine.since),
        quarantine.probe_at.map(to_ms),
        quarantine.failed_probes,
        bounded(quarantine.reason.clone(), SENTENCE),
    ])?;
    Ok(())
}

/// What a manifest guarded, as it is kept.
pub(super) struct RememberedRow {
    package_dir: String,
    guards: String,
    rights: String,
}

impl RememberedRow {
    /// Refuses what is too long.
    pub(super) fn new(remembered: Remembered) -> Result<Self, StoreError> {
        let written =
            |text: Result<String, serde_json::Error>| text.map_err(|error| StoreError::Unavailable(error.to_string()));
        let row = Self {
            package_dir: remembered.package_dir,
            guards: written(forms::write_guards(&remembered.guards))?,
            rights: written(forms::write_rights(&remembered.rights))?,
        };
        for (what, text) in [("package path", &row.package_dir), ("guards", &row.guards), ("rights", &row.rights)] {
            if text.len() > REMEMBERED {
                return Err(StoreError::TooLarge { what, bytes: text.len(), limit: REMEMBERED });
            }
        }
        Ok(row)
    }
}

/// Keeps what a manifest guards.
pub(super) fn remember_guards(db: &Connection, plugin: &PluginId, row: &RememberedRow) -> rusqlite::Result<()> {
    know(db, plugin)?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO remembered_guards (plugin, package_dir, guards, rights) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![plugin.as_str(), row.package_dir, row.guards, row.rights])?;
    Ok(())
}

/// Makes sure that the plugin has its row.
fn know(db: &Connection, plugin: &PluginId) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO plugin (id, generation) VALUES (?1, 0)")?.execute([plugin.as_str()])?;
    Ok(())
}

/// Everything known of all plugins, ordered by id.
pub(super) fn load(db: &Connection) -> rusqlite::Result<Vec<PluginRecord>> {
    let mut plugins = db.prepare_cached("SELECT id, generation FROM plugin ORDER BY id")?;
    let mut plugins = plugins.query([])?;
    let mut records = Vec::new();
    while let Some(row) = plugins.next()? {
        let generation = to_generation(row.get(1)?);
        match row.get_ref(0)?.as_str().map_err(|error| error.to_string()).and_then(to_plugin) {
            Ok(plugin) => records.push(load_plugin(db, plugin, generation)?),
            // Nothing in the operator's file can have this id, so nothing is missed.
            Err(error) => error!(%error, "a plugin in the store has an impossible id and is passed over"),
        }
    }
    Ok(records)
}

fn to_plugin(id: &str) -> Result<PluginId, String> {
    id.parse().map_err(|error: PluginIdError| error.to_string())
}

/// Tells a row that holds what it should not (somebody edited the file) from a database that cannot be read.
fn unless_damaged<T>(row: rusqlite::Result<T>) -> rusqlite::Result<Result<T, String>> {
    match row {
        Ok(value) => Ok(Ok(value)),
        Err(
            error @ (rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)),
        ) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

fn load_plugin(db: &Connection, plugin: PluginId, generation: Generation) -> rusqlite::Result<PluginRecord> {
    let mut damage = Vec::new();
    let running = load_running(db, &plugin, &mut damage)?;
    let quarantine = load_quarantine(db, &plugin, &mut damage)?;
    let failures = load_failures(db, &plugin, &mut damage)?;
    let remembered = load_remembered(db, &plugin, &mut damage)?;
    Ok(PluginRecord { plugin, generation, running, quarantine, failures, remembered, damage })
}

fn load_running(
    db: &Connection,
    plugin: &PluginId,
    damage: &mut Vec<String>,
) -> rusqlite::Result<Vec<(Generation, LaunchNote)>> {
    let mut select =
        db.prepare_cached("SELECT generation, nonce, boot_id FROM launch WHERE plugin = ?1 ORDER BY generation")?;
    let rows = select.query_map([plugin.as_str()], |row| {
        Ok((to_generation(row.get(0)?), LaunchNote { nonce: row.get(1)?, boot_id: row.get(2)? }))
    })?;
    let mut running = Vec::new();
    for row in rows {
        match unless_damaged(row)? {
            Ok(launch) => running.push(launch),
            Err(why) => damage.push(format!("A launch cannot be read: {why}.")),
        }
    }
    Ok(running)
}

fn load_quarantine(
    db: &Connection,
    plugin: &PluginId,
    damage: &mut Vec<String>,
) -> rusqlite::Result<Option<Quarantine>> {
    let mut select =
        db.prepare_cached("SELECT since_ms, probe_at_ms, failed_probes, reason FROM quarantine WHERE plugin = ?1")?;
    let row = select.query_row([plugin.as_str()], |row| {
        Ok(Quarantine {
            since: to_time(0, row.get(0)?)?,
            probe_at: row.get::<_, Option<i64>>(1)?.map(|ms| to_time(1, ms)).transpose()?,
            failed_probes: row.get(2)?,
            reason: row.get(3)?,
        })
    });
    match unless_damaged(row.optional())? {
        Ok(quarantine) => Ok(quarantine),
        Err(why) => {
            // That it is quarantined is certain; the rest an operator decides.
            let reason = format!("Its quarantine cannot be read: {why}.");
            damage.push(reason.clone());
            Ok(Some(Quarantine { since: UNIX_EPOCH, probe_at: None, failed_probes: 0, reason }))
        }
    }
}

fn load_failures(db: &Connection, plugin: &PluginId, damage: &mut Vec<String>) -> rusqlite::Result<Vec<FailureRecord>> {
    let mut select = db.prepare_cached(
        "SELECT at_ms, generation, cause, message, phase, exit, stderr_tail, evidence
         FROM failure WHERE plugin = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = select.query_map(params![plugin.as_str(), KEPT], |row| {
        Ok(FailureRecord {
            at: to_time(0, row.get(0)?)?,
            generation: to_generation(row.get(1)?),
            cause: row.get(2)?,
            message: row.get(3)?,
            phase: row.get(4)?,
            exit: row.get(5)?,
            stderr_tail: to_lines(row, 6)?,
            evidence: to_lines(row, 7)?,
        })
    })?;
    let mut failures = Vec::new();
    for row in rows {
        match unless_damaged(row)? {
            Ok(failure) => failures.push(failure),
            Err(why) => damage.push(format!("A failure cannot be read: {why}.")),
        }
    }
    failures.reverse();
    Ok(failures)
}

fn load_remembered(
    db: &Connection,
    plugin: &PluginId,
    damage: &mut Vec<String>,
) -> rusqlite::Result<Option<Remembered>> {
    let mut select =
        db.prepare_cached("SELECT package_dir, guards, rights FROM remembered_guards WHERE plugin = ?1")?;
    let row = select.query_row([plugin.as_str()], |row| {
        Ok(Remembered {
            package_dir: row.get(0)?,
            guards: read_column(row, 1, forms::read_guards)?,
            rights: read_column(row, 2, forms::read_rights)?,
        })
    });
    match unless_damaged(row.optional())? {
        Ok(remembered) => Ok(remembered),
        Err(why) => {
            // Half of it would guard less than it should; without any of it everything is guarded.
            damage.push(format!("What it last guarded cannot be read: {why}."));
            Ok(None)
        }
    }
}

fn read_column<T>(row: &Row<'_>, column: usize, read: fn(&str) -> Result<T, String>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    read(&text).map_err(|why| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into()))
}

fn to_lines(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    read_column(row, column, |text| serde_json::from_str(text).map_err(|error| error.to_string()))
}

fn to_generation(number: i64) -> Generation {
    // The table holds none below 0.
    Generation(u64::try_from(number).unwrap_or(0))
}

fn from_generation(generation: Generation) -> i64 {
    i64::try_from(generation.0).unwrap_or(i64::MAX)
}

/// Unix milliseconds; times before and after what fits are the first and last that do.
fn to_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

fn to_time(column: usize, ms: i64) -> rusqlite::Result<SystemTime> {
    let distance = Duration::from_millis(ms.unsigned_abs());
    let time = if ms < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    // Never on a system whose times have 64 bits of seconds.
    time.ok_or(rusqlite::Error::IntegralValueOutOfRange(column, ms))
}
