//! A way into the dispatcher and the event bus for the benchmarks: what a runtime's call, or event, costs without the hop
//! from the runtime.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::runtime::v1::{Decision, HookInvocation};
use outrigger_proto::types::v1::{AgentEvent, HandlerOutcome, RunRef, SessionRef};
use tokio::time::Instant;

use crate::domain::hook::Hook;
use crate::service::{Bus, Call, Dispatcher, Pace, Verdict};

/// The runtime, session and run of everything here.
const RUNTIME: &str = "default";
const SESSION: &str = "bench";
const RUN: &str = "run-1";

/// The event of a call, checked once, as the supervisor checks what it takes in from a runtime.
#[derive(Clone)]
pub struct Event {
    json: Bytes,
    params: Option<Range<usize>>,
}

impl Event {
    /// Checks an event: a JSON object with `params`. One that is none has no parameters, and no call about it goes on.
    #[must_use]
    pub fn check(json: Bytes) -> Self {
        let params = Call::find_params(&json);
        Self { json, params }
    }
}

/// Dispatches calls as if a runtime had sent them, checked already.
#[derive(Clone)]
pub struct Caller(Arc<Dispatcher>);

impl Caller {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self(dispatcher)
    }

    /// Asks the guards of a tool about one call, in a session and a run. True: it goes on, and its decision is used
    /// up. Cancel safe: a dropped future cancels the call.
    pub async fn before_tool_call(&self, tool: &str, event: &Event) -> bool {
        let call = call(tool, event, false);
        let runtime_id = Arc::clone(&call.runtime_id);
        let outcome = self.0.dispatch(call).await;
        // A runtime uses its decision up before it runs the tool.
        let used =
            |decision: Decision| self.0.decisions.redeem(&runtime_id, &decision.decision_id, Instant::now(), |_| true);
        outcome.verdict == Verdict::GoOn && outcome.decision.is_some_and(used)
    }

    /// The handlers that are asked about such a call, and let it pass.
    pub async fn asked(&self, tool: &str, event: &Event) -> usize {
        let handlers = self.0.dispatch(call(tool, event, true)).await.handlers;
        handlers.iter().filter(|handler| handler.outcome() == HandlerOutcome::Allow).count()
    }
}

fn call(tool: &str, event: &Event, report_handlers: bool) -> Call {
    let session = SessionRef { runtime_id: RUNTIME.to_owned(), key: SESSION.to_owned(), ..Default::default() };
    let asked = Box::new(HookInvocation {
        tool_name: tool.to_owned(),
        tool_call_id: "call-1".to_owned(),
        event_json: event.json.clone(),
        session: Some(session),
        run: Some(RunRef { id: RUN.to_owned(), ..Default::default() }),
        report_handlers,
        ..Default::default()
    });
    Call::checked(RUNTIME.into(), Hook::BeforeToolCall, asked, event.params.clone())
}

/// Publishes events as if a runtime had sent them, checked already, in one run.
pub struct Publisher {
    bus: Arc<Bus>,
    pace: Pace,
    runtime_id: Arc<str>,
    run_id: Arc<str>,
    session: Arc<SessionRef>,
}

impl Publisher {
    pub(crate) fn new(bus: Arc<Bus>) -> Self {
        let session = SessionRef { key: SESSION.to_owned(), ..Default::default() };
        let pace = Pace::new(Arc::clone(&bus));
        Self { bus, pace, runtime_id: RUNTIME.into(), run_id: RUN.into(), session: Arc::new(session) }
    }

    /// Lays an event before every subscriber, one of many; its number. Others get their turn in between.
    pub async fn publish(&mut self, event: &AgentEvent) -> u64 {
        let seq = self.bus.lay(&self.runtime_id, &self.run_id, &self.session, event);
        self.pace.step().await;
        seq
    }

    /// Wakes subscribers after the last of many.
    pub fn rest(&self) {
        self.pace.rest();
    }

    /// Waits until every subscriber has acknowledged all up to this number. False where one will not. Cancel safe.
    pub async fn settled(&self, seq: u64) -> bool {
        let waiting = self.bus.settled(&self.runtime_id, &self.run_id, seq);
        futures_util::future::join_all(waiting).await.iter().all(Result::is_ok)
    }
}
