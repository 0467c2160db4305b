//! What of a registration a call goes to, and what answers fit it.

use outrigger_proto::plugin::v1::invocation_result::Outcome;
use outrigger_proto::plugin::v1::{HookRegistration, Register};
use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::{Hook, HookResult};

/// The handlers of a hook that want a tool, in the order of asking. The tool is empty for other hooks.
pub(super) fn handlers_of(register: Option<&Register>, hook: Hook, tool: &str) -> Vec<HookRegistration> {
    let hooks = register.iter().flat_map(|register| &register.hooks);
    let mut handlers: Vec<_> = hooks.filter(|item| item.hook() == hook && wants(item, tool)).cloned().collect();
    handlers.sort_by_key(|item| std::cmp::Reverse(item.priority));
    handlers
}

/// The policies that want a tool, in the order of asking.
pub(super) fn policies_of(register: Option<&Register>, tool: &str) -> Vec<HookRegistration> {
    let policies = register.iter().flat_map(|register| &register.tool_policies);
    policies.filter(|item| wants(item, tool)).cloned().collect()
}

fn wants(item: &HookRegistration, tool: &str) -> bool {
    item.tool_names.is_empty() || item.tool_names.iter().any(|name| name == tool)
}

/// Whether a hook takes this answer.
pub(super) fn fits(hook: Hook, outcome: &Outcome) -> bool {
    use Hook::{
        AgentTurnPrepare, BeforeAgentFinalize, BeforeAgentReply, BeforeAgentRun, BeforeDispatch, BeforeInstall,
        BeforeMessageWrite, BeforeModelResolve, BeforePromptBuild, BeforeToolCall, HeartbeatPromptContribution,
        InboundClaim, MessageSending, ReplyDispatch, ReplyPayloadSending, ResolveExecEnv, SkillProposalEvaluate,
        SubagentDeliveryTarget, SubagentSpawning, ToolResultPersist,
    };
    let shape = match outcome {
        Outcome::Declined(_) => return true,
        Outcome::Hook(HookResult { result: Some(shape) }) => Some(shape),
        Outcome::Completed(_) => None,
        _ => return false,
    };
    match hook {
        BeforeToolCall => matches!(shape, Some(Shape::ToolCall(_))),
        AgentTurnPrepare | BeforePromptBuild | HeartbeatPromptContribution => matches!(shape, Some(Shape::Prompt(_))),
        MessageSending | ReplyPayloadSending | ToolResultPersist | BeforeMessageWrite => {
            matches!(shape, Some(Shape::Message(_)))
        }
        BeforeAgentRun | BeforeInstall => matches!(shape, Some(Shape::Gate(_))),
        BeforeAgentReply | InboundClaim | BeforeDispatch | ReplyDispatch => matches!(shape, Some(Shape::Claim(_))),
        BeforeAgentFinalize => matches!(shape, Some(Shape::Finalize(_))),
        BeforeModelResolve => matches!(shape, Some(Shape::Model(_))),
        ResolveExecEnv => matches!(shape, Some(Shape::ExecEnvironment(_))),
        SkillProposalEvaluate => matches!(shape, Some(Shape::Evaluation(_))),
        SubagentSpawning => matches!(shape, Some(Shape::SubagentSpawn(_))),
        SubagentDeliveryTarget => matches!(shape, Some(Shape::SubagentDelivery(_))),
        // Observers.
        _ => shape.is_none(),
    }
}
