//! Questions to a person about a tool call: asked with a hook's answer, ended by the runtime or by time.
//!
//! In memory: a tool call does not outlive the supervisor. The first resolution stands. Whoever asked is told how it
//! ended, in whatever generation it is by then, and the runtime, where it did not end it itself: by time, with its run, or
//! as the plugin that asked is quarantined.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1::{self as types, ApprovalOutcome, ErrorReason, PluginState};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use super::decisions::{Decisions, Subject};
use super::dispatch::Call;
use super::session::{Ask, InvokeError};
use super::status::Failure;
use super::view::View;
use crate::domain::hook::Hook;
use crate::domain::ids::Generation;
use crate::domain::text;

/// Ended approvals kept, for a runtime that tells again how one ended.
const MAX_ENDED: usize = 4096;
/// How long a plugin that is away has to come back to hear of its approval (`ApprovalCall`).
const NEWS_WAITS: Duration = Duration::from_secs(24 * 3600);

/// How often a plugin may end with the news in its hands. It is told again by the next generation, as its end may have
/// been another's doing; but news that it cannot bear must not be the end of every generation.
const TRIES: u32 = 3;
/// News of ended approvals that a slow runtime may fall behind.
const NEWS: usize = 256;

/// Who asks for an approval.
pub(crate) struct Asker {
    pub(crate) view: Arc<View>,
    /// The plugin's name for people.
    pub(crate) name: String,
    pub(crate) handler: String,
    pub(crate) policy: bool,
    pub(crate) generation: Generation,
    /// Approvals of it that may be pending.
    pub(crate) most: usize,
}

/// All approvals.
pub(crate) struct Approvals {
    /// Random, so that an id of an earlier supervisor names nothing.
    instance: String,
    decisions: Arc<Decisions>,
    tasks: TaskTracker,
    state: Mutex<State>,
    /// Approvals that ended without the runtime, by its id.
    withdrawn: broadcast::Sender<(Arc<str>, wire::Withdrawn)>,
}

#[derive(Default)]
struct State {
    last: u64,
    pending: HashMap<String, Pending>,
    ended: HashMap<String, Ended>,
    /// Ended ones, oldest first.
    order: VecDeque<String>,
}

struct Pending {
    runtime_id: Arc<str>,
    asker: Asker,
    subject: Subject,
    allowed: Vec<i32>,
    context_json: Bytes,
    /// Watches its time and its run.
    watch: AbortHandle,
}

struct Ended {
    runtime_id: Arc<str>,
    response: wire::ResolveApprovalResponse,
}

