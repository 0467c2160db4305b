//! An observer: writes down every tool call before it happens, and has no opinion on any; and how runs begin and end.
//!
//! It shows a plugin with files of its own and something to do at the end, and how events are read: each is acknowledged
//! when it is written, so after a crash none is missing and one may come twice, marked; where the plugin was too slow for
//! them it asks for what it missed, and writes down what nobody has any more. The record is `audit.jsonl` in the plugin's
//! data directory, one JSON object a line; at 1 MiB it becomes `audit.jsonl.1`, in place of the one before, so both never
//! take more than 2 MiB.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use outrigger_sdk::{
    AfterGap, Context, Decision, Event, Gap, HandlerError, Launch, Plugin, StartError, ToolCall, tracing,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Length at which the record begins anew, in bytes.
const MOST_BYTES: u64 = 1024 * 1024;
/// Tools that are counted by name; more are counted together.
const MOST_TOOLS: usize = 1_000;

fn main() -> outrigger_sdk::Result<()> {
    Plugin::on_start(start)
        .version(env!("CARGO_PKG_VERSION"))
        .on_shutdown(|launch| async move { lock(launch.state()).summarise() })
        // No `side_effect_free`: writing is one, so the supervisor asks once for each call that really happens.
        .before_tool_call("observe", observe)
        .description("Writes down every tool call")
        .priority(-100)
        // Streams that need no `hooks.conversation`: their data has nothing of what was said.
        .subscribe("runs", ["lifecycle", "approval"], happened)
        .description("Writes down how runs begin and end, and approvals")
        .on_gap(missed)
        .run_blocking()
}

async fn start(launch: Launch) -> Result<Mutex<Record>, StartError> {
    let directory = launch.data_dir();
    if directory.as_os_str().is_empty() {
        return Err(StartError::host_unsuitable("the host names no data directory"));
    }
    Ok(Mutex::new(Record::open(directory)?))
}

async fn observe(call: ToolCall, cx: Context<Mutex<Record>>) -> Result<Decision, HandlerError> {
    let entry = json!({
        "time_ms": now_ms()?,
        "generation": cx.generation(),
        "invocation_id": cx.invocation_id(),
        "tool": call.tool(),
        "tool_call_id": call.tool_call_id(),
        "session": cx.session().map(|session| &session.key),
        "run": cx.run().map(|run| &run.id),
    });
    // A short write into the page cache; what could take longer belongs on `tokio::task::spawn_blocking`.
    let seen = lock(cx.state()).add(call.tool(), &entry)?;
    tracing::info!(tool = call.tool(), tool_call = call.tool_call_id(), seen, "a tool is about to be called");
    Ok(Decision::declined())
}

async fn happened(event: Event, launch: Launch<Mutex<Record>>) -> Result<(), HandlerError> {
    /// What of an event's data is written down.
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Data {
        phase: Value,
        stop_reason: Value,
        aborted: Value,
    }
    let data: Data = event.data()?;
    let entry = json!({
        "time_ms": now_ms()?,
        "generation": launch.generation(),
        "event": event.seq(),
        "stream": event.stream(),
        "phase": data.phase,
        "stop_reason": data.stop_reason,
        "aborted": data.aborted,
        "session": event.session_key(),
        "run": event.run_id(),
        "redelivered": event.is_redelivered(),
    });
    Ok(lock(launch.state()).write(&entry)?)
}

/// Events did not come. What is still there is asked for; that something is missing is written down in any case, as it may
/// come later, or never.
async fn missed(gap: Gap, launch: Launch<Mutex<Record>>) -> Result<AfterGap, HandlerError> {
    let (from, to) = gap.range();
    let reason = gap.reason().as_str_name();
    tracing::warn!(from, to, count = gap.count(), reason, "events are missing");
    let entry =
        json!({"time_ms": now_ms()?, "missing": {"from": from, "to": to, "count": gap.count(), "reason": reason}});
    lock(launch.state()).write(&entry)?;
    Ok(AfterGap::Replay)
}

fn now_ms() -> Result<u64, HandlerError> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64)
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file and what was counted since the start.
struct Record {
    path: PathBuf,
    file: File,
    bytes: u64,
    calls: BTreeMap<String, u64>,
}

impl Record {
    fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join("audit.jsonl");
        let (file, bytes) = append(&path)?;
        Ok(Self { path, file, bytes, calls: BTreeMap::new() })
    }

    /// Writes down a call, and tells how many of the tool there were.
    fn add(&mut self, tool: &str, entry: &Value) -> io::Result<u64> {
        self.write(entry)?;
        let known = self.calls.contains_key(tool) || self.calls.len() < MOST_TOOLS;
        let count = self.calls.entry(if known { tool } else { "(others)" }.to_owned()).or_default();
        *count += 1;
        Ok(*count)
    }

    /// Writes a line.
    fn write(&mut self, entry: &Value) -> io::Result<()> {
        let line = format!("{entry}\n");
        if self.bytes + line.len() as u64 > MOST_BYTES {
            fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
            (self.file, self.bytes) = append(&self.path)?;
        }
        // One write, so that a crash leaves whole lines.
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn summarise(&self) {
        let all: u64 = self.calls.values().sum();
        tracing::info!(calls = all, tools = self.calls.len(), "stopping");
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_bounded_and_goes_on_after_a_restart() {
        let directory = std::env::temp_dir().join(format!("outrigger-audit-{}", std::process::id()));
        let mut record = Record::open(&directory).expect("a record");
        let entry = Value::from("x".repeat(100_000));
        for count in 1..=25 {
            assert_eq!(record.add("exec", &entry).expect("written"), count);
        }
        drop(record);
        let mut record = Record::open(&directory).expect("the record again");
        assert!(record.bytes > 0);
        record.add("exec", &entry).expect("written");
        let lengths =
            ["audit.jsonl", "audit.jsonl.1"].map(|name| fs::metadata(directory.join(name)).expect("it is there").len());
        let files = fs::read_dir(&directory).expect("a directory").count();
        fs::remove_dir_all(&directory).expect("removed");
        assert!(lengths.iter().all(|length| (1..=MOST_BYTES).contains(length)), "{lengths:?}");
        assert_eq!(files, 2);
    }

    #[test]
    fn tools_beyond_the_bound_are_counted_together() {
        let directory = std::env::temp_dir().join(format!("outrigger-audit-tools-{}", std::process::id()));
        let mut record = Record::open(&directory).expect("a record");
        for tool in 0..MOST_TOOLS + 10 {
            record.add(&tool.to_string(), &Value::Null).expect("written");
        }
        fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(record.calls.len(), MOST_TOOLS + 1);
        assert_eq!(record.calls["(others)"], 10);
    }
}
