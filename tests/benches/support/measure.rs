//! One window of measurement: calls one after another, or many at once, until the time is over.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

use super::Result;

/// What a host answers: numbers by name.
pub(crate) type Numbers = BTreeMap<String, f64>;

/// Names numbers.
pub(crate) fn numbers<const N: usize>(named: [(&str, f64); N]) -> Numbers {
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Something that can be called, also many times at once.
pub(crate) trait Call: Clone + Send + 'static {
    /// One call, from its first byte to its answer.
    fn call(&self) -> impl Future<Output = Result<()>> + Send;
}

/// Calls before a window that are not counted, unless they take a third of its time.
const WARM_UP: u32 = 300;

/// Processor time of this process, all threads.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// One call in flight: `p50` and `p99` in nanoseconds, `cpu` in nanoseconds a call.
pub(crate) async fn latency(caller: &impl Call, length: Duration) -> Result<Numbers> {
    let begin = Instant::now();
    for _ in 0..WARM_UP {
        caller.call().await?;
        if begin.elapsed() > length / 3 {
            break;
        }
    }
    let mut took = Vec::with_capacity(200_000);
    let (begin, cpu) = (Instant::now(), cpu_time());
    let mut before = begin;
    while before.duration_since(begin) < length {
        caller.call().await?;
        let after = Instant::now();
        took.push(after.duration_since(before).as_nanos() as f64);
        before = after;
    }
    let cpu = (cpu_time() - cpu).as_nanos() as f64 / took.len() as f64;
    took.sort_by(f64::total_cmp);
    Ok(numbers([("p50", took[took.len() / 2]), ("p99", took[took.len() * 99 / 100]), ("cpu", cpu)]))
}

/// So many callers, each with one call in flight: `rate` in calls a second, `cpu` in nanoseconds a call, `calls`.
pub(crate) async fn rate(caller: &impl Call, callers: usize, length: Duration) -> Result<Numbers> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    // Read by the callers, written by this task: one thread.
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    for _ in 0..callers {
        let (caller, stop, count) = (caller.clone(), Arc::clone(&stop), Arc::clone(&count));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                caller.call().await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    let (begin, cpu, before) = (Instant::now(), cpu_time(), count.load(Ordering::Relaxed));
    tokio::time::sleep(length).await;
    let (calls, cpu, length) = (count.load(Ordering::Relaxed) - before, cpu_time() - cpu, begin.elapsed());
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        let ended: Result<()> = ended?;
        ended?;
    }
    let calls = calls as f64;
    let cpu = cpu.as_nanos() as f64 / calls;
    Ok(numbers([("rate", calls / length.as_secs_f64()), ("cpu", cpu), ("calls", calls)]))
}
