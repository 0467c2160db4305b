//! What a stream shows to whom: its class, and the members that a reader without `hooks.conversation` gets of it.
//!
//! The list of *meta* streams is closed; every other stream is *content*, known or not, so that none is unclassified. The
//! list of members is closed too, and so is what a member may hold: a text in a place where a word belongs would be a way
//! for an answer's text to leak.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::domain::text;

/// Streams that everybody with `events.read` may read, less what [`shown`] leaves out.
pub(crate) const META: [&str; 5] = ["approval", "compaction", "lifecycle", "model", "usage"];
/// Characters of a word in a meta stream.
const MAX_WORD: usize = 128;
/// Characters of a count's name, and counts of one event.
const MAX_COUNT_NAME: usize = 64;
const MAX_COUNTS: usize = 64;

/// Who may read a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Everybody with `events.read`, but of its data a closed list of members.
    Meta,
    /// With `hooks.conversation` only.
    Content,
}

impl Class {
    /// The class of a stream by its name.
    pub(crate) fn of(stream: &str) -> Self {
        if META.contains(&stream) { Self::Meta } else { Self::Content }
    }
}

/// What a member may hold.
#[derive(Clone, Copy)]
enum Form {
    Word,
    Time,
    Flag,
}

const MEMBERS: [(&str, Form); 7] = [
    ("phase", Form::Word),
    ("startedAt", Form::Time),
    ("endedAt", Form::Time),
    ("aborted", Form::Flag),
    ("stopReason", Form::Word),
    ("provider", Form::Word),
    ("model", Form::Word),
];

/// The data of a meta stream's event as everybody may read it: an object with the members of the closed list.
pub(crate) fn shown(stream: &str, data: &[u8]) -> Bytes {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    let object: Object<'_> = serde_json::from_slice(data).unwrap_or_default();
    let mut members = Vec::new();
    for (name, form) in MEMBERS {
        if let Some(value) = object.get(name)
            && holds(form, value.get())
        {
            members.push(format!("\"{name}\":{}", value.get()));
        }
    }
    let usage: Object<'_> =
        object.get("usage").and_then(|usage| serde_json::from_str(usage.get()).ok()).unwrap_or_default();
    let counts = counts(&usage);
    if !counts.is_empty() {
        members.push(format!("\"usage\":{{{}}}", counts.join(",")));
    }
    if stream == "usage" {
        members.extend(self::counts(&object).into_iter().filter(|count| !is_member(count)));
    }
    format!("{{{}}}", members.join(",")).into()
}

/// A count of the same name as a member is that member.
fn is_member(count: &str) -> bool {
    MEMBERS.iter().any(|(name, _)| count.strip_prefix('"').is_some_and(|rest| rest.starts_with(&format!("{name}\""))))
}

fn counts(object: &BTreeMap<String, &RawValue>) -> Vec<String> {
    let is_name = |name: &str| {
        name.len() <= MAX_COUNT_NAME
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let counts = object.iter().filter(|(name, value)| is_name(name) && is_number(value.get()));
    counts.take(MAX_COUNTS).map(|(name, value)| format!("\"{name}\":{}", value.get())).collect()
}

fn is_number(value: &str) -> bool {
    value.len() <= 32 && value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn holds(form: Form, value: &str) -> bool {
    match form {
        _ if value == "null" => true,
        Form::Flag => value == "true" || value == "false",
        Form::Time if is_number(value) => true,
        // Also a time may be a word: 2026-11-21T12:00:00Z.
        Form::Time | Form::Word => {
            serde_json::from_str::<String>(value).is_ok_and(|word| text::units(&word) <= MAX_WORD)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RESERVED_STREAMS;

    fn text(stream: &str, data: &str) -> String {
        String::from_utf8(shown(stream, data.as_bytes()).to_vec()).expect("JSON is UTF-8")
    }

    /// The contract names each of the host's streams, and which are meta.
    #[test]
    fn no_stream_is_unclassified() {
        let contract = include_str!("../../../../proto/outrigger/types/v1/event.proto");
        let comment = contract.split("Meta: ").nth(1).and_then(|rest| rest.split('.').next()).expect("it names them");
        let mut named: Vec<&str> = comment.split('`').skip(1).step_by(2).collect();
        named.sort_unstable();
        assert_eq!(named, META);
        for stream in RESERVED_STREAMS {
            let meta = named.contains(stream);
            assert_eq!(Class::of(stream), if meta { Class::Meta } else { Class::Content }, "{stream}");
        }
        for content in ["tool", "assistant", "thinking", "item", "planner", "planner.x", "lifecycle.x", "Lifecycle", ""]
        {
            assert_eq!(Class::of(content), Class::Content, "{content}");
        }
    }

    /// Whatever a member of another name, or of another form, holds stays behind: a marked text in every place.
    #[test]
    fn a_meta_stream_shows_its_closed_list_and_nothing_else() {
        let long = "MARK".repeat(100);
        let data = format!(
            r#"{{"phase":"end","startedAt":1,"endedAt":"2026-11-21T12:00:00Z","aborted":false,"stopReason":"{long}",
            "provider":{{"text":"MARK"}},"model":["MARK"],"text":"MARK","terminalReply":{{"text":"MARK"}},"MARK":1,
            "usage":{{"input":12,"output":3.5,"note":"MARK","MARK of":1,"cost":{{"total":1}},"list":[1]}},
            "terminalReceipt":{{"model":"MARK"}}}}"#
        );
        let expected = r#"{"phase":"end","startedAt":1,"endedAt":"2026-11-21T12:00:00Z","aborted":false,"usage":{"input":12,"output":3.5}}"#;
        assert_eq!(text("lifecycle", &data), expected);
        for stream in META {
            let shown = text(stream, &data.replace("\"MARK\":1,", "\"x y\":1,"));
            assert!(!shown.contains("MARK"), "{stream}: {shown}");
        }
        for other in ["[]", "\"MARK\"", "null", "7", "{}"] {
            assert_eq!(text("model", other), "{}");
        }
    }

    /// Agents publish counts as the data of `usage` itself.
    #[test]
    fn the_usage_stream_shows_its_counts() {
        assert_eq!(text("usage", r#"{"outputTokens":5,"note":"MARK"}"#), r#"{"outputTokens":5}"#);
        assert_eq!(text("usage", r#"{"startedAt":7,"model":"m"}"#), r#"{"startedAt":7,"model":"m"}"#);
        assert_eq!(text("lifecycle", r#"{"outputTokens":5}"#), "{}");
    }
}
