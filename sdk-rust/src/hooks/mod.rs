//! The hook catalogue: every point in a runtime at which plugins are called, with what is asked there and what can be
//! answered.
//!
//! [`Plugin::on`](crate::Plugin::on) takes one of these; the types of the handler follow from it. What each is for, its
//! rights, default deadline and failure policy stand at `Hook` in `hook.proto`.

mod call;
pub mod event;

use std::fmt;
use std::marker::PhantomData;

use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::Hook as Wire;

use crate::answer::{
    Claim, Decision, Evaluation, ExecEnvironment, Finalize, Gate, MessageRewrite, ModelOverride, Prompt,
    SubagentDelivery, SubagentSpawn, TextRewrite, ToolResultRewrite,
};

pub use call::Call;
pub(crate) use call::parse;

/// A hook: `E` is what is asked ([`Call::event`]), `A` what is answered.
pub struct Hook<E, A> {
    wire: Wire,
    types: PhantomData<fn(E) -> A>,
}

impl<E, A> Hook<E, A> {
    const fn new(wire: Wire) -> Self {
        Self { wire, types: PhantomData }
    }

    /// The hook as the wire contract numbers it.
    #[must_use]
    pub const fn wire(self) -> types::Hook {
        self.wire
    }

    /// The hook's name in manifests and configurations: `before_tool_call`.
    #[must_use]
    pub fn name(self) -> String {
        let name = self.wire.as_str_name();
        name.strip_prefix("HOOK_").unwrap_or(name).to_ascii_lowercase()
    }
}

impl<E, A> Clone for Hook<E, A> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E, A> Copy for Hook<E, A> {}

impl<E, A> fmt::Debug for Hook<E, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Before the model is chosen.
pub const BEFORE_MODEL_RESOLVE: Hook<event::BeforeModelResolve, ModelOverride> = Hook::new(Wire::BeforeModelResolve);
/// Every prompt build.
pub const AGENT_TURN_PREPARE: Hook<event::AgentTurnPrepare, Prompt> = Hook::new(Wire::AgentTurnPrepare);
/// While the prompt is put together.
pub const BEFORE_PROMPT_BUILD: Hook<event::BeforePromptBuild, Prompt> = Hook::new(Wire::BeforePromptBuild);
/// Heartbeat turns.
pub const HEARTBEAT_PROMPT_CONTRIBUTION: Hook<event::Heartbeat, Prompt> = Hook::new(Wire::HeartbeatPromptContribution);
/// The last word before a run starts. A guard.
pub const BEFORE_AGENT_RUN: Hook<event::BeforeAgentRun, Gate> = Hook::new(Wire::BeforeAgentRun);
/// Answer in the agent's place.
pub const BEFORE_AGENT_REPLY: Hook<event::BeforeAgentReply, Claim> = Hook::new(Wire::BeforeAgentReply);
/// Before the final answer.
pub const BEFORE_AGENT_FINALIZE: Hook<event::BeforeAgentFinalize, Finalize> = Hook::new(Wire::BeforeAgentFinalize);
/// A model call began.
pub const MODEL_CALL_STARTED: Hook<event::ModelCall, ()> = Hook::new(Wire::ModelCallStarted);
/// A model call ended.
pub const MODEL_CALL_ENDED: Hook<event::ModelCall, ()> = Hook::new(Wire::ModelCallEnded);
/// What the model is given.
pub const LLM_INPUT: Hook<event::LlmInput, ()> = Hook::new(Wire::LlmInput);
/// What the model gave.
pub const LLM_OUTPUT: Hook<event::LlmOutput, ()> = Hook::new(Wire::LlmOutput);
/// A run ended.
pub const AGENT_END: Hook<event::AgentEnd, ()> = Hook::new(Wire::AgentEnd);
/// Before the conversation is compacted.
pub const BEFORE_COMPACTION: Hook<event::Compaction, ()> = Hook::new(Wire::BeforeCompaction);
/// After it was compacted.
pub const AFTER_COMPACTION: Hook<event::Compaction, ()> = Hook::new(Wire::AfterCompaction);
/// Before a session is reset.
pub const BEFORE_RESET: Hook<event::BeforeReset, ()> = Hook::new(Wire::BeforeReset);
/// A message of a conversation that is bound to this plugin came in.
pub const INBOUND_CLAIM: Hook<event::Inbound, Claim> = Hook::new(Wire::InboundClaim);
/// A channel asks to be paired.
pub const CHANNEL_PAIRING_REQUESTED: Hook<event::ChannelPairing, ()> = Hook::new(Wire::ChannelPairingRequested);
/// A message came in.
pub const MESSAGE_RECEIVED: Hook<event::MessageReceived, ()> = Hook::new(Wire::MessageReceived);
/// A message is about to go out.
pub const MESSAGE_SENDING: Hook<event::MessageSending, TextRewrite> = Hook::new(Wire::MessageSending);
/// A reply payload is about to go out.
pub const REPLY_PAYLOAD_SENDING: Hook<event::ReplyPayload, MessageRewrite> = Hook::new(Wire::ReplyPayloadSending);
/// A message went out, or did not.
pub const MESSAGE_SENT: Hook<event::MessageSent, ()> = Hook::new(Wire::MessageSent);
/// Before an incoming message is dispatched.
pub const BEFORE_DISPATCH: Hook<event::Inbound, Claim> = Hook::new(Wire::BeforeDispatch);
/// Take over the dispatch of a reply.
pub const REPLY_DISPATCH: Hook<event::ReplyDispatch, Claim> = Hook::new(Wire::ReplyDispatch);
/// A tool is about to be called. A guard.
pub const BEFORE_TOOL_CALL: Hook<event::BeforeToolCall, Decision> = Hook::new(Wire::BeforeToolCall);
/// A tool call ended.
pub const AFTER_TOOL_CALL: Hook<event::AfterToolCall, ()> = Hook::new(Wire::AfterToolCall);
/// Variables for a shell command.
pub const RESOLVE_EXEC_ENV: Hook<event::ResolveExecEnv, ExecEnvironment> = Hook::new(Wire::ResolveExecEnv);
/// A tool's result is about to be stored.
pub const TOOL_RESULT_PERSIST: Hook<event::ToolResultPersist, ToolResultRewrite> = Hook::new(Wire::ToolResultPersist);
/// A message is about to be stored.
pub const BEFORE_MESSAGE_WRITE: Hook<event::BeforeMessageWrite, MessageRewrite> = Hook::new(Wire::BeforeMessageWrite);
/// A session began.
pub const SESSION_START: Hook<event::SessionStart, ()> = Hook::new(Wire::SessionStart);
/// A session ended.
pub const SESSION_END: Hook<event::SessionEnd, ()> = Hook::new(Wire::SessionEnd);
/// Kept for older runtimes; a new plugin has no use for it.
pub const SUBAGENT_SPAWNING: Hook<event::Subagent, SubagentSpawn> = Hook::new(Wire::SubagentSpawning);
/// Where a subagent's completion message goes.
pub const SUBAGENT_DELIVERY_TARGET: Hook<event::SubagentDeliveryTarget, SubagentDelivery> =
    Hook::new(Wire::SubagentDeliveryTarget);
