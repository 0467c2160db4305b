//! What waits to be sent, and the calls that have no answer yet.
//!
//! Answers that are there at the same time leave in one message. Bounds: answers cannot be more than the calls
//! accepted, and of each call one progress waits; control frames beyond [`MOST_CONTROLS`] push out the oldest.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::session_request::Control;
use outrigger_proto::plugin::v1::{CancelReason, InvocationProgress, InvocationResult, SessionRequest};
use outrigger_proto::types::v1::ToolProgress;
use prost::Message;
use tokio::sync::Notify;
use tokio_stream::Stream;

use crate::error::HandlerError;
use crate::invocation::Invocation;

/// Most answers in one message (`SessionRequest.results`).
const MOST_RESULTS: usize = 64;

/// Most progress in one message (`SessionRequest.progress`).
const MOST_PROGRESS: usize = 64;

/// Most control frames that wait. Only a supervisor that sends pings and reads nothing gets so far; it then misses
/// the oldest answers.
const MOST_CONTROLS: usize = 64;

/// Left in a message for what is around the answers: lengths, tags, and one control frame of the serving phase.
const OVERHEAD: usize = 1_024;

/// Most bytes of tag and length around one answer, in a message of less than 4 GiB.
const FRAME: usize = 6;

/// Longest message to the supervisor until Welcome tells another bound: the contract's default.
pub(crate) const DEFAULT_MESSAGE: usize = 1_048_576;

/// Shared by the session and all running handlers. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Told when the last call in flight has its answer.
    idle: Notify,
}

struct Queue {
    results: VecDeque<(InvocationResult, usize)>,
    /// At most one for each call.
    progress: VecDeque<InvocationProgress>,
    controls: VecDeque<Control>,
    /// Events up to this number are done; 0: the supervisor knows it already.
    acknowledged: u64,
    in_flight: HashMap<u64, Arc<Invocation>>,
    max_message: usize,
    closed: bool,
    sender: Option<Waker>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::new(Queue {
                results: VecDeque::new(),
                progress: VecDeque::new(),
                controls: VecDeque::new(),
                acknowledged: 0,
                in_flight: HashMap::new(),
                max_message: DEFAULT_MESSAGE,
                closed: false,
                sender: None,
            }),
            idle: Notify::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here runs foreign code under the lock, so a poisoned queue is whole.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the longest message, in bytes.
    pub(crate) fn set_max_message(&self, bytes: u64) {
        if bytes > 0 {
            self.lock().max_message = usize::try_from(bytes).unwrap_or(usize::MAX).max(2 * OVERHEAD);
        }
    }

    /// Sends a control frame.
    pub(crate) fn control(&self, control: Control) {
        let mut queue = self.lock();
        if queue.controls.len() == MOST_CONTROLS {
            queue.controls.pop_front();
        }
        queue.controls.push_back(control);
        queue.wake();
    }

    /// Sends the answer to a call. The call is in flight no longer.
    pub(crate) fn answer(&self, invocation_id: u64, outcome: Outcome) {
        let mut result = InvocationResult { invocation_id, outcome: Some(outcome) };
        let mut size = result.encoded_len();
        let mut queue = self.lock();
        if size + FRAME > queue.max_message - OVERHEAD {
            let text = format!("the answer has {size} bytes, more than a message may have");
            result.outcome = Some(Outcome::Failed(HandlerError::new(text).into_wire()));
            size = result.encoded_len();
        }
        queue.results.push_back((result, size));
        queue.wake();
        if queue.in_flight.remove(&invocation_id).is_some() && queue.in_flight.is_empty() {
            self.0.idle.notify_waiters();
        }
    }

    /// Sends a call's progress, in place of one of its own that still waits. A call that is answered or cancelled has none.
    pub(crate) fn progress(&self, invocation_id: u64, progress: ToolProgress) {
        let size = progress.encoded_len() + 4 * FRAME;
        let mut queue = self.lock();
        // Under a bound that low nobody misses it.
        if size > queue.max_message - OVERHEAD {
            return;
        }
        if queue.in_flight.get(&invocation_id).is_none_or(|invocation| invocation.cancel_reason().is_some()) {
            return;
        }
        match queue.progress.iter_mut().find(|waiting| waiting.invocation_id == invocation_id) {
            Some(waiting) => waiting.progress = Some(progress),
            None => queue.progress.push_back(InvocationProgress { invocation_id, progress: Some(progress) }),
        }
        queue.wake();
    }

    /// Tells that all events up to this number are done.
    pub(crate) fn acknowledge(&self, event_seq: u64) {
        let mut queue = self.lock();
        queue.acknowledged = queue.acknowledged.max(event_seq);
        queue.wake();
    }

    /// Notes a call whose answer takes a while.
    pub(crate) fn begin(&self, invocation: Arc<Invocation>) {
        self.lock().in_flight.insert(invocation.id, invocation);
    }

