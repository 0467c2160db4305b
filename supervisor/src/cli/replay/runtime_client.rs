//! What an agent runtime needs to have its hooks answered by plugins:
//!
//! 1. [`RuntimeClient::attach`] once: the supervisor says which hooks plugins want, and again whenever that changes.
//! 2. [`RuntimeClient::announce`] each session before its first hook.
//! 3. [`RuntimeClient::interest`] before each hook: a hook that nobody wants costs no call.
//! 4. [`RuntimeClient::invoke`]: go on, stop, or ask a person. An error is a no where the interest says `fail_closed`.
//! 5. [`RuntimeClient::publish`] what happens, as far as [`RuntimeClient::wants_stream`] says so.
//!
//! It has no task of its own. Directives are read while a call is waited for and in [`RuntimeClient::idle`]; what is
//! not read waits in the connection.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use runtime::directive::Kind;
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::cli::connection::Runtime;
use crate::domain::hook::Hook;

/// Versions of the runtime protocol this client speaks.
const PROTOCOL: types::ProtocolRange = types::ProtocolRange { min: 1, max: 1 };
/// How long an answer may be ahead of the news that belong to it.
const NEWS_DELAY: Duration = Duration::from_secs(1);
/// Calls that may be written before the connection has taken them: one at a time is waited for.
const CALL_QUEUE: usize = 4;
/// Most acknowledgements in a request.
const MAX_ACKNOWLEDGEMENTS: usize = 256;

/// Who attaches.
pub(crate) struct Identity {
    /// Product and version, for the operator.
    pub(crate) software: String,
    /// Another number after each start of the runtime, not 0.
    pub(crate) incarnation: u64,
    /// Hooks this runtime calls.
    pub(crate) served_hooks: BTreeSet<Hook>,
}

/// An attached runtime. Dropping it detaches.
pub(crate) struct RuntimeClient {
    client: Runtime,
    /// `None`: the supervisor is away.
    directives: Option<Streaming<runtime::AttachResponse>>,
    calls: mpsc::Sender<runtime::HookStreamRequest>,
    answers: Streaming<runtime::HookStreamResponse>,
    contributions: runtime::Contributions,
    /// Highest epoch an answer was given under.
    answered_epoch: u64,
    last_call_id: u64,
    /// Directives to be acknowledged; bounded by the window the supervisor keeps.
    unacknowledged: Vec<String>,
}

/// Why a hook got no outcome. Where a guard guards, the runtime blocks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    /// The supervisor did not carry it out.
    #[error("{0}")]
    Refused(String),
    /// The supervisor took longer than all handlers together may.
    #[error("the supervisor did not answer within {0:?}")]
    TimedOut(Duration),
    /// The supervisor is away.
    #[error("the supervisor is away")]
    Away,
}

impl RuntimeClient {
    /// Attaches, and opens the stream of hooks. Where the real runtime of the key is attached it is refused, so that
    /// nobody's agent loses its plugins.
    ///
    /// # Errors
    /// The supervisor's status, or UNAVAILABLE where its stream ends before it said what plugins want.
    pub(crate) async fn attach(mut client: Runtime, identity: Identity) -> Result<Self, Status> {
        let request = runtime::AttachRequest {
            incarnation: identity.incarnation,
            protocol: Some(PROTOCOL),
            software: identity.software,
            served_hooks: identity.served_hooks.into_iter().map(|hook| hook as i32).collect(),
            only_if_free: true,
            ..runtime::AttachRequest::default()
        };
        let directives = client.attach(request).await?.into_inner();
        let (calls, requests) = mpsc::channel(CALL_QUEUE);
        let answers = client.hook_stream(ReceiverStream::new(requests)).await?.into_inner();
        let mut attached = Self {
            client,
            directives: Some(directives),
            calls,
            answers,
            contributions: runtime::Contributions::default(),
            answered_epoch: 0,
            last_call_id: 0,
            unacknowledged: Vec::new(),
        };
        let mut told = false;
        while !told {
            let stream = attached.directives.as_mut().ok_or_else(|| Status::unavailable("the supervisor went away"))?;
            let news = stream.message().await?;
            told = news.as_ref().is_some_and(|news| {
                news.directives.iter().any(|directive| matches!(directive.kind, Some(Kind::Contributions(_))))
            });
            attached.take(news);
        }
        Ok(attached)
    }

