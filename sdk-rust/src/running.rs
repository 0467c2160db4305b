//! A handler's future, polled so that a panic becomes a failure and nothing else.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use outrigger_proto::plugin::v1::Declined;
use outrigger_proto::plugin::v1::invocation_result::Outcome;

use crate::error::HandlerError;
use crate::invocation::Invocation;
use crate::log;
use crate::outbox::Outbox;

/// The future of a call.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A call whose handler has been started.
pub(crate) struct Running {
    future: BoxFuture<Outcome>,
    invocation: Arc<Invocation>,
    keep_on_cancel: bool,
}

impl Running {
    /// Starts a handler and polls it once.
    ///
    /// # Errors
    /// The handler is not done: it goes on with [`Running::finish`].
    pub(crate) fn start(
        handler: impl FnOnce() -> BoxFuture<Outcome>,
        invocation: Arc<Invocation>,
        keep_on_cancel: bool,
    ) -> Result<Outcome, Self> {
        let _scope = log::Scope::enter(invocation.id);
        let future = match caught(handler) {
            Ok(future) => future,
            Err(panic) => return Ok(panicked(panic.as_ref())),
        };
        let mut running = Self { future, invocation, keep_on_cancel };
        // The task that goes on polls again before it waits, with a waker of its own.
        match running.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => {
                running.discard();
                Ok(outcome)
            }
            Poll::Pending => Err(running),
        }
    }

    /// Runs the handler to its end, or to a cancel, and answers.
    pub(crate) async fn finish(mut self, outbox: Outbox) {
        let invocation = self.invocation.clone();
        let outcome = {
            let mut cancelled = pin!(invocation.cancelled());
            poll_fn(|cx| {
                if let Poll::Ready(outcome) = self.poll(cx) {
                    return Poll::Ready(outcome);
                }
                if !self.keep_on_cancel && cancelled.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Outcome::Declined(Declined {}));
                }
                Poll::Pending
            })
            .await
        };
        // First the answer: what the handler holds may take its time to be dropped.
        outbox.answer(invocation.id, outcome);
        self.discard();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let _scope = log::Scope::enter(self.invocation.id);
        match caught(|| self.future.as_mut().poll(cx)) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(panicked(panic.as_ref())),
        }
    }

    /// Drops the future; a panic in what it holds ends nothing else.
    fn discard(self) {
        let _scope = log::Scope::enter(self.invocation.id);
        // The hook of panics has told of it.
        let _ = caught(|| drop(self.future));
    }
}

/// Runs what a plugin's author wrote. After a panic what it was called with is not used again.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(run))
}

/// Awaits what a plugin's author wrote.
pub(crate) async fn caught_future<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|cx| match caught(|| future.as_mut().poll(cx)) {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    Outcome::Failed(HandlerError::new(format_args!("the handler panicked: {}", panic_text(panic))).into_wire())
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}
