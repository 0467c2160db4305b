//! Structured logging: one JSON object a line on standard error, which the supervisor reads, stamps and keeps.
//!
//! [`Plugin::run`](crate::Plugin::run) installs it for [`tracing`] unless the program has installed a subscriber of its
//! own. A line has `level`, `message`, `target`, the event's fields, and `invocation_id` when a handler logs:
//!
//! ```
//! use outrigger_sdk::tracing::info;
//!
//! info!(tool = "exec", "blocked a command");
//! // {"level":"info","message":"blocked a command","target":"my_plugin","tool":"exec","invocation_id":7}
//! ```
//!
//! `RUST_LOG` sets the lowest level: `error`, `warn`, `info` (the default), `debug`, `trace` or `off`; a manifest sets it
//! under `env`. The libraries beneath are heard from `warn` on. Spans are not recorded. A line is at most 8 KiB, the
//! supervisor's bound: longer fields are cut, and what does not fit is left out and marked `"cut":true`.
//!
//! Panics are logged in the same form.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::fmt;
use std::io::Write;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// Longest line without its end, in bytes: the supervisor's bound is 8 KiB.
const MOST_LINE: usize = 8_000;
/// Longest text of one field, in bytes, escaped and with its quotes.
const MOST_TEXT: usize = 2_048;
/// Longest sum of all fields but the message, so that level, message and target always fit.
const MOST_FIELDS: usize = MOST_LINE - MOST_TEXT - 512;
/// Libraries whose chatter concerns nobody who writes a plugin.
const QUIET: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "tower"];

/// Installs the subscriber and the hook of panics, unless the program has its own subscriber already.
pub(crate) fn install() {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.trim().parse().ok());
    let lines = JsonLines { level: level.unwrap_or(LevelFilter::INFO) };
    if tracing::subscriber::set_global_default(lines).is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let text = crate::running::panic_text(panic.payload());
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        // Taken only where RUST_BACKTRACE asks for it.
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!(at, %backtrace, "panicked: {text}"),
            _ => tracing::error!(at, "panicked: {text}"),
        }
    }));
}

/// Writes every event as a line.
struct JsonLines {
    level: LevelFilter,
}

impl Subscriber for JsonLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        let level = if QUIET.contains(&crate_name) { self.level.min(LevelFilter::WARN) } else { self.level };
        metadata.is_event() && *metadata.level() <= level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // Never asked for: no span is enabled.
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = line(event);
        line.push(b'\n');
        // One write, so that lines of several threads do not mix. Nobody is left to be told of a failure.
        let _ = std::io::stderr().lock().write_all(&line);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn line(event: &Event<'_>) -> Vec<u8> {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"{\"level\":");
    write_text(&mut line, level_name(*event.metadata().level()));
    line.extend_from_slice(b",\"message\":");
    line.extend_from_slice(if fields.message.is_empty() { b"\"\"" } else { &fields.message });
    line.extend_from_slice(b",\"target\":");
    write_text(&mut line, event.metadata().target());
    line.extend_from_slice(&fields.rest);
    if fields.cut {
        line.extend_from_slice(b",\"cut\":true");
    }
    let invocation_id = CURRENT.get();
    if invocation_id != 0 {
        line.extend_from_slice(format!(",\"invocation_id\":{invocation_id}").as_bytes());
    }
    line.push(b'}');
    line
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn write_text(line: &mut Vec<u8>, text: &str) {
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(line, text);
}

/// An event's fields as JSON members, each preceded by a comma.
#[derive(Default)]
struct Fields {
    message: Vec<u8>,
    rest: Vec<u8>,
    cut: bool,
}

impl Fields {
    fn text(&mut self, field: &Field, text: &str) {
        let mut json = Vec::new();
        write_text(&mut json, &text[..text.floor_char_boundary(MOST_TEXT)]);
        if json.len() > MOST_TEXT {
            // The longest escape, `\u0000`, has six bytes for one.
            json.clear();
            write_text(&mut json, &text[..text.floor_char_boundary((MOST_TEXT - 2) / 6)]);
            self.cut = true;
        }
        self.cut |= text.len() > MOST_TEXT;
        if field.name() == "message" {
            self.message = json;
        } else {
            self.member(field, &json);
        }
    }

    fn member(&mut self, field: &Field, json: &[u8]) {
        // Two quotes, a colon and a comma are around a member.
        if self.rest.len() + field.name().len() + json.len() + 4 > MOST_FIELDS {
            self.cut = true;
            return;
        }
        self.rest.push(b',');
        write_text(&mut self.rest, field.name());
        self.rest.push(b':');
        self.rest.extend_from_slice(json);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value.to_string().as_bytes());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value.to_string().as_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value.to_string().as_bytes());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinities; serde_json writes null for them.
        let json = serde_json::to_vec(&value).unwrap_or_default();
        self.member(field, &json);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &crate::error::chain(value));
    }
}

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// While it lives, what this thread logs belongs to an invocation.
pub(crate) struct Scope(u64);

impl Scope {
    pub(crate) fn enter(invocation_id: u64) -> Self {
        Self(CURRENT.replace(invocation_id))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::subscriber::with_default;

    use super::*;

    /// Keeps the lines that `JsonLines` would write.
    struct Kept(JsonLines, Arc<Mutex<Vec<Vec<u8>>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            self.0.enabled(metadata)
        }
        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            self.0.new_span(attributes)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            self.1.lock().expect("no panic").push(line(event));
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn lines(level: LevelFilter, log: impl FnOnce()) -> Vec<Value> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        with_default(Kept(JsonLines { level }, kept.clone()), log);
        let kept = kept.lock().expect("no panic");
        assert!(kept.iter().all(|line| line.len() <= MOST_LINE), "a line is too long");
        kept.iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect()
    }

    #[test]
    fn a_line_has_level_message_and_fields() {
        let lines = lines(LevelFilter::INFO, || {
            let _scope = Scope::enter(7);
            tracing::info!(tool = "exec", calls = 3, ok = true, ratio = 0.5, "a \"quoted\"\nmessage");
            tracing::debug!("not heard");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "info");
        assert_eq!(lines[0]["message"], "a \"quoted\"\nmessage");
        assert_eq!(lines[0]["tool"], "exec");
        assert_eq!(lines[0]["calls"], 3);
        assert_eq!(lines[0]["ok"], true);
        assert_eq!(lines[0]["ratio"], 0.5);
        assert_eq!(lines[0]["invocation_id"], 7);
    }

    #[test]
    fn a_line_is_bounded_and_stays_json() {
        let long = "\u{1}é".repeat(20_000);
        let lines = lines(LevelFilter::INFO, || {
            tracing::warn!(a = long, b = long, c = long, d = 1, "{long}");
        });
        assert_eq!(lines[0]["cut"], true);
        assert_eq!(lines[0]["level"], "warn");
    }

    #[test]
    fn libraries_beneath_are_quiet() {
        let lines = lines(LevelFilter::TRACE, || {
            tracing::debug!(target: "h2::proto", "frame");
            tracing::warn!(target: "h2::proto", "broken");
            tracing::trace!(target: "my_plugin", "detail");
        });
        let messages: Vec<_> = lines.iter().map(|line| &line["message"]).collect();
        assert_eq!(messages, ["broken", "detail"]);
        assert!(lines[0].get("invocation_id").is_none());
    }
}
