//! Recorded traces: JSON lines, read strictly. `sdk-fixtures/traces/README.md` describes the format.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::hook::Hook;

/// Longest line: event and context together are at most 3 MiB (§14), and JSON around them is little.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// Most lines of one file.
const MAX_LINES: usize = 1_000_000;
/// Longest run and tool call ids, in bytes: the contract's 256 less what a replay puts before them.
const MAX_ID_BYTES: usize = 200;

/// One file.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Name of the file, without its directory.
    pub(crate) name: String,
    /// Hooks the runtime invoked, in order.
    pub(crate) calls: Vec<Call>,
    /// Agent events among them, in order.
    pub(crate) events: Vec<Event>,
}

/// One line of a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    /// A hook was invoked.
    Call(&'a Call),
    /// An event was emitted.
    Event(&'a Event),
}

/// One agent event.
#[derive(Debug)]
pub(crate) struct Event {
    /// Position in the file, from 0.
    n: u64,
    /// When it was seen, since the Unix epoch.
    at: Duration,
    /// Everything that was recorded of it.
    pub(crate) event: Map<String, Value>,
}

impl Event {
    /// A text of the event.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.event.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// The run ends with it.
    pub(crate) fn is_terminal(&self) -> bool {
        let phase = self.event.get("data").and_then(|data| data.get("phase")).and_then(Value::as_str);
        self.text("stream") == "lifecycle" && matches!(phase, Some("end" | "error"))
    }
}

impl Step<'_> {
    /// When it was seen, since the Unix epoch.
    pub(crate) fn at(self) -> Duration {
        match self {
            Self::Call(call) => call.at,
            Self::Event(event) => event.at,
        }
    }
}

/// One hook that was invoked.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Position in the file, from 0.
    pub(crate) n: u64,
    /// When it was seen, since the Unix epoch.
    pub(crate) at: Duration,
    /// The hook.
    pub(crate) hook: Hook,
    /// Its event. `params` of a tool call is an object.
    pub(crate) event: Map<String, Value>,
    /// Its context.
    pub(crate) context: Map<String, Value>,
}

/// Why a file is not a trace.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub(crate) struct TraceError {
    file: String,
    /// From 1. `None`: the file as a whole.
    line: Option<usize>,
    message: String,
}

/// A line as it stands. A member that is not known is refused: a misspelt one would be left out in silence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    n: u64,
    t: u64,
    kind: Kind,
    hook: Option<String>,
    event: Map<String, Value>,
    ctx: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Hook,
    Event,
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or a line is not of the format; the first such line is named.
    pub(crate) fn read(path: &Path) -> Result<Self, TraceError> {
        let wrong = |line, message: String| TraceError { file: path.display().to_string(), line, message };
        let file = File::open(path).map_err(|error| wrong(None, format!("cannot be read: {error}")))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self::parse(name, BufReader::new(file)).map_err(|(line, message)| wrong(line, message))
    }

    /// Reads lines. An error has its line, from 1.
    pub(crate) fn parse<R: BufRead>(name: String, mut source: R) -> Result<Self, (Option<usize>, String)> {
        let mut trace = Self { name, calls: Vec::new(), events: Vec::new() };
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let here = |message| (Some(number), message);
            let read = source.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
            if read.map_err(|error| here(format!("cannot be read: {error}")))? == 0 {
                break;
            }
            if line.len() as u64 > MAX_LINE_BYTES {
                return Err(here(format!("longer than {MAX_LINE_BYTES} bytes")));
            }
            if number > MAX_LINES {
                return Err(here(format!("more than {MAX_LINES} lines")));
            }
            match record(&line, number as u64 - 1).map_err(here)? {
                Record::Call(call) => trace.calls.push(call),
                Record::Event(event) => trace.events.push(event),
            }
        }
        if trace.calls.is_empty() && trace.events.is_empty() {
            return Err((None, "holds nothing".to_owned()));
        }
        Ok(trace)
    }

    /// Calls and events in the order in which they were recorded.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let (mut calls, mut events) = (self.calls.iter().peekable(), self.events.iter().peekable());
        std::iter::from_fn(move || {
            let next = events.peek().map(|event| event.n);
            match calls.next_if(|call| next.is_none_or(|n| call.n < n)) {
                Some(call) => Some(Step::Call(call)),
                None => events.next().map(Step::Event),
            }
        })
    }

    /// Keeps the calls that a filter wants.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&Call) -> bool) {
        self.calls.retain(wanted);
    }
}

