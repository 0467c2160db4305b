//! A runtime's fast stream of hook calls: driven by whoever reads its answers, without a task or queue of its own.
//!
//! Dropping the stream drops every call in flight, which cancels it. A runtime that does not read its answers is not
//! read from either.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, AbortRegistration, Abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::ErrorReason;
use prost::Message as _;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::codegen::BoxStream;
use tonic::{Code, Status, Streaming};

use super::decisions::{self, Subject};
use super::dispatch::{Dispatcher, Outcome, Verdict};
use super::invocation;
use super::runtimes::Runtime;
use super::status::Failure;

/// Calls of one message (the wire contract's bound).
const MAX_CALLS: usize = 1024;
/// Calls of one stream that may be in flight.
pub(crate) const MAX_IN_FLIGHT: usize = 1024;
/// Answers put into one message.
const MAX_ANSWERS: usize = 64;
/// A message with so many bytes of answers takes no more. Plugins decide how long answers are: together with one of the
/// longest it still is below the bound on messages.
const FULL: usize = 256 * 1024;
/// Longest answer with reports of all handlers; a longer one goes without. Parameters have 3 MiB at most.
const MAX_ANSWER: usize = 3 * 1024 * 1024 + 512 * 1024;
/// Longest id of a decision that is looked at, in bytes; those given have at most 64.
const MAX_DECISION_ID: usize = 256;

/// What became of a call: its outcome, and the epoch it was answered under.
type Answered = Result<(wire::HookOutcome, u64), Failure>;

