//! `RuntimeService`: what an agent runtime asks of the supervisor.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::runtime::v1::runtime_service_server::RuntimeService;
use outrigger_proto::types::v1::ErrorReason;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::conversation::PROTOCOL;
use super::dispatch::Dispatcher;
use super::events::{self, Bus, Intake, Publishing};
use super::hook_stream;
use super::invocation::check_run;
use super::registry::Registry;
use super::runs::Runs;
use super::runtimes::{Attached, Runtime, Runtimes};
use super::status::Failure;
use super::tools::Tools;
use super::turns::Turns;
use crate::domain::hook::Hook;
use crate::domain::names::{self, NameError};
use crate::domain::text;

/// Runs a runtime may name when it attaches (the wire contract's bound).
const MAX_LIVE_RUNS: usize = 4096;
/// Tools of its own that a runtime may name (the wire contract's bound).
const MAX_OWN_TOOLS: usize = 4096;
/// Directives that may wait to be written.
const DIRECTIVES: usize = 64;

/// The id of the runtime whose key a call carried; put there by the control socket.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeId(pub(crate) String);

/// The service.
#[derive(Clone)]
pub(crate) struct RuntimeApi {
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) tools: Arc<Tools>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) runs: Arc<Runs>,
    /// Changes of plugins' states.
    pub(crate) changes: broadcast::Sender<wire::PluginStateChanged>,
    /// The supervisor stops.
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Changes with each start of the supervisor.
    pub(crate) instance: String,
    pub(crate) runtime_gone: Duration,
}

impl RuntimeApi {
    fn runtime<T>(&self, request: &Request<T>) -> Result<Arc<Runtime>, Status> {
        let id = request.extensions().get::<RuntimeId>();
        let id = id.ok_or_else(|| Status::from(Failure::new(ErrorReason::KeyInvalid, "the call carries no key")))?;
        let runtime = self.runtimes.of(&id.0);
        runtime.used();
        Ok(runtime)
    }

    fn welcome(&self, runtime: &Runtime, lost_run_ids: Vec<String>) -> wire::Directive {
        news(wire::directive::Kind::Welcome(wire::Welcome {
            protocol_version: *PROTOCOL.end(),
            features: Vec::new(),
            limits: Some(outrigger_proto::types::v1::Limits {
                max_stream_message_bytes: super::control::MAX_MESSAGE as u64,
                max_call_message_bytes: super::control::MAX_MESSAGE as u64,
                max_payload_bytes: 3 * 1024 * 1024,
                max_calls_in_flight: hook_stream::MAX_IN_FLIGHT as u32,
                ..Default::default()
            }),
            supervisor_version: env!("CARGO_PKG_VERSION").to_owned(),
            supervisor_instance: self.instance.clone(),
            runtime_id: runtime.id.to_string(),
            lost_run_ids,
        }))
    }

    fn contributions(&self) -> wire::Directive {
        let snapshot = self.registry.snapshot();
        let wanted = self.bus.wanted().borrow().clone();
        news(wire::directive::Kind::Contributions(wire::Contributions {
            contribution_epoch: snapshot.epoch,
            hooks: snapshot.interests.clone(),
            event_streams: if wanted.all { Vec::new() } else { wanted.streams.into_iter().collect() },
            all_streams: wanted.all,
            catalogue_epoch: snapshot.catalogue,
            starting: snapshot.starting,
            prepare_turns: Turns::prepares(&snapshot),
        }))
    }

