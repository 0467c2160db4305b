//! A host for a plugin's own tests.
//!
//! [`TestHost`] speaks the real protocol with a plugin: in the same process over an in-memory connection
//! ([`TestHost::start`]), or with a program over a Unix socket ([`Builder::spawn`]). It welcomes the plugin, accepts
//! what it registers, calls its handlers, and answers **every** host call with a sound default answer, so that a test
//! writes down only what it is about.
//!
//! ```
//! use outrigger_sdk::testkit::TestHost;
//! use outrigger_sdk::{Context, Decision, Plugin, ToolCall};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plugin = Plugin::new()
//!     .before_tool_call("guard", |_: ToolCall, _: Context| async { Ok(Decision::block("no")) })
//!     .tools(["exec"]);
//! let host = TestHost::start(plugin).await?;
//! assert!(host.before_tool_call("exec", json!({"command": "ls"})).await?.is_block());
//! host.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`TestHost::hook`] calls a handler of any hook and has the answer in its type, [`TestHost::tool`] calls a tool,
//! [`TestHost::publish`] publishes an event, and [`TestHost::replay`] plays a recorded [`Trace`].
//!
//! What it does not do: it queues nothing (a real supervisor holds back what a plugin cannot take), sends pings only
//! when asked to, has no rights to check, and holds no arguments of tools to their schema.
//!
//! Every wait ends after [`LIMIT`], with a panic that says what was waited for: in a test that is a failure.

mod builder;
mod call;
mod calls;
mod defaults;
mod events;
mod process;
mod registered;
mod replay;
mod session;

use std::any::Any;
use std::time::Duration;

use outrigger_proto::plugin::v1::session_response::Control;
use outrigger_proto::plugin::v1::{
    ApprovalCall, Drain, EventsRequest, GrantsChanged, Notice, Ping, Register, SessionResponse, Shutdown, StopReason,
};
use outrigger_proto::types::v1::{AgentEvent, Hook, RefusalReason, ScopeGrant};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;
use tonic::Status;

pub use builder::Builder;
pub use call::{Call, CallError, Pending};
pub use calls::Upload;
pub use replay::{Counts, Replayed, Trace, TraceError};

use crate::answer::{Decision, Proceed};
use crate::error::{Error, Result};
use crate::hooks;
use crate::host::HostCall;
use crate::item::Item;
use crate::plugin::Plugin;
use crate::tool::ToolAnswer;
use crate::wire;

use builder::Server;
use calls::Calls;
use events::Fate;
use process::Process;
use registered::{handlers_of, policies_of};
use session::Stage;

/// How long anything is waited for.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The host of one plugin. Dropping it ends the connection, and kills the program it started.
pub struct TestHost {
    stage: Stage,
    calls: Calls,
    run: Run,
    server: Server,
}

/// What runs on the other side.
enum Run {
    /// A plugin in this process. `None`: its end was told already.
    Task(Option<JoinHandle<Result<()>>>),
    /// A program.
    Process(Box<Process>),
}