impl Call {
    /// A text of the event, else of the context.
    pub(crate) fn text(&self, member: &str) -> Option<&str> {
        self.event.get(member).or_else(|| self.context.get(member))?.as_str()
    }

    /// The tool, canonical: lower-case. Empty: none.
    pub(crate) fn tool_name(&self) -> String {
        self.text("toolName").unwrap_or_default().to_ascii_lowercase()
    }

    /// The same call in a run of its own: that of the recording may have ended, and then nothing is asked in it any more.
    pub(crate) fn in_another_run(&self) -> Self {
        let mut call = self.clone();
        for place in [&mut call.event, &mut call.context] {
            if let Some(Value::String(run)) = place.get_mut("runId") {
                run.push_str("-again");
            }
        }
        call
    }

    /// Parameters of a tool call.
    pub(crate) fn params(&self) -> Option<&Map<String, Value>> {
        self.event.get("params")?.as_object()
    }
}

/// What a line holds.
enum Record {
    Call(Call),
    Event(Event),
}

fn record(line: &[u8], position: u64) -> Result<Record, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        // The parser counts lines of what it was given, which is one; its column is worth keeping.
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or(&message);
        format!("column {}: {what}", error.column())
    })?;
    if line.n != position {
        return Err(format!("`n` is {}, and this is position {position}", line.n));
    }
    let (hook, context) = match (line.kind, line.hook, line.ctx) {
        (Kind::Hook, Some(hook), Some(context)) => (hook, context),
        (Kind::Hook, _, _) => return Err("a hook has `hook`, `event` and `ctx`".to_owned()),
        (Kind::Event, None, None) => {
            let complete =
                ["runId", "stream"].iter().all(|member| line.event.get(*member).is_some_and(Value::is_string));
            if !complete {
                return Err("an event has the texts `runId` and `stream`".to_owned());
            }
            let event = Event { n: line.n, at: Duration::from_millis(line.t), event: line.event };
            if (1..=MAX_ID_BYTES).contains(&event.text("runId").len()) {
                return Ok(Record::Event(event));
            }
            return Err(format!("`runId` has 1 to {MAX_ID_BYTES} bytes"));
        }
        (Kind::Event, _, _) => return Err("an event has no `hook` and no `ctx`".to_owned()),
    };
    let hook = Hook::from_name(&hook).ok_or_else(|| format!("`{hook}` is not a hook of the catalogue"))?;
    let mut call = Call { n: line.n, at: Duration::from_millis(line.t), hook, event: line.event, context };
    for member in ["runId", "toolCallId"] {
        if call.text(member).is_some_and(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
            return Err(format!("`{member}` has 1 to {MAX_ID_BYTES} bytes"));
        }
    }
    if hook.row().by_tool && call.tool_name().is_empty() {
        return Err(format!("{} needs `toolName`", hook.name()));
    }
    if hook == Hook::BeforeToolCall {
        if call.text("toolCallId").is_none() {
            return Err("before_tool_call needs `toolCallId`".to_owned());
        }
        // The contract wants an object; what the tool got instead is a member of its own.
        if let Some(given) = call.event.get("params").filter(|params| !params.is_object()).cloned() {
            call.event.insert("givenParams".to_owned(), given);
            call.event.remove("params");
        }
        call.event.entry("params").or_insert_with(|| Value::Object(Map::new()));
    }
    Ok(Record::Call(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Trace, (Option<usize>, String)> {
        Trace::parse("test.jsonl".to_owned(), text.as_bytes())
    }

    const EVENT: &str = r#"{"n":0,"t":5,"kind":"event","event":{"runId":"r","stream":"tool","data":{}}}"#;
    const CALL: &str = r#"{"n":1,"t":9,"kind":"hook","hook":"before_tool_call","event":{"toolName":"Exec","params":{"command":"ls"},"toolCallId":"c"},"ctx":{"sessionKey":"agent:main:main","runId":"r"}}"#;

    #[test]
    fn hooks_and_events_are_told_apart() {
        let trace = parse(&format!("{EVENT}\n{CALL}\n")).expect("a trace");
        assert_eq!(trace.events.len(), 1);
        assert!(!trace.events[0].is_terminal());
        assert_eq!(trace.calls.len(), 1);
        let call = &trace.calls[0];
        assert_eq!((call.n, call.hook, call.tool_name().as_str()), (1, Hook::BeforeToolCall, "exec"));
        assert_eq!(call.at, Duration::from_millis(9));
        assert_eq!(call.text("runId"), Some("r"));
        assert_eq!(call.params().map(Map::len), Some(1));
    }

    #[test]
    fn parameters_are_always_an_object() {
        let line = |params: &str| CALL.replace(r#""n":1"#, r#""n":0"#).replace(r#""params":{"command":"ls"},"#, params);
        let none = parse(&line("")).expect("a trace");
        assert_eq!(none.calls[0].params().map(Map::len), Some(0));
        let text = parse(&line(r#""params":"ls","#)).expect("a trace");
        assert_eq!(text.calls[0].params().map(Map::len), Some(0));
        assert_eq!(text.calls[0].text("givenParams"), Some("ls"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let hook = CALL.replace(r#""n":1"#, r#""n":0"#);
        let cases = [
            (String::new(), None, "holds nothing"),
            (format!("{EVENT}\n{{\"n\":1"), Some(2), "column 6: EOF"),
            (format!("{EVENT}\n\n"), Some(2), "EOF"),
            (CALL.to_owned(), Some(1), "`n` is 1, and this is position 0"),
            (hook.replace("before_tool_call", "before_lunch"), Some(1), "`before_lunch` is not a hook"),
            (hook.replace(r#","ctx":{"sessionKey":"agent:main:main","runId":"r"}"#, ""), Some(1), "a hook has"),
            (hook.replace(r#""t":9"#, r#""t":9,"x":1"#), Some(1), "unknown field `x`"),
            (hook.replace(r#""t":9"#, r#""t":-9"#), Some(1), "invalid value"),
            (hook.replace(r#""toolCallId":"c""#, r#""toolCallId":"""#), Some(1), "`toolCallId` has 1 to"),
            (hook.replace(r#","toolCallId":"c""#, ""), Some(1), "needs `toolCallId`"),
            (hook.replace(r#""toolName":"Exec","#, ""), Some(1), "needs `toolName`"),
            (EVENT.replace(r#""runId":"r","#, ""), Some(1), "an event has"),
            (EVENT.replace(r#""kind":"event""#, r#""kind":"song""#), Some(1), "unknown variant `song`"),
        ];
        for (text, line, says) in cases {
            let (at, message) = parse(&text).expect_err(&text);
            assert_eq!(at, line, "{text}");
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn the_recorded_traces_are_of_the_format() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-fixtures/traces");
        let mut tool_calls = 0;
        for (name, lines) in [("plain", 20), ("exec", 38), ("fail", 38), ("files", 59), ("multi", 69)] {
            let trace = Trace::read(&dir.join(name).with_extension("jsonl")).expect(name);
            assert_eq!(trace.steps().count(), lines, "{name}");
            let numbers = trace.steps().map(|step| match step {
                Step::Call(call) => call.n,
                Step::Event(event) => event.n,
            });
            assert!(numbers.eq(0..lines as u64), "{name}: in the order of the file");
            tool_calls += trace.calls.iter().filter(|call| call.hook == Hook::BeforeToolCall).count();
        }
        assert_eq!(tool_calls, 8);
    }
}
