//! Calls a hook: who is asked, in which order, and what their answers come to.
//!
//! ```text
//!  Call ─▶ guards nobody serves ─▶ handlers in order (those without side effects side by side) ─▶ merge
//!                                                                                                   │
//!       Outcome ◀─ decision or approval ◀─ once more, whoever allowed something else than what runs ┘
//! ```
//!
//! First, guards that hold and whose plugin is absent: a call that cannot pass costs nobody a call. Then handlers in
//! order; what ends the call depends on the hook (`domain/hook.rs`), what answers come to is in `results`. No lock is held
//! while a plugin is asked.

mod ask;
mod bounds;
mod observe;
mod round;

use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) use self::ask::{Asking, CONVERSATION, absent_state, outcome, why_absent};
use self::observe::Observers;
use self::round::{Round, Stop};
use super::approvals::Approvals;
use super::decisions::{Decisions, ParamsDigest, Subject, digest};
use super::events::Bus;
use super::invocation::{MAX_PAYLOAD, SCAN_HERE, run_ended, scan};
use super::registry::{Registry, Snapshot};
use super::results::{self, Merged};
use super::runs::{Run, Runs};
use super::status::Failure;
use crate::domain::hook::{Hook, Kind};

/// A hook call, checked.
pub(crate) struct Call {
    /// Who calls; empty for an operator.
    pub(crate) runtime_id: Arc<str>,
    pub(crate) hook: Hook,
    /// As the runtime sent it. `event_json` is a JSON object, and so is `context_json` where it is not empty;
    /// `messages_json` is an array or empty; the session is one the runtime announced.
    pub(crate) asked: Box<runtime::HookInvocation>,
    /// The caller's own deadline.
    pub(crate) deadline: Option<Instant>,
    /// Event or context have members that only readers of the conversation may see.
    pub(crate) conversation: bool,
    /// Where the event's `params` stand.
    pub(crate) params: Option<Range<usize>>,
    /// The run it belongs to.
    pub(crate) run: Option<Arc<Run>>,
}

#[cfg(any(test, feature = "bench"))]
impl Call {
    /// A call as [`invocation::check`](super::invocation::check) leaves one that has no bound of its own, no run and no
    /// conversation.
    pub(crate) fn checked(
        runtime_id: Arc<str>,
        hook: Hook,
        asked: Box<runtime::HookInvocation>,
        params: Option<Range<usize>>,
    ) -> Self {
        Self { runtime_id, hook, asked, deadline: None, conversation: false, params, run: None }
    }

    /// Where the `params` of an event stand; `None` also where it is no JSON.
    pub(crate) fn find_params(event: &[u8]) -> Option<Range<usize>> {
        use crate::domain::json;
        let limits = json::ValueLimits::payload(json::PAYLOAD_DEPTH);
        json::validate_members(event, &limits, "params", &[]).ok()?.first
    }
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    Stop,
    /// Once a person allows it.
    Ask,
}

/// What the plugins made of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) result: Option<Box<types::HookResult>>,
    /// Why not; begins with the plugin's id.
    pub(crate) reason: String,
    pub(crate) decided_by: Option<Box<types::HandlerReport>>,
    pub(crate) decision: Option<runtime::Decision>,
    pub(crate) approval: Option<Box<runtime::PendingApproval>>,
    pub(crate) rechecked: u32,
    pub(crate) handlers: Vec<types::HandlerReport>,
    pub(crate) evaluations: Vec<runtime::HandlerEvaluation>,
    pub(crate) claim_miss: runtime::ClaimMiss,
    /// What is proposed for an answer about to go out, and the plugin at each position.
    pub(crate) finalize: Option<(results::Proposal, Vec<String>)>,
    /// Epoch this was answered under.
    pub(crate) epoch: u64,
}

impl Outcome {
    fn new(verdict: Verdict, epoch: u64) -> Self {
        Self {
            verdict,
            result: None,
            reason: String::new(),
            decided_by: None,
            decision: None,
            approval: None,
            rechecked: 0,
            handlers: Vec::new(),
            evaluations: Vec::new(),
            claim_miss: runtime::ClaimMiss::Unspecified,
            finalize: None,
            epoch,
        }
    }
}

/// Asks plugins.
pub(crate) struct Dispatcher {
    registry: Arc<Registry>,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) approvals: Arc<Approvals>,
    /// Runs that calls belong to.
    pub(crate) runs: Arc<Runs>,
    bus: Arc<Bus>,
    observers: Observers,
}

impl Dispatcher {
    pub(crate) fn new(registry: Arc<Registry>, runs: Arc<Runs>, bus: Arc<Bus>, tasks: TaskTracker) -> Arc<Self> {
        let decisions = Arc::new(Decisions::new());
        let approvals = Approvals::new(Arc::clone(&decisions), tasks.clone());
        Arc::new(Self { registry, decisions, approvals, runs, bus, observers: Observers::new(tasks) })
    }

