//! Lengths of time and sizes with their units, as people write them: `"200ms"`, `"512MiB"`.

use std::time::Duration;

/// What a duration looks like.
pub const DURATION_FORM: &str = "a whole number with ms, s, m or h, as \"200ms\" or \"10s\"";
/// What a size looks like.
pub const SIZE_FORM: &str = "a whole number with B, KiB, MiB or GiB, as \"512MiB\"";

const MILLISECONDS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const BYTES: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a length of time. `None`: it does not have the form, or is beyond 2^64 ms.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    number_with_unit(text, MILLISECONDS).map(Duration::from_millis)
}

/// Reads a size in bytes. `None`: it does not have the form, or is beyond 2^64.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    number_with_unit(text, BYTES)
}

/// A length of time in the largest unit that holds it whole; parts of a millisecond are dropped.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), MILLISECONDS)
}

/// A size in the largest unit that holds it whole.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, BYTES)
}

fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let (unit, factor) =
        units.iter().rev().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor)).unwrap_or(&units[0]);
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let good = [
            ("1ms", 1),
            ("200ms", 200),
            ("10s", 10_000),
            ("1m", 60_000),
            ("24h", 86_400_000),
            ("0s", 0),
            ("007s", 7_000),
        ];
        for (text, milliseconds) in good {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in [
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            " 1s",
            "1s ",
            "1S",
            "1us",
            "1d",
            "1h30m",
            "99999999999999999999s",
            "18446744073709551615s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        let good = [("0B", 0), ("512MiB", 512 << 20), ("64KiB", 64 << 10), ("2GiB", 2 << 30), ("10B", 10)];
        for (text, bytes) in good {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "512", "MiB", "512MB", "512mib", "512 MiB", "1.5GiB", "-1B", "1TiB", "99999999999GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(value in any::<u32>(), text in ".{0,12}") {
            let value = u64::from(value);
            prop_assert_eq!(duration(&show_duration(Duration::from_millis(value))), Some(Duration::from_millis(value)));
            prop_assert_eq!(size(&show_size(value)), Some(value));
            let _ = (duration(&text), size(&text));
        }
    }
}
