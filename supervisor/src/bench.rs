//! A way into the dispatcher for the benchmarks: what a runtime's call costs without the hop from the runtime.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::runtime::v1::HookInvocation;
use outrigger_proto::types::v1::{RunRef, SessionRef};

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
    /// True: it goes on. Cancel safe: a dropped future cancels the call.
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
        let call = Call {
            runtime_id,
            hook: Hook::BeforeToolCall,
            asked,
            deadline: None,
            canary: false,
            conversation: false,
            run: None,
        };
        self.0.dispatch(call).await.verdict == Verdict::GoOn
    }
}
