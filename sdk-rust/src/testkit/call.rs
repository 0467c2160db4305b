//! One call of a handler, as a test makes it.

use std::marker::PhantomData;
use std::time::Duration;

use outrigger_proto::plugin::v1::invocation::Call as Asked;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::{
    ApprovalCall, CancelReason, FailureReason, HookCall, Invocation, SessionResponse, SessionState, ToolCall,
};
use outrigger_proto::types::v1::{Hook, RunRef, SessionRef, ToolProgress, TraceContext};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::LIMIT;
use super::registered::handlers_of;
use super::session::Stage;
use crate::answer::{Answer, Decision};
use crate::tool::ToolAnswer;
use crate::wire;

/// Why a call brought no answer. At a guard a supervisor then blocks.
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

/// A call of a handler, to be filled in and sent; `A` is what the handler answers.
#[must_use = "a call does nothing until it is sent"]
pub struct Call<A = Decision> {
    stage: Stage,
    kind: Kind,
    invocation: Invocation,
    hook: HookCall,
    event: Value,
    timeout: Duration,
    answer: PhantomData<fn() -> A>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Hook,
    Policy,
    /// Of a tool; `Call::event` has the arguments.
    Tool,
    Approval,
}

impl<A> Call<A> {
    fn new(stage: Stage, kind: Kind, handler_id: String, hook: HookCall, event: Value) -> Self {
        let invocation = Invocation { handler_id, ..Default::default() };
        let timeout = Duration::from_secs(15);
        Self { stage, kind, invocation, hook, event, timeout, answer: PhantomData }
    }

    /// A call of the plugin's first handler of a hook that wants it.
    pub(super) fn of_hook(stage: Stage, hook: Hook, event: Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let of_tool = matches!(hook, Hook::BeforeToolCall | Hook::AfterToolCall);
        let call = HookCall {
            hook: hook.into(),
            tool_name: if of_tool { text("toolName").to_lowercase() } else { String::new() },
            tool_call_id: if of_tool { text("toolCallId") } else { String::new() },
            context_json: "{}".into(),
            ..Default::default()
        };
        let handlers = stage.with(|state| handlers_of(state.register.as_ref(), hook, &call.tool_name));
        let handler_id = handlers.into_iter().next().map(|handler| handler.handler_id).unwrap_or_default();
        Self::new(stage, Kind::Hook, handler_id, call, event)
    }

    /// Calls this handler. Default: the plugin's first of the hook.
    pub fn handler(mut self, handler_id: &str) -> Self {
        handler_id.clone_into(&mut self.invocation.handler_id);
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

    /// Changes anything else of the invocation, for instance to ask what the plugin does not know.
    pub fn invocation(mut self, change: impl FnOnce(&mut Invocation, &mut HookCall)) -> Self {
        change(&mut self.invocation, &mut self.hook);
        self
    }

    /// Sends it. Must be called on a runtime.
    pub fn send(self) -> Pending<A> {
        let Self { stage, kind, mut invocation, mut hook, mut event, timeout, answer: _ } = self;
        let deadline = tokio::time::Instant::now() + timeout;
        if invocation.handler_id.is_empty() && kind != Kind::Approval {
            let (_, answer) = oneshot::channel();
            return Pending { id: 0, stage, answer, deadline, kind: PhantomData };
        }
        let (id, answer) = stage.open(kind == Kind::Tool);
        invocation.invocation_id = id;
        invocation.timeout = Some(wire::to_duration(timeout));
        if kind == Kind::Tool {
            invocation.call.get_or_insert(Asked::Tool(ToolCall {
                name: invocation.handler_id.clone(),
                arguments_json: event.to_string().into(),
                tool_call_id: "tool-call-1".to_owned(),
                context_json: hook.context_json,
            }));
        } else {
            let messages = event.as_object_mut().and_then(|event| {
                let history = event.remove("historyMessages");
                event.remove("messages").or(history)
            });
            let wants = |state: &mut super::session::State| {
                let mut hooks = state.register.iter().flat_map(|register| &register.hooks);
                hooks.any(|item| item.handler_id == invocation.handler_id && item.wants_messages)
            };
            if let Some(messages) = messages.filter(|_| stage.with(wants)) {
                hook.messages_json = messages.to_string().into();
            }
            hook.event_json = event.to_string().into();
            let asked = if kind == Kind::Policy { Asked::ToolPolicy } else { Asked::Hook };
            invocation.call.get_or_insert(asked(hook));
        }
        stage.send(SessionResponse { invocations: vec![invocation], ..Default::default() });
        Pending { id, stage, answer, deadline, kind: PhantomData }
    }

    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// There is none, the handler failed, or there is no such handler.
    pub async fn answer(self) -> Result<A, CallError>
    where
        A: Answer,
    {
        self.send().answer().await
    }
}

impl Call<Decision> {
    /// A call of a guard, or of a policy.
    pub(super) fn of_guard(stage: Stage, policy: bool, handler_id: &str) -> Self {
        let hook = HookCall {
            hook: Hook::BeforeToolCall.into(),
            tool_name: "exec".to_owned(),
            tool_call_id: "tool-call-1".to_owned(),
            context_json: "{}".into(),
            ..Default::default()
        };
        let kind = if policy { Kind::Policy } else { Kind::Hook };
        Self::new(stage, kind, handler_id.to_owned(), hook, json!({"toolName": "exec", "params": {}}))
    }

