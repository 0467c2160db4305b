//! The host's side of the session.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use outrigger_proto::plugin::v1::host_service_server::HostServiceServer;
use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::plugin_service_server::{PluginService, PluginServiceServer};
use outrigger_proto::plugin::v1::session_request::Control as Heard;
use outrigger_proto::plugin::v1::session_response::Control as Say;
use outrigger_proto::plugin::v1::{
    Cancel, CancelReason, EventsRequest, EventsResponse, Fatal, HandlerOptions, Hello, InvocationProgress, Register,
    Registered, SessionRequest, SessionResponse, Verdict, VerdictReason, Welcome,
};
use outrigger_proto::types::v1::{ErrorReason, ItemKind, ToolProgress};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::codegen::{BoxFuture, BoxStream, Service as TowerService};
use tonic::{Code, Request, Response, Status, Streaming};

use super::LIMIT;
use super::builder::{Builder, TOKEN};
use super::calls::Calls;
use super::events::Events;
use crate::error_info;

/// What both sides of the test see of the session.
#[derive(Clone)]
pub(super) struct Stage(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) register: Option<Register>,
    pub(super) pings: u64,
    pub(super) pongs: u64,
    pub(super) late: u64,
    pub(super) violations: Vec<String>,
    /// Progress of tool calls, by invocation.
    pub(super) progress: HashMap<u64, Vec<ToolProgress>>,
    pub(super) events: Events,
    /// Bounded by what the test itself sends.
    outbound: Option<mpsc::UnboundedSender<Result<SessionResponse, Status>>>,
    invocations: u64,
    open: HashMap<u64, Open>,
    ended: bool,
}

struct Open {
    answer: oneshot::Sender<Outcome>,
    cancelled: bool,
    is_tool: bool,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::new(State::default()), changed: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads or changes the state; whoever waits looks again.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let value = look(&mut self.lock());
        self.0.changed.notify_waiters();
        value
    }

    /// Waits until the state has something.
    #[expect(clippy::panic, reason = "a test that waits for what does not come has failed")]
    pub(super) async fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.0.changed.notified();
                let found = look(&mut self.lock());
                if let Some(found) = found {
                    return found;
                }
                changed.await;
            }
        };
        let waited = timeout(LIMIT, waiting).await;
        waited.unwrap_or_else(|_| panic!("the plugin did not send {what} within {LIMIT:?}"))
    }

    pub(super) fn send(&self, message: SessionResponse) {
        if let Some(outbound) = &self.lock().outbound {
            // A plugin that is gone hears nothing more.
            let _ = outbound.send(Ok(message));
        }
    }

    /// A number for a call, and where its answer will come.
    pub(super) fn open(&self, is_tool: bool) -> (u64, oneshot::Receiver<Outcome>) {
        let (answer, answered) = oneshot::channel();
        self.with(|state| {
            state.invocations += 1;
            // After the end of the session the sender is dropped at once, and the receiver is told.
            if !state.ended {
                state.open.insert(state.invocations, Open { answer, cancelled: false, is_tool });
            }
            (state.invocations, answered)
        })
    }

    /// Cancels a call that has no answer yet.
    pub(super) fn cancel(&self, invocation_id: u64, reason: CancelReason) {
        let open = self.with(|state| state.open.get_mut(&invocation_id).map(|open| open.cancelled = true));
        if open.is_some() {
            let cancels = vec![Cancel { invocation_id, reason: reason.into() }];
            self.send(SessionResponse { cancels, ..Default::default() });
        }
    }

    /// Ends the session: every call without an answer fails.
    pub(super) fn end(&self, status: Option<Status>) {
        self.with(|state| {
            if let (Some(outbound), Some(status)) = (&state.outbound, status) {
                let _ = outbound.send(Err(status));
            }
            state.outbound = None;
            state.events.end(None);
            state.ended = true;
            state.open.clear();
        });
    }

    fn answered(&self, invocation_id: u64, outcome: Option<Outcome>) {
        self.with(|state| match (state.open.remove(&invocation_id), outcome) {
            (None, _) if invocation_id == 0 || invocation_id > state.invocations => {
                state.violations.push(format!("an answer to {invocation_id}, which was never given"));
            }
            (None, _) => state.violations.push(format!("a second answer to {invocation_id}")),
            (Some(_), None) => state.violations.push(format!("an empty answer to {invocation_id}")),
            (Some(open), Some(outcome)) => {
                state.late += u64::from(open.cancelled);
                // The test may have lost interest.
                let _ = open.answer.send(outcome);
            }
        });
    }
}

