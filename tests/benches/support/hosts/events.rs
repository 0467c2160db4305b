//! Events for the benchmarks, and what their readers wrote down of them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::Result;

/// Bytes of an event's data.
const DATA_BYTES: usize = 465;
/// Events of a message that is published, or of a burst that is written.
pub(super) const BURST: usize = 64;
/// A reader that takes longer to come to a mark makes the benchmark fail.
const PATIENCE: Duration = Duration::from_secs(30);

/// The event of all rows, as a runtime publishes it.
pub(super) fn agent_event() -> types::AgentEvent {
    let head = r#"{"phase":"result","toolName":"exec","toolCallId":"call-1","result":""#;
    let tail = r#""}"#;
    let padding = "x".repeat(DATA_BYTES - head.len() - tail.len());
    types::AgentEvent {
        run_id: "run-1".to_owned(),
        stream: "tool".to_owned(),
        data_json: Bytes::from(format!("{head}{padding}{tail}")),
        seq: 1,
        session_key: "bench".to_owned(),
        ..Default::default()
    }
}

/// The same with what the supervisor adds.
pub(super) fn as_delivered(event: types::AgentEvent) -> types::AgentEvent {
    let time = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 123_456_789 });
    types::AgentEvent { time, runtime_id: "default".to_owned(), ..event }
}

/// After this event readers write down what they have.
pub(super) fn mark(number: u64) -> types::AgentEvent {
    let data_json = json!({ "mark": number }).to_string().into();
    types::AgentEvent { stream: "mark".to_owned(), data_json, seq: 0, ..agent_event() }
}

/// What a reader counted, up to a mark; see `programs/book.rs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) again: u64,
    pub(super) missing: u64,
    pub(super) skipped: u64,
    pub(super) disorder: u64,
}

impl Counts {
    /// What a reader wrote down at a mark, once it has.
    pub(super) async fn read(book: &Path, mark: u64) -> Result<Self> {
        let written = async {
            loop {
                let text = std::fs::read(book).unwrap_or_default();
                let value: Value = serde_json::from_slice(&text).unwrap_or_default();
                if value["mark"] == mark {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let value = timeout(PATIENCE, written).await;
        let value = value.map_err(|_| format!("{} did not come to mark {mark}", book.display()))?;
        let count = |name: &str| value[name].as_u64().ok_or_else(|| format!("a book without `{name}`"));
        Ok(Self {
            events: count("events")?,
            again: count("again")?,
            missing: count("missing")?,
            skipped: count("skipped")?,
            disorder: count("disorder")?,
        })
    }
}
