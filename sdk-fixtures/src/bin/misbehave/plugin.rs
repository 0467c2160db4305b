//! The plugin's side of a session: behaves well, and asks [`strike`] at every point where a fault may
//! have its turn.

use std::path::PathBuf;
use std::{env, process, thread, time::Duration};

use outrigger_fixtures::faults::Phase;
use outrigger_proto::plugin::v1::invocation::Call;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::session_request::Control as ToHost;
use outrigger_proto::plugin::v1::session_response::Control as FromHost;
use outrigger_proto::plugin::v1::{
    Declined, Hello, HookRegistration, Invocation, InvocationResult, Pong, Register, SessionRequest, SessionResponse,
    Welcome,
};
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::tool_call_decision::Decision;
use outrigger_proto::types::v1::{Block, Hook, HookResult, ProtocolRange, ToolCallDecision};
use tokio::sync::mpsc;

use crate::arguments::Arguments;
use crate::identity;
use crate::link::{Failure, Link, describe};
use crate::report::report;
use crate::strike::{self, After};

/// Messages that may wait for the connection.
const OUT: usize = 64;

/// One launch.
pub(crate) struct Plugin {
    pub(crate) arguments: Arguments,
    pub(crate) socket: PathBuf,
    pub(crate) token: String,
    pub(crate) link: Link,
    /// Where messages go; `None` once this side is closed.
    pub(crate) out: Option<mpsc::Sender<SessionRequest>>,
    pub(crate) welcome: Welcome,
    /// Invocations that are answered later.
    pub(crate) held: Vec<Invocation>,
    /// Drain, Shutdown and the end of the session are ignored.
    pub(crate) stubborn: bool,
    /// A host call is made when the session has ended.
    pub(crate) calls_late: bool,
    registered: bool,
    struck: bool,
}

impl Plugin {
    /// Connects.
    pub(crate) async fn connect(arguments: Arguments) -> Result<Self, Failure> {
        let socket = PathBuf::from(env::var_os("OUTRIGGER_SOCKET").ok_or("OUTRIGGER_SOCKET is not set")?);
        let token = env::var("OUTRIGGER_TOKEN").map_err(|_| "OUTRIGGER_TOKEN is not set")?;
        strike::before_connecting(&arguments, &socket).await?;
        let link = Link::open(&socket).await?;
        Ok(Self {
            arguments,
            socket,
            token,
            link,
            out: None,
            welcome: Welcome::default(),
            held: Vec::new(),
            stubborn: false,
            calls_late: false,
            registered: false,
            struck: false,
        })
    }

    /// Speaks until the session ends; the process's exit status.
    pub(crate) async fn run(mut self) -> Result<i32, Failure> {
        if self.strikes_on_connecting() {
            self.strike(Phase::Starting, None).await?;
        }
        let (out, requests) = mpsc::channel(OUT);
        self.out = Some(out);
        let first = strike::first_message(&self);
        self.send(first).await;
        if self.arguments.is("exit-after-hello") {
            // What is sent and closed at once may never be seen: wait until the host has begun to answer, with or
            // without Welcome.
            let seen = async { tokio::join!(self.link.session(requests), self.link.tap.message_left()) };
            let _ = tokio::time::timeout(Duration::from_secs(1), seen).await;
            self.strike(Phase::Starting, None).await?;
            return Err("it lives on".into());
        }
        let end = match self.link.session(requests).await {
            Ok(mut session) => loop {
                match session.message().await {
                    Ok(Some(frame)) => self.frame(frame).await?,
                    Ok(None) => break "ok".to_owned(),
                    Err(status) => break describe(&status),
                }
            },
            Err(status) => describe(&status),
        };
        if self.stubborn {
            report!("the session ended and is ignored: {end}");
            live_on();
        }
        if self.calls_late {
            report!("late host call: {}", self.link.probe(None).await);
        }
        let asked = self.out.is_none();
        if !asked {
            report!("the session ended: {end}");
        }
        Ok(i32::from(!asked))
    }

    /// Sends a message. One that cannot be sent any more is lost; the session's end tells why.
    pub(crate) async fn send(&self, message: SessionRequest) {
        if let Some(out) = &self.out {
            let _ = out.send(message).await;
        }
    }

    /// Sends a control frame.
    pub(crate) async fn control(&self, control: ToHost) {
        self.send(SessionRequest { control: Some(control), ..SessionRequest::default() }).await;
    }

    /// Answers an invocation.
    pub(crate) async fn answer(&self, invocation_id: u64, outcome: Option<Outcome>) {
        let results = vec![InvocationResult { invocation_id, outcome }];
        self.send(SessionRequest { results, ..SessionRequest::default() }).await;
    }