impl State {
    /// Takes progress as a supervisor does; what it would drop is a violation here, so that a test sees it.
    fn progressed(&mut self, InvocationProgress { invocation_id, progress }: InvocationProgress) {
        let progress = progress.unwrap_or_default();
        let told = self.progress.entry(invocation_id).or_default();
        let before = told.last().map_or(0.0, |last| last.done);
        let sound = progress.done.is_finite() && progress.done >= before && progress.total.is_finite();
        match self.open.get(&invocation_id) {
            None if invocation_id == 0 || invocation_id > self.invocations => {
                self.violations.push(format!("progress of {invocation_id}, which was never given"));
            }
            None => self.late += 1,
            Some(open) if open.cancelled => self.late += 1,
            Some(open) if !open.is_tool => {
                self.violations.push(format!("progress of {invocation_id}, which is no tool call"));
            }
            Some(_) if !sound => self.violations.push(format!("progress of {invocation_id} that goes back")),
            Some(_) => told.push(progress),
        }
    }
}

/// Serves the session.
pub(super) struct Service {
    setup: Arc<Builder>,
    stage: Stage,
}

impl Service {
    pub(super) fn new(setup: Builder, stage: Stage) -> Self {
        Self { setup: Arc::new(setup), stage }
    }
}

#[tonic::async_trait]
impl PluginService for Service {
    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<BoxStream<SessionResponse>>, Status> {
        let (outbound, stream) = mpsc::unbounded_channel();
        self.stage.with(|state| match state.outbound {
            Some(_) => Err(refused(ErrorReason::StateNotAllowed, "a session is open already")),
            None => {
                state.outbound = Some(outbound);
                Ok(())
            }
        })?;
        let (stage, setup) = (self.stage.clone(), self.setup.clone());
        // Ends with the connection: the request stream ends then.
        tokio::spawn(async move {
            let status = read(request.into_inner(), &stage, &setup).await.err();
            stage.end(status);
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(stream))))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<BoxStream<EventsResponse>>, Status> {
        let epoch = self.setup.welcome.event_epoch;
        let stream = self.stage.with(|state| state.events.open(request.into_inner(), epoch))?;
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(stream))))
    }
}

/// Reads what the plugin says until it ends its side.
async fn read(mut inbound: Streaming<SessionRequest>, stage: &Stage, setup: &Builder) -> Result<(), Status> {
    while let Some(message) = inbound.message().await? {
        if !message.progress.is_empty() || message.acknowledged_event_seq > 0 {
            stage.with(|state| {
                message.progress.into_iter().for_each(|progress| state.progressed(progress));
                if let Err(violation) = state.events.acknowledge(message.acknowledged_event_seq) {
                    state.violations.push(violation);
                }
            });
        }
        for result in message.results {
            stage.answered(result.invocation_id, result.outcome);
        }
        match message.control {
            None => {}
            Some(Heard::Hello(hello)) => {
                let welcome = welcome(&hello, setup)?;
                stage.send(SessionResponse { control: Some(Say::Welcome(Box::new(welcome))), ..Default::default() });
            }
            Some(Heard::Register(register)) => {
                let registered = registered(&register, setup)?;
                let accepted = |id: &str| !setup.refused.iter().any(|(refused, _)| refused == id);
                let subscriptions = register.subscriptions.iter().filter(|item| accepted(&item.subscription_id));
                let subscriptions = subscriptions.cloned().collect();
                // Before the plugin is told, so that it finds what it may use at once.
                stage.with(|state| state.events.subscriptions = Some(subscriptions));
                stage.send(SessionResponse { control: Some(Say::Registered(registered)), ..Default::default() });
                stage.with(|state| state.register = Some(register));
            }
            Some(Heard::Pong(pong)) => stage.with(|state| state.pongs = pong.ping_id),
            Some(Heard::Fatal(Fatal { message, .. })) => return Err(Status::aborted(message)),
        }
    }
    Ok(())
}

