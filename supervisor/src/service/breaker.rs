//! A breaker for each handler: after failures in a row it is not asked for a while, and counts as absent.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it (architecture §8).
const FAILURES: u32 = 5;

/// Leave to ask a handler once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// It is the one call that tries an open breaker.
    trying: bool,
}

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
    /// Leave to ask the handler. When the time is over one call has it, to see.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Pass> {
        match self.open_until {
            None => Some(Pass { trying: false }),
            Some(until) if now < until || self.trying => None,
            Some(_) => {
                self.trying = true;
                Some(Pass { trying: true })
            }
        }
    }

    /// The handler answered, whatever its answer.
    pub(crate) fn success(&mut self) {
        *self = Self::default();
    }

    /// It failed or did not answer in time. Returns for how long the breaker opened, if it did.
    pub(crate) fn failure(
        &mut self,
        pass: Option<Pass>,
        now: Instant,
        first: Duration,
        longest: Duration,
    ) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let tried = pass.is_some_and(|pass| pass.trying) && std::mem::take(&mut self.trying);
        if !tried && (self.failures < FAILURES || self.open_until.is_some()) {
            return None;
        }
        let open = first.saturating_mul(1 << self.opened.min(16)).min(longest);
        self.opened = self.opened.saturating_add(1);
        self.open_until = Some(now + open);
        Some(open)
    }

    /// The call that tried it has no outcome of its own (it was cancelled, or never sent).
    pub(crate) fn abandon(&mut self, pass: Pass) {
        if pass.trying {
            self.trying = false;
        }
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
            let pass = breaker.admit(now);
            assert!(pass.is_some());
            assert_eq!(breaker.failure(pass, now, FIRST, LONGEST), None);
        }
        let pass = breaker.admit(now);
        assert_eq!(breaker.failure(pass, now, FIRST, LONGEST), Some(FIRST));
        assert!(breaker.admit(now).is_none() && breaker.is_open(now));
        let later = now + FIRST;
        let trying = breaker.admit(later);
        assert!(trying.is_some());
        assert!(breaker.admit(later).is_none(), "only one call tries");
        assert_eq!(breaker.failure(trying, later, FIRST, LONGEST), Some(FIRST * 2));
        let much_later = later + FIRST * 2;
        assert!(breaker.admit(much_later).is_some());
        breaker.success();
        assert!(breaker.admit(much_later).is_some() && !breaker.is_open(much_later));
    }

    #[test]
    fn the_time_has_a_bound() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        let mut open = None;
        for _ in 0..40 {
            if let pass @ Some(_) = breaker.admit(now) {
                open = breaker.failure(pass, now, FIRST, LONGEST).or(open);
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
            let pass = breaker.admit(now);
            breaker.failure(pass, now, FIRST, LONGEST);
        }
        let trying = breaker.admit(now + FIRST).expect("its time is over");
        breaker.abandon(trying);
        assert!(breaker.admit(now + FIRST).is_some());
    }
}
