//! What the answers' fields have in common: texts, JSON, and what is left out of them.

use bytes::Bytes;

use crate::domain::json::{self, PAYLOAD_DEPTH, ValueLimits};
use crate::domain::text;

/// Longest reason, in characters.
pub(super) const REASON: usize = 2_000;
/// Longest text for a prompt or a message, in characters.
pub(super) const LONG: usize = 65_536;
/// Most notices for one answer.
const MOST_NOTICES: usize = 8;
/// Longest notice, in characters.
const NOTICE: usize = 500;

/// Sentences for a plugin's author on what had no effect; bounded, whatever the answer holds.
#[derive(Debug, Default)]
pub(super) struct Notices(Vec<String>);

impl Notices {
    pub(super) fn say(&mut self, notice: impl AsRef<str>) {
        if self.0.len() < MOST_NOTICES {
            self.0.push(text::clean(notice.as_ref(), NOTICE));
        }
    }

    /// A field that the hook does not take.
    pub(super) fn dropped(&mut self, field: &str) {
        self.say(format!("{field} has no effect here and was left out"));
    }

    /// Takes a text out that the hook does not take.
    pub(super) fn drop_text(&mut self, field: &str, text: &mut String) {
        if !text.is_empty() {
            self.dropped(field);
            *text = String::new();
        }
    }

    /// Takes a JSON text out that the hook does not take.
    pub(super) fn drop_json(&mut self, field: &str, text: &mut Bytes) {
        if !text.is_empty() {
            self.dropped(field);
            *text = Bytes::new();
        }
    }

    pub(super) fn into_inner(self) -> Vec<String> {
        self.0
    }
}

impl From<Vec<String>> for Notices {
    fn from(notices: Vec<String>) -> Self {
        Self(notices)
    }
}

/// Checks that a text has at most so many characters. `what` comes with its article.
pub(super) fn bound(what: &str, text: &str, max: usize) -> Result<(), String> {
    // A text has never more UTF-16 units than bytes, so most texts need no counting.
    if text.len() > max && text::units(text) > max {
        return Err(format!("{what} longer than {} characters", thousands(max)));
    }
    Ok(())
}

/// Checks a short text, and makes it one harmless line.
pub(super) fn line(what: &str, text: &mut String, max: usize) -> Result<(), String> {
    bound(what, text, max)?;
    if text.chars().any(text::is_unsafe) || text.trim().len() != text.len() {
        *text = text::clean(text, max);
    }
    Ok(())
}

/// Checks a text of several lines, and makes it harmless.
pub(super) fn lines(what: &str, text: &mut String, max: usize) -> Result<(), String> {
    bound(what, text, max)?;
    if text.chars().any(text::is_unsafe) || text.trim().len() != text.len() {
        *text = text::clean_lines(text, max);
    }
    Ok(())
}

/// Checks a JSON value of the plugin's own; empty is none.
pub(super) fn value(field: &str, text: &[u8]) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { json(field, text, &ValueLimits::default()) }
}

/// Checks a JSON object of the plugin's own; empty is none.
pub(super) fn object(field: &str, text: &[u8]) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { json(field, text, &ValueLimits::default().object()) }
}

/// Checks an object that takes the place of a member of the event. It stands one level below the event, and the event
/// with it has to be a payload still.
pub(super) fn part_of_event(field: &str, text: &[u8]) -> Result<(), String> {
    json(field, text, &ValueLimits::payload(PAYLOAD_DEPTH - 1).object())
}

pub(super) fn json(field: &str, text: &[u8], limits: &ValueLimits) -> Result<(), String> {
    json::validate_value(text, limits).map_err(|error| format!("{field}: {error}"))
}

/// Takes the trust markers out of a message that was checked: it is the runtime that says what it trusts. A marker is a
/// member `trusted`, or `trusted` followed by a capital letter or `_`, as `trustedLocalMedia`, at any depth.
pub(super) fn distrust(field: &str, text: &mut Bytes, notices: &mut Notices) -> Result<(), String> {
    // A name can hide behind escapes. Those of its letters all begin alike.
    let suspicious = std::str::from_utf8(text).is_ok_and(|text| text.contains("trusted") || text.contains("\\u00"));
    if !suspicious {
        return Ok(());
    }
    let removed = json::remove_members(text, is_marker).map_err(|error| format!("{field}: {error}"))?;
    if let Some(rest) = removed {
        notices.say(format!("{field}: markers of trust were taken out, which only the runtime sets"));
        *text = rest;
    }
    Ok(())
}

fn is_marker(name: &[u8]) -> bool {
    name.strip_prefix(b"trusted")
        .is_some_and(|rest| rest.first().is_none_or(|byte| byte.is_ascii_uppercase() || *byte == b'_'))
}

/// A number as the contract writes it: 2,000.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first names of a list, for a notice.
pub(super) fn some_names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names = names.map(|name| format!("`{}`", text::clean(name, 40)));
    let shown: Vec<_> = names.by_ref().take(8).collect();
    let rest = names.count();
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}
