//! The catalogue of hooks: one table that code, documents and tests read.
//!
//! Source: the contracts of the leading agent runtime, see `docs/protocol.md`. Numbers are those of the wire contract.

use std::time::Duration;

use super::rights::Scope;

/// How the answers of several handlers become one.
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
    /// How answers are merged.
    pub kind: Kind,
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

macro_rules! catalogue {
    ($($hook:ident = $number:literal, $name:literal, $kind:ident, $access:ident, $seconds:literal, $failure:ident, $by_tool:literal, $about:literal;)*) => {
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
    BeforeModelResolve = 1, "before_model_resolve", Modify, Conversation, 15, Open, false, "Before the model is chosen";
    AgentTurnPrepare = 2, "agent_turn_prepare", Modify, Prompt, 15, Open, false, "A prompt is about to be built for a turn";
    BeforePromptBuild = 3, "before_prompt_build", Modify, Prompt, 15, Open, false, "While the prompt is put together";
    HeartbeatPromptContribution = 4, "heartbeat_prompt_contribution", Modify, Prompt, 15, Open, false, "A heartbeat's turn is about to be prompted";
    BeforeAgentRun = 5, "before_agent_run", Gate, Conversation, 15, Closed, false, "The last word before a run starts";
    BeforeAgentReply = 6, "before_agent_reply", Claim, Conversation, 15, Open, false, "Answer in the agent's place";
    BeforeAgentFinalize = 7, "before_agent_finalize", Modify, Conversation, 15, Open, false, "An answer is about to become final";
    ModelCallStarted = 8, "model_call_started", Observe, Meta, 30, Open, false, "A model call began";
    ModelCallEnded = 9, "model_call_ended", Observe, Meta, 30, Open, false, "A model call ended";
    LlmInput = 10, "llm_input", Observe, Conversation, 30, Open, false, "What the model is given";
    LlmOutput = 11, "llm_output", Observe, Conversation, 30, Open, false, "What the model gave";
    AgentEnd = 12, "agent_end", Observe, Conversation, 30, Open, false, "A run ended";
    BeforeCompaction = 13, "before_compaction", Observe, Conversation, 30, Open, false, "Before the conversation is compacted";
    AfterCompaction = 14, "after_compaction", Observe, Meta, 30, Open, false, "After it was compacted";
    BeforeReset = 15, "before_reset", Observe, Conversation, 30, Open, false, "Before a session is reset";
    InboundClaim = 16, "inbound_claim", Claim, Messages, 15, Open, false, "A message came in for a conversation that a plugin may own";
    ChannelPairingRequested = 17, "channel_pairing_requested", Observe, Messages, 2, Open, false, "A channel asks to be paired";
    MessageReceived = 18, "message_received", Observe, Messages, 30, Open, false, "A message came in";
    MessageSending = 19, "message_sending", Modify, Messages, 15, Open, false, "A message is about to go out";
    ReplyPayloadSending = 20, "reply_payload_sending", Chained, Messages, 15, Open, false, "A reply payload is about to go out";
    MessageSent = 21, "message_sent", Observe, Messages, 30, Open, false, "A message went out, or did not";
    BeforeDispatch = 22, "before_dispatch", Claim, Messages, 15, Open, false, "Before an incoming message is dispatched";
    ReplyDispatch = 23, "reply_dispatch", Claim, Messages, 15, Open, false, "Take over the dispatch of a reply";
    BeforeToolCall = 24, "before_tool_call", Gate, Tools, 15, Closed, true, "A tool is about to be called";
    AfterToolCall = 25, "after_tool_call", Observe, Tools, 30, Open, true, "A tool call ended";
    ResolveExecEnv = 26, "resolve_exec_env", Modify, Tools, 15, Open, false, "Variables for a shell command";
    ToolResultPersist = 27, "tool_result_persist", Chained, Messages, 1, Open, false, "A tool's result is about to be stored";
    BeforeMessageWrite = 28, "before_message_write", Chained, Messages, 1, Open, false, "A message is about to be stored";
    SessionStart = 29, "session_start", Observe, Meta, 30, Open, false, "A session began";
    SessionEnd = 30, "session_end", Observe, Meta, 30, Open, false, "A session ended";
    SubagentSpawning = 31, "subagent_spawning", Modify, Meta, 15, Open, false, "A subagent is about to be started";
    SubagentDeliveryTarget = 32, "subagent_delivery_target", Modify, Meta, 15, Open, false, "Where a subagent's completion message goes";
    SubagentSpawned = 33, "subagent_spawned", Observe, Meta, 30, Open, false, "A subagent was started";
    SubagentProgress = 34, "subagent_progress", Observe, Meta, 30, Open, false, "A subagent's phase changed";
    SubagentEnded = 35, "subagent_ended", Observe, Conversation, 30, Open, false, "A subagent ended";
    GatewayStart = 36, "gateway_start", Observe, Meta, 30, Open, false, "The runtime is up";
    GatewayStop = 37, "gateway_stop", Observe, Meta, 5, Open, false, "The runtime goes down";
    CronReconciled = 38, "cron_reconciled", Observe, Meta, 30, Open, false, "The runtime's scheduler was reconciled";
    CronChanged = 39, "cron_changed", Observe, Conversation, 30, Open, false, "A job of the runtime's scheduler changed";
    BeforeInstall = 40, "before_install", Gate, TrustedPolicy, 15, Closed, false, "Something is about to be installed";
    SkillProposalEvaluate = 41, "skill_proposal_evaluate", Evaluate, Conversation, 120, Open, false, "A skill is proposed and wants a verdict";
    SkillProposalChanged = 42, "skill_proposal_changed", Observe, Conversation, 30, Open, false, "A proposal changed";
    SkillChanged = 43, "skill_changed", Observe, Conversation, 30, Open, false, "A skill changed";
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
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_numbers() {
        for (index, row) in CATALOGUE.iter().enumerate() {
            assert_eq!(row.hook as usize, index + 1, "{}", row.name);
            assert_eq!(Hook::from_name(row.name), Some(row.hook));
            assert_eq!(Hook::from_number(row.hook as i32), Some(row.hook));
            assert_eq!(row.hook.row().name, row.name);
        }
        assert_eq!(CATALOGUE.len(), 43);
        assert_eq!(Hook::from_number(0), None);
        assert_eq!(Hook::from_number(44), None);
    }

    #[test]
    fn three_hooks_fail_closed() {
        let closed: Vec<_> =
            CATALOGUE.iter().filter(|row| row.failure == FailurePolicy::Closed).map(|row| row.name).collect();
        assert_eq!(closed, ["before_agent_run", "before_tool_call", "before_install"]);
    }
}
