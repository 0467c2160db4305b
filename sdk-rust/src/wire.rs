//! Small conversions between the wire contract's types and those of the standard library.

use std::time::Duration;

/// The text, cut to so many UTF-16 units, as the contract counts characters.
pub(crate) fn cut(mut text: String, characters: usize) -> String {
    // A UTF-16 unit has at least one byte of UTF-8.
    if text.len() <= characters {
        return text;
    }
    let mut units = 0;
    let end = text.char_indices().find_map(|(at, c)| {
        units += c.len_utf16();
        (units > characters).then_some(at)
    });
    if let Some(end) = end {
        text.truncate(end);
    }
    text
}

/// A length of time of the contract; negative ones, which it does not allow, count as zero.
pub(crate) fn duration(wire: prost_types::Duration) -> Duration {
    Duration::try_from(wire).unwrap_or_default()
}

/// A length of time for the contract; what it cannot hold counts as its longest.
pub(crate) fn to_duration(length: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(length)
        .unwrap_or(prost_types::Duration { seconds: 315_576_000_000, nanos: 999_999_999 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("short".into(), 5), "short");
        assert_eq!(cut("longer".into(), 4), "long");
        // One character of two units does not fit into one.
        assert_eq!(cut("a😀b".into(), 2), "a");
        assert_eq!(cut("a😀b".into(), 3), "a😀");
        assert_eq!(cut("ééé".into(), 3), "ééé");
    }

    #[test]
    fn lengths_of_time_survive_and_nonsense_does_no_harm() {
        assert_eq!(duration(to_duration(Duration::from_millis(1_500))), Duration::from_millis(1_500));
        assert_eq!(duration(prost_types::Duration { seconds: -5, nanos: 0 }), Duration::ZERO);
        assert_eq!(to_duration(Duration::MAX).seconds, 315_576_000_000);
    }
}
