//! A plugin that follows a script: the generated client over a connection in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::plugin_service_client::PluginServiceClient;
use outrigger_proto::types::v1 as types;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{FakeLaunch, FakeTree};
use crate::domain::launch::ExitStatus;

/// One thing the supervisor said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Call(Box<wire::Invocation>),
    Cancel(wire::Cancel),
    Control(wire::session_response::Control),
}

/// The plugin's side of a Session.
pub(crate) struct Talk {
    pub(crate) channel: Channel,
    /// `None` once the sending side is closed.
    pub(crate) out: Option<mpsc::Sender<wire::SessionRequest>>,
    inbound: Streaming<wire::SessionResponse>,
    heard: VecDeque<Heard>,
    /// Pings are answered by `next` itself.
    pub(crate) pongs: bool,
}

impl Talk {
    /// Opens a Session on a connection.
    pub(crate) async fn open(channel: Channel) -> Result<Self, Status> {
        let (out, requests) = mpsc::channel(64);
        let mut client = PluginServiceClient::new(channel.clone());
        let inbound = client.session(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Self { channel, out: Some(out), inbound, heard: VecDeque::new(), pongs: true })
    }

    /// Sends a message.
    pub(crate) async fn say(&self, message: wire::SessionRequest) {
        // Where the stream has ended the test sees it by what it hears.
        if let Some(out) = &self.out {
            let _ = out.send(message).await;
        }
    }

    /// Sends a control frame.
    pub(crate) async fn control(&self, control: wire::session_request::Control) {
        self.say(wire::SessionRequest { control: Some(control), ..Default::default() }).await;
    }

    /// Answers one invocation.
    pub(crate) async fn answer(&self, invocation_id: u64, outcome: impl Into<Option<Outcome>>) {
        let result = wire::InvocationResult { invocation_id, outcome: outcome.into() };
        self.say(wire::SessionRequest { results: vec![result], ..Default::default() }).await;
    }

    /// What the supervisor says next. `None`: the stream has ended with OK.
    pub(crate) async fn next(&mut self) -> Result<Option<Heard>, Status> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                if self.pongs
                    && let Heard::Control(wire::session_response::Control::Ping(ping)) = &heard
                {
                    let pong = wire::Pong { ping_id: ping.ping_id };
                    self.control(wire::session_request::Control::Pong(pong)).await;
                    continue;
                }
                return Ok(Some(heard));
            }
            let Some(message) = self.inbound.message().await? else { return Ok(None) };
            self.heard.extend(message.invocations.into_iter().map(Box::new).map(Heard::Call));
            self.heard.extend(message.cancels.into_iter().map(Heard::Cancel));
            self.heard.extend(message.control.map(Heard::Control));
        }
    }

    /// The next invocation; whatever else comes first is a failure of the test.
    pub(crate) async fn call(&mut self) -> wire::Invocation {
        match self.next().await {
            Ok(Some(Heard::Call(invocation))) => *invocation,
            other => unreachable!("an invocation was due: {other:?}"),
        }
    }

    /// The status the stream ends with, whatever comes before.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    pub(crate) async fn hello(&mut self, token: &str) -> Result<wire::Welcome, Status> {
        let protocol = Some(types::ProtocolRange { min: 1, max: 1 });
        let hello = wire::Hello { token: token.to_owned(), protocol, sdk: "test".to_owned(), ..Default::default() };
        self.hello_with(hello).await
    }

    pub(crate) async fn hello_with(&mut self, hello: wire::Hello) -> Result<wire::Welcome, Status> {
        self.control(wire::session_request::Control::Hello(hello)).await;
        match self.next().await? {
            Some(Heard::Control(wire::session_response::Control::Welcome(welcome))) => Ok(*welcome),
            other => unreachable!("Welcome was due: {other:?}"),
        }
    }

    pub(crate) async fn register(&mut self, register: wire::Register) -> Result<wire::Registered, Status> {
        self.control(wire::session_request::Control::Register(register)).await;
        match self.next().await? {
            Some(Heard::Control(wire::session_response::Control::Registered(registered))) => Ok(registered),
            other => unreachable!("Registered was due: {other:?}"),
        }
    }

    /// Answers every invocation by a function, pings too, and exits when it is asked to. Runs until the stream ends.
    pub(crate) fn serve(
        mut self,
        tree: &Arc<FakeTree>,
        mut answer: impl FnMut(&wire::Invocation) -> Option<Outcome> + Send + 'static,
    ) -> Called {
        let (called, tree) = (Called::default(), Arc::clone(tree));
        let calls = called.clone();
        tokio::spawn(async move {
            while let Ok(Some(heard)) = self.next().await {
                match heard {
                    Heard::Call(invocation) => {
                        let id = invocation.invocation_id;
                        let outcome = answer(&invocation);
                        calls.0.lock().unwrap_or_else(PoisonError::into_inner).push(*invocation);
                        if let Some(outcome) = outcome {
                            self.answer(id, outcome).await;
                        }
                    }
                    Heard::Cancel(cancel) => {
                        calls.1.lock().unwrap_or_else(PoisonError::into_inner).push(cancel);
                    }
                    Heard::Control(wire::session_response::Control::Shutdown(_)) => tree.die(ExitStatus::Exited(0)),
                    Heard::Control(control) => {
                        calls.2.lock().unwrap_or_else(PoisonError::into_inner).push(control);
                    }
                }
            }
        });
        called
    }
}