    /// Announces a session. Plugins can be given no other.
    ///
    /// # Errors
    /// The supervisor's status.
    pub(crate) async fn announce(&mut self, session: types::SessionRef) -> Result<(), Status> {
        let request =
            runtime::UpsertSessionRequest { session: Some(session), revision: 0, previous_key: String::new() };
        self.client.upsert_session(request).await.map(drop)
    }

    /// What plugins want of a hook now. `None`: nothing, make no call. Of a tool hook with its tool.
    pub(crate) fn interest(&self, hook: Hook, tool: &str, trigger: types::Trigger) -> Option<&types::HookInterest> {
        let matches = |interest: &&types::HookInterest| {
            let tools = &interest.tool_names;
            let triggers = &interest.triggers;
            interest.hook == hook as i32
                && (!hook.row().by_tool || tools.is_empty() || tools.iter().any(|name| name == tool))
                && (triggers.is_empty() || triggers.contains(&(trigger as i32)))
        };
        self.contributions.hooks.iter().find(matches)
    }

    /// Whether plugins, or operators who watch, want a stream of agent events.
    pub(crate) fn wants_stream(&self, stream: &str) -> bool {
        let contributions = &self.contributions;
        contributions.all_streams || contributions.event_streams.iter().any(|wanted| wanted == stream)
    }

    /// Publishes agent events: those of streams that are wanted, and always those that end a run.
    ///
    /// # Errors
    /// The supervisor's status.
    pub(crate) async fn publish(
        &mut self,
        events: Vec<types::AgentEvent>,
    ) -> Result<runtime::PublishEventsResponse, Status> {
        let request = tokio_stream::once(runtime::PublishEventsRequest { events });
        let mut answers = self.client.publish_events(request).await?.into_inner();
        let mut told = None;
        while let Some(so_far) = answers.message().await? {
            told = Some(so_far);
        }
        told.ok_or_else(|| Status::unavailable("the supervisor did not say what became of the events"))
    }

    /// The directive stream is open.
    pub(crate) fn is_attached(&self) -> bool {
        self.directives.is_some()
    }

