//! A bounded number of things a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: `per_second` on average, `burst` seconds' worth at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    most: f64,
    state: Mutex<(Instant, f64)>,
}

impl Rate {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let most = f64::from(per_second) * f64::from(burst);
        Self { per_second: f64::from(per_second), most, state: Mutex::new((Instant::now(), most)) }
    }

    /// Takes as many as there are, at most `wanted`.
    pub(crate) fn take_up_to(&self, wanted: usize) -> usize {
        (0..wanted).take_while(|_| self.take().is_ok()).count()
    }

    /// Takes one.
    ///
    /// # Errors
    /// After what time one is free.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (then, tokens) = *state;
        let tokens = (tokens + now.duration_since(then).as_secs_f64() * self.per_second).min(self.most);
        if tokens >= 1.0 {
            *state = (now, tokens - 1.0);
            return Ok(());
        }
        *state = (now, tokens);
        Err(Duration::from_secs_f64(((1.0 - tokens) / self.per_second.max(0.001)).min(60.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate() {
        let rate = Rate::new(10, 2);
        for _ in 0..20 {
            assert_eq!(rate.take(), Ok(()));
        }
        let wait = rate.take().expect_err("the burst is used up");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(rate.take(), Ok(()));
        assert!(rate.take().is_err());
    }
}
