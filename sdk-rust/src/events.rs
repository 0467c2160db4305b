//! Reads agent events and hands them to the subscriptions' handlers.
//!
//! One event at a time, in the order in which they come, so the order of each run holds; an event is acknowledged when all
//! its handlers are done. Hooks and tools go on beside it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1::plugin_service_client::PluginServiceClient;
use outrigger_proto::plugin::v1::{EventCursor, EventDelivery, EventsRequest, EventsResponse, GapReason};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tracing::{debug, error, warn};

use crate::agent_event::{AfterGap, Event, Gap, ReadEvents};
use crate::error::HandlerError;
use crate::launch::Launch;
use crate::outbox::Outbox;
use crate::running::{BoxFuture, caught_future, panic_text};

/// Wait before a broken stream is opened again: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A subscription's handler.
pub(crate) type EventHandler<S> = Arc<dyn Fn(Event, Launch<S>) -> BoxFuture<Result<(), HandlerError>> + Send + Sync>;
/// What is told of gaps.
pub(crate) type GapHandler<S> = Arc<dyn Fn(Gap, Launch<S>) -> BoxFuture<Result<AfterGap, HandlerError>> + Send + Sync>;

/// Everything that reading needs.
pub(crate) struct Reader<S> {
    pub(crate) client: PluginServiceClient<Channel>,
    /// By subscription id, in the order of registration.
    pub(crate) handlers: Vec<(String, EventHandler<S>)>,
    pub(crate) gaps: Option<GapHandler<S>>,
    pub(crate) how: ReadEvents,
    pub(crate) launch: Launch<S>,
    pub(crate) outbox: Outbox,
}

/// Why a stream is read no longer.
enum End {
    /// The plugin stops, or the events go to another generation.
    Done,
    /// It is to be opened again, after this number.
    Replay(u64),
    Broken(Status),
}

impl<S: Send + Sync + 'static> Reader<S> {
    /// Reads until the plugin stops or the supervisor has no more events for it. The event at hand when it stops is
    /// finished and acknowledged.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = BACKOFF.0;
        // A gap is asked for once: what is not there any more would be answered with the same gap for ever.
        let mut replayed = 0;
        loop {
            let end = match unless(&mut stop, self.client.events(self.request())).await {
                None => return,
                Some(Err(status)) => End::Broken(status),
                Some(Ok(stream)) => {
                    let before = self.how.resume_after;
                    let end = self.read(stream.into_inner(), &mut stop, &mut replayed).await;
                    if self.how.resume_after != before {
                        backoff = BACKOFF.0;
                    }
                    end
                }
            };
            match end {
                End::Done => return,
                End::Replay(after) => self.resume_after(after),
                End::Broken(status) => {
                    if is_final(status.code()) {
                        error!("events end here: the supervisor refused them: {}", status.message());
                        return;
                    }
                    debug!("the event stream broke ({:?}: {}); opening it again", status.code(), status.message());
                    if unless(&mut stop, tokio::time::sleep(backoff)).await.is_none() {
                        return;
                    }
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    fn request(&self) -> EventsRequest {
        EventsRequest {
            credits: self.how.credits,
            resume_after: self.how.resume_after,
            session_handles: self.how.session_handles.clone(),
            run_handles: self.how.run_handles.clone(),
        }
    }

    /// A stream that is opened again begins after this number: what came is not done twice.
    fn resume_after(&mut self, seq: u64) {
        self.how.resume_after = Some(EventCursor { epoch: self.launch.event_epoch(), seq });
    }

    async fn read(
        &mut self,
        mut stream: Streaming<EventsResponse>,
        stop: &mut watch::Receiver<bool>,
        replayed: &mut u64,
    ) -> End {
        loop {
            let message = match unless(stop, stream.message()).await {
                None | Some(Ok(None)) => return End::Done,
                Some(Ok(Some(message))) => message,
                Some(Err(status)) => return End::Broken(status),
            };
            if message.begins_after_seq > 0 {
                self.resume_after(message.begins_after_seq);
            }
            if let Some(gap) = message.gap
                && self.missed(Gap::new(gap)).await == AfterGap::Replay
                && gap.reason() != GapReason::EpochChanged
                && gap.from_seq > *replayed
            {
                *replayed = gap.from_seq;
                return End::Replay(gap.from_seq - 1);
            }
            for delivery in message.events {
                let seq = delivery.seq;
                self.deliver(delivery).await;
                self.resume_after(seq);
                if self.how.credits > 0 {
                    self.outbox.acknowledge(seq);
                }
                if *stop.borrow() {
                    return End::Done;
                }
                // Handlers that are ready at once must not keep hooks and pings waiting through a whole burst.
                tokio::task::coop::consume_budget().await;
            }
        }
    }

    async fn missed(&self, gap: Gap) -> AfterGap {
        let Some(handler) = &self.gaps else {
            warn!(from = gap.range().0, to = gap.range().1, count = gap.count(), "events are missing");
            return AfterGap::Continue;
        };
        let launch = self.launch.clone();
        match caught_future(async move { handler(gap, launch).await }).await {
            Ok(Ok(after)) => after,
            Ok(Err(error)) => {
                warn!("the handler of gaps failed: {error}");
                AfterGap::Continue
            }
            Err(panic) => {
                error!("the handler of gaps panicked: {}", panic_text(panic.as_ref()));
                AfterGap::Continue
            }
        }
    }

    /// Runs the handlers of an event. What fails is logged, and fails alone.
    async fn deliver(&self, delivery: EventDelivery) {
        let event = Event::new(delivery);
        let seq = event.seq();
        let wanted = event.subscription_ids();
        let matching = |id: &String| wanted.is_empty() || wanted.contains(id);
        for (id, handler) in self.handlers.iter().filter(|(id, _)| matching(id)) {
            let (event, launch) = (event.clone(), self.launch.clone());
            // The handler itself may panic before it returns a future.
            match caught_future(async move { handler(event, launch).await }).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(subscription = id, seq, "the handler failed: {error}"),
                Err(panic) => error!(subscription = id, seq, "the handler panicked: {}", panic_text(panic.as_ref())),
            }
        }
    }
}

/// Does `work`, unless the plugin stops first.
async fn unless<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        // A sender that is gone is a plugin that is gone.
        _ = stop.wait_for(|stop| *stop) => None,
        done = &mut work => Some(done),
    }
}

/// The supervisor's no, which another try would get as well.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::FailedPrecondition | Code::InvalidArgument | Code::Aborted | Code::Unimplemented | Code::Unauthenticated
    )
}
