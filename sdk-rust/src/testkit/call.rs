//! One call of a handler, as a test makes it.

use std::time::Duration;

use outrigger_proto::plugin::v1::invocation::Call as Asked;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::{CancelReason, FailureReason, HookCall, Invocation, SessionResponse, SessionState};
use outrigger_proto::types::v1::{Hook, RunRef, SessionRef, TraceContext};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::LIMIT;
use super::session::Stage;
use crate::tool_call::Decision;
use crate::wire;

/// Why a call brought no decision. A supervisor then blocks the tool call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin has no handler for it.
    #[error("find a handler for the call")]
    NoHandler,
    /// The handler failed.
    #[error("get an answer: the handler failed ({reason:?}): {message}")]
    Failed {
        /// Why, as the wire contract names it.
        reason: FailureReason,
        /// The text for the log.
        message: String,
    },
    /// The handler answered with something that is no answer to this call.
    #[error("use the answer: it is none to this call")]
    Unfitting,
    /// The session ended first.
    #[error("get an answer: the session ended first")]
    SessionEnded,
    /// There was no answer in the time a test waits.
    #[error("get an answer in the time a test waits")]
    NoAnswer,
}

/// A call of a `before_tool_call` handler, to be filled in and sent.
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    stage: Stage,
    invocation: Invocation,
    hook: HookCall,
    params: Value,
    timeout: Duration,
}

impl Call {
    pub(super) fn new(stage: Stage, handler_id: &str) -> Self {
        Self {
            stage,
            invocation: Invocation { handler_id: handler_id.to_owned(), ..Default::default() },
            hook: HookCall {
                hook: Hook::BeforeToolCall.into(),
                tool_name: "exec".to_owned(),
                tool_call_id: "tool-call-1".to_owned(),
                context_json: "{}".into(),
                ..Default::default()
            },
            params: json!({}),
            timeout: Duration::from_secs(15),
        }
    }

    /// The tool. Default: `exec`.
    pub fn tool(mut self, tool: &str) -> Self {
        tool.clone_into(&mut self.hook.tool_name);
        self
    }

    /// The tool's parameters, an object. Default: empty.
    pub fn params(mut self, params: Value) -> Self {
        self.params = params;
        self
    }

    /// The call's context, an object. Default: empty.
    pub fn context(mut self, context: Value) -> Self {
        self.hook.context_json = context.to_string().into();
        self
    }

    /// The time the call may take; it is cancelled then. Default: 15 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The session concerned. Default: none.
    pub fn session(mut self, session: SessionRef) -> Self {
        self.invocation.session = Some(session);
        self
    }

    /// The run concerned. Default: none.
    pub fn run(mut self, run: RunRef) -> Self {
        self.invocation.run = Some(run);
        self
    }

    /// A value of session state that travels with the call.
    pub fn state(mut self, state: SessionState) -> Self {
        self.invocation.states.push(state);
        self
    }

    /// The caller's trace. Default: none.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.invocation.trace = Some(trace);
        self
    }

    /// A trial call.
    pub fn canary(mut self) -> Self {
        self.invocation.canary = true;
        self
    }

    /// The second question, about the final parameters.
    pub fn recheck(mut self) -> Self {
        self.hook.recheck = true;
        self
    }

    /// Changes anything else of the invocation, for instance to ask what the plugin does not know.
    pub fn invocation(mut self, change: impl FnOnce(&mut Invocation, &mut HookCall)) -> Self {
        change(&mut self.invocation, &mut self.hook);
        self
    }

    /// Sends it. Must be called on a runtime.
    pub fn send(self) -> Pending {
        let Self { stage, mut invocation, mut hook, params, timeout } = self;
        let (id, answer) = stage.open();
        hook.event_json = json!({"toolName": hook.tool_name, "params": params}).to_string().into();
        invocation.invocation_id = id;
        invocation.timeout = Some(wire::to_duration(timeout));
        invocation.call.get_or_insert(Asked::Hook(hook));
        stage.send(SessionResponse { invocations: vec![invocation], ..Default::default() });
        Pending { id, stage, answer, deadline: tokio::time::Instant::now() + timeout }
    }
}

/// A call that was sent.
pub struct Pending {
    id: u64,
    stage: Stage,
    answer: oneshot::Receiver<Outcome>,
    deadline: tokio::time::Instant,
}

impl Pending {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Cancels it; what the plugin answers then is still told here, and counted as late.
    pub fn cancel(&self, reason: CancelReason) {
        self.stage.cancel(self.id, reason);
    }

    /// There is an answer, or the session has ended. Never waits.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !self.answer.is_empty() || self.answer.is_terminated()
    }

    /// Waits for the answer. When the call's time is up it is cancelled first.
    ///
    /// # Errors
    /// There is none.
    pub async fn outcome(mut self) -> Result<Outcome, CallError> {
        let answered = match tokio::time::timeout_at(self.deadline, &mut self.answer).await {
            Ok(answered) => answered,
            Err(_) => {
                self.cancel(CancelReason::TimedOut);
                timeout(LIMIT, self.answer).await.map_err(|_| CallError::NoAnswer)?
            }
        };
        answered.map_err(|_| CallError::SessionEnded)
    }

    /// Waits for the answer, as a decision on a tool call.
    ///
    /// # Errors
    /// There is none, or the handler failed.
    pub async fn decision(self) -> Result<Decision, CallError> {
        match self.outcome().await? {
            Outcome::Failed(failed) => Err(CallError::Failed { reason: failed.reason(), message: failed.message }),
            outcome => Decision::from_outcome(outcome).ok_or(CallError::Unfitting),
        }
    }
}
