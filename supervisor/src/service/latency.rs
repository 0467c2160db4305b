//! How long calls take: counts in buckets, with an error of at most an eighth.

use std::time::Duration;

use tokio::time::Instant;

/// Buckets of one power of two.
const PARTS: u64 = 8;
/// Powers of two covered, from one microsecond up: more than an hour.
const POWERS: usize = 33;
/// How long counts are looked at.
const WINDOW: Duration = Duration::from_secs(60);

type Buckets = Box<[u32]>;

/// Latencies of the last one to two minutes.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    current: Buckets,
    previous: Buckets,
    began: Instant,
}

fn bucket(elapsed: Duration) -> usize {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).clamp(1, (1 << POWERS) - 1);
    let power = u64::from(micros.ilog2());
    let part = ((u128::from(micros - (1 << power)) * u128::from(PARTS)) >> power) as u64;
    let index = power * PARTS + part;
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn upper(bucket: usize) -> Duration {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    Duration::from_micros((1 << power) + (((part + 1) << power) / PARTS))
}

fn empty() -> Buckets {
    vec![0; POWERS * PARTS as usize].into_boxed_slice()
}

impl Latencies {
    pub(crate) fn new(now: Instant) -> Self {
        Self { current: empty(), previous: empty(), began: now }
    }

    fn turn(&mut self, now: Instant) {
        let age = now.duration_since(self.began);
        if age >= WINDOW {
            self.previous = std::mem::replace(&mut self.current, empty());
            if age >= WINDOW * 2 {
                self.previous = empty();
            }
            self.began = now;
        }
    }

    /// Counts one call.
    pub(crate) fn record(&mut self, now: Instant, elapsed: Duration) {
        self.turn(now);
        let count = &mut self.current[bucket(elapsed)];
        *count = count.saturating_add(1);
    }

    /// The time below which this share of the calls (0 to 1) was answered. `None` without calls.
    pub(crate) fn quantile(&mut self, now: Instant, share: f64) -> Option<Duration> {
        self.turn(now);
        quantile(self.current.iter().zip(&*self.previous).map(|(a, b)| u64::from(*a) + u64::from(*b)), share)
    }
}

/// The quantile of several together.
pub(crate) fn merged(all: &mut [&mut Latencies], now: Instant, share: f64) -> Option<Duration> {
    let mut sum = vec![0u64; POWERS * PARTS as usize];
    for latencies in all {
        latencies.turn(now);
        for (index, total) in sum.iter_mut().enumerate() {
            *total += u64::from(latencies.current[index]) + u64::from(latencies.previous[index]);
        }
    }
    quantile(sum.into_iter(), share)
}

fn quantile(counts: impl Iterator<Item = u64> + Clone, share: f64) -> Option<Duration> {
    let total: u64 = counts.clone().sum();
    let wanted = ((total as f64) * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (index, count) in counts.enumerate() {
        seen += count;
        if count > 0 && seen >= wanted {
            return Some(upper(index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn quantiles_are_within_an_eighth() {
        let now = Instant::now();
        let mut latencies = Latencies::new(now);
        assert_eq!(latencies.quantile(now, 0.5), None);
        for micros in 1..=1000 {
            latencies.record(now, Duration::from_micros(micros));
        }
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = latencies.quantile(now, share).expect("there are calls").as_micros() as f64;
            assert!((found / exact - 1.0).abs() <= 0.13, "{share}: {found}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn old_calls_are_forgotten() {
        let now = Instant::now();
        let mut latencies = Latencies::new(now);
        latencies.record(now, Duration::from_secs(3600));
        assert!(latencies.quantile(now + WINDOW, 0.5).is_some());
        assert_eq!(latencies.quantile(now + WINDOW * 2, 0.5), None);
    }

    #[test]
    fn any_length_has_a_bucket() {
        for length in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            assert!(bucket(length) < POWERS * PARTS as usize);
        }
    }
}