impl TestHost {
    /// Runs a plugin in this process until it is registered, with an empty configuration. See [`TestHost::builder`] for
    /// another one.
    ///
    /// # Errors
    /// What ended the plugin's run before it was registered.
    pub async fn start<S: Send + Sync + 'static, L: Item<S>>(plugin: Plugin<S, L>) -> Result<Self> {
        Self::builder().start(plugin).await
    }

    /// Sets what the plugin is welcomed with, and starts it.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// What the plugin registered.
    ///
    /// # Panics
    /// It registered nothing, which no host that was started does.
    #[must_use]
    pub fn registered(&self) -> Register {
        self.stage.with(|state| state.register.clone()).expect("a started plugin is registered")
    }

    /// Asks the plugin's policies and guards for a tool as a supervisor does: policies first, each with what the one before
    /// left, then guards by priority, until one blocks. The decision is the block, or else what all of them come to:
    /// policies replace the parameters, guards are merged over them key by key, and the first question to a person counts.
    /// After it later parameters do not.
    ///
    /// # Errors
    /// One of them failed or the session ended, which blocks; or none wants this tool.
    pub async fn before_tool_call(&self, tool: &str, params: Value) -> std::result::Result<Decision, CallError> {
        let register = self.registered();
        let policies = policies_of(Some(&register), tool).into_iter().map(|policy| (true, policy));
        let guards = handlers_of(Some(&register), Hook::BeforeToolCall, tool).into_iter().map(|guard| (false, guard));
        let asked: Vec<_> = policies.chain(guards).collect();
        if asked.is_empty() {
            return Err(CallError::NoHandler);
        }
        let (mut merged, mut seen, mut silent) = (Proceed::default(), params.clone(), true);
        for (is_policy, handler) in asked {
            let call = Call::of_guard(self.stage.clone(), is_policy, &handler.handler_id);
            let proceed = match call.tool(tool).params(seen.clone()).answer().await? {
                Decision::Declined => continue,
                block @ Decision::Block { .. } => return Ok(block),
                Decision::Proceed(proceed) => proceed,
            };
            silent = false;
            if let Some(new) = proceed.params.filter(|_| merged.approval.is_none()) {
                let now: &mut Map<_, _> =
                    merged.params.get_or_insert_with(|| params.as_object().cloned().unwrap_or_default());
                if is_policy {
                    seen = Value::Object(new.clone());
                    *now = new;
                } else {
                    now.extend(new);
                }
            }
            merged.approval = merged.approval.or(proceed.approval);
        }
        Ok(if silent { Decision::Declined } else { Decision::Proceed(merged) })
    }

    /// A call of one guard, to be filled in and sent.
    pub fn call(&self, handler_id: &str) -> Call {
        Call::of_guard(self.stage.clone(), false, handler_id)
    }

    /// A call of one trusted tool policy, to be filled in and sent.
    pub fn policy(&self, handler_id: &str) -> Call {
        Call::of_guard(self.stage.clone(), true, handler_id)
    }

    /// A call of the plugin's first handler of a hook, with this event, an object. Its `messages` or `historyMessages`
    /// travel apart, to a handler that wants them.
    pub fn hook<E, A>(&self, hook: hooks::Hook<E, A>, event: Value) -> Call<A> {
        Call::of_hook(self.stage.clone(), hook.wire(), event)
    }

    /// A call of a tool with these arguments, an object.
    pub fn tool(&self, name: &str, arguments: Value) -> Call<ToolAnswer> {
        Call::of_tool(self.stage.clone(), name, arguments)
    }

    /// Tells the end of an approval that this handler asked for; an empty id: none did.
    pub fn approval_ended(&self, handler_id: &str, approval: ApprovalCall) -> Call<()> {
        Call::of_approval(self.stage.clone(), handler_id, approval)
    }

    /// Publishes an event of the run `run-1` in session `agent:main:main`, and tells its number. The plugin gets it if it
    /// has subscribed to it, when it has credits.
    pub fn publish(&self, stream: &str, data: Value) -> u64 {
        self.publish_event(some_event(stream, &data))
    }

    /// Publishes an event, and tells its number.
    pub fn publish_event(&self, event: AgentEvent) -> u64 {
        self.publish_as(event, false, Fate::Delivered)
    }

    /// As [`publish_event`](Self::publish_event), marked as sent before to another generation.
    pub fn redeliver_event(&self, event: AgentEvent) -> u64 {
        self.publish_as(event, true, Fate::Delivered)
    }

    /// Publishes an event that the plugin misses, as if its queue were full: a gap is told, and what is missing comes when
    /// the plugin asks for it.
    pub fn publish_missed(&self, stream: &str, data: Value) -> u64 {
        self.publish_as(some_event(stream, &data), false, Fate::Missed)
    }

    /// Publishes an event that nobody has any more: a gap is told, and asking does not help.
    pub fn publish_lost(&self, stream: &str, data: Value) -> u64 {
        self.publish_as(some_event(stream, &data), false, Fate::Gone)
    }

    fn publish_as(&self, event: AgentEvent, redelivered: bool, fate: Fate) -> u64 {
        self.stage.with(|state| state.events.publish(event, redelivered, fate))
    }

    /// The highest number of an event the plugin acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.stage.with(|state| state.events.acknowledged())
    }

    /// Waits until the plugin has acknowledged this event.
    pub async fn acknowledged_up_to(&self, seq: u64) {
        self.stage.wait("an acknowledgement", |state| (state.events.acknowledged() >= seq).then_some(())).await;
    }

    /// The requests by which the plugin opened its stream of events so far, oldest first.
    #[must_use]
    pub fn event_requests(&self) -> Vec<EventsRequest> {
        self.stage.with(|state| state.events.requests.clone())
    }

    /// Waits until the plugin has opened its stream of events so many times.
    pub async fn events_opened(&self, times: usize) {
        self.stage.wait("a request for events", |state| (state.events.requests.len() >= times).then_some(())).await;
    }

    /// Ends the stream of events: with a status, or in order as at a planned reload.
    pub fn end_events(&self, status: Option<Status>) {
        self.stage.with(|state| state.events.end(status));
    }

    /// Sends a ping and waits for its pong.
    pub async fn ping(&self) {
        let ping_id = self.stage.with(|state| {
            state.pings += 1;
            state.pings
        });
        self.say(Control::Ping(Ping { ping_id }));
        self.stage.wait("a pong", |state| (state.pongs >= ping_id).then_some(())).await;
    }

    /// Announces that no more calls follow. Calls may follow all the same, to see what becomes of them.
    pub fn drain(&self, reason: StopReason) {
        let timeout = Some(wire::to_duration(Duration::from_secs(5)));
        self.say(Control::Drain(Drain { reason: reason.into(), timeout, last_event_seq: 0 }));
    }

    /// Asks the plugin to exit within 3 s, and waits until its run has ended.
    ///
    /// # Errors
    /// What the plugin's run returned; for a program, that its status is not 0.
    pub async fn shutdown(self) -> Result<()> {
        self.shutdown_within(Duration::from_secs(3)).await
    }

    /// As [`shutdown`](Self::shutdown), within this time.
    ///
    /// # Errors
    /// As `shutdown`.
    pub async fn shutdown_within(mut self, timeout: Duration) -> Result<()> {
        self.ask_to_exit(timeout);
        self.ended().await
    }

    /// Asks the plugin to exit within this time, and does not wait for it.
    pub fn ask_to_exit(&self, timeout: Duration) {
        let timeout = Some(wire::to_duration(timeout));
        self.say(Control::Shutdown(Shutdown { reason: StopReason::Stop.into(), timeout }));
    }

    /// Tells the plugin something.
    pub fn notice(&self, notice: Notice) {
        self.say(Control::Notice(notice));
    }

    /// Changes the plugin's rights.
    pub fn change_grants(&self, grants: Vec<ScopeGrant>) {
        self.say(Control::GrantsChanged(GrantsChanged { grants, withdrawn: Vec::new() }));
    }

    /// Ends the session as a supervisor that gives up on the plugin: with a status, or without one.
    pub fn end_session(&self, status: Option<Status>) {
        self.stage.end(status);
    }

    /// Ends the connection without a word, as a supervisor that was killed.
    pub fn vanish(&self) {
        self.server.cut();
    }

    /// Waits until the plugin's run has ended by itself. Cancel safe.
    ///
    /// # Errors
    /// What it returned; for a program, that its status is not 0, with its last lines.
    ///
    /// # Panics
    /// The plugin panicked, its end was asked for twice, or it does not end.
    pub async fn ended(&mut self) -> Result<()> {
        match &mut self.run {
            Run::Task(run) => {
                let task = run.as_mut().expect("the end of a run is told once");
                let ended = tokio::time::timeout(LIMIT, task).await.expect("the plugin ends");
                *run = None;
                ended.expect("the plugin's run does not panic")
            }
            Run::Process(process) => {
                let status = process.wait().await;
                let output = process.stderr();
                if status.success() { Ok(()) } else { Err(Error::SessionEnded(format!("{status}: {output}"))) }
            }
        }
    }

    /// What the program wrote to standard error so far, at most the last 64 KiB. Empty for a plugin in this process.
    #[must_use]
    pub fn stderr(&self) -> String {
        match &self.run {
            Run::Task(_) => String::new(),
            Run::Process(process) => process.stderr(),
        }
    }

    /// The program's process id; `None` for a plugin in this process, or when it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.run {
            Run::Task(_) => None,
            Run::Process(process) => process.id(),
        }
    }

    /// Answers that came after their call was cancelled. A supervisor drops them.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.stage.with(|state| state.late)
    }

    /// Rules of the protocol the plugin broke, in words. A supervisor ends the session for them.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.stage.with(|state| state.violations.clone())
    }

    /// Refuses a host call from now on, for instance `host.refuse::<ScheduleTurnRequest>(RefusalReason::NotGranted)`.
    ///
    /// # Panics
    /// `WriteLogs` has no way to be refused.
    pub fn refuse<R: HostCall>(&self, reason: RefusalReason) {
        self.calls.refuse::<R>(reason);
    }

    /// Refuses uploads from now on.
    pub fn refuse_uploads(&self, reason: RefusalReason) {
        self.calls.refuse_uploads(reason);
    }

    /// Answers a host call in the test's own way from now on.
    pub fn answer<R: HostCall + Sync>(&self, answer: impl Fn(&R) -> R::Response + Send + Sync + 'static) {
        self.calls.answer_by::<R>(Box::new(move |request: &dyn Any| {
            let request = request.downcast_ref::<R>().expect("answers are kept by the request's type");
            Box::new(answer(request))
        }));
    }

    /// The requests of one host call so far, oldest first; of all calls the last 10,000 are kept.
    #[must_use]
    pub fn requests<R: HostCall + Clone + Sync>(&self) -> Vec<R> {
        self.calls.requests()
    }

    /// Names of all host calls so far, oldest first.
    #[must_use]
    pub fn host_calls(&self) -> Vec<&'static str> {
        self.calls.names()
    }

    /// Files uploaded so far.
    #[must_use]
    pub fn uploads(&self) -> Vec<Upload> {
        self.calls.uploads()
    }

    fn say(&self, control: Control) {
        self.stage.send(SessionResponse { control: Some(control), ..Default::default() });
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if let Run::Task(Some(task)) = &self.run {
            task.abort();
        }
    }
}

/// An event of a run.
fn some_event(stream: &str, data: &Value) -> AgentEvent {
    AgentEvent {
        run_id: "run-1".to_owned(),
        stream: stream.to_owned(),
        data_json: data.to_string().into(),
        session_key: "agent:main:main".to_owned(),
        agent_id: "main".to_owned(),
        ..Default::default()
    }
}
