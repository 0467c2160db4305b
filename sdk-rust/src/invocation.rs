//! What is known about one call, and whether it was cancelled.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::CancelReason;
use outrigger_proto::types::v1 as types;
use tokio::sync::Notify;

use crate::wire;

/// One call: everything of the wire's invocation but what is asked.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) id: u64,
    pub(crate) deadline: Instant,
    pub(crate) event_seq: u64,
    pub(crate) session: Option<types::SessionRef>,
    pub(crate) run: Option<types::RunRef>,
    pub(crate) states: Vec<plugin::SessionState>,
    pub(crate) trace: Option<types::TraceContext>,
    pub(crate) canary: bool,
    cancelled: AtomicI32,
    wake: Notify,
}

/// In `Invocation::cancelled`: it is not.
const NOT_CANCELLED: i32 = -1;

impl Invocation {
    /// Takes the wire's invocation apart; the handler's id and what is asked are left to the caller.
    pub(crate) fn take(wire: &mut plugin::Invocation) -> Self {
        // Absent is against the contract; then the call is as good as over.
        let timeout = wire.timeout.map(wire::duration).unwrap_or_default();
        let now = Instant::now();
        Self {
            id: wire.invocation_id,
            deadline: now.checked_add(timeout).unwrap_or(now + Duration::from_secs(3_600)),
            event_seq: wire.event_seq,
            session: wire.session.take(),
            run: wire.run.take(),
            states: std::mem::take(&mut wire.states),
            trace: wire.trace.take(),
            canary: wire.canary,
            cancelled: AtomicI32::new(NOT_CANCELLED),
            wake: Notify::new(),
        }
    }

    /// Marks it as cancelled; the first reason stays.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        let set = self.cancelled.compare_exchange(NOT_CANCELLED, reason.into(), Ordering::AcqRel, Ordering::Acquire);
        if set.is_ok() {
            self.wake.notify_waiters();
        }
    }

    /// Why it was cancelled, if it was.
    pub(crate) fn cancel_reason(&self) -> Option<CancelReason> {
        match self.cancelled.load(Ordering::Acquire) {
            NOT_CANCELLED => None,
            reason => Some(CancelReason::try_from(reason).unwrap_or_default()),
        }
    }

    /// Waits for the cancel; for ever, if none comes.
    pub(crate) async fn cancelled(&self) -> CancelReason {
        loop {
            // Made before the flag is read: `notify_waiters` reaches every waiter made before it.
            let notified = self.wake.notified();
            if let Some(reason) = self.cancel_reason() {
                return reason;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_cancel_wakes_every_waiter_and_the_first_reason_stays() {
        let invocation = Arc::new(Invocation::take(&mut plugin::Invocation::default()));
        assert_eq!(invocation.cancel_reason(), None);
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let invocation = invocation.clone();
                tokio::spawn(async move { invocation.cancelled().await })
            })
            .collect();
        tokio::task::yield_now().await;
        invocation.cancel(CancelReason::TimedOut);
        invocation.cancel(CancelReason::Stopping);
        for waiter in waiters {
            assert_eq!(waiter.await.expect("no panic"), CancelReason::TimedOut);
        }
        assert_eq!(invocation.cancelled().await, CancelReason::TimedOut);
    }

    #[test]
    fn a_timeout_beyond_what_a_clock_can_tell_does_no_harm() {
        let timeout = Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 });
        let invocation = Invocation::take(&mut plugin::Invocation { timeout, ..Default::default() });
        assert!(invocation.deadline > Instant::now());
    }
}