    /// The same question to a policy.
    pub(super) fn for_policy(mut self) -> Self {
        self.kind = Kind::Policy;
        self
    }

    /// The tool. Default: `exec`.
    pub fn tool(mut self, tool: &str) -> Self {
        tool.clone_into(&mut self.hook.tool_name);
        self.event["toolName"] = tool.into();
        self
    }

    /// The tool's parameters, an object. Default: empty.
    pub fn params(mut self, params: Value) -> Self {
        self.event["params"] = params;
        self
    }

    /// The second question, about the final parameters.
    pub fn recheck(mut self) -> Self {
        self.hook.recheck = true;
        self
    }
}

impl Call<ToolAnswer> {
    /// A call of a tool.
    pub(super) fn of_tool(stage: Stage, name: &str, arguments: Value) -> Self {
        let hook = HookCall { context_json: "{}".into(), ..Default::default() };
        Self::new(stage, Kind::Tool, name.to_owned(), hook, arguments)
    }
}

impl Call<()> {
    /// Tells the end of an approval.
    pub(super) fn of_approval(stage: Stage, handler_id: &str, approval: ApprovalCall) -> Self {
        let call = Self::new(stage, Kind::Approval, handler_id.to_owned(), HookCall::default(), json!({}));
        call.invocation(|invocation, _| invocation.call = Some(Asked::Approval(approval)))
    }
}

/// A call that was sent.
pub struct Pending<A = Decision> {
    id: u64,
    stage: Stage,
    answer: oneshot::Receiver<Outcome>,
    deadline: tokio::time::Instant,
    kind: PhantomData<fn() -> A>,
}

impl<A> Pending<A> {
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
        answered.map_err(|_| if self.id == 0 { CallError::NoHandler } else { CallError::SessionEnded })
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// There is none, the handler failed, or there is no such handler.
    pub async fn answer(self) -> Result<A, CallError>
    where
        A: Answer,
    {
        match self.outcome().await? {
            Outcome::Failed(failed) => Err(CallError::Failed { reason: failed.reason(), message: failed.message }),
            outcome => A::from_outcome(outcome).ok_or(CallError::Unfitting),
        }
    }
}

impl Pending<Decision> {
    /// As [`answer`](Self::answer).
    ///
    /// # Errors
    /// As `answer`.
    pub async fn decision(self) -> Result<Decision, CallError> {
        self.answer().await
    }
}

impl Pending<ToolAnswer> {
    /// The progress so far, oldest first.
    #[must_use]
    pub fn progress(&self) -> Vec<ToolProgress> {
        self.stage.with(|state| state.progress.get(&self.id).cloned().unwrap_or_default())
    }

    /// Waits until the tool has told of its progress so many times.
    pub async fn progressed(&self, times: usize) -> Vec<ToolProgress> {
        let enough = |told: &&Vec<ToolProgress>| told.len() >= times;
        self.stage.wait("progress", |state| state.progress.get(&self.id).filter(enough).cloned()).await
    }
}
