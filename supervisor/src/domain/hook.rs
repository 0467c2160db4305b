//! The catalogue of hooks: one table that code, documents and tests read.
//!
//! Source: the contracts of the leading agent runtime, see `docs/protocol.md`. Numbers are those of the wire contract.

use std::time::Duration;

use super::rights::Scope;

/// How the handlers of a hook are called, and how their answers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One after the other, each seeing the original event; answers are merged field by field.
    Modify,
    /// One after the other, each seeing what the one before made of it.
    Chained,
    /// One after the other; the first that takes it ends the call.
    Claim,
    /// One after the other; the first that blocks ends the call, and a failure blocks.
    Gate,
    /// All at once; answers are only counted.
    Observe,
    /// All at once; answers are kept apart.
    Evaluate,
}

/// What a handler of the hook can answer, beside that it has no opinion or is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultKind {
    /// Nothing: it observes.
    Nothing,
    /// Whether a tool call goes on, and with what.
    ToolCall,
    /// Additions to a prompt.
    Prompt,
    /// A changed or withheld message.
    Message,
    /// Whether something goes on.
    Gate,
    /// The subject is the plugin's.
    Claim,
    /// What to do with the agent's answer.
    Finalize,
    /// Another model.
    Model,
    /// Variables for a command.
    ExecEnvironment,
    /// A verdict on a proposal.
    Evaluation,
    /// Whether a subagent starts.
    SubagentSpawn,
    /// Where a subagent's completion goes.
    SubagentDelivery,
}

impl ResultKind {
    /// The member of the wire contract's `HookResult`; `None` where there is none.
    #[must_use]
    pub fn member(self) -> Option<&'static str> {
        Some(match self {
            Self::Nothing => return None,
            Self::ToolCall => "tool_call",
            Self::Prompt => "prompt",
            Self::Message => "message",
            Self::Gate => "gate",
            Self::Claim => "claim",
            Self::Finalize => "finalize",
            Self::Model => "model",
            Self::ExecEnvironment => "exec_environment",
            Self::Evaluation => "evaluation",
            Self::SubagentSpawn => "subagent_spawn",
            Self::SubagentDelivery => "subagent_delivery",
        })
    }
}

/// What a handler of the hook gets to see, and so the right it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing but phases, names, times and counts: no right is needed.
    Meta,
    /// Conversation text.
    Conversation,
    /// The prompt, and the conversation only with its own right.
    Prompt,
    /// Tool calls.
    Tools,
    /// Messages on their way.
    Messages,
    /// What may be installed.
    TrustedPolicy,
}

impl Access {
    /// The scope a handler needs.
    #[must_use]
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Meta => None,
            Self::Conversation => Some(Scope::HooksConversation),
            Self::Prompt => Some(Scope::HooksPrompt),
            Self::Tools => Some(Scope::HooksTools),
            Self::Messages => Some(Scope::HooksMessages),
            Self::TrustedPolicy => Some(Scope::PolicyTrusted),
        }
    }
}

/// What a handler's failure does to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Logged and passed over.
    Open,
    /// Blocks.
    Closed,
}

/// One row of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The hook.
    pub hook: Hook,
    /// Its name in manifests, settings and listings.
    pub name: &'static str,
    /// How its handlers are called and their answers merged.
    pub kind: Kind,
    /// What a handler can answer.
    pub result: ResultKind,
    /// How several answers become one, in words for people.
    pub merge: &'static str,
    /// What handlers see.
    pub access: Access,
    /// Time one call may take where nobody sets another.
    pub timeout: Duration,
    /// What a failure does.
    pub failure: FailurePolicy,
    /// Registrations may name tools.
    pub by_tool: bool,
    /// What it is, for people.
    pub about: &'static str,
}

// How answers are merged, where "first" and "last" are by the handlers' order and never by time of arrival.
const COUNTED: &str = "Answers are only counted.";
const FIRST_FIELD: &str = "Of each field the first that sets it.";
const JOINED: &str = "Texts are joined with a blank line.";
const PROMPT: &str =
    "Texts are joined with a blank line; of system prompts the first; a tool stays if all lists have it.";
const FIRST_BLOCK: &str = "The first block ends the call.";
const FINDINGS: &str = "Findings are put one after the other; the first block ends the call.";
const FIRST_CLAIM: &str = "The first claim ends the call.";
const FINALIZE: &str =
    "FINALIZE beats REVISE beats CONTINUE; reasons are joined, and the first retry within its budget is taken.";
