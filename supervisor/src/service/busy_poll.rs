//! Looking for what comes next before going to sleep.
//!
//! A plugin's answer is often there within microseconds, and a runtime's next call soon after. A thread that sleeps by then
//! is woken late, most of all on an idle virtual machine, whose processor has to be woken first; and being woken costs the
//! one that wakes as much processor time as looking costs. So for a moment after each call and each answer the thread looks
//! again and again, and lets every other process on its processor go first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

/// How long it looks. A call of a runtime and its answer take about 60 us with a plugin that answers at once; beyond that
/// looking costs more than it brings.
const LOOKS_FOR: Duration = Duration::from_micros(50);

/// Another process that has the processor for so long has work of its own: then looking gives time away to no end.
const CROWDED: Duration = Duration::from_millis(1);
/// How long it does not look where the processor is crowded. Trying again costs at most one turn of another process.
const RESTS_FOR: Duration = Duration::from_secs(1);

/// Whether the thread looks, and what it has seen. The default never does.
#[derive(Debug, Default)]
pub(crate) struct BusyPoll {
    on: bool,
    /// Calls sent and answers taken in.
    traffic: AtomicU64,
    looking: AtomicBool,
    /// It rests until then.
    rests: Mutex<Option<Instant>>,
}

impl BusyPoll {
    /// `wanted`: the operator's setting. It stays off where several threads share the work, as one that looks would only
    /// keep another one's processor busy.
    pub(crate) fn new(wanted: bool) -> Arc<Self> {
        let alone = Handle::try_current().is_ok_and(|on| on.runtime_flavor() == RuntimeFlavor::CurrentThread);
        Arc::new(Self { on: wanted && alone, ..Self::default() })
    }

    /// A call left or an answer came, so something may come soon. Costs a few nanoseconds.
    pub(crate) fn expect(self: &Arc<Self>) {
        if !self.on {
            return;
        }
        self.traffic.fetch_add(1, Ordering::Relaxed);
        if !self.looking.load(Ordering::Relaxed) && !self.rests() && !self.looking.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(self).look());
        }
    }

    fn rests(&self) -> bool {
        let mut until = self.until();
        *until = until.filter(|until| Instant::now() < *until);
        until.is_some()
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(self: Arc<Self>) {
        let mut seen = self.traffic.load(Ordering::Relaxed);
        let mut until = Instant::now() + LOOKS_FOR;
        loop {
            // Other processes first, then all other tasks, then the sockets.
            let before = Instant::now();
            std::thread::yield_now();
            if before.elapsed() > CROWDED {
                *self.until() = Some(Instant::now() + RESTS_FOR);
                break;
            }
            tokio::task::yield_now().await;
            let (now, traffic) = (Instant::now(), self.traffic.load(Ordering::Relaxed));
            if traffic != seen {
                (seen, until) = (traffic, now + LOOKS_FOR);
            } else if now >= until {
                break;
            }
        }
        self.looking.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ends(poll: &BusyPoll) {
        while poll.looking.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn it_looks_while_there_is_traffic_and_then_ends_by_itself() {
        let poll = BusyPoll::new(true);
        for _ in 0..3 {
            // Another test may have had the processor.
            *poll.until() = None;
            poll.expect();
            assert!(poll.looking.load(Ordering::Relaxed));
            poll.expect();
            let began = Instant::now();
            ends(&poll).await;
            assert!(poll.rests() || began.elapsed() >= LOOKS_FOR, "as long as it should");
            assert_eq!(Arc::strong_count(&poll), 1, "one looked, and is gone");
        }
        assert_eq!(poll.traffic.load(Ordering::Relaxed), 6);
    }

    #[tokio::test]
    async fn others_go_on_while_it_looks() {
        let poll = BusyPoll::new(true);
        poll.expect();
        let (a, mut b) = tokio::net::UnixStream::pair().expect("a pair of sockets");
        for _ in 0..100 {
            // Keeps it looking.
            poll.expect();
            a.try_write(b"x").expect("there is room");
            let mut byte = [0; 1];
            tokio::io::AsyncReadExt::read_exact(&mut b, &mut byte).await.expect("the byte comes");
        }
        ends(&poll).await;
    }

    #[tokio::test]
    async fn it_rests_where_others_have_the_processors() {
        let done = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let other = |_| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || while !done.load(Ordering::Relaxed) {})
        };
        let others: Vec<_> = (0..2 * processors).map(other).collect();

        let poll = BusyPoll::new(true);
        while !poll.rests() {
            poll.expect();
            tokio::task::yield_now().await;
        }
        done.store(true, Ordering::Relaxed);
        for other in others {
            other.join().expect("it ends");
        }
        ends(&poll).await;
        // However long the test waited for its turn.
        *poll.until() = Some(Instant::now() + Duration::from_secs(3600));
        poll.expect();
        assert!(!poll.looking.load(Ordering::Relaxed), "who rests is not set going");
        *poll.until() = Some(Instant::now());
        poll.expect();
        assert!(poll.looking.load(Ordering::Relaxed), "it looks again");
    }

    #[tokio::test]
    async fn it_is_off_where_nobody_wants_it() {
        for poll in [BusyPoll::new(false), Arc::default()] {
            poll.expect();
            assert!(!poll.looking.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn it_is_off_where_no_single_thread_does_the_work() {
        let poll = BusyPoll::new(true);
        poll.expect();
        assert!(!poll.looking.load(Ordering::Relaxed));
    }
}
