//! A breaker for each handler: after failures in a row it is not asked for a while, and counts as absent.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it (architecture §8).
const FAILURES: u32 = 5;

/// The state of one handler's breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures: u32,
    /// How often it has opened since the last success.
    opened: u32,
    open_until: Option<Instant>,
    /// The one call that tries it is under way.
    trying: bool,
}

impl Breaker {
    /// Whether the handler may be asked. When the time is over one call may, to see.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until || self.trying => false,
            Some(_) => {
                self.trying = true;
                true
            }
        }
    }

    /// The handler answered, whatever its answer.
    pub(crate) fn success(&mut self) {
        *self = Self::default();
    }

    /// It failed or did not answer in time. Returns for how long the breaker opened, if it did.
    pub(crate) fn failure(&mut self, now: Instant, first: Duration, longest: Duration) -> Option<Duration> {
        self.failures += 1;
        let tried = std::mem::take(&mut self.trying);
        if !tried && (self.failures < FAILURES || self.open_until.is_some()) {
            return None;
        }
        let open = first.saturating_mul(1 << self.opened.min(16)).min(longest);
        self.opened += 1;
        self.open_until = Some(now + open);
        Some(open)
    }

    /// The call that tried it has no outcome of its own (it was cancelled, or never sent).
    pub(crate) fn abandon(&mut self) {
        self.trying = false;
    }

    /// It is open now.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until || self.trying)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn five_in_a_row_open_it_and_one_call_tries() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..4 {
            assert!(breaker.admit(now));
            assert_eq!(breaker.failure(now, FIRST, LONGEST), None);
        }
        assert_eq!(breaker.failure(now, FIRST, LONGEST), Some(FIRST));
        assert!(!breaker.admit(now) && breaker.is_open(now));
        let later = now + FIRST;
        assert!(breaker.admit(later));
        assert!(!breaker.admit(later), "only one call tries");
        assert_eq!(breaker.failure(later, FIRST, LONGEST), Some(FIRST * 2));
        let much_later = later + FIRST * 2;
        assert!(breaker.admit(much_later));
        breaker.success();
        assert!(breaker.admit(much_later) && !breaker.is_open(much_later));
    }

    #[test]
    fn the_time_has_a_bound() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        let mut open = None;
        for _ in 0..40 {
            if breaker.admit(now) {
                open = breaker.failure(now, FIRST, LONGEST).or(open);
            }
            now += LONGEST;
        }
        assert_eq!(open, Some(LONGEST));
    }

    #[test]
    fn an_abandoned_try_can_be_made_again() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..5 {
            breaker.failure(now, FIRST, LONGEST);
        }
        assert!(breaker.admit(now + FIRST));
        breaker.abandon();
        assert!(breaker.admit(now + FIRST));
    }
}
