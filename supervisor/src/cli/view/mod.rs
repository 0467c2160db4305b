//! What `--json` prints: one struct for each thing, made from the wire contract's message. Text output is written from
//! the same structs, so that both say the same.
//!
//! The names of the fields are stable: they may become more, none changes its meaning. Everywhere:
//!
//! - times are RFC 3339 in UTC with milliseconds, lengths of time are whole numbers in `_us` or `_ms`, sizes in `_bytes`;
//! - `null` is "not known" or "there is none", as the field says, and empty texts and zeros that mean so are `null` too;
//! - enumerations are the contract's names in lower case without their prefix (`ready`, `not_granted`); a value this
//!   program does not know is `unknown-NUMBER`, and UNSPECIFIED is `unknown`;
//! - hooks have the catalogue's names (`before_tool_call`).

pub(crate) mod explain;
pub(crate) mod handler;
pub(crate) mod hook_result;
pub(crate) mod key;
pub(crate) mod plugin;
pub(crate) mod right;
pub(crate) mod supervisor;

use std::time::Duration;

use jiff::Timestamp;
use outrigger_proto::types::v1 as types;
use serde_json::Value;

use crate::domain::hook::Hook;

/// Name of an enumeration's value, as the module's comment says.
macro_rules! name {
    ($kind:ty, $prefix:literal, $value:expr) => {{
        let value: i32 = $value;
        match <$kind>::try_from(value) {
            Ok(_) if value == 0 => "unknown".to_owned(),
            Ok(known) => {
                let name = known.as_str_name();
                name.strip_prefix($prefix).unwrap_or(name).to_ascii_lowercase()
            }
            Err(_) => format!("unknown-{value}"),
        }
    }};
}
pub(crate) use name;

/// Name of a state.
pub(crate) fn state(value: i32) -> String {
    name!(types::PluginState, "PLUGIN_STATE_", value)
}

/// Name of a tier.
pub(crate) fn tier(value: i32) -> String {
    name!(types::Tier, "TIER_", value)
}

/// Name of a handler's outcome.
pub(crate) fn outcome(value: i32) -> String {
    name!(types::HandlerOutcome, "HANDLER_OUTCOME_", value)
}

/// Name of a kind of registered item.
pub(crate) fn item_kind(value: i32) -> String {
    name!(types::ItemKind, "ITEM_KIND_", value)
}

/// Name of a hook.
pub(crate) fn hook(value: i32) -> String {
    match Hook::from_number(value) {
        Some(hook) => hook.name().to_owned(),
        None if value == 0 => "unknown".to_owned(),
        None => format!("unknown-{value}"),
    }
}

/// A point in time; `None` also for one that no calendar has.
pub(crate) fn timestamp(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// A point in time as text.
pub(crate) fn time(time: Option<prost_types::Timestamp>) -> Option<String> {
    timestamp(time).map(show_time)
}

/// A point in time as text.
pub(crate) fn show_time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// A length of time; a negative one counts as none.
pub(crate) fn length(length: Option<prost_types::Duration>) -> Option<Duration> {
    Duration::try_from(length?).ok()
}

/// A length of time in microseconds.
pub(crate) fn micros(value: Option<prost_types::Duration>) -> Option<u64> {
    length(value).map(|length| u64::try_from(length.as_micros()).unwrap_or(u64::MAX))
}

/// A length of time in milliseconds.
pub(crate) fn millis(value: Option<prost_types::Duration>) -> Option<u64> {
    length(value).map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

/// A text, or `None` for the empty one.
pub(crate) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A number, or `None` for zero.
pub(crate) fn nonzero<T: Default + PartialEq>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

/// JSON of the wire; `None` for empty bytes. What does not parse is shown as a text.
pub(crate) fn json(bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    Some(serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned())))
}

/// Bytes of a digest as hexadecimal digits; `None` for no bytes.
pub(crate) fn hex(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_survive_what_is_newer() {
        assert_eq!(state(types::PluginState::Quarantined as i32), "quarantined");
        assert_eq!(state(0), "unknown");
        assert_eq!(state(99), "unknown-99");
        assert_eq!(hook(24), "before_tool_call");
        assert_eq!(hook(99), "unknown-99");
    }

    #[test]
    fn times_that_cannot_be_are_none() {
        let at = |seconds, nanos| time(Some(prost_types::Timestamp { seconds, nanos }));
        assert_eq!(at(1_795_243_713, 472_000_000).as_deref(), Some("2026-11-21T06:48:33.472Z"));
        assert_eq!(at(i64::MAX, 0), None);
        let lasting = |seconds, nanos| micros(Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(lasting(1, 500_000), Some(1_000_500));
        assert_eq!(lasting(-1, 0), None);
        assert_eq!(lasting(i64::MAX, 0), Some(u64::MAX));
    }

    #[test]
    fn json_that_is_none_is_text() {
        assert_eq!(json(b""), None);
        assert_eq!(json(b"null"), Some(Value::Null));
        assert_eq!(json(b"{oops"), Some(Value::String("{oops".into())));
    }
}