    /// Invokes a hook and waits for what the plugins made of it, at most `limit`.
    ///
    /// Dropping the future leaves the call to its end in the supervisor; its answer is then passed over.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub(crate) async fn invoke(
        &mut self,
        invocation: runtime::HookInvocation,
        limit: Duration,
    ) -> Result<runtime::HookOutcome, InvokeError> {
        if !self.is_attached() {
            return Err(InvokeError::Away);
        }
        self.last_call_id += 1;
        let call_id = self.last_call_id;
        let call = runtime::hook_stream_request::Call { call_id, invocation: Some(Box::new(invocation)) };
        let request = runtime::HookStreamRequest { calls: vec![call], ..Default::default() };
        let deadline = Instant::now() + limit;
        tokio::select! {
            sent = self.calls.send(request) => sent.map_err(|_| self.away())?,
            () = sleep_until(deadline) => return Err(InvokeError::TimedOut(limit)),
        }
        loop {
            tokio::select! {
                answers = self.answers.message() => {
                    let Ok(Some(answers)) = answers else { return Err(self.away()) };
                    self.answered_epoch = self.answered_epoch.max(answers.contribution_epoch);
                    if let Some(answer) = answers.answers.into_iter().find(|answer| answer.call_id == call_id) {
                        return outcome(answer);
                    }
                }
                news = next(&mut self.directives) => {
                    self.take(news);
                    if !self.is_attached() {
                        return Err(InvokeError::Away);
                    }
                }
                () = sleep_until(deadline) => {
                    let cancel = runtime::HookStreamRequest { cancelled_call_ids: vec![call_id], ..Default::default() };
                    // Where the queue is full or closed nothing is in the plugins' hands that an end would not cancel.
                    let _ = self.calls.try_send(cancel);
                    return Err(InvokeError::TimedOut(limit));
                }
            }
        }
    }

    /// Prepares a turn, within `limit`.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub(crate) async fn prepare(
        &mut self,
        turn: runtime::PrepareTurnRequest,
        limit: Duration,
    ) -> Result<runtime::PrepareTurnResponse, InvokeError> {
        if !self.is_attached() {
            return Err(InvokeError::Away);
        }
        let prepared = answered(timeout(limit, self.client.prepare_turn(turn)).await, limit)?;
        self.answered_epoch = self.answered_epoch.max(prepared.contribution_epoch);
        Ok(prepared)
    }

    /// Asks whether an answer may go out, within `limit`.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub(crate) async fn finalize(
        &mut self,
        answer: runtime::FinalizeTurnRequest,
        limit: Duration,
    ) -> Result<runtime::FinalizeTurnResponse, InvokeError> {
        if !self.is_attached() {
            return Err(InvokeError::Away);
        }
        let told = answered(timeout(limit, self.client.finalize_turn(answer)).await, limit)?;
        self.answered_epoch = self.answered_epoch.max(told.contribution_epoch);
        Ok(told)
    }

    /// Takes in news for so long, and at least those that are here, or that the last answer said are on their way.
    pub(crate) async fn idle(&mut self, length: Duration) {
        let end = Instant::now() + length;
        let news_due = Instant::now() + NEWS_DELAY;
        while self.is_attached() {
            let late = self.answered_epoch > self.contributions.contribution_epoch;
            let until = if late { end.max(news_due) } else { end };
            let news = match next(&mut self.directives).now_or_never() {
                Some(news) => news,
                None if Instant::now() >= until => break,
                None => tokio::select! {
                    news = next(&mut self.directives) => news,
                    () = sleep_until(until) => break,
                },
            };
            self.take(news);
        }
        if !self.is_attached() {
            sleep_until(end).await;
        }
        self.acknowledge().await;
    }

    fn away(&mut self) -> InvokeError {
        self.directives = None;
        InvokeError::Away
    }

    /// Takes news in; `None` is the end of the stream.
    fn take(&mut self, news: Option<runtime::AttachResponse>) {
        let Some(news) = news else {
            self.directives = None;
            return;
        };
        for directive in news.directives {
            if !directive.directive_id.is_empty() {
                self.unacknowledged.push(directive.directive_id);
            }
            if let Some(Kind::Contributions(contributions)) = directive.kind {
                self.contributions = contributions;
            }
        }
    }

    /// This runtime takes no turns and has no channels: it says so, and the supervisor need not try again.
    async fn acknowledge(&mut self) {
        while !self.unacknowledged.is_empty() && self.is_attached() {
            let count = self.unacknowledged.len().min(MAX_ACKNOWLEDGEMENTS);
            let acknowledgements = self.unacknowledged.drain(..count).map(|directive_id| {
                runtime::acknowledge_directives_request::Acknowledgement {
                    directive_id,
                    outcome: runtime::DirectiveOutcome::Unsupported as i32,
                    ..Default::default()
                }
            });
            let request = runtime::AcknowledgeDirectivesRequest { acknowledgements: acknowledgements.collect() };
            // What is not acknowledged comes again.
            if self.client.acknowledge_directives(request).await.is_err() {
                break;
            }
        }
    }
}

/// The next directives; `None` where the stream has ended, however it did. Never ends where there is no stream.
async fn next(directives: &mut Option<Streaming<runtime::AttachResponse>>) -> Option<runtime::AttachResponse> {
    match directives {
        Some(stream) => stream.message().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// What a call by itself was answered.
fn answered<T>(told: Result<Result<tonic::Response<T>, Status>, Elapsed>, limit: Duration) -> Result<T, InvokeError> {
    match told {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(InvokeError::Refused(status.message().to_owned())),
        Err(_) => Err(InvokeError::TimedOut(limit)),
    }
}

fn outcome(answer: runtime::hook_stream_response::Answer) -> Result<runtime::HookOutcome, InvokeError> {
    use runtime::hook_stream_response::answer::Answer;
    match answer.answer {
        Some(Answer::Outcome(outcome)) => Ok(outcome),
        Some(Answer::Error(error)) => Err(InvokeError::Refused(error.message)),
        None => Err(InvokeError::Refused("the supervisor answered nothing that this client knows".to_owned())),
    }
}