/// The answers of one stream. `M` makes the future `F` of a call; it is kept where it was made, as it is large.
struct HookStream<M, F> {
    make: M,
    runtime_id: Arc<str>,
    dispatcher: Arc<Dispatcher>,
    inbound: Option<Streaming<wire::HookStreamRequest>>,
    running: FuturesUnordered<F>,
    aborts: HashMap<u64, AbortHandle>,
    answers: Vec<wire::hook_stream_response::Answer>,
    redemptions: Vec<wire::hook_stream_response::Redemption>,
    /// Size of both.
    bytes: usize,
    epoch: u64,
    broken: Option<Status>,
    removed: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The answers of a stream of calls.
pub(crate) fn serve(
    runtime: Arc<Runtime>,
    dispatcher: Arc<Dispatcher>,
    inbound: Streaming<wire::HookStreamRequest>,
    runtime_gone: std::time::Duration,
) -> BoxStream<wire::HookStreamResponse> {
    let runtime_id = Arc::clone(&runtime.id);
    let removed = Box::pin(runtime.removed.clone().cancelled_owned());
    let calls = Arc::clone(&dispatcher);
    let make = move |id, registration, invocation| {
        let (runtime, dispatcher) = (Arc::clone(&runtime), Arc::clone(&calls));
        let call = async move { invoke(&runtime, &dispatcher, invocation, runtime_gone).await };
        Abortable::new(call, registration).map(move |answered| (id, answered.ok()))
    };
    Box::pin(HookStream {
        make,
        runtime_id,
        dispatcher,
        inbound: Some(inbound),
        running: FuturesUnordered::new(),
        aborts: HashMap::new(),
        answers: Vec::new(),
        redemptions: Vec::new(),
        bytes: 0,
        epoch: 0,
        broken: None,
        removed,
    })
}

impl<M, F> HookStream<M, F>
where
    M: FnMut(u64, AbortRegistration, Option<Box<wire::HookInvocation>>) -> F,
    F: Future<Output = (u64, Option<Answered>)>,
{
    fn take_in(&mut self, message: wire::HookStreamRequest) {
        if message.calls.len() > MAX_CALLS || message.redemptions.len() > MAX_CALLS {
            let right = format!("at most {MAX_CALLS} calls and as many redemptions in a message");
            self.broken = Some(Failure::field("calls", right).into());
            return;
        }
        for call in message.calls {
            let id = call.call_id;
            if id == 0 || self.aborts.contains_key(&id) {
                let right = "wants a number from 1 that is not in use by another call of this stream";
                self.broken = Some(Failure::field("calls.call_id", right).into());
                return;
            }
            if self.aborts.len() >= MAX_IN_FLIGHT {
                let failure =
                    Failure::new(ErrorReason::PluginOverloaded, format!("{MAX_IN_FLIGHT} calls are in flight"));
                self.fail(id, &failure.retry(std::time::Duration::from_millis(10)).into());
                continue;
            }
            let (abort, registration) = AbortHandle::new_pair();
            self.aborts.insert(id, abort);
            self.running.push((self.make)(id, registration, call.invocation));
        }
        for id in message.cancelled_call_ids {
            if let Some(abort) = self.aborts.get(&id) {
                abort.abort();
            }
        }
        for redemption in message.redemptions {
            if redemption.decision_id.len() > MAX_DECISION_ID {
                self.broken = Some(Failure::field("redemptions.decision_id", "wants 1 to 64 characters").into());
                return;
            }
            let answer = match redeem(&self.dispatcher, &self.runtime_id, &redemption) {
                Ok(()) => wire::hook_stream_response::redemption::Answer::Redeemed(wire::RedeemDecisionResponse {}),
                Err(failure) => wire::hook_stream_response::redemption::Answer::Error(call_error(&failure.into())),
            };
            let decision_id = redemption.decision_id;
            let redemption = wire::hook_stream_response::Redemption { decision_id, answer: Some(answer) };
            self.bytes += redemption.encoded_len();
            self.redemptions.push(redemption);
        }
    }

    fn fail(&mut self, call_id: u64, status: &Status) {
        self.answer(call_id, wire::hook_stream_response::answer::Answer::Error(call_error(status)));
    }

    fn answer(&mut self, call_id: u64, answer: wire::hook_stream_response::answer::Answer) {
        let answer = wire::hook_stream_response::Answer { call_id, answer: Some(answer) };
        self.bytes += answer.encoded_len();
        self.answers.push(answer);
    }

    /// The message to come has room for more.
    fn has_room(&self) -> bool {
        self.answers.len() < MAX_ANSWERS && self.bytes < FULL
    }

    fn finish(&mut self, call_id: u64, answered: Option<Answered>) {
        self.aborts.remove(&call_id);
        match answered {
            Some(Ok((mut outcome, epoch))) => {
                self.epoch = self.epoch.max(epoch);
                if outcome.encoded_len() > MAX_ANSWER {
                    outcome.handlers.clear();
                }
                self.answer(call_id, wire::hook_stream_response::answer::Answer::Outcome(outcome));
            }
            Some(Err(failure)) => self.fail(call_id, &failure.into()),
            None => self.fail(call_id, &Status::cancelled("the runtime cancelled the call")),
        }
    }
}

impl<M, F> Stream for HookStream<M, F>
where
    M: FnMut(u64, AbortRegistration, Option<Box<wire::HookInvocation>>) -> F + Unpin,
    F: Future<Output = (u64, Option<Answered>)>,
{
    type Item = Result<wire::HookStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let open = this.inbound.is_some() || !this.running.is_empty();
        if this.broken.is_none() && open && this.removed.as_mut().poll(cx).is_ready() {
            this.broken = Some(super::runtime_service::key_removed().into());
        }
        // Messages first, so that calls that come together run together.
        while this.broken.is_none() && this.has_room() {
            let Some(inbound) = &mut this.inbound else { break };
            match inbound.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => this.take_in(message),
                Poll::Ready(Some(Err(status))) => this.broken = Some(status),
                Poll::Ready(None) => this.inbound = None,
                Poll::Pending => break,
            }
        }
        let mut all_done = false;
        while this.has_room() {
            match this.running.poll_next_unpin(cx) {
                Poll::Ready(Some((id, answered))) => this.finish(id, answered),
                Poll::Ready(None) => {
                    all_done = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if let Some(status) = this.broken.take() {
            this.inbound = None;
            this.running.clear();
            return Poll::Ready(Some(Err(status)));
        }
        if !this.answers.is_empty() || !this.redemptions.is_empty() {
            this.bytes = 0;
            // The next message mostly has as many answers.
            let room = Vec::with_capacity(this.answers.len());
            let response = wire::HookStreamResponse {
                answers: std::mem::replace(&mut this.answers, room),
                contribution_epoch: this.epoch.max(this.dispatcher.epoch()),
                redemptions: std::mem::take(&mut this.redemptions),
            };
            return Poll::Ready(Some(Ok(response)));
        }
        if all_done && this.inbound.is_none() { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// Uses up a decision; both forms of redeeming end here.
///
/// # Errors
/// It was never given, is used or too old, or was given for another call or other parameters.
pub(crate) fn redeem(
    dispatcher: &Dispatcher,
    runtime_id: &str,
    request: &wire::RedeemDecisionRequest,
) -> Result<(), Failure> {
    let fits = |subject: &Subject| {
        subject.tool_call_id == request.tool_call_id
            && (request.params_sha256.is_empty() || request.params_sha256 == subject.digest[..])
    };
    if dispatcher.decisions.redeem(runtime_id, &request.decision_id, Instant::now(), fits) {
        return Ok(());
    }
    Err(decisions::unknown(&request.decision_id))
}

/// Checks and dispatches one call; both forms of calling a hook end here.
pub(crate) async fn invoke(
    runtime: &Runtime,
    dispatcher: &Dispatcher,
    invocation: Option<Box<wire::HookInvocation>>,
    gone: std::time::Duration,
) -> Answered {
    runtime.check_attached(gone)?;
    let invocation = invocation.ok_or_else(|| Failure::field("invocation", "is required"))?;
    let hook = invocation::hook(invocation.hook)?;
    let call = invocation::check(invocation, hook, runtime, &dispatcher.runs).await?;
    let outcome = dispatcher.call(call).await?;
    let epoch = outcome.epoch;
    Ok((told(outcome), epoch))
}

/// An outcome as the runtime hears it.
fn told(outcome: Outcome) -> wire::HookOutcome {
    let verdict = match outcome.verdict {
        Verdict::GoOn => wire::HookVerdict::GoOn,
        Verdict::Stop => wire::HookVerdict::Stop,
        Verdict::Ask => wire::HookVerdict::Ask,
    };
    wire::HookOutcome {
        verdict: verdict as i32,
        result: outcome.result,
        reason: outcome.reason,
        decided_by: outcome.decided_by,
        decision: outcome.decision,
        approval: outcome.approval,
        rechecked_guards: outcome.rechecked,
        handlers: outcome.handlers,
        evaluations: outcome.evaluations,
        claim_miss: outcome.claim_miss as i32,
    }
}

/// A status as it travels inside a stream.
fn call_error(status: &Status) -> wire::CallError {
    use tonic_types::StatusExt as _;
    let details = status.get_error_details();
    let metadata = details.error_info().map(|info| info.metadata.clone()).unwrap_or_default();
    let reason = details
        .error_info()
        .and_then(|info| ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason)))
        .unwrap_or(ErrorReason::Unspecified);
    let retry = details.retry_info().and_then(|retry| retry.retry_delay);
    wire::CallError {
        code: if status.code() == Code::Ok { Code::Unknown as i32 } else { status.code() as i32 },
        reason: reason as i32,
        message: crate::domain::text::clean(status.message(), 500),
        retry_after: retry.map(super::wire::duration),
        metadata: metadata.into_iter().collect(),
    }
}
