//! How long to wait after a failure.

use std::time::{Duration, Instant};

/// Longest wait that is added to a moment. No number an operator sets can overflow a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `now` and `wait` later; a wait of more than a year counts as a year.
#[must_use]
pub fn later(now: Instant, wait: Duration) -> Instant {
    now + wait.min(LONGEST)
}

/// Exponential backoff with jitter.
///
/// After failure number `n`, counted from 0, the base is `min(max, first · 2ⁿ)`, and the wait is evenly distributed over
/// its upper half: `base / 2 + base / 2 · r / 2⁶⁴` for a random `r` of 64 bits. So `max` is never exceeded, a wait is
/// never shorter than half of what doubling asks for, and plugins that failed together do not start together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Base after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after failure number `n` (from 0), without jitter.
    #[must_use]
    pub fn base(&self, n: u32) -> Duration {
        let doubled = 1_u32.checked_shl(n).and_then(|factor| self.first.checked_mul(factor));
        doubled.map_or(self.max, |wait| wait.min(self.max))
    }

    /// The wait after failure number `n` (from 0). `random` is 64 random bits, so that a test can choose them.
    #[must_use]
    pub fn delay(&self, n: u32, random: u64) -> Duration {
        let base = self.base(n);
        let half = base / 2;
        // The product of half a wait in nanoseconds (below 2^94) and 32 bits fits into 128.
        let share = (half.as_nanos() * u128::from(random >> 32)) >> 32;
        let share = u64::try_from(share).map_or(half, Duration::from_nanos);
        base - half + share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(30) };

    #[test]
    fn the_base_doubles_up_to_the_longest_wait() {
        let bases: Vec<_> = (0..10).map(|n| BACKOFF.base(n).as_millis()).collect();
        assert_eq!(bases, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn the_random_part_spans_the_upper_half() {
        assert_eq!(BACKOFF.delay(0, 0), Duration::from_millis(100));
        assert_eq!(BACKOFF.delay(0, 1 << 63), Duration::from_millis(150));
        let longest = BACKOFF.delay(0, u64::MAX);
        assert!(longest <= Duration::from_millis(200) && longest > Duration::from_micros(199_999), "{longest:?}");
    }

    #[test]
    fn a_clock_never_overflows() {
        let now = Instant::now();
        assert_eq!(later(now, Duration::MAX), now + LONGEST);
        assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn every_wait_is_within_bounds(n: u32, random: u64, first in 0..u64::MAX, max in 0..u64::MAX) {
            let backoff = Backoff { first: Duration::from_millis(first), max: Duration::from_millis(max) };
            let (base, delay) = (backoff.base(n), backoff.delay(n, random));
            prop_assert!(base <= backoff.max);
            prop_assert!(delay <= base && delay >= base / 2);
        }
    }
}
