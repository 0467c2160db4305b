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
use super::hook_stream;
use super::registry::Registry;
use super::runtimes::{Runtime, Runtimes};
use super::status::Failure;
use super::turns::Turns;
use crate::domain::hook::Hook;
use crate::domain::text;

/// Runs a runtime may name when it attaches (the wire contract's bound).
const MAX_LIVE_RUNS: usize = 4096;
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

    fn welcome(&self, runtime: &Runtime) -> wire::Directive {
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
            lost_run_ids: Vec::new(),
        }))
    }

    fn contributions(&self) -> wire::Directive {
        let snapshot = self.registry.snapshot();
        news(wire::directive::Kind::Contributions(wire::Contributions {
            contribution_epoch: snapshot.epoch,
            hooks: snapshot.interests.clone(),
            ..Default::default()
        }))
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
        let served: BTreeSet<Hook> = request.served_hooks.iter().filter_map(|hook| Hook::from_number(*hook)).collect();
        let served = (!request.served_hooks.is_empty()).then_some(served);
        let attached = runtime.attach(request.incarnation, text::clean(&request.software, 128), served);
        let (directives, stream) = mpsc::channel(DIRECTIVES);
        let api = self.clone();
        self.tasks.spawn(async move {
            let mut epochs = api.registry.epochs();
            let mut changes = api.changes.subscribe();
            epochs.mark_unchanged();
            let first = wire::AttachResponse { directives: vec![api.welcome(&runtime), api.contributions()] };
            if directives.send(Ok(first)).await.is_err() {
                return;
            }
            loop {
                let directive = tokio::select! {
                    biased;
                    () = api.stopping.cancelled() => {
                        let _ = directives.try_send(Err(Status::unavailable("the supervisor is stopping")));
                        return;
                    }
                    () = runtime.removed.cancelled() => return last(&directives, &api.stopping, key_removed()).await,
                    () = attached.replaced.cancelled() => {
                        let failure = Failure::new(ErrorReason::StreamReplaced, "a newer stream of this runtime took this one's place");
                        return last(&directives, &api.stopping, failure).await;
                    }
                    () = directives.closed() => return,
                    changed = epochs.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        api.contributions()
                    }
                    changed = changes.recv() => match changed {
                        Ok(changed) => news(wire::directive::Kind::PluginStateChanged(changed)),
                        // News that was missed is news no more; the next one tells how it is.
                        Err(broadcast::error::RecvError::Lagged(_)) => continue,
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                };
                let response = wire::AttachResponse { directives: vec![directive] };
                tokio::select! {
                    sent = directives.send(Ok(response)) => if sent.is_err() { return },
                    () = attached.replaced.cancelled() => {}
                    () = runtime.removed.cancelled() => {}
                    () = api.stopping.cancelled() => {}
                }
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