/// A subagent was started.
pub const SUBAGENT_SPAWNED: Hook<event::Subagent, ()> = Hook::new(Wire::SubagentSpawned);
/// A subagent's phase changed.
pub const SUBAGENT_PROGRESS: Hook<event::SubagentProgress, ()> = Hook::new(Wire::SubagentProgress);
/// A subagent ended.
pub const SUBAGENT_ENDED: Hook<event::SubagentEnded, ()> = Hook::new(Wire::SubagentEnded);
/// The runtime is up.
pub const GATEWAY_START: Hook<event::GatewayStart, ()> = Hook::new(Wire::GatewayStart);
/// The runtime goes down.
pub const GATEWAY_STOP: Hook<event::GatewayStop, ()> = Hook::new(Wire::GatewayStop);
/// The runtime's scheduler was reconciled.
pub const CRON_RECONCILED: Hook<event::CronReconciled, ()> = Hook::new(Wire::CronReconciled);
/// A job of the runtime's scheduler changed.
pub const CRON_CHANGED: Hook<event::CronChanged, ()> = Hook::new(Wire::CronChanged);
/// Something is about to be installed. A guard.
pub const BEFORE_INSTALL: Hook<event::BeforeInstall, Gate> = Hook::new(Wire::BeforeInstall);
/// A skill's proposal is judged.
pub const SKILL_PROPOSAL_EVALUATE: Hook<event::SkillProposal, Evaluation> = Hook::new(Wire::SkillProposalEvaluate);
/// A proposal changed.
pub const SKILL_PROPOSAL_CHANGED: Hook<event::SkillProposal, ()> = Hook::new(Wire::SkillProposalChanged);
/// A skill changed.
pub const SKILL_CHANGED: Hook<event::SkillChanged, ()> = Hook::new(Wire::SkillChanged);