    /// Calls that wait for their answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().in_flight.len()
    }

    /// Tells a call's handler that it was cancelled. A call that has its answer already is none of our business.
    pub(crate) fn cancel(&self, invocation_id: u64, reason: CancelReason) {
        let invocation = self.lock().in_flight.get(&invocation_id).cloned();
        if let Some(invocation) = invocation {
            invocation.cancel(reason);
        }
    }

    /// Cancels everything in flight.
    pub(crate) fn cancel_all(&self, reason: CancelReason) {
        let all: Vec<_> = self.lock().in_flight.values().cloned().collect();
        for invocation in all {
            invocation.cancel(reason);
        }
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.0.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// What is there is still sent, then the sending side ends.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.wake();
    }

    /// The messages, for the request stream. One only: a second one would take the first one's wake-ups.
    pub(crate) fn messages(&self) -> Messages {
        Messages(self.clone())
    }
}

impl Queue {
    fn wake(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    fn next(&mut self) -> Option<SessionRequest> {
        let quiet = self.results.is_empty() && self.progress.is_empty() && self.controls.is_empty();
        if quiet && self.acknowledged == 0 {
            return None;
        }
        let mut message =
            SessionRequest { acknowledged_event_seq: std::mem::take(&mut self.acknowledged), ..Default::default() };
        let mut room = self.max_message - OVERHEAD;
        while message.progress.len() < MOST_PROGRESS {
            let fits = |progress: &mut InvocationProgress| progress.encoded_len() + FRAME <= room;
            let Some(progress) = self.progress.pop_front_if(fits) else { break };
            room -= progress.encoded_len() + FRAME;
            message.progress.push(progress);
        }
        // In a message progress counts as before the answers; what did not fit must not come after its own.
        while self.progress.is_empty() && message.results.len() < MOST_RESULTS {
            let Some((result, size)) = self.results.pop_front_if(|(_, size)| *size + FRAME <= room) else { break };
            room -= size + FRAME;
            message.results.push(result);
        }
        message.control = self.controls.pop_front();
        Some(message)
    }
}

/// The messages of an [`Outbox`].
pub(crate) struct Messages(Outbox);

impl Stream for Messages {
    type Item = SessionRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionRequest>> {
        let mut queue = self.0.lock();
        match queue.next() {
            Some(message) => Poll::Ready(Some(message)),
            None if queue.closed => Poll::Ready(None),
            None => {
                queue.sender = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_proto::plugin::v1::{Completed, Declined, Failed, Pong};
    use tokio_stream::StreamExt;

    use super::*;

    fn declined() -> Outcome {
        Outcome::Declined(Declined {})
    }

    fn invocation(invocation_id: u64) -> Arc<Invocation> {
        let mut wire = outrigger_proto::plugin::v1::Invocation { invocation_id, ..Default::default() };
        Arc::new(Invocation::take(&mut wire))
    }

    #[tokio::test]
    async fn answers_that_wait_together_leave_together() {
        let outbox = Outbox::new();
        for id in 1..=70 {
            outbox.answer(id, declined());
        }
        outbox.control(Control::Pong(Pong { ping_id: 1 }));
        outbox.close();
        let messages: Vec<_> = outbox.messages().collect().await;
        assert_eq!(messages.iter().map(|m| m.results.len()).collect::<Vec<_>>(), [64, 6]);
        let ids: Vec<_> = messages.iter().flat_map(|m| &m.results).map(|r| r.invocation_id).collect();
        assert_eq!(ids, (1..=70).collect::<Vec<_>>());
        assert_eq!(messages.iter().filter(|m| m.control.is_some()).count(), 1);
    }

    #[tokio::test]
    async fn a_message_stays_within_its_bound_and_an_answer_that_cannot_is_a_failure() {
        let outbox = Outbox::new();
        outbox.set_max_message(10_000);
        let big = |bytes| Outcome::Failed(Failed { reason: 1, message: "x".repeat(bytes) });
        for id in 1..=4 {
            outbox.answer(id, big(4_000));
        }
        outbox.answer(5, big(20_000));
        outbox.close();
        let messages: Vec<_> = outbox.messages().collect().await;
        assert!(messages.iter().all(|m| m.encoded_len() <= 10_000));
        assert_eq!(messages.iter().map(|m| m.results.len()).collect::<Vec<_>>(), [2, 3]);
        let Some(Outcome::Failed(failed)) = &messages[1].results[2].outcome else { unreachable!("not a failure") };
        assert!(failed.message.contains("more than a message may have"), "{}", failed.message);
    }

    #[tokio::test]
    async fn controls_are_bounded_and_the_newest_survive() {
        let outbox = Outbox::new();
        for ping_id in 1..=100 {
            outbox.control(Control::Pong(Pong { ping_id }));
        }
        outbox.close();
        let messages: Vec<_> = outbox.messages().collect().await;
        assert_eq!(messages.len(), MOST_CONTROLS);
        assert_eq!(messages[63].control, Some(Control::Pong(Pong { ping_id: 100 })));
    }

    #[tokio::test]
    async fn idle_comes_with_the_last_answer() {
        let outbox = Outbox::new();
        outbox.idle().await;
        outbox.begin(invocation(1));
        outbox.begin(invocation(2));
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.idle().await }
        });
        tokio::task::yield_now().await;
        outbox.answer(1, Outcome::Completed(Completed {}));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        outbox.answer(2, declined());
        waiting.await.expect("no panic");
    }
}
