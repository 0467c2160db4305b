//! What handlers of hooks answer: one answer checked, several made one.
//!
//! ```text
//!  HookResult ── check ──▶ Checked ── Merge::add ──▶ Merge::finish ──▶ Merged ── RetryBudgets::settle ──▶ Settled
//!                   │                     ▲                                        (before_agent_finalize)
//!                   └─▶ a failure         └── Merge::event: what the next handler sees
//! ```
//!
//! Pure: nothing here waits, keeps a clock or knows a plugin. Answers are strangers' messages, so nothing here may
//! panic, and time and memory are in proportion to what came in. An answer that breaks the contract is a failure of its
//! handler; a part of it that the hook has no use for is left out with a notice.
//!
//! Order is that of the handlers, by their position in the call. Answers may arrive in any order: they are kept until
//! all are there and folded by position, so time of arrival cannot change what comes out. Nothing loses a refusal to a
//! bound: what only informs is left out before what decides.

mod budgets;
mod claim;
mod evaluation;
mod exec_env;
mod fields;
mod finalize;
mod gate;
mod merge;
mod message;
mod model;
mod prompt;
mod recent;
mod subagent;
#[cfg(test)]
mod tests;
mod tool_call;
mod variables;

use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;

pub(crate) use budgets::{RetryBudgets, Settled, Turn};
pub(crate) use finalize::Proposal;
pub(crate) use merge::{Flow, Merge, Merged};
pub(crate) use prompt::join;

use self::fields::Notices;
use crate::domain::hook::{Hook, ResultKind};

/// One handler's answer as it counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    /// The answer, of the kind the hook takes, within all bounds, without what the hook has no use for.
    pub(crate) result: types::HookResult,
    /// What had no effect, a sentence each and at most 8 of at most 500 characters, for the plugin's author.
    pub(crate) notices: Vec<String>,
}

/// Checks one handler's answer; `policy` for that of a trusted tool policy. Takes time in proportion to its size, so for
/// long ones not on the data thread.
///
/// # Errors
/// What is wrong with it, to follow "gave an invalid answer: "; the handler has failed.
pub(crate) fn check(hook: Hook, policy: bool, result: types::HookResult, handler_id: &str) -> Result<Checked, String> {
    let takes = if policy { ResultKind::ToolCall } else { hook.row().result };
    let Some(answer) = result.result else {
        return Err("a result without a kind that is known here".to_owned());
    };
    if takes == ResultKind::Nothing {
        return Err("a result, where there is nothing to answer".to_owned());
    }
    if kind(&answer) != takes {
        return Err("a result of another hook".to_owned());
    }
    let mut notices = Notices::default();
    let answer = match answer {
        Kind::ToolCall(decision) => Kind::ToolCall(tool_call::check(decision, handler_id, &mut notices)?),
        Kind::Prompt(contribution) => Kind::Prompt(prompt::check(hook, contribution, &mut notices)?),
        Kind::Message(rewrite) => Kind::Message(message::check(hook, rewrite, &mut notices)?),
        Kind::Gate(decision) => Kind::Gate(gate::check(hook, decision, handler_id, &mut notices)?),
        Kind::Claim(claim) => Kind::Claim(claim::check(hook, claim, &mut notices)?),
        Kind::Finalize(decision) => Kind::Finalize(finalize::check(decision, &mut notices)?),
        Kind::Model(model) => Kind::Model(model::check(model)?),
        Kind::ExecEnvironment(variables) => Kind::ExecEnvironment(exec_env::check(variables, &mut notices)?),
        Kind::Evaluation(evaluation) => Kind::Evaluation(evaluation::check(evaluation)?),
        Kind::SubagentSpawn(spawn) => Kind::SubagentSpawn(subagent::check_spawn(spawn)?),
        Kind::SubagentDelivery(delivery) => Kind::SubagentDelivery(subagent::check_delivery(delivery)?),
    };
    Ok(Checked { result: wrap(answer), notices: notices.into_inner() })
}

impl Checked {
    /// The same for a handler of `before_prompt_build` that was called with tool authority: by then the tools are final,
    /// and it can only prepend and append context.
    pub(crate) fn with_tool_authority(mut self) -> Self {
        if let Some(Kind::Prompt(contribution)) = &mut self.result.result {
            let mut notices = Notices::from(self.notices);
            prompt::context_only(contribution, &mut notices);
            self.notices = notices.into_inner();
        }
        self
    }
}

/// Whether an answer refuses: blocks, cancels, vetoes, or says that something must not start.
pub(crate) fn denies(result: &types::HookResult) -> bool {
    use types::gate_decision::Decision as Gate;
    use types::subagent_spawn::Status;
    use types::tool_call_decision::Decision as ToolCall;
    match &result.result {
        Some(Kind::ToolCall(decision)) => matches!(decision.decision, Some(ToolCall::Block(_))),
        Some(Kind::Gate(decision)) => matches!(decision.decision, Some(Gate::Block(_))),
        Some(Kind::Message(rewrite)) => rewrite.cancel,
        Some(Kind::Evaluation(evaluation)) => evaluation::blocks(evaluation),
        Some(Kind::SubagentSpawn(spawn)) => matches!(spawn.status, Some(Status::Error(_))),
        _ => false,
    }
}

/// Why an answer refuses; empty where it does not, or gives no reason.
pub(crate) fn reason(result: &types::HookResult) -> &str {
    use types::gate_decision::Decision as Gate;
    use types::subagent_spawn::Status;
    use types::tool_call_decision::Decision as ToolCall;
    if !denies(result) {
        return "";
    }
    match &result.result {
        Some(Kind::ToolCall(types::ToolCallDecision { decision: Some(ToolCall::Block(block)) })) => &block.reason,
        Some(Kind::Gate(types::GateDecision { decision: Some(Gate::Block(block)), .. })) => &block.reason,
        Some(Kind::Message(rewrite)) => &rewrite.reason,
        Some(Kind::Evaluation(evaluation)) => evaluation::reason(evaluation),
        Some(Kind::SubagentSpawn(types::SubagentSpawn { status: Some(Status::Error(error)) })) => error,
        _ => "",
    }
}

/// Whether an answer ends the call: no later handler is asked.
pub(crate) fn ends(result: &types::HookResult) -> bool {
    match &result.result {
        Some(Kind::Claim(_)) => true,
        Some(Kind::ToolCall(_) | Kind::Gate(_) | Kind::Message(_)) => denies(result),
        _ => false,
    }
}

fn kind(answer: &Kind) -> ResultKind {
    match answer {
        Kind::ToolCall(_) => ResultKind::ToolCall,
        Kind::Prompt(_) => ResultKind::Prompt,
        Kind::Message(_) => ResultKind::Message,
        Kind::Gate(_) => ResultKind::Gate,
        Kind::Claim(_) => ResultKind::Claim,
        Kind::Finalize(_) => ResultKind::Finalize,
        Kind::Model(_) => ResultKind::Model,
        Kind::ExecEnvironment(_) => ResultKind::ExecEnvironment,
        Kind::Evaluation(_) => ResultKind::Evaluation,
        Kind::SubagentSpawn(_) => ResultKind::SubagentSpawn,
        Kind::SubagentDelivery(_) => ResultKind::SubagentDelivery,
    }
}

fn wrap(answer: Kind) -> types::HookResult {
    types::HookResult { result: Some(answer) }
}