/// What a serving plugin was asked and told.
#[derive(Clone, Default)]
pub(crate) struct Called(
    Arc<Mutex<Vec<wire::Invocation>>>,
    Arc<Mutex<Vec<wire::Cancel>>>,
    Arc<Mutex<Vec<wire::session_response::Control>>>,
);

impl Called {
    pub(crate) fn calls(&self) -> Vec<wire::Invocation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn cancels(&self) -> Vec<wire::Cancel> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn controls(&self) -> Vec<wire::session_response::Control> {
        self.2.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl FakeLaunch {
    /// Dials and says hello.
    pub(crate) async fn welcomed(&self) -> (Talk, wire::Welcome) {
        let (channel, _) = self.dial().await;
        let mut talk = Talk::open(channel).await.expect("a Session can be opened");
        let welcome = talk.hello(&self.plan.token).await.expect("the token is good");
        (talk, welcome)
    }

    /// Dials, says hello and registers.
    pub(crate) async fn registered(&self, register: wire::Register) -> Talk {
        let (mut talk, _) = self.welcomed().await;
        talk.register(register).await.expect("it may register");
        talk
    }

    /// A plugin with one handler `h` for all tools that answers by a function.
    pub(crate) async fn serves(
        &self,
        answer: impl FnMut(&wire::Invocation) -> Option<Outcome> + Send + 'static,
    ) -> Called {
        self.registered(register(vec![hook("h", &[])])).await.serve(&self.tree, answer)
    }
}

/// A handler of `before_tool_call`.
pub(crate) fn hook(id: &str, tools: &[&str]) -> wire::HookRegistration {
    wire::HookRegistration {
        handler_id: id.to_owned(),
        hook: types::Hook::BeforeToolCall as i32,
        tool_names: tools.iter().map(|tool| (*tool).to_owned()).collect(),
        ..Default::default()
    }
}

/// A registration of hooks.
pub(crate) fn register(hooks: Vec<wire::HookRegistration>) -> wire::Register {
    wire::Register { hooks, ..Default::default() }
}

/// No opinion.
pub(crate) fn allow() -> Outcome {
    Outcome::Declined(wire::Declined {})
}

fn decided(decision: types::tool_call_decision::Decision) -> Outcome {
    let tool_call = types::ToolCallDecision { decision: Some(decision) };
    Outcome::Hook(types::HookResult { result: Some(types::hook_result::Result::ToolCall(tool_call)) })
}

/// A block.
pub(crate) fn block(reason: &str) -> Outcome {
    let block = types::Block { reason: reason.to_owned(), ..Default::default() };
    decided(types::tool_call_decision::Decision::Block(block))
}

/// Other parameters.
pub(crate) fn params(json: &str) -> Outcome {
    let params_json = Bytes::copy_from_slice(json.as_bytes());
    decided(types::tool_call_decision::Decision::Proceed(types::Proceed { params_json, approval: None }))
}

/// An answer that no hook has.
pub(crate) fn of_another_kind() -> Outcome {
    Outcome::Command(wire::CommandResult::default())
}

/// A failure of the handler.
pub(crate) fn failed(message: &str) -> Outcome {
    Outcome::Failed(wire::Failed { reason: wire::FailureReason::Error as i32, message: message.to_owned() })
}