const SENDING: &str = "Of each field the last that sets it; the first cancel ends the call.";
const CHAINED: &str = "Each handler sees what the one before made of it; the first cancel ends the call.";
const CHAINED_KEPT: &str = "Each handler sees what the one before made of it.";
const TOOL_CALL: &str = "A policy's parameters replace, a hook's are merged key by key, the last of a key; the first approval request \
                         freezes them; the first block ends the call, an earlier request or not.";
const VARIABLES: &str = "Of each name the last.";
const KEPT_APART: &str = "Kept apart; any block vetoes.";
const SPAWN: &str = "The first error; else the binding is ready if one says so.";
const DELIVERY: &str = "The first.";

macro_rules! catalogue {
    ($($hook:ident = $number:literal, $name:literal, $kind:ident, $result:ident, $access:ident, $seconds:literal, $failure:ident, $by_tool:literal, $about:literal, $merge:ident;)*) => {
        /// A point in the runtime at which plugins are called.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum Hook {
            $(#[doc = $about] $hook = $number,)*
        }

        /// Every hook, by number.
        pub const CATALOGUE: &[Row] = &[
            $(Row {
                hook: Hook::$hook,
                name: $name,
                kind: Kind::$kind,
                result: ResultKind::$result,
                merge: $merge,
                access: Access::$access,
                timeout: Duration::from_secs($seconds),
                failure: FailurePolicy::$failure,
                by_tool: $by_tool,
                about: $about,
            },)*
        ];
    };
}

