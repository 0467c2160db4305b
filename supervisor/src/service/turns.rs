//! Turns: preparing one from what hooks add, and deciding whether its answer may go out.

use std::sync::{Arc, Mutex, PoisonError};

use outrigger_proto::runtime::v1 as wire;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::ErrorReason;
use tokio_util::task::TaskTracker;

use super::dispatch::{Dispatcher, Outcome};
use super::invocation;
use super::registry::Snapshot;
use super::results::{RetryBudgets, Settled, Turn, join};
use super::runs::Run;
use super::runtimes::Runtime;
use super::status::Failure;
use crate::domain::hook::Hook;
use crate::domain::json;

/// Characters of a heartbeat's name.
const MAX_HEARTBEAT: usize = 128;

/// What is kept between the calls of a turn.
pub(crate) struct Turns {
    budgets: Arc<Mutex<RetryBudgets>>,
    tasks: TaskTracker,
}

/// The texts that hooks add to a prompt.
#[derive(Default)]
struct Texts {
    prepend: String,
    append: String,
}

impl Texts {
    fn add(&mut self, outcome: Outcome) {
        use types::hook_result::Result as Kind;
        if let Some(Kind::Prompt(prompt)) = outcome.result.and_then(|result| result.result) {
            join(&mut self.prepend, prompt.prepend_context);
            join(&mut self.append, prompt.append_context);
        }
    }
}

impl Turns {
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self { budgets: Arc::default(), tasks }
    }

    /// Whether preparing a turn can come to anything.
    pub(crate) fn prepares(snapshot: &Snapshot) -> bool {
        [Hook::AgentTurnPrepare, Hook::HeartbeatPromptContribution].iter().any(|hook| snapshot.table(*hook).is_some())
    }

    /// Prepares a turn: asks `agent_turn_prepare`, for a heartbeat its own hook, too, and folds what they add.
    pub(crate) async fn prepare(
        &self,
        runtime: &Runtime,
        dispatcher: &Arc<Dispatcher>,
        request: wire::PrepareTurnRequest,
    ) -> Result<wire::PrepareTurnResponse, Failure> {
        required(request.session.as_ref(), request.run.as_ref())?;
        let name = match request.heartbeat_name.trim() {
            "" => "heartbeat",
            name if crate::domain::text::units(name) <= MAX_HEARTBEAT => name,
            _ => return Err(Failure::field("heartbeat_name", "wants at most 128 characters")),
        };
        let asks_heartbeat = request.trigger() == types::Trigger::Heartbeat;
        let prepare = wire::HookInvocation {
            hook: types::Hook::AgentTurnPrepare as i32,
            timeout: request.timeout,
            event_json: request.event_json,
            context_json: request.context_json,
            messages_json: request.messages_json,
            session: request.session,
            run: request.run,
            trigger: request.trigger,
            trace: request.trace,
            ..Default::default()
        };
        let heartbeat = asks_heartbeat.then(|| wire::HookInvocation {
            hook: types::Hook::HeartbeatPromptContribution as i32,
            event_json: serde_json::json!({ "heartbeatName": name }).to_string().into(),
            messages_json: Default::default(),
            ..prepare.clone()
        });
        // Both are checked before anybody is asked.
        let runs = &dispatcher.runs;
        let mut call = invocation::check(Box::new(prepare), Hook::AgentTurnPrepare, runtime, runs).await?;
        let heartbeat = match heartbeat {
            Some(heartbeat) => {
                Some(invocation::check(Box::new(heartbeat), Hook::HeartbeatPromptContribution, runtime, runs).await?)
            }
            None => None,
        };
        call.asked.event_json = json::shallow_merge(&call.asked.event_json, b"{\"queuedInjections\":[]}")
            .map_err(|error| Failure::field("event_json", error.to_string()))?;
        call.conversation = true;
        let mut texts = Texts::default();
        texts.add(dispatcher.call(call).await?);
        if let Some(heartbeat) = heartbeat {
            texts.add(dispatcher.call(heartbeat).await?);
        }
        Ok(wire::PrepareTurnResponse {
            prepend_context: texts.prepend,
            append_context: texts.append,
            contribution_epoch: dispatcher.epoch(),
            ..Default::default()
        })
    }

    /// Asks `before_agent_finalize` and charges the budgets; the same attempt gets the answer it had before.
    pub(crate) async fn finalize(
        &self,
        runtime: &Runtime,
        dispatcher: &Arc<Dispatcher>,
        request: wire::FinalizeTurnRequest,
    ) -> Result<wire::FinalizeTurnResponse, Failure> {
        required(request.session.as_ref(), request.run.as_ref())?;
        let run_id = request.run.as_ref().map(|run| run.id.clone()).unwrap_or_default();
        if request.attempt == 0 {
            return Err(Failure::field("attempt", "wants 1 or more"));
        }
        let turn = Turn {
            runtime_id: &runtime.id,
            run_id: &run_id,
            attempt: request.attempt,
            side_effects_committed: request.side_effects_committed,
        };
        let finalize = wire::HookInvocation {
            hook: types::Hook::BeforeAgentFinalize as i32,
            timeout: request.timeout,
            event_json: request.event_json,
            context_json: request.context_json,
            messages_json: request.messages_json,
            session: request.session,
            run: request.run,
            trace: request.trace,
            ..Default::default()
        };
        let call = invocation::check(Box::new(finalize), Hook::BeforeAgentFinalize, runtime, &dispatcher.runs).await?;
        if let Some(earlier) = self.lock().earlier(&turn) {
            return Ok(told(earlier, dispatcher.epoch()));
        }
        let run = call.run.clone();
        let outcome = dispatcher.call(call).await?;
        if let Some(run) = run
            && !self.lock().knows(&turn)
        {
            self.forget_with(run);
        }
        let (proposal, plugins) = outcome.finalize.map_or((None, Vec::new()), |(proposal, of)| (Some(proposal), of));
        let plugin = |position: usize| plugins.get(position).cloned().unwrap_or_default();
        Ok(told(self.lock().settle(&turn, proposal, plugin), outcome.epoch))
    }

    /// Forgets what belongs to a run once it ends.
    fn forget_with(&self, run: Arc<Run>) {
        let budgets = Arc::downgrade(&self.budgets);
        self.tasks.spawn(async move {
            run.ended.cancelled().await;
            if let Some(budgets) = budgets.upgrade() {
                budgets.lock().unwrap_or_else(PoisonError::into_inner).end_run(&run.runtime_id, &run.id);
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RetryBudgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn required(session: Option<&types::SessionRef>, run: Option<&types::RunRef>) -> Result<(), Failure> {
    if session.is_none() {
        return Err(Failure::new(ErrorReason::SessionKeyInvalid, "the turn names no session"));
    }
    if run.is_none() {
        return Err(Failure::field("run", "is required"));
    }
    Ok(())
}

fn told(settled: Settled, contribution_epoch: u64) -> wire::FinalizeTurnResponse {
    wire::FinalizeTurnResponse {
        decision: Some(settled.decision),
        plugin_id: settled.plugin_id,
        budget_used: settled.budget_used,
        retry_withheld: settled.retry_withheld,
        contribution_epoch,
    }
}