    async fn frame(&mut self, frame: SessionResponse) -> Result<(), Failure> {
        for invocation in frame.invocations {
            self.invocation(invocation).await?;
        }
        for cancel in frame.cancels {
            let held = self.held.iter().position(|held| held.invocation_id == cancel.invocation_id);
            if let Some(index) = held {
                let invocation = self.held.swap_remove(index);
                self.finish(invocation).await;
            }
        }
        match frame.control {
            Some(FromHost::Welcome(welcome)) => {
                self.welcome = *welcome;
                if !self.strikes_on_connecting() {
                    self.strike(Phase::Starting, None).await?;
                }
                if self.stubborn {
                    return Ok(());
                }
                let register = identity::registration(&self.arguments);
                self.control(ToHost::Register(register)).await;
            }
            Some(FromHost::Registered(registered)) => {
                for verdict in registered.verdicts.iter().take(3) {
                    report!("verdict on {}: {:?}", verdict.id, verdict.reason());
                }
                if !std::mem::replace(&mut self.registered, true) {
                    self.strike(Phase::Idle, None).await?;
                }
            }
            Some(FromHost::Ping(ping)) => self.control(ToHost::Pong(Pong { ping_id: ping.ping_id })).await,
            Some(FromHost::Drain(_)) if !self.stubborn => self.drain().await?,
            Some(FromHost::Shutdown(_)) if !self.stubborn => {
                for invocation in std::mem::take(&mut self.held) {
                    self.finish(invocation).await;
                }
                self.out = None;
            }
            _ => {}
        }
        Ok(())
    }

    async fn invocation(&mut self, invocation: Invocation) -> Result<(), Failure> {
        let holds = self.arguments.when == Phase::Draining
            && self.arguments.fault.is_some_and(|fault| fault.is_about_an_answer());
        if holds || asks(&invocation, "hold") {
            report!("holds invocation {}", invocation.invocation_id);
            self.held.push(invocation);
            return Ok(());
        }
        if self.strike(Phase::Hook, Some(&invocation)).await? == After::Continue {
            self.answer(invocation.invocation_id, Some(decide(&invocation))).await;
        }
        Ok(())
    }

    /// Strikes once for each held invocation, or once if there is none, and answers what is left.
    async fn drain(&mut self) -> Result<(), Failure> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            self.strike(Phase::Draining, None).await?;
        }
        for invocation in held {
            if self.strike(Phase::Draining, Some(&invocation)).await? == After::Continue {
                self.answer(invocation.invocation_id, Some(decide(&invocation))).await;
            }
        }
        Ok(())
    }

    /// Answers an invocation that was held until it was cancelled, or until Shutdown.
    async fn finish(&self, invocation: Invocation) {
        if self.arguments.is("answer-late") {
            report!("answers invocation {} late", invocation.invocation_id);
            self.answer(invocation.invocation_id, Some(block("misbehave: too late"))).await;
        } else if !self.arguments.is("never-answer") {
            self.answer(invocation.invocation_id, Some(Outcome::Declined(Declined {}))).await;
        }
    }

    /// A fault that strikes when starting does so before Hello, not after Welcome.
    fn strikes_on_connecting(&self) -> bool {
        self.arguments.is("exit-before-hello") || self.arguments.options.get("point").is_some_and(|at| at == "connect")
    }

    /// Lets the fault have its turn if this is when. Faults of an answer come each time, others once.
    async fn strike(&mut self, phase: Phase, invocation: Option<&Invocation>) -> Result<After, Failure> {
        let Some(fault) = self.arguments.fault.filter(|_| self.arguments.when == phase) else {
            return Ok(After::Continue);
        };
        let repeats = invocation.is_some() && (fault.is_about_an_answer() || fault.name.ends_with("-json"));
        if std::mem::replace(&mut self.struck, true) && !repeats {
            return Ok(After::Continue);
        }
        match strike::strike(self, fault.name, invocation).await? {
            After::LiveOn => live_on(),
            After::Exit(status) => process::exit(status),
            after => Ok(after),
        }
    }
}

/// The well-behaved Hello.
pub(crate) fn hello(token: &str) -> SessionRequest {
    let hello = Hello {
        token: token.to_owned(),
        protocol: Some(ProtocolRange { min: 1, max: 1 }),
        sdk: "rust/misbehave".to_owned(),
        ..Hello::default()
    };
    SessionRequest { control: Some(ToHost::Hello(hello)), ..SessionRequest::default() }
}

/// The well-behaved Register: one guard.
pub(crate) fn register(tools: &[String]) -> Register {
    let guard = HookRegistration {
        handler_id: "guard".to_owned(),
        hook: Hook::BeforeToolCall as i32,
        tool_names: tools.to_vec(),
        ..HookRegistration::default()
    };
    Register { hooks: vec![guard], ..Register::default() }
}

/// A no to a tool call.
pub(crate) fn block(reason: &str) -> Outcome {
    let decision = Decision::Block(Block { reason: reason.to_owned(), ..Block::default() });
    hook_answer(Shape::ToolCall(ToolCallDecision { decision: Some(decision) }))
}

/// The answer to a hook.
pub(crate) fn hook_answer(shape: Shape) -> Outcome {
    Outcome::Hook(HookResult { result: Some(shape) })
}

/// Blocks where the parameters ask for it, otherwise has no opinion.
fn decide(invocation: &Invocation) -> Outcome {
    if asks(invocation, "block") { block("misbehave: asked to block") } else { Outcome::Declined(Declined {}) }
}

/// The tool call's parameters have `key` as true.
fn asks(invocation: &Invocation, key: &str) -> bool {
    let Some(Call::Hook(call)) = &invocation.call else { return false };
    serde_json::from_slice::<serde_json::Value>(&call.event_json)
        .is_ok_and(|event| event["params"][key] == serde_json::Value::Bool(true))
}

/// Does nothing more, on any task of this process; ends by the alarm that was set before the strike.
pub(crate) fn live_on() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