    /// The contribution epoch now.
    pub(crate) fn epoch(&self) -> u64 {
        self.registry.snapshot().epoch
    }

    /// Dispatches one call, for as long as its run lives. Cancel safe, as [`Self::dispatch`].
    ///
    /// # Errors
    /// The run ended first.
    pub(crate) async fn call(&self, call: Call) -> Result<Outcome, Failure> {
        // Observers may be told of what ended it.
        let Some(run) = call.run.clone().filter(|_| call.hook.row().kind != Kind::Observe) else {
            return Ok(self.dispatch(call).await);
        };
        tokio::select! {
            biased;
            outcome = self.dispatch(call) => Ok(outcome),
            () = run.ended.cancelled() => Err(run_ended(&run.id)),
        }
    }

    /// Dispatches one call. Cancel safe: a dropped future cancels what is in flight, but for observers that nobody waits
    /// for.
    pub(crate) async fn dispatch(&self, call: Call) -> Outcome {
        let snapshot = self.registry.snapshot();
        let epoch = snapshot.epoch;
        if call.hook.row().kind == Kind::Observe {
            // What few calls need stays out of the way of the others, whose futures are kept where they are made.
            return Box::pin(self.observe(call, snapshot)).await;
        }
        let mut round = Round::new(&call, &snapshot, self.bus.last_seq());
        // Only these get a decision.
        let decides = (call.hook == Hook::BeforeToolCall).then_some(|| own_digest(&call));
        let (answered, digest) = meanwhile(round.run(), decides).await;
        let stopped = match answered {
            Ok(()) => self.settle(&mut round, digest.flatten()).await,
            Err(stop) => Err(stop),
        };
        let mut outcome = match stopped {
            Ok(outcome) => outcome,
            Err(stop) => Outcome {
                result: stop.result,
                reason: stop.reason,
                decided_by: Some(stop.report),
                ..Outcome::new(Verdict::Stop, epoch)
            },
        };
        outcome.rechecked = round.rechecked;
        outcome.handlers = std::mem::take(&mut round.reports);
        outcome
    }

    async fn observe(&self, mut call: Call, snapshot: Arc<Snapshot>) -> Outcome {
        let superseded = self.observers.bounds.bound(&mut call).await;
        let mut outcome = Outcome::new(Verdict::GoOn, snapshot.epoch);
        if call.asked.wait_for_observers {
            outcome.handlers = observe::all(&call, &snapshot, self.bus.last_seq(), superseded.as_ref()).await;
        } else {
            self.observers.start(call, snapshot, self.bus.last_seq(), superseded);
        }
        outcome
    }

    /// Makes an outcome of the answers. `own` is the digest of the parameters as they came, where it is known.
    async fn settle(&self, round: &mut Round<'_>, own: Option<ParamsDigest>) -> Result<Outcome, Box<Stop>> {
        let call = round.call;
        let hook = call.hook;
        if !round.answered() {
            let mut outcome = Outcome::new(Verdict::GoOn, round.epoch());
            (outcome.claim_miss, outcome.decided_by) = round.claim_miss();
            outcome.evaluations = round.evaluations(Vec::new());
            if hook == Hook::BeforeToolCall {
                outcome.decision = self.decide(call, None, own).await;
            }
            return Ok(outcome);
        }
        let mut merged = round.merged().await;
        round.tell(&merged);
        if let Some((position, why)) = merged.failed.first().filter(|_| merged.stopped && merged.result.is_none()) {
            return Err(round.fails(*position, why));
        }
        let mut outcome = Outcome::new(if merged.stopped { Verdict::Stop } else { Verdict::GoOn }, round.epoch());
        outcome.decided_by =
            merged.decided_by.filter(|_| merged.stopped || hook.row().kind == Kind::Claim).map(|by| round.report(by));
        if merged.stopped {
            if let Some(by) = merged.decided_by {
                outcome.reason = round.denied(by, "");
            }
            outcome.result = merged.result.take().map(Box::new);
        } else if hook == Hook::BeforeToolCall {
            if merged.event.is_some() {
                Box::pin(round.recheck(&merged)).await?;
            }
            self.bind(round, merged, &mut outcome, own).await;
            return Ok(outcome);
        } else {
            outcome.result = merged.result.take().map(Box::new);
        }
        outcome.evaluations = round.evaluations(std::mem::take(&mut merged.evaluations));
        outcome.finalize = merged.finalize.take().map(|proposal| (proposal, round.plugins()));
        Ok(outcome)
    }

