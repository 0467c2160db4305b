//! Reads what a plugin prints: bounded lines, a bounded rate, and never a reason for the plugin to block for good.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

use super::log::{Line, LogRing, Source};
use crate::domain::ids::Generation;
use crate::domain::text;

/// Longest line (architecture §14); what is beyond it is left out.
const MAX_LINE: usize = 8 * 1024;
/// Longest text shown of a line, in characters (`TailLogsResponse.Line.text`).
const MAX_TEXT: usize = 4096;
/// Bytes read in one interval. More makes the plugin wait, so that printing cannot take the supervisor's time.
const BYTES_PER_INTERVAL: usize = 1024 * 1024;
const INTERVAL: Duration = Duration::from_millis(50);
/// Bytes read at once: from a plugin that prints little, and from one that filled the first. Most print next to nothing,
/// and each has two streams.
const CHUNK: (usize, usize) = (1024, 16 * 1024);

/// Reads until the end of the stream, which comes when no process of the tree holds it any more. Cancel safe.
pub(crate) async fn capture(
    mut stream: Box<dyn AsyncRead + Send + Unpin>,
    source: Source,
    generation: Generation,
    logs: Arc<LogRing>,
    lines_per_second: u32,
) {
    let mut chunk = vec![0; CHUNK.0];
    let mut lines = Lines::default();
    let mut meter = (Instant::now(), 0);
    let mut window = (Instant::now(), 0u32, 0u64);
    loop {
        let read = match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        lines.feed(&chunk[..read], |bytes, truncated| {
            if window.0.elapsed() >= Duration::from_secs(1) {
                if window.2 > 0 {
                    let text = format!("{} lines dropped: more than {lines_per_second} a second", window.2);
                    logs.say(SystemTime::now(), generation, "warn", text);
                }
                window = (Instant::now(), 0, 0);
            }
            window.1 += 1;
            if window.1 > lines_per_second {
                window.2 += 1;
                logs.add_dropped(1);
            } else {
                logs.push(parse(bytes, truncated, source, generation));
            }
        });
        if read == chunk.len() {
            chunk.resize(CHUNK.1, 0);
        }
        meter.1 += read;
        if meter.1 >= BYTES_PER_INTERVAL {
            tokio::time::sleep_until(meter.0 + INTERVAL).await;
            meter = (Instant::now(), 0);
        } else if meter.0.elapsed() >= INTERVAL {
            meter = (Instant::now(), 0);
        }
    }
    lines.finish(|bytes, truncated| logs.push(parse(bytes, truncated, source, generation)));
}

/// Splits bytes into lines without keeping more than one line's bound.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    truncated: bool,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end]);
            line(&self.partial, self.truncated);
            self.partial.clear();
            self.truncated = false;
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.partial.len();
        self.truncated |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish(self, mut line: impl FnMut(&[u8], bool)) {
        if !self.partial.is_empty() {
            line(&self.partial, self.truncated);
        }
    }
}

/// A JSON object with a message is a structured line, anything else is text.
fn parse(bytes: &[u8], truncated: bool, source: Source, generation: Generation) -> Line {
    let raw = String::from_utf8_lossy(bytes);
    let mut line = Line {
        at: SystemTime::now(),
        generation,
        source,
        level: "",
        text: String::new(),
        fields_json: String::new(),
        truncated: truncated || text::units(&raw) > MAX_TEXT,
    };
    if raw.starts_with('{')
        && !truncated
        && let Ok(serde_json::Value::Object(mut object)) = serde_json::from_str::<serde_json::Value>(&raw)
        && let Some(message) = ["message", "msg"].iter().find_map(|key| object.remove(*key))
    {
        let level = object.remove("level");
        line.level = level.as_ref().and_then(serde_json::Value::as_str).map_or("", level_name);
        line.text = text::clean(message.as_str().unwrap_or(&message.to_string()), MAX_TEXT);
        if !object.is_empty() {
            line.fields_json = serde_json::Value::Object(object).to_string();
        }
        return line;
    }
    line.text = text::clean(&raw, MAX_TEXT);
    line
}

/// A level's one name.
pub(crate) fn level_name(level: &str) -> &'static str {
    match level.to_ascii_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" | "notice" => "info",
        "warn" | "warning" => "warn",
        "error" | "err" | "fatal" | "critical" => "error",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn captured(bytes: Vec<u8>, rate: u32) -> Arc<LogRing> {
        let logs = Arc::new(LogRing::new());
        capture(Box::new(std::io::Cursor::new(bytes)), Source::Stderr, Generation(1), Arc::clone(&logs), rate).await;
        logs
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_of_100_megabytes_is_one_cut_line() {
        let mut bytes = vec![b'x'; 100 * 1024 * 1024];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = captured(bytes, 1000).await.read(0, 10).lines;
        assert_eq!(lines.len(), 2);
        assert!(lines[0].truncated && lines[0].text.len() == MAX_TEXT);
        assert_eq!((lines[1].text.as_str(), lines[1].truncated), ("next", false));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_over_the_rate_are_counted() {
        let logs = captured(b"a\n".repeat(50), 10).await;
        assert_eq!(logs.read(0, 100).lines.len(), 10);
        assert_eq!(logs.dropped(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn json_lines_are_recognised() {
        let lines = captured(
            br#"{"level":"WARN","message":"low\u001b[0m","disk":3}
{"no":"message"}
unfinished"#
                .to_vec(),
            10,
        )
        .await
        .read(0, 10)
        .lines;
        assert_eq!(
            (lines[0].level, lines[0].text.as_str(), lines[0].fields_json.as_str()),
            ("warn", "low [0m", r#"{"disk":3}"#)
        );
        assert_eq!(lines[1].text, r#"{"no":"message"}"#);
        assert_eq!(lines[2].text, "unfinished");
    }
}
