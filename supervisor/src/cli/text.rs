//! Text for people: what others wrote made harmless, times, lengths and sizes made short.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::text::is_deceptive;

/// The text with every character that could steer a terminal, hide or reorder what is read, written as an escape.
/// Line breaks and tabs are escaped too, so that one text stays on one line.
#[must_use]
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            other if is_deceptive(other) => escaped.extend(other.escape_unicode()),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The beginning of a text, with an ellipsis where something is left out. `limit` counts characters, at least 1.
#[must_use]
pub(crate) fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
            Cow::Owned(format!("{kept}…"))
        }
    }
}

/// A length of time with the two figures that matter: `340us`, `1.2ms`, `45s`, `3m 20s`, `2d 4h`.
#[must_use]
pub(crate) fn duration(length: Duration) -> String {
    let micros = length.as_micros();
    let seconds = length.as_secs();
    match (micros, seconds) {
        (0, _) => "0".to_owned(),
        (..1_000, _) => format!("{micros}us"),
        (..10_000, _) => tenths(length.as_secs_f64() * 1e3, "ms"),
        (..1_000_000, _) => format!("{}ms", micros / 1_000),
        (_, ..10) => tenths(length.as_secs_f64(), "s"),
        (_, ..60) => format!("{seconds}s"),
        (_, ..3_600) => two(seconds / 60, "m", seconds % 60, "s"),
        (_, ..86_400) => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn tenths(number: f64, unit: &str) -> String {
    let text = format!("{number:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

fn two(large: u64, unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit} {small}{small_unit}") }
}

/// A size: `812 B`, `4.2 KiB`, `37 MiB`.
#[must_use]
pub(crate) fn bytes(size: u64) -> String {
    let mut value = size as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" || value >= 10.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// `1 plugin`, `2 plugins`, `2 processes`, `2 launches`.
#[must_use]
pub(crate) fn count(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ if thing.ends_with('s') || thing.ends_with("ch") => format!("{number} {thing}es"),
        _ => format!("{number} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_steer_the_terminal() {
        assert_eq!(safe("plain – text ✓"), "plain – text ✓");
        assert_eq!(safe("a\x1b[31mb\x07\nc\td\r"), "a\\u{1b}[31mb\\u{7}\\nc\\td\\r");
        assert_eq!(safe("ev\u{202e}il\u{2066}\u{9b}x\u{200d}"), "ev\\u{202e}il\\u{2066}\\u{9b}x\\u{200d}");
    }

    #[test]
    fn lengths_and_sizes_are_short() {
        let micros = Duration::from_micros;
        let seconds = Duration::from_secs;
        let cases = [
            (micros(0), "0"),
            (micros(340), "340us"),
            (micros(1_240), "1.2ms"),
            (micros(45_900), "45ms"),
            (micros(4_000), "4ms"),
            (micros(1_500_000), "1.5s"),
            (seconds(5), "5s"),
            (seconds(59), "59s"),
            (seconds(200), "3m 20s"),
            (seconds(7_200), "2h"),
            (seconds(187_200), "2d 4h"),
        ];
        for (length, text) in cases {
            assert_eq!(duration(length), text);
        }
        assert_eq!([bytes(0), bytes(812), bytes(4_300), bytes(38 << 20)], ["0 B", "812 B", "4.2 KiB", "38 MiB"]);
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd", 4), "abcd");
        assert_eq!([count(1, "plugin"), count(0, "plugin")], ["1 plugin", "0 plugins"]);
        assert_eq!([count(2, "process"), count(2, "launch")], ["2 processes", "2 launches"]);
    }
}