fn refused(reason: ErrorReason, message: &str) -> Status {
    error_info::status(Code::FailedPrecondition, reason, message)
}

fn welcome(hello: &Hello, setup: &Builder) -> Result<Welcome, Status> {
    if hello.token != TOKEN {
        return Err(error_info::status(Code::Unauthenticated, ErrorReason::TokenInvalid, "wrong token"));
    }
    let (peer, own) = (hello.protocol.unwrap_or_default(), setup.protocol);
    let version = peer.max.min(own.max);
    if version < peer.min.max(own.min) {
        let message = format!("the plugin speaks {} to {}, the host {} to {}", peer.min, peer.max, own.min, own.max);
        return Err(refused(ErrorReason::ProtocolUnsupported, &message));
    }
    Ok(Welcome { protocol_version: version, ..setup.welcome.clone() })
}

/// A verdict for each item, in the order of Register's fields.
fn registered(register: &Register, setup: &Builder) -> Result<Registered, Status> {
    let must = |options: &Option<HandlerOptions>| options.as_ref().is_some_and(|options| options.must_accept);
    let hooks = register.hooks.iter().map(|hook| (ItemKind::Hook, &hook.handler_id, must(&hook.options)));
    let policies = register.tool_policies.iter();
    let policies = policies.map(|policy| (ItemKind::ToolPolicy, &policy.handler_id, must(&policy.options)));
    let tools = register.tools.iter().filter_map(|tool| Some((tool.spec.as_ref()?, must(&tool.options))));
    let tools = tools.map(|(spec, must)| (ItemKind::Tool, &spec.name, must));
    let subscriptions = register.subscriptions.iter();
    let subscriptions = subscriptions.map(|item| (ItemKind::Subscription, &item.subscription_id, item.must_accept));
    let mut verdicts = Vec::new();
    for (kind, id, must) in hooks.chain(policies).chain(tools).chain(subscriptions) {
        let verdict = verdict(kind, id, setup);
        if must && verdict.reason() != VerdictReason::Accepted {
            let message = format!("{} `{id}`: {}", kind.as_str_name(), verdict.message);
            return Err(refused(ErrorReason::RegistrationRefused, &message));
        }
        verdicts.push(verdict);
    }
    Ok(Registered { verdicts, unserved_guards: Vec::new() })
}

fn verdict(kind: ItemKind, id: &str, setup: &Builder) -> Verdict {
    let refused = setup.refused.iter().find(|(refused, _)| refused == id).map(|(_, reason)| *reason);
    let reason = refused.unwrap_or(VerdictReason::Accepted);
    let message = if refused.is_some() { "the test refuses it" } else { "" };
    Verdict {
        kind: kind.into(),
        id: id.to_owned(),
        reason: reason.into(),
        message: message.to_owned(),
        ..Default::default()
    }
}

/// Both services of the plugin's socket.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) plugin: PluginServiceServer<Service>,
    pub(super) host: HostServiceServer<Calls>,
}

impl TowerService<HttpRequest<tonic::body::Body>> for Services {
    type Response = HttpResponse<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<tonic::body::Body>) -> Self::Future {
        if request.uri().path().starts_with("/outrigger.plugin.v1.PluginService/") {
            self.plugin.call(request)
        } else {
            self.host.call(request)
        }
    }
}