    /// Sends directives until the stream has ended.
    async fn direct(
        &self,
        runtime: &Runtime,
        attached: &Attached,
        lost: Vec<String>,
        wants_emitted: bool,
        directives: mpsc::Sender<Result<wire::AttachResponse, Status>>,
    ) {
        let mut epochs = self.registry.epochs();
        let mut changes = self.changes.subscribe();
        let mut withdrawn = self.dispatcher.approvals.withdrawn();
        let mut newest = self.bus.newest();
        let mut from = self.bus.last_seq() + 1;
        epochs.mark_unchanged();
        newest.mark_unchanged();
        let first = wire::AttachResponse { directives: vec![self.welcome(runtime, lost), self.contributions()] };
        if directives.send(Ok(first)).await.is_err() {
            return;
        }
        loop {
            let next = tokio::select! {
                biased;
                () = self.stopping.cancelled() => {
                    let _ = directives.try_send(Err(Status::unavailable("the supervisor is stopping")));
                    return;
                }
                () = runtime.removed.cancelled() => {
                    self.dispatcher.decisions.remove(&runtime.id);
                    return last(&directives, &self.stopping, key_removed()).await;
                }
                () = attached.replaced.cancelled() => {
                    let failure = Failure::new(ErrorReason::StreamReplaced, "a newer stream of this runtime took this one's place");
                    return last(&directives, &self.stopping, failure).await;
                }
                () = directives.closed() => return,
                changed = epochs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    vec![self.contributions()]
                }
                taken_back = withdrawn.recv() => match taken_back {
                    Ok((of, withdrawn)) if of == runtime.id => vec![news(wire::directive::Kind::Withdrawn(withdrawn))],
                    // Another runtime's, or news that was missed: its resolution is answered with how it ended.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                changed = changes.recv() => match changed {
                    Ok(changed) => vec![news(wire::directive::Kind::PluginStateChanged(changed))],
                    // News that was missed is news no more; the next one tells how it is.
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                changed = newest.changed(), if wants_emitted => {
                    if changed.is_err() {
                        return;
                    }
                    let (emitted, next) = events::emitted(&self.bus, &runtime.id, from);
                    from = next;
                    if from <= self.bus.last_seq() {
                        // There is more than fits a message.
                        newest.mark_changed();
                    }
                    let emitted = emitted.into_iter().map(|event| wire::EventEmitted { event: Some(event) });
                    emitted.map(|emitted| news(wire::directive::Kind::EventEmitted(emitted))).collect()
                }
            };
            if next.is_empty() {
                continue;
            }
            let response = wire::AttachResponse { directives: next };
            tokio::select! {
                sent = directives.send(Ok(response)) => if sent.is_err() { return },
                () = attached.replaced.cancelled() => {}
                () = runtime.removed.cancelled() => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }
}

fn news(kind: wire::directive::Kind) -> wire::Directive {
    wire::Directive { directive_id: String::new(), delivery_attempt: 0, kind: Some(kind) }
}

fn check_attach(request: &wire::AttachRequest) -> Result<(), Failure> {
    if request.incarnation == 0 {
        return Err(Failure::field("incarnation", "wants a number other than 0, another after each start"));
    }
    if request.live_runs.len() > MAX_LIVE_RUNS {
        return Err(Failure::field("live_runs", format!("wants at most {MAX_LIVE_RUNS}")));
    }
    if request.reserved_tool_names.len() > MAX_OWN_TOOLS {
        return Err(Failure::field("reserved_tool_names", format!("wants at most {MAX_OWN_TOOLS}")));
    }
    for name in &request.reserved_tool_names {
        match names::tool(name) {
            // No plugin can serve a tool by an alias.
            Ok(()) | Err(NameError::Alias) => {}
            Err(error) => {
                let wrong = format!("`{}` {error}", text::clean(name, 64));
                return Err(Failure::field("reserved_tool_names", wrong));
            }
        }
    }
    for live in &request.live_runs {
        check_run("live_runs.run", live.run.as_ref())?;
    }
    let Some(range) = &request.protocol else {
        return Err(Failure::field("protocol", "is required"));
    };
    if range.min == 0 || range.max < range.min {
        return Err(Failure::field("protocol", "wants min >= 1 and max >= min"));
    }
    if range.max < *PROTOCOL.start() || range.min > *PROTOCOL.end() {
        let (min, max) = (PROTOCOL.start(), PROTOCOL.end());
        let why = format!("the runtime speaks versions {} to {}, this supervisor {min} to {max}", range.min, range.max);
        return Err(Failure::new(ErrorReason::ProtocolUnsupported, why)
            .meta("peer_min", range.min.to_string())
            .meta("peer_max", range.max.to_string())
            .meta("supervisor_min", min.to_string())
            .meta("supervisor_max", max.to_string()));
    }
    Ok(())
}

/// Ends a stream of directives with a status, as soon as its reader makes room for it.
async fn last(
    directives: &mpsc::Sender<Result<wire::AttachResponse, Status>>,
    stopping: &CancellationToken,
    failure: Failure,
) {
    tokio::select! {
        // A reader that is gone needs no status.
        _ = directives.send(Err(failure.into())) => {}
        () = stopping.cancelled() => {}
    }
}

/// The key that a stream was opened with is good no more.
pub(crate) fn key_removed() -> Failure {
    Failure::new(ErrorReason::KeyInvalid, "the key of this runtime was removed")
}

#[tonic::async_trait]
impl RuntimeService for RuntimeApi {
    async fn attach(
        &self,
        request: Request<wire::AttachRequest>,
    ) -> Result<Response<BoxStream<wire::AttachResponse>>, Status> {
        let runtime = self.runtime(&request)?;
        let request = request.into_inner();
        check_attach(&request)?;
        if request.only_if_free {
            // Before its sessions are announced: a refusal changes nothing.
            runtime.check_free(request.incarnation)?;
        }
        let served: BTreeSet<Hook> = request.served_hooks.iter().filter_map(|hook| Hook::from_number(*hook)).collect();
        let served = (!request.served_hooks.is_empty()).then_some(served);
        // What is wrong with one of its runs changes nothing.
        let mut sessions = Vec::new();
        for live in &request.live_runs {
            if let Some(session) = &live.session {
                let run = check_run("live_runs.run", live.run.as_ref())?;
                let mut session = session.clone();
                runtime.announce(&mut session)?;
                sessions.push((run, session));
            }
        }
        let own_tools = request.reserved_tool_names.iter().cloned().collect();
        let software = text::clean(&request.software, 128);
        let attached = runtime.attach(request.incarnation, request.only_if_free, software, served, own_tools)?;
        self.registry.reserve(|| self.runtimes.own_tools());
        let live: BTreeSet<&str> = request.live_runs.iter().filter_map(|live| Some(&*live.run.as_ref()?.id)).collect();
        let lost = self.runs.attach(&runtime.id, attached.again, request.all_runs_live, &live);
        for (run, session) in sessions {
            if let Some(run) = self.runs.find(&runtime.id, run) {
                run.set_session(Arc::new(session));
            }
        }
        let (directives, stream) = mpsc::channel(DIRECTIVES);
        let api = self.clone();
        let wants_emitted = request.want_emitted_events;
        self.tasks.spawn(async move {
            api.direct(&runtime, &attached, lost, wants_emitted, directives).await;
            drop(attached);
            tokio::select! {
                () = tokio::time::sleep(api.runtime_gone) => {}
                () = runtime.removed.cancelled() => {}
                () = api.stopping.cancelled() => return,
            }
            if runtime.check_attached(api.runtime_gone).is_err() {
                api.runs.lose(&runtime.id, &BTreeSet::new());
                runtime.changed();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn upsert_session(
        &self,
        request: Request<wire::UpsertSessionRequest>,
    ) -> Result<Response<wire::UpsertSessionResponse>, Status> {
        let runtime = self.runtime(&request)?;
        runtime.check_attached(self.runtime_gone)?;
        let request = request.into_inner();
        let session = request.session.ok_or_else(|| Failure::field("session", "is required"))?;
        let (_, created) = runtime.upsert(session, request.revision, &request.previous_key)?;
        Ok(Response::new(wire::UpsertSessionResponse { created }))
    }

    async fn invoke_hook(
        &self,
        request: Request<wire::InvokeHookRequest>,
    ) -> Result<Response<wire::InvokeHookResponse>, Status> {
        let runtime = self.runtime(&request)?;
        let invocation = request.into_inner().invocation.map(Box::new);
        let (outcome, epoch) = hook_stream::invoke(&runtime, &self.dispatcher, invocation, self.runtime_gone).await?;
        let contribution_epoch = epoch.max(self.dispatcher.epoch());
        Ok(Response::new(wire::InvokeHookResponse { outcome: Some(outcome), contribution_epoch }))
    }

    async fn hook_stream(
        &self,
        request: Request<Streaming<wire::HookStreamRequest>>,
    ) -> Result<Response<BoxStream<wire::HookStreamResponse>>, Status> {
        let runtime = self.runtime(&request)?;
        let dispatcher = Arc::clone(&self.dispatcher);
        Ok(Response::new(hook_stream::serve(runtime, dispatcher, request.into_inner(), self.runtime_gone)))
    }

    async fn prepare_turn(
        &self,
        request: Request<wire::PrepareTurnRequest>,
    ) -> Result<Response<wire::PrepareTurnResponse>, Status> {
        let runtime = self.runtime(&request)?;
        runtime.check_attached(self.runtime_gone)?;
        Ok(Response::new(self.turns.prepare(&runtime, &self.dispatcher, request.into_inner()).await?))
    }

    async fn finalize_turn(
        &self,
        request: Request<wire::FinalizeTurnRequest>,
    ) -> Result<Response<wire::FinalizeTurnResponse>, Status> {
        let runtime = self.runtime(&request)?;
        runtime.check_attached(self.runtime_gone)?;
        Ok(Response::new(self.turns.finalize(&runtime, &self.dispatcher, request.into_inner()).await?))
    }

    async fn list_tools(
        &self,
        request: Request<wire::ListToolsRequest>,
    ) -> Result<Response<wire::ListToolsResponse>, Status> {
        self.runtime(&request)?;
        Ok(Response::new(self.tools.list(request.get_ref())))
    }

    async fn invoke_tool(
        &self,
        request: Request<wire::InvokeToolRequest>,
    ) -> Result<Response<BoxStream<wire::InvokeToolResponse>>, Status> {
        let runtime = self.runtime(&request)?;
        runtime.check_attached(self.runtime_gone)?;
        let messages = self.tools.invoke(&runtime, request.into_inner()).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn publish_events(
        &self,
        request: Request<Streaming<wire::PublishEventsRequest>>,
    ) -> Result<Response<BoxStream<wire::PublishEventsResponse>>, Status> {
        let runtime = self.runtime(&request)?;
        runtime.check_attached(self.runtime_gone)?;
        let intake = Intake::new(Arc::clone(&runtime), Arc::clone(&self.runs), Arc::clone(&self.bus));
        let (runtime_gone, stopping) = (self.runtime_gone, self.stopping.clone());
        let publishing = Publishing { runtime, intake, runtime_gone, stopping };
        let (work, answers) = publishing.begin(request.into_inner());
        self.tasks.spawn(work);
        Ok(Response::new(answers))
    }

    async fn end_run(&self, request: Request<wire::EndRunRequest>) -> Result<Response<wire::EndRunResponse>, Status> {
        let runtime = self.runtime(&request)?;
        runtime.check_attached(self.runtime_gone)?;
        let request = request.into_inner();
        let run = check_run("run", request.run.as_ref())?;
        if let Some(mut session) = request.session.clone() {
            runtime.announce(&mut session)?;
        }
        let end = wire::RunEnd::try_from(request.end).unwrap_or(wire::RunEnd::Lost);
        let end = if end == wire::RunEnd::Unspecified { wire::RunEnd::Lost } else { end };
        // One that is over has nothing that could still be acknowledged.
        let settled = match self.runs.end(&runtime.id, run, end) {
            Some(run) => run.settled().await,
            None => true,
        };
        Ok(Response::new(wire::EndRunResponse { settled, ..Default::default() }))
    }

    async fn redeem_decision(
        &self,
        request: Request<wire::RedeemDecisionRequest>,
    ) -> Result<Response<wire::RedeemDecisionResponse>, Status> {
        let runtime = self.runtime(&request)?;
        hook_stream::redeem(&self.dispatcher, &runtime.id, &request.into_inner())?;
        Ok(Response::new(wire::RedeemDecisionResponse {}))
    }

    async fn resolve_approval(
        &self,
        request: Request<wire::ResolveApprovalRequest>,
    ) -> Result<Response<wire::ResolveApprovalResponse>, Status> {
        let runtime = self.runtime(&request)?;
        Ok(Response::new(self.dispatcher.approvals.resolve(&runtime.id, &request.into_inner())?))
    }
}