catalogue! {
    BeforeModelResolve = 1, "before_model_resolve", Modify, Model, Conversation, 15, Open, false, "Before the model is chosen", FIRST_FIELD;
    AgentTurnPrepare = 2, "agent_turn_prepare", Modify, Prompt, Prompt, 15, Open, false, "A prompt is about to be built for a turn", JOINED;
    BeforePromptBuild = 3, "before_prompt_build", Modify, Prompt, Prompt, 15, Open, false, "While the prompt is put together", PROMPT;
    HeartbeatPromptContribution = 4, "heartbeat_prompt_contribution", Modify, Prompt, Prompt, 15, Open, false, "A heartbeat's turn is about to be prompted", JOINED;
    BeforeAgentRun = 5, "before_agent_run", Gate, Gate, Conversation, 15, Closed, false, "The last word before a run starts", FIRST_BLOCK;
    BeforeAgentReply = 6, "before_agent_reply", Claim, Claim, Conversation, 15, Open, false, "Answer in the agent's place", FIRST_CLAIM;
    BeforeAgentFinalize = 7, "before_agent_finalize", Modify, Finalize, Conversation, 15, Open, false, "An answer is about to become final", FINALIZE;
    ModelCallStarted = 8, "model_call_started", Observe, Nothing, Meta, 30, Open, false, "A model call began", COUNTED;
    ModelCallEnded = 9, "model_call_ended", Observe, Nothing, Meta, 30, Open, false, "A model call ended", COUNTED;
    LlmInput = 10, "llm_input", Observe, Nothing, Conversation, 30, Open, false, "What the model is given", COUNTED;
    LlmOutput = 11, "llm_output", Observe, Nothing, Conversation, 30, Open, false, "What the model gave", COUNTED;
    AgentEnd = 12, "agent_end", Observe, Nothing, Conversation, 30, Open, false, "A run ended", COUNTED;
    BeforeCompaction = 13, "before_compaction", Observe, Nothing, Conversation, 30, Open, false, "Before the conversation is compacted", COUNTED;
    AfterCompaction = 14, "after_compaction", Observe, Nothing, Meta, 30, Open, false, "After it was compacted", COUNTED;
    BeforeReset = 15, "before_reset", Observe, Nothing, Conversation, 30, Open, false, "Before a session is reset", COUNTED;
    InboundClaim = 16, "inbound_claim", Claim, Claim, Messages, 15, Open, false, "A message came in for a conversation that a plugin may own", FIRST_CLAIM;
    ChannelPairingRequested = 17, "channel_pairing_requested", Observe, Nothing, Messages, 2, Open, false, "A channel asks to be paired", COUNTED;
    MessageReceived = 18, "message_received", Observe, Nothing, Messages, 30, Open, false, "A message came in", COUNTED;
    MessageSending = 19, "message_sending", Modify, Message, Messages, 15, Open, false, "A message is about to go out", SENDING;
    ReplyPayloadSending = 20, "reply_payload_sending", Chained, Message, Messages, 15, Open, false, "A reply payload is about to go out", CHAINED;
    MessageSent = 21, "message_sent", Observe, Nothing, Messages, 30, Open, false, "A message went out, or did not", COUNTED;
    BeforeDispatch = 22, "before_dispatch", Claim, Claim, Messages, 15, Open, false, "Before an incoming message is dispatched", FIRST_CLAIM;
    ReplyDispatch = 23, "reply_dispatch", Claim, Claim, Messages, 15, Open, false, "Take over the dispatch of a reply", FIRST_CLAIM;
    BeforeToolCall = 24, "before_tool_call", Gate, ToolCall, Tools, 15, Closed, true, "A tool is about to be called", TOOL_CALL;
    AfterToolCall = 25, "after_tool_call", Observe, Nothing, Tools, 30, Open, true, "A tool call ended", COUNTED;
    ResolveExecEnv = 26, "resolve_exec_env", Modify, ExecEnvironment, Tools, 15, Open, false, "Variables for a shell command", VARIABLES;
    ToolResultPersist = 27, "tool_result_persist", Chained, Message, Messages, 1, Open, false, "A tool's result is about to be stored", CHAINED_KEPT;
    BeforeMessageWrite = 28, "before_message_write", Chained, Message, Messages, 1, Open, false, "A message is about to be stored", CHAINED;
    SessionStart = 29, "session_start", Observe, Nothing, Meta, 30, Open, false, "A session began", COUNTED;
    SessionEnd = 30, "session_end", Observe, Nothing, Meta, 30, Open, false, "A session ended", COUNTED;
    SubagentSpawning = 31, "subagent_spawning", Modify, SubagentSpawn, Meta, 15, Open, false, "A subagent is about to be started", SPAWN;
    SubagentDeliveryTarget = 32, "subagent_delivery_target", Modify, SubagentDelivery, Meta, 15, Open, false, "Where a subagent's completion message goes", DELIVERY;
    SubagentSpawned = 33, "subagent_spawned", Observe, Nothing, Meta, 30, Open, false, "A subagent was started", COUNTED;
    SubagentProgress = 34, "subagent_progress", Observe, Nothing, Meta, 30, Open, false, "A subagent's phase changed", COUNTED;
    SubagentEnded = 35, "subagent_ended", Observe, Nothing, Conversation, 30, Open, false, "A subagent ended", COUNTED;
    GatewayStart = 36, "gateway_start", Observe, Nothing, Meta, 30, Open, false, "The runtime is up", COUNTED;
    GatewayStop = 37, "gateway_stop", Observe, Nothing, Meta, 5, Open, false, "The runtime goes down", COUNTED;
    CronReconciled = 38, "cron_reconciled", Observe, Nothing, Meta, 30, Open, false, "The runtime's scheduler was reconciled", COUNTED;
    CronChanged = 39, "cron_changed", Observe, Nothing, Conversation, 30, Open, false, "A job of the runtime's scheduler changed", COUNTED;
    BeforeInstall = 40, "before_install", Gate, Gate, TrustedPolicy, 15, Closed, false, "Something is about to be installed", FINDINGS;
    SkillProposalEvaluate = 41, "skill_proposal_evaluate", Evaluate, Evaluation, Conversation, 120, Open, false, "A skill is proposed and wants a verdict", KEPT_APART;
    SkillProposalChanged = 42, "skill_proposal_changed", Observe, Nothing, Conversation, 30, Open, false, "A proposal changed", COUNTED;
    SkillChanged = 43, "skill_changed", Observe, Nothing, Conversation, 30, Open, false, "A skill changed", COUNTED;
}

impl Hook {
    /// Its row of the catalogue.
    #[must_use]
    pub fn row(self) -> &'static Row {
        // Numbers are 1 to the table's length without a hole; a test holds that.
        &CATALOGUE[self as usize - 1]
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// A failure or absence blocks, and a manifest can declare it as a guard.
    #[must_use]
    pub fn is_guard(self) -> bool {
        self.row().failure == FailurePolicy::Closed
    }

    /// The hook of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        CATALOGUE.iter().find(|row| row.name == name).map(|row| row.hook)
    }

    /// The hook of a number of the wire contract.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        CATALOGUE.get(index).map(|row| row.hook)
    }
}

#[cfg(test)]
mod tests;
