//! The runtime's side of the fake. It checks what a runtime has to do by the contract, and complains where it does not.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_proto::runtime::v1 as r;
use outrigger_proto::types::v1 as t;
use r::directive::Kind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Asked;

type Answer<T> = Result<Response<T>, Status>;
type News = mpsc::Sender<Result<r::AttachResponse, Status>>;

/// What the fake does besides answering.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scene {
    /// What plugins want at first.
    pub(crate) hooks: Vec<t::HookInterest>,
    /// What they want after so many calls.
    pub(crate) later: Option<(u64, Vec<t::HookInterest>)>,
    /// The supervisor goes away in place of the answer to this call, from 1.
    pub(crate) away_at: Option<u64>,
    /// This call is refused by a call error, from 1.
    pub(crate) refused_at: Option<u64>,
    /// Streams of agent events that plugins want.
    pub(crate) streams: Vec<String>,
    /// The stream whose events are not taken in. Empty: none.
    pub(crate) refuses: String,
    /// Send a directive that is to be acknowledged.
    pub(crate) with_turn: bool,
}

/// A guard's interest in a hook for these tools.
pub(crate) fn interest(hook: t::Hook, tools: &[&str]) -> t::HookInterest {
    t::HookInterest {
        hook: hook as i32,
        tool_names: tools.iter().map(|tool| (*tool).to_owned()).collect(),
        fail_closed: hook == t::Hook::BeforeToolCall,
        max_duration: prost_types::Duration::try_from(Duration::from_secs(2)).ok(),
        ..Default::default()
    }
}

#[derive(Default)]
struct State {
    news: Option<News>,
    sessions: HashSet<String>,
    calls: u64,
    epoch: u64,
}

pub(crate) struct Runtime {
    asked: Asked,
    scene: Scene,
    state: Arc<Mutex<State>>,
}

impl Runtime {
    pub(crate) fn new(asked: Asked, scene: Scene) -> Self {
        Self { asked, scene, state: Arc::default() }
    }
}

fn directive(directive_id: &str, kind: Kind) -> r::Directive {
    let delivery_attempt = u32::from(!directive_id.is_empty());
    r::Directive { directive_id: directive_id.into(), delivery_attempt, kind: Some(kind) }
}

fn contributions(contribution_epoch: u64, hooks: Vec<t::HookInterest>, event_streams: &[String]) -> Kind {
    let event_streams = event_streams.to_vec();
    Kind::Contributions(r::Contributions { contribution_epoch, hooks, event_streams, ..Default::default() })
}

fn handler(plugin_id: &str, outcome: t::HandlerOutcome) -> t::HandlerReport {
    t::HandlerReport {
        plugin_id: plugin_id.into(),
        handler_id: "guard".into(),
        outcome: outcome as i32,
        elapsed: prost_types::Duration::try_from(Duration::from_micros(200)).ok(),
        ..Default::default()
    }
}

/// Blocks what contains `exit 3`, asks about `ls -la`, rewrites writes, lets all else pass.
fn decide(call: &r::HookInvocation) -> r::HookOutcome {
    use t::tool_call_decision::Decision;
    let event = String::from_utf8_lossy(&call.event_json);
    let allow = handler("policy-gate", t::HandlerOutcome::Allow);
    let tool_call = |decision| t::HookResult {
        result: Some(t::hook_result::Result::ToolCall(t::ToolCallDecision { decision: Some(decision) })),
    };
    if event.contains("exit 3") {
        let decider = handler("policy-gate", t::HandlerOutcome::Deny);
        return r::HookOutcome {
            verdict: r::HookVerdict::Stop as i32,
            reason: "policy-gate: no exits\u{1b}[1m".into(),
            decided_by: Some(Box::new(decider.clone())),
            handlers: vec![decider, handler("late", t::HandlerOutcome::Skipped)],
            ..Default::default()
        };
    }
    if event.contains("ls -la") {
        let request = t::ApprovalRequest { title: "List files?".into(), ..Default::default() };
        let approval = r::PendingApproval { approval_id: "a1".into(), request: Some(request), ..Default::default() };
        return r::HookOutcome {
            verdict: r::HookVerdict::Ask as i32,
            approval: Some(Box::new(approval)),
            decided_by: Some(Box::new(allow.clone())),
            handlers: vec![allow],
            ..Default::default()
        };
    }
    let proceed = t::Proceed { params_json: b"{\"path\":\"safe.md\"}"[..].into(), approval: None };
    r::HookOutcome {
        verdict: r::HookVerdict::GoOn as i32,
        result: (call.tool_name == "write").then(|| Box::new(tool_call(Decision::Proceed(proceed)))),
        handlers: vec![allow, handler("down", t::HandlerOutcome::Absent)],
        ..Default::default()
    }
}

/// What is wrong with a call by the contract.
fn complaints(call: &r::HookInvocation, sessions: &HashSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let event: serde_json::Value = serde_json::from_slice(&call.event_json).unwrap_or_default();
    let context: serde_json::Value = serde_json::from_slice(&call.context_json).unwrap_or_default();
    let run = call.run.as_ref().map(|run| run.id.as_str()).unwrap_or_default();
    if !event.is_object() || !context.is_object() {
        wrong.push("! event and context are objects".to_owned());
    }
    if call.hook == t::Hook::BeforeToolCall as i32 {
        if !event["params"].is_object() || call.tool_call_id.is_empty() || call.tool_name.is_empty() {
            wrong.push("! a tool call has params, an id and a tool".to_owned());
        }
        if event["runId"] != run || context["runId"] != run {
            wrong.push(format!("! {run} is not the run of event and context"));
        }
        if call.trace.as_ref().is_none_or(|trace| trace.traceparent.len() != 55) {
            wrong.push("! the trace context is missing".to_owned());
        }
    }
    if event.get("messages").is_some() || !call.messages_json.is_empty() {
        wrong.push("! the conversation was sent and nobody wanted it".to_owned());
    }
    if !call.report_handlers {
        wrong.push("! handlers are not asked for".to_owned());
    }
    if call.session.as_ref().is_none_or(|session| !sessions.contains(&session.key)) {
        wrong.push("! the session was not announced".to_owned());
    }
    wrong
}