impl Approvals {
    pub(crate) fn new(decisions: Arc<Decisions>, tasks: TaskTracker) -> Arc<Self> {
        let (withdrawn, _) = broadcast::channel(NEWS);
        Arc::new(Self { instance: super::entropy::hex::<8>(), decisions, tasks, state: Mutex::default(), withdrawn })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Approvals that end without their runtime from now on, with its id.
    pub(crate) fn withdrawn(&self) -> broadcast::Receiver<(Arc<str>, wire::Withdrawn)> {
        self.withdrawn.subscribe()
    }

    /// Notes a question that the runtime puts to a person, and watches its time, its run and its plugin.
    ///
    /// # Errors
    /// Too many of this plugin are pending, in words that follow its name.
    pub(crate) fn ask(
        self: &Arc<Self>,
        call: &Call,
        asker: Asker,
        mut request: types::ApprovalRequest,
        subject: Subject,
    ) -> Result<wire::PendingApproval, String> {
        let context_json = std::mem::take(&mut request.context_json);
        let timeout = request.timeout.as_ref().and_then(super::wire::to_duration).unwrap_or_default();
        let expires = Instant::now() + timeout;
        let mut told = wire::PendingApproval {
            approval_id: String::new(),
            plugin_id: asker.view.id.to_string(),
            plugin_name: asker.name.clone(),
            request: Some(request.clone()),
            session: call.asked.session.clone(),
            expires_at: Some(super::wire::timestamp(SystemTime::now() + timeout)),
        };
        let runtime_id = Arc::clone(&call.runtime_id);
        let run = call.run.as_ref().map(|run| run.ended.clone()).unwrap_or_default();
        let mut state = self.lock();
        let own = state.pending.values().filter(|pending| pending.asker.view.id == asker.view.id).count();
        if own >= asker.most {
            return Err(format!("asks for an approval, and {own} of it are pending, at most {}", asker.most));
        }
        state.last += 1;
        let id = format!("{}-{:x}", self.instance, state.last);
        told.approval_id.clone_from(&id);
        let (approvals, watched) = (Arc::downgrade(self), id.clone());
        let mut statuses = asker.view.watch();
        let watch = self.tasks.spawn(async move {
            let quarantined = async {
                // Where the view is gone the supervisor stops, and everything with it.
                let _ = statuses.wait_for(|status| status.state == PluginState::Quarantined).await;
            };
            let (outcome, why) = tokio::select! {
                () = sleep_until(expires) => (ApprovalOutcome::TimedOut, "nobody answered in time"),
                () = run.cancelled() => (ApprovalOutcome::Cancelled, "the run ended"),
                () = quarantined => (ApprovalOutcome::Cancelled, "the plugin that asked is quarantined"),
            };
            if let Some(approvals) = approvals.upgrade() {
                approvals.take_back(&watched, outcome, why);
            }
        });
        let watch = watch.abort_handle();
        let pending = Pending { runtime_id, asker, subject, allowed: request.allowed, context_json, watch };
        state.pending.insert(id, pending);
        drop(state);
        Ok(told)
    }

    /// The runtime tells how an approval ended.
    pub(crate) fn resolve(
        self: &Arc<Self>,
        runtime_id: &str,
        request: &wire::ResolveApprovalRequest,
    ) -> Result<wire::ResolveApprovalResponse, Failure> {
        let outcome = match ApprovalOutcome::try_from(request.outcome) {
            Ok(ApprovalOutcome::Unspecified) | Err(_) => {
                return Err(Failure::field("outcome", "wants an outcome that is known here"));
            }
            Ok(outcome) => outcome,
        };
        if text::units(&request.resolved_by) > 256 {
            return Err(Failure::field("resolved_by", "wants at most 256 characters"));
        }
        let unknown = || {
            let id = text::clean(&request.approval_id, 64);
            Failure::new(ErrorReason::RecordUnknown, "no such approval is pending")
                .meta("kind", "approval")
                .meta("id", id)
        };
        let ended = |state: &State| {
            let ended = state.ended.get(&request.approval_id).filter(|ended| *ended.runtime_id == *runtime_id);
            ended.map(|ended| ended.response.clone())
        };
        let offered = {
            let state = self.lock();
            if let Some(response) = ended(&state) {
                return Ok(response);
            }
            let pending = state.pending.get(&request.approval_id).filter(|pending| *pending.runtime_id == *runtime_id);
            let pending = pending.ok_or_else(unknown)?;
            let is_answer = matches!(
                outcome,
                ApprovalOutcome::AllowedOnce | ApprovalOutcome::AllowedAlways | ApprovalOutcome::Denied
            );
            !is_answer || pending.allowed.contains(&(outcome as i32))
        };
        let (outcome, why) =
            if offered { (outcome, "") } else { (ApprovalOutcome::TimedOut, "the answer was not among those offered") };
        // Its time may have come between the look and the end; then that stands.
        self.end(&request.approval_id, outcome, why).or_else(|| ended(&self.lock())).ok_or_else(unknown)
    }

    /// Ends an approval without its runtime, and tells it.
    fn take_back(self: &Arc<Self>, id: &str, outcome: ApprovalOutcome, why: &str) {
        let runtime_id = self.lock().pending.get(id).map(|pending| Arc::clone(&pending.runtime_id));
        if let (Some(runtime_id), Some(_)) = (runtime_id, self.end(id, outcome, why)) {
            let subject = Some(wire::withdrawn::Subject::ApprovalId(id.to_owned()));
            // Without an attached runtime nobody listens; one that attaches later and resolves it hears how it ended.
            let _ = self.withdrawn.send((runtime_id, wire::Withdrawn { subject, reason: why.to_owned() }));
        }
    }

    /// Ends an approval; `None` where it has ended before.
    fn end(self: &Arc<Self>, id: &str, outcome: ApprovalOutcome, why: &str) -> Option<wire::ResolveApprovalResponse> {
        let mut state = self.lock();
        let pending = state.pending.remove(id)?;
        pending.watch.abort();
        let allows = matches!(outcome, ApprovalOutcome::AllowedOnce | ApprovalOutcome::AllowedAlways);
        let give = || self.decisions.give(&pending.runtime_id, pending.subject.clone(), Instant::now());
        let decision = allows.then(give);
        let tool_call_id = pending.subject.tool_call_id.clone();
        let response =
            wire::ResolveApprovalResponse { outcome: outcome as i32, decision, message: why.to_owned(), tool_call_id };
        if state.order.len() >= MAX_ENDED
            && let Some(oldest) = state.order.pop_front()
        {
            state.ended.remove(&oldest);
        }
        let ended = Ended { runtime_id: Arc::clone(&pending.runtime_id), response: response.clone() };
        state.order.push_back(id.to_owned());
        state.ended.insert(id.to_owned(), ended);
        drop(state);
        let news = plugin::ApprovalCall {
            approval_id: id.to_owned(),
            outcome: outcome as i32,
            tool_name: pending.subject.tool_name,
            tool_call_id: pending.subject.tool_call_id,
            context_json: pending.context_json,
            message: why.to_owned(),
            asked_by_generation: pending.asker.generation.0,
        };
        self.tasks.spawn(async move {
            // Nobody waits for it; a plugin that does not come back has nothing to hear it with.
            let _ = timeout(NEWS_WAITS, tell(pending.asker, news)).await;
        });
        Some(response)
    }
}

/// Tells a plugin how its approval ended, once some generation of it has heard it.
async fn tell(asker: Asker, news: plugin::ApprovalCall) {
    let mut watch = asker.view.watch();
    let mut tries = 0;
    let drop_it = |why: String| {
        let generation = asker.view.status().generation;
        asker.view.logs.say(SystemTime::now(), generation, "warn", format!("approval {} {why}", news.approval_id));
    };
    loop {
        let session = asker.view.serving();
        let index = session
            .as_ref()
            .and_then(|session| session.registration.handler(Hook::BeforeToolCall, asker.policy, &asker.handler));
        if let (Some(session), Some(index)) = (&session, index) {
            let invocation = plugin::Invocation {
                handler_id: asker.handler.clone(),
                call: Some(plugin::invocation::Call::Approval(news.clone())),
                ..Default::default()
            };
            let now = Instant::now();
            let deadline = now + session.registration.handlers[index].timeout;
            match session.invoke(Ask::new(index, now, deadline, invocation)).await {
                // Any answer will do, and one that does not come in time was at least asked for.
                Ok(_) | Err(InvokeError::TimedOut { .. } | InvokeError::TooLarge { .. } | InvokeError::Overloaded) => {
                    return;
                }
                Err(InvokeError::NotServing) => {}
                Err(InvokeError::Ended(_)) => {
                    tries += 1;
                    if tries == TRIES {
                        return drop_it(format!("has ended, and {TRIES} generations ended as they were told so"));
                    }
                }
            }
        } else if session.is_some() {
            return drop_it(format!("has ended, and handler `{}`, which asked, is gone", asker.handler));
        }
        if watch.changed().await.is_err() {
            return;
        }
    }
}