    /// Lets a tool call go on: with a decision, or once a person allows it.
    async fn bind(&self, round: &mut Round<'_>, mut merged: Merged, outcome: &mut Outcome, own: Option<ParamsDigest>) {
        let mut proceed = merged.result.as_mut().and_then(proceed_of);
        let request = proceed.as_mut().and_then(|proceed| proceed.approval.take());
        let params = proceed.map(|proceed| proceed.params_json.clone()).filter(|params| !params.is_empty());
        match (merged.asked_by, request) {
            (Some(by), Some(request)) => {
                if !Box::pin(self.ask_person(round, by, request, params, outcome, own)).await {
                    merged.result = None;
                }
            }
            _ => outcome.decision = self.decide(round.call, params, own).await,
        }
        outcome.result = merged.result.take().map(Box::new);
    }

    /// Has a person asked about a tool call; false where that cannot be, which stops it.
    async fn ask_person(
        &self,
        round: &Round<'_>,
        by: usize,
        request: types::ApprovalRequest,
        params: Option<Bytes>,
        outcome: &mut Outcome,
        own: Option<ParamsDigest>,
    ) -> bool {
        let asker = round.asker(by).ok_or_else(|| "asks for an approval, and is gone".to_owned());
        let subject = subject(round.call, params, own).await;
        let asked = asker.and_then(|asker| Ok((asker, subject?)));
        match asked.and_then(|(asker, subject)| self.approvals.ask(round.call, asker, request, subject)) {
            Ok(approval) => {
                outcome.verdict = Verdict::Ask;
                outcome.approval = Some(Box::new(approval));
                outcome.decided_by = Some(round.report(by));
                true
            }
            Err(why) => {
                outcome.verdict = Verdict::Stop;
                outcome.reason = round.denied(by, &why);
                outcome.decided_by = Some(round.report_of(by, types::HandlerOutcome::Error, &why));
                false
            }
        }
    }

    async fn decide(&self, call: &Call, params: Option<Bytes>, own: Option<ParamsDigest>) -> Option<runtime::Decision> {
        // Checked parameters can be digested; where they cannot, there is no decision, and that is a no.
        let subject = subject(call, params, own).await.ok()?;
        Some(self.decisions.give(&call.runtime_id, subject, Instant::now()))
    }
}

/// Waits for `future`, and does `work`, if there is some, while it waits, once what the future set going has had its
/// turn. `None` of the work: there was none, or the future came first.
async fn meanwhile<T, W>(future: impl Future<Output = T>, mut work: Option<impl FnOnce() -> W>) -> (T, Option<W>) {
    let mut future = pin!(future);
    let mut turn = pin!(tokio::task::yield_now());
    let mut done = None;
    let come = poll_fn(|context| {
        let come = future.as_mut().poll(context);
        if come.is_pending() && work.is_some() && turn.as_mut().poll(context).is_ready() {
            done = work.take().map(|work| work());
        }
        come
    });
    (come.await, done)
}

/// The digest of the parameters of a tool call as they came, where they are short. Mostly they are what will run, and the
/// plugins' time to think is enough to find it.
fn own_digest(call: &Call) -> Option<ParamsDigest> {
    let params = call.asked.event_json.get(call.params.clone()?)?;
    (params.len() <= SCAN_HERE).then(|| digest(params))?
}

/// What a tool call that goes on is about: these parameters, or the event's own, whose digest may be known.
async fn subject(call: &Call, params: Option<Bytes>, own: Option<ParamsDigest>) -> Result<Subject, String> {
    let asked = &call.asked;
    let digest = async {
        if let (None, Some(own)) = (&params, own) {
            return Some(own);
        }
        let own = || Some(asked.event_json.slice(call.params.clone()?));
        let params = params.or_else(own).unwrap_or_default();
        scan(params.len(), move || digest(&params)).await.flatten()
    };
    Ok(Subject {
        tool_call_id: asked.tool_call_id.clone(),
        tool_name: asked.tool_name.clone(),
        session_key: asked.session.as_ref().map(|session| session.key.clone()).unwrap_or_default(),
        digest: digest.await.ok_or("has parameters that cannot be digested")?,
    })
}

fn proceed_of(result: &mut types::HookResult) -> Option<&mut types::Proceed> {
    use types::hook_result::Result as Kind;
    use types::tool_call_decision::Decision;
    match &mut result.result {
        Some(Kind::ToolCall(types::ToolCallDecision { decision: Some(Decision::Proceed(proceed)) })) => Some(proceed),
        _ => None,
    }
}

/// The most bytes the event of a call may have.
fn most(call: &Call) -> usize {
    MAX_PAYLOAD.saturating_sub(call.asked.context_json.len())
}