#[async_trait]
impl r::runtime_service_server::RuntimeService for Runtime {
    async fn attach(&self, request: Request<r::AttachRequest>) -> Answer<BoxStream<r::AttachResponse>> {
        let request = request.into_inner();
        let served: Vec<_> = request.served_hooks.iter().map(i32::to_string).collect();
        self.asked.note(format!("attach served={}", served.join(",")));
        let range = request.protocol.unwrap_or_default();
        if request.incarnation == 0 || range.min != 1 {
            self.asked.note("! attach has an incarnation and a protocol");
        }
        let (news, directives) = mpsc::channel(16);
        let welcome = r::Welcome { protocol_version: 1, runtime_id: "default".into(), ..Default::default() };
        let mut first = vec![
            directive("", Kind::Welcome(welcome)),
            directive("", contributions(1, self.scene.hooks.clone(), &self.scene.streams)),
        ];
        if self.scene.with_turn {
            first.push(directive("d1", Kind::RunTurn(r::RunTurn::default())));
        }
        news.try_send(Ok(r::AttachResponse { directives: first })).expect("there is room");
        let mut state = self.state.lock().expect("no panic");
        (state.news, state.epoch) = (Some(news), 1);
        Ok(Response::new(Box::pin(ReceiverStream::new(directives))))
    }

    async fn upsert_session(&self, request: Request<r::UpsertSessionRequest>) -> Answer<r::UpsertSessionResponse> {
        let session = request.into_inner().session.unwrap_or_default();
        self.asked.note(format!("upsert_session {} agent={}", session.key, session.agent_id));
        let created = self.state.lock().expect("no panic").sessions.insert(session.key);
        Ok(Response::new(r::UpsertSessionResponse { created }))
    }

    async fn publish_events(
        &self,
        request: Request<Streaming<r::PublishEventsRequest>>,
    ) -> Answer<BoxStream<r::PublishEventsResponse>> {
        let mut messages = request.into_inner();
        let mut told = r::PublishEventsResponse::default();
        while let Some(message) = messages.message().await? {
            for event in message.events {
                let end = if event.terminal { " terminal" } else { "" };
                self.asked.note(format!("publish {} {} of {}{end}", event.stream, event.seq, event.session_key));
                let wanted = event.terminal || self.scene.streams.contains(&event.stream);
                let own = event.plugin_id.is_empty() && event.runtime_id.is_empty();
                if !wanted || !own || !event.run_id.contains('-') || event.time.is_none() {
                    self.asked.note(format!("! an event that may not be published: {event:?}"));
                }
                if self.scene.refuses == event.stream {
                    told.rejected += 1;
                    told.problems.push("no \u{1b}[1msuch".to_owned());
                } else {
                    told.accepted += 1;
                }
            }
        }
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(told)))))
    }

    async fn acknowledge_directives(
        &self,
        request: Request<r::AcknowledgeDirectivesRequest>,
    ) -> Answer<r::AcknowledgeDirectivesResponse> {
        for acknowledged in request.into_inner().acknowledgements {
            self.asked.note(format!("acknowledge {} outcome={}", acknowledged.directive_id, acknowledged.outcome));
        }
        Ok(Response::new(r::AcknowledgeDirectivesResponse { unknown: 0 }))
    }

    async fn hook_stream(
        &self,
        request: Request<Streaming<r::HookStreamRequest>>,
    ) -> Answer<BoxStream<r::HookStreamResponse>> {
        use r::hook_stream_response::answer::Answer as Branch;
        self.asked.note("hook_stream");
        let mut requests = request.into_inner();
        let (answers, stream) = mpsc::channel(16);
        let (asked, scene, state) = (self.asked.clone(), self.scene.clone(), Arc::clone(&self.state));
        // Ends with the stream of requests, and so with the connection.
        tokio::spawn(async move {
            while let Ok(Some(message)) = requests.message().await {
                for call in message.calls {
                    let invocation = call.invocation.unwrap_or_default();
                    let (number, epoch) = {
                        let mut state = state.lock().expect("no panic");
                        state.calls += 1;
                        complaints(&invocation, &state.sessions).into_iter().for_each(|wrong| asked.note(wrong));
                        if scene.away_at == Some(state.calls) {
                            state.news = None;
                            return;
                        }
                        if let Some((_, hooks)) = scene.later.clone().filter(|(after, _)| *after == state.calls) {
                            state.epoch += 1;
                            let news = r::AttachResponse {
                                directives: vec![directive("", contributions(state.epoch, hooks, &scene.streams))],
                            };
                            state.news.as_ref().expect("attached").try_send(Ok(news)).expect("there is room");
                        }
                        (state.calls, state.epoch)
                    };
                    asked.note(format!("call hook={} tool={}", invocation.hook, invocation.tool_name));
                    let branch = if scene.refused_at == Some(number) {
                        Branch::Error(r::CallError {
                            code: 9,
                            message: "the run has ended".into(),
                            ..Default::default()
                        })
                    } else {
                        Branch::Outcome(decide(&invocation))
                    };
                    let answer = r::hook_stream_response::Answer { call_id: call.call_id, answer: Some(branch) };
                    let message =
                        r::HookStreamResponse { answers: vec![answer], contribution_epoch: epoch, redemptions: vec![] };
                    if answers.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
