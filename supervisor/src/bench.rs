//! A way into the dispatcher for the benchmarks: what a runtime's call costs without the hop from the runtime.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::runtime::v1::{Decision, HookInvocation};
use outrigger_proto::types::v1::{RunRef, SessionRef};
use tokio::time::Instant;

use crate::domain::hook::Hook;
use crate::service::{Call, Dispatcher, Verdict};

/// Dispatches calls as if a runtime had sent them, checked already.
#[derive(Clone)]
pub struct Caller(Arc<Dispatcher>);

impl Caller {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self(dispatcher)
    }

    /// Asks the guards of a tool about one call, in a session and a run. `event_json` is a JSON object with `params`.
    /// True: it goes on, and its decision is used up. Cancel safe: a dropped future cancels the call.
    pub async fn before_tool_call(&self, tool: &str, event_json: Bytes) -> bool {
        let runtime_id: Arc<str> = "default".into();
        let session = SessionRef { runtime_id: runtime_id.to_string(), key: "bench".to_owned(), ..Default::default() };
        let asked = Box::new(HookInvocation {
            tool_name: tool.to_owned(),
            tool_call_id: "call-1".to_owned(),
            event_json,
            session: Some(session),
            run: Some(RunRef { id: "run-1".to_owned(), ..Default::default() }),
            ..Default::default()
        });
        let outcome = self.0.dispatch(Call::checked(Arc::clone(&runtime_id), Hook::BeforeToolCall, asked)).await;
        // A runtime uses its decision up before it runs the tool.
        let used =
            |decision: Decision| self.0.decisions.redeem(&runtime_id, &decision.decision_id, Instant::now(), |_| true);
        outcome.verdict == Verdict::GoOn && outcome.decision.is_some_and(used)
    }
}
