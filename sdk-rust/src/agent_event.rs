//! Agent events, as a subscription's handler gets them.

use std::fmt;
use std::time::SystemTime;

use outrigger_proto::plugin::v1::{EventCursor, EventDelivery, EventGap, GapReason};
use outrigger_proto::types::v1::{AgentEvent, Provenance};
use serde::de::DeserializeOwned;

use crate::error::InputError;
use crate::hooks;

/// An agent event. Its data is parsed only when it is asked for.
#[derive(Clone)]
pub struct Event {
    delivery: EventDelivery,
    event: AgentEvent,
}

impl Event {
    pub(crate) fn new(mut delivery: EventDelivery) -> Self {
        let event = delivery.event.take().unwrap_or_default();
        Self { delivery, event }
    }

    /// Number in the supervisor's sequence, rising within its epoch; not dense for one subscriber.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.delivery.seq
    }

    /// The stream: `lifecycle`, `tool`, `assistant` and so on, or a plugin's own.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.event.stream
    }

    /// The data, as a type of the plugin's or a [`serde_json::Value`]. Without `hooks.conversation` a meta stream's data
    /// has only the members that everybody may read.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        hooks::parse("the event's data", &self.event.data_json)
    }

    /// Id of the run the event belongs to.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.event.run_id
    }

    /// Position in the run, from 1. Events of plugins have 0.
    #[must_use]
    pub fn run_seq(&self) -> u64 {
        self.event.seq
    }

    /// The plugin's handle for the run, by which host calls name it.
    #[must_use]
    pub fn run_handle(&self) -> &str {
        &self.delivery.run_handle
    }

    /// The plugin's handle for the session, by which host calls name it. Empty: no session.
    #[must_use]
    pub fn session_handle(&self) -> &str {
        &self.delivery.session_handle
    }

    /// The session's key. Empty: the run belongs to no session.
    #[must_use]
    pub fn session_key(&self) -> &str {
        &self.event.session_key
    }

    /// The agent. Empty: none.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        &self.event.agent_id
    }

    /// The plugin that emitted it. Empty: the runtime did.
    #[must_use]
    pub fn plugin_id(&self) -> &str {
        &self.event.plugin_id
    }

    /// How far its text can be believed.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.event.provenance()
    }

    /// When it happened. `None`: not told, or not a time a clock can tell.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        SystemTime::try_from(self.event.time?).ok()
    }

    /// The run ends with it. Until its handlers are done, 5 s at most, run context may be written for it.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.event.terminal
    }

    /// It was sent before, to a generation that ended before it was done with it.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.delivery.redelivered
    }

    /// The subscriptions that matched. Empty: the plugin has only one.
    #[must_use]
    pub fn subscription_ids(&self) -> &[String] {
        &self.delivery.subscription_ids
    }

    /// The event as it came, with what has no method here.
    #[must_use]
    pub fn raw(&self) -> &AgentEvent {
        &self.event
    }
}

impl fmt::Debug for Event {
    /// Without the data: it may be long, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("seq", &self.delivery.seq)
            .field("stream", &self.event.stream)
            .field("run_id", &self.event.run_id)
            .finish_non_exhaustive()
    }
}

/// Events that were not delivered, between those before and those after this notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap(EventGap);

impl Gap {
    pub(crate) fn new(gap: EventGap) -> Self {
        Self(gap)
    }

    /// First and last number missing. Both 0: not known, because the supervisor was restarted.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        (self.0.from_seq, self.0.to_seq)
    }

    /// How many matching events are missing. 0: not known.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> GapReason {
        self.0.reason()
    }
}

/// What to do about a [`Gap`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AfterGap {
    /// Go on with the events after it.
    #[default]
    Continue,
    /// Ask once for what is missing, as far as the supervisor still has it. Events that come after the gap may then come a
    /// second time. Where nothing can be had (a restarted supervisor, or it was asked for before) it is as `Continue`.
    Replay,
}

/// How a plugin reads its events; see [`Plugin::read_events`](crate::Plugin::read_events).
#[derive(Debug, Clone, PartialEq)]
pub struct ReadEvents {
    pub(crate) credits: u32,
    pub(crate) resume_after: Option<EventCursor>,
    pub(crate) session_handles: Vec<String>,
    pub(crate) run_handles: Vec<String>,
}

impl ReadEvents {
    /// From where the plugin was, with 32 events under way at most.
    #[must_use]
    pub fn new() -> Self {
        Self { credits: 32, resume_after: None, session_handles: Vec::new(), run_handles: Vec::new() }
    }

    /// Most events sent and not done, 1 to 1,024. 0: events count as done when they are sent, and come at most once.
    #[must_use]
    pub fn credits(mut self, events: u32) -> Self {
        self.credits = events;
        self
    }

    /// Begins after this number of this epoch (`Welcome.event_epoch`), as far back as the supervisor can; what is missing
    /// is told as a [`Gap`].
    #[must_use]
    pub fn after(mut self, epoch: u64, seq: u64) -> Self {
        self.resume_after = Some(EventCursor { epoch, seq });
        self
    }

    /// Only events of these sessions, by their handles, at most 64.
    #[must_use]
    pub fn of_sessions(mut self, handles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.session_handles = handles.into_iter().map(Into::into).collect();
        self
    }

    /// Only events of these runs, by their handles, at most 64.
    #[must_use]
    pub fn of_runs(mut self, handles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.run_handles = handles.into_iter().map(Into::into).collect();
        self
    }
}

impl Default for ReadEvents {
    fn default() -> Self {
        Self::new()
    }
}
