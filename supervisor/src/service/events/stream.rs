//! A plugin's stream of events: driven by whoever reads it, without a task or queue of its own.
//!
//! A plugin that does not read is not written to: what waits for it is bounded by its lane, what was written and not
//! acknowledged by its credits.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1::{ErrorReason, SessionRef};
use tonic::Status;

use super::bus::Bus;
use super::event::Event;
use super::filter::{Filter, Narrowing};
use super::frame::{Delivery, Frame};
use super::lane::{Opening, Resume};
use super::named::EventHandles;
use super::subscriber::{Ended, OpenError};
use crate::service::launch_state::{LaunchState, Phase};
use crate::service::session::Session;
use crate::service::status::Failure;

/// Most events that may be unacknowledged (the wire contract's bound).
const MAX_CREDITS: u32 = 1024;
/// Bytes of events that may be unacknowledged (architecture §14).
pub(crate) const CREDIT_BYTES: usize = 16 * 1024;
/// Sessions, and runs, that a stream can be narrowed to (the wire contract's bound).
const MAX_NAMED: usize = 64;
/// Runs whose handles a stream has at hand: events of one run come in bursts.
const AT_HAND: usize = 8;

/// The handles of one run's events.
struct AtHand {
    runtime_id: Arc<str>,
    run_id: Arc<str>,
    session: Arc<SessionRef>,
    handles: EventHandles,
}

/// The stream.
pub(crate) struct EventStream {
    bus: Arc<Bus>,
    launch: Arc<LaunchState>,
    session: Arc<Session>,
    number: u64,
    at_hand: VecDeque<AtHand>,
    ended: bool,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("number", &self.number).finish_non_exhaustive()
    }
}

impl EventStream {
    /// Opens the stream of a launch; an older one ends.
    ///
    /// # Errors
    /// As the contract has it for `Events`.
    pub(crate) fn open(launch: &Arc<LaunchState>, request: wire::EventsRequest) -> Result<Self, Failure> {
        let phase = launch.phase().borrow().clone();
        let Phase::Registered(session) = phase else {
            return Err(Failure::new(ErrorReason::SessionNotOpen, "the plugin is not registered, or has ended"));
        };
        let subscriptions = &session.registration.subscriptions;
        if subscriptions.is_empty() {
            let why = "no subscription to events was registered and accepted";
            return Err(Failure::new(ErrorReason::HandlerUnknown, why)
                .with_code(tonic::Code::FailedPrecondition)
                .meta("plugin_id", launch.spec.id.as_str())
                .meta("kind", "SUBSCRIPTION"));
        }
        if request.credits > MAX_CREDITS {
            return Err(Failure::field("credits", format!("wants 0 to {MAX_CREDITS}")));
        }
        let narrowing = narrowing(&session, &request)?;
        let resume = match request.resume_after {
            None => Resume::Cursor,
            Some(place) if place.epoch == launch.bus.epoch() => Resume::After(place.seq),
            Some(_) => Resume::OtherEpoch,
        };
        let opening = Opening {
            credits: request.credits as usize,
            credit_bytes: CREDIT_BYTES,
            resume,
            filter: registered(launch, &session).narrowed(narrowing),
        };
        let number = launch.bus.open(&launch.spec.id, launch.generation, opening).map_err(|error| match error {
            OpenError::Stale => Failure::new(ErrorReason::SessionNotOpen, "a newer generation has the events"),
            OpenError::NotYet => Failure::field("resume_after.seq", "wants a number that was given to an event"),
        })?;
        let bus = Arc::clone(&launch.bus);
        Ok(Self { bus, launch: Arc::clone(launch), session, number, at_hand: VecDeque::new(), ended: false })
    }

    fn handles(&mut self, event: &Arc<Event>) -> EventHandles {
        let same = |known: &&AtHand| {
            known.run_id == event.run_id
                && known.runtime_id == event.runtime_id
                && known.session.key == event.session.key
        };
        if let Some(known) = self.at_hand.iter().find(same) {
            return known.handles.clone();
        }
        let handles = EventHandles::of(&self.session.handles, event);
        self.at_hand.truncate(AT_HAND - 1);
        self.at_hand.push_front(AtHand {
            runtime_id: Arc::clone(&event.runtime_id),
            run_id: Arc::clone(&event.run_id),
            session: Arc::clone(&event.session),
            handles: handles.clone(),
        });
        handles
    }
}

/// Everything that a launch's subscriptions want.
pub(crate) fn registered(launch: &LaunchState, session: &Session) -> Filter {
    use crate::domain::rights::Scope;
    let conversation = launch.spec.rights.decide(Scope::HooksConversation).is_ok();
    Filter::new(launch.spec.id.as_str(), conversation, Arc::clone(&session.registration.subscriptions))
}

fn narrowing(session: &Session, request: &wire::EventsRequest) -> Result<Narrowing, Failure> {
    let mut narrowing = Narrowing::default();
    let unknown = "wants handles that this generation was given";
    if request.session_handles.len() > MAX_NAMED {
        return Err(Failure::field("session_handles", format!("wants at most {MAX_NAMED}")));
    }
    if request.run_handles.len() > MAX_NAMED {
        return Err(Failure::field("run_handles", format!("wants at most {MAX_NAMED}")));
    }
    for handle in &request.session_handles {
        let named = session.handles.session_of(handle).ok_or_else(|| Failure::field("session_handles", unknown))?;
        narrowing.sessions.insert(named);
    }
    for handle in &request.run_handles {
        let run = session.handles.run_of(handle).ok_or_else(|| Failure::field("run_handles", unknown))?;
        narrowing.runs.insert(run);
    }
    Ok(narrowing)
}

impl Stream for EventStream {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = self.bus.poll(&self.launch.spec.id, self.launch.generation, self.number, cx);
        let burst = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(burst)) => burst,
            Poll::Ready(Err(ended)) => {
                self.ended = true;
                return match ended {
                    Ended::Done => Poll::Ready(None),
                    Ended::Replaced => {
                        let why = "a newer stream of this session took this one's place";
                        Poll::Ready(Some(Err(Failure::new(ErrorReason::StreamReplaced, why).into())))
                    }
                };
            }
        };
        if let Some(gap) = burst.gap {
            let why = format!(
                "events {} to {} were not delivered: {} that match",
                gap.from,
                gap.to,
                match gap.count {
                    0 => "an unknown number".to_owned(),
                    count => count.to_string(),
                }
            );
            self.session.notice(wire::NoticeKind::LimitNear, 0, "", why);
        }
        let deliveries = burst.events.into_iter().map(|ready| {
            let EventHandles { session, run } = self.handles(&ready.event);
            Delivery {
                seq: ready.event.seq,
                session_handle: session,
                run_handle: run,
                subscription_ids: ready.subscriptions,
                event: ready.event.bytes(ready.form).clone(),
                redelivered: ready.redelivered,
            }
        });
        let deliveries = deliveries.collect();
        let begins_after_seq = burst.begins_after.unwrap_or(0);
        Poll::Ready(Some(Ok(Frame { gap: burst.gap.map(Into::into), deliveries, begins_after_seq })))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.bus.close(&self.launch.spec.id, self.number);
    }
}
