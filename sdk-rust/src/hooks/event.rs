//! The events of the hooks: the members that the hooks' contract names, in Rust's spelling of their camel-case names.
//!
//! Runtimes differ in what they send, so every member may be missing, and members that are not here are no error:
//! [`Call::event_as`](super::Call::event_as) reads them.

#![allow(missing_docs, reason = "the members' meaning is the contract's")]

use serde::Deserialize;
use serde_json::{Map, Value};

/// The event of a hook that is about a tool call.
pub trait OfTool {}

impl OfTool for BeforeToolCall {}
impl OfTool for AfterToolCall {}

/// Event of `before_model_resolve`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeModelResolve {
    pub prompt: Option<String>,
    pub attachments: Vec<Value>,
}

/// Event of `agent_turn_prepare`. Without `hooks.conversation` empty; the conversation is [`Call::messages`](super::Call::messages).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AgentTurnPrepare {
    pub prompt: Option<String>,
    pub queued_injections: Vec<Value>,
}

/// Event of `before_prompt_build`. Without `hooks.conversation` without a prompt.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforePromptBuild {
    pub prompt: Option<String>,
}

/// Event of `heartbeat_prompt_contribution`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Heartbeat {
    pub session_key: Option<String>,
    pub agent_id: Option<String>,
    pub heartbeat_name: Option<String>,
}

/// Event of `before_agent_run`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeAgentRun {
    pub prompt: Option<String>,
    pub system_prompt: Option<String>,
    pub account_id: Option<String>,
    pub channel_id: Option<String>,
    pub sender_id: Option<String>,
    pub sender_is_owner: Option<bool>,
}

/// Event of `before_agent_reply`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeAgentReply {
    pub cleaned_body: Option<String>,
}

/// Event of `before_agent_finalize`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeAgentFinalize {
    pub run_id: Option<String>,
    pub session_id: Option<String>,
    pub session_key: Option<String>,
    pub turn_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub cwd: Option<String>,
    pub transcript_path: Option<String>,
    pub stop_hook_active: Option<bool>,
    pub last_assistant_message: Option<String>,
}

/// Event of `model_call_started` and `model_call_ended`; what follows the transport is the ended one's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ModelCall {
    pub run_id: Option<String>,
    pub call_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub api: Option<String>,
    pub transport: Option<String>,
    pub duration_ms: Option<f64>,
    pub outcome: Option<String>,
    pub error_category: Option<String>,
    pub failure_kind: Option<String>,
}

/// Event of `llm_input`; the history is [`Call::messages`](super::Call::messages).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LlmInput {
    pub run_id: Option<String>,
    pub session_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub system_prompt: Option<String>,
    pub prompt: Option<String>,
    pub images_count: Option<u64>,
    pub tools: Option<Value>,
}

/// Event of `llm_output`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LlmOutput {
    pub run_id: Option<String>,
    pub session_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub assistant_texts: Vec<String>,
    pub last_assistant: Option<Value>,
    pub usage: Option<Value>,
    pub resolved_ref: Option<Value>,
    pub harness_id: Option<String>,
}

/// Event of `agent_end`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AgentEnd {
    pub run_id: Option<String>,
    pub success: Option<bool>,
    pub error: Option<String>,
    pub duration_ms: Option<f64>,
}

/// Event of `before_compaction` and `after_compaction`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Compaction {
    pub message_count: Option<u64>,
    pub compacting_count: Option<u64>,
    pub compacted_count: Option<u64>,
    pub token_count: Option<u64>,
    pub session_file: Option<String>,
}

/// Event of `before_reset`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeReset {
    pub session_file: Option<String>,
    pub reason: Option<String>,
}

/// Event of `inbound_claim` and `before_dispatch`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Inbound {
    pub content: Option<String>,
    pub body: Option<String>,
    pub channel: Option<String>,
    pub session_key: Option<String>,
    pub sender_id: Option<String>,
    pub thread_id: Option<Value>,
    pub is_group: Option<bool>,
    pub timestamp: Option<Value>,
    pub message_id: Option<String>,
    pub metadata: Option<Value>,
}

/// Event of `channel_pairing_requested`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ChannelPairing {
    pub channel: Option<String>,
    pub account_id: Option<String>,
    pub sender_id: Option<String>,
    pub code: Option<String>,
    pub metadata: Option<Value>,
}

/// Event of `message_received`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageReceived {
    pub from: Option<String>,
    pub content: Option<String>,
    pub timestamp: Option<Value>,
    pub thread_id: Option<Value>,
    pub message_id: Option<String>,
    pub sender_id: Option<String>,
    pub session_key: Option<String>,
    pub run_id: Option<String>,
    pub metadata: Option<Value>,
}

/// Event of `message_sending`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageSending {
    pub to: Option<String>,
    pub content: Option<String>,
    pub reply_to_id: Option<String>,
    pub thread_id: Option<Value>,
    pub metadata: Option<Value>,
}

/// Event of `reply_payload_sending`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplyPayload {
    pub payload: Option<Value>,
    pub kind: Option<String>,
    pub channel: Option<String>,
    pub session_key: Option<String>,
    pub run_id: Option<String>,
    pub usage_state: Option<Value>,
}

/// Event of `message_sent`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageSent {
    pub to: Option<String>,
    pub content: Option<String>,
    pub success: Option<bool>,
    pub message_id: Option<String>,
    pub error: Option<String>,
}

/// Event of `reply_dispatch`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplyDispatch {
    pub context: Option<Value>,
    pub send_policy: Option<Value>,
}

/// Event of `before_tool_call`, also for trusted tool policies.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeToolCall {
    pub tool_name: Option<String>,
    pub params: Map<String, Value>,
    pub tool_kind: Option<String>,
    pub tool_input_kind: Option<String>,
    pub derived_paths: Option<Value>,
    pub run_id: Option<String>,
    pub tool_call_id: Option<String>,
}

/// Event of `after_tool_call`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AfterToolCall {
    pub tool_name: Option<String>,
    pub params: Option<Value>,
    pub run_id: Option<String>,
    pub tool_call_id: Option<String>,
    pub result: Option<Value>,
    pub error: Option<String>,
    pub duration_ms: Option<f64>,
}

/// Event of `resolve_exec_env`. `host` is `gateway`, `sandbox` or `node`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResolveExecEnv {
    pub session_key: Option<String>,
    pub tool_name: Option<String>,
    pub host: Option<String>,
}

/// Event of `tool_result_persist`; the message is as the handler before left it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolResultPersist {
    pub tool_name: Option<String>,
    pub tool_call_id: Option<String>,
    pub message: Option<Value>,
    pub is_synthetic: Option<bool>,
}

/// Event of `before_message_write`; the message is as the handler before left it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeMessageWrite {
    pub message: Option<Value>,
    pub session_key: Option<String>,
    pub agent_id: Option<String>,
}

/// Event of `session_start`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionStart {
    pub session_id: Option<String>,
    pub session_key: Option<String>,
    pub resumed_from: Option<String>,
}

/// Event of `session_end`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionEnd {
    pub session_id: Option<String>,
    pub session_key: Option<String>,
    pub message_count: Option<u64>,
    pub duration_ms: Option<f64>,
    pub reason: Option<String>,
    pub session_file: Option<String>,
    pub transcript_archived: Option<bool>,
    pub next_session_id: Option<String>,
    pub next_session_key: Option<String>,
}

/// Event of `subagent_spawning` and `subagent_spawned`; run and resolved model are the spawned one's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Subagent {
    pub child_session_key: Option<String>,
    pub agent_id: Option<String>,
    pub label: Option<String>,
    pub mode: Option<String>,
    pub requester: Option<Value>,
    pub thread_requested: Option<bool>,
    pub run_id: Option<String>,
    pub resolved_model: Option<String>,
    pub resolved_provider: Option<String>,
}

/// Event of `subagent_delivery_target`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubagentDeliveryTarget {
    pub child_session_key: Option<String>,
    pub requester_session_key: Option<String>,
    pub requester_origin: Option<Value>,
    pub child_run_id: Option<String>,
    pub spawn_mode: Option<String>,
    pub expects_completion_message: Option<bool>,
}

/// Event of `subagent_progress`. `phase` is `started` or `ended`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubagentProgress {
    pub phase: Option<String>,
    pub run_id: Option<String>,
    pub child_session_key: Option<String>,
    pub requester: Option<Value>,
    pub outcome: Option<String>,
}

/// Event of `subagent_ended`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubagentEnded {
    pub target_session_key: Option<String>,
    pub target_kind: Option<String>,
    pub reason: Option<String>,
    pub outcome: Option<String>,
    pub error: Option<String>,
    pub run_id: Option<String>,
    pub ended_at: Option<Value>,
    pub send_farewell: Option<bool>,
    pub account_id: Option<String>,
}

/// Event of `gateway_start`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayStart {
    pub port: Option<u64>,
}

/// Event of `gateway_stop`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayStop {
    pub reason: Option<String>,
}

/// Event of `cron_reconciled`. `reason` is `startup` or `reload`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CronReconciled {
    pub reason: Option<String>,
}

/// Event of `cron_changed`. `action` is `added`, `updated`, `removed`, `started`, `finished` or `scheduled`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CronChanged {
    pub action: Option<String>,
    pub job_id: Option<String>,
    pub job: Option<Value>,
    pub session_target: Option<String>,
    pub agent_id: Option<String>,
    pub next_run_at_ms: Option<f64>,
    pub run_at_ms: Option<f64>,
    pub duration_ms: Option<f64>,
    pub status: Option<String>,
    pub error: Option<String>,
    pub summary: Option<String>,
}

/// Event of `before_install`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BeforeInstall {
    pub target_type: Option<String>,
    pub target_name: Option<String>,
    pub source_path: Option<String>,
    pub kind: Option<String>,
    pub request: Option<Value>,
    pub builtin_scan: Option<Value>,
    pub skill: Option<Value>,
    pub plugin: Option<Value>,
}

/// Event of `skill_proposal_evaluate` and `skill_proposal_changed`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SkillProposal {
    pub proposal: Option<Value>,
}

/// Event of `skill_changed`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SkillChanged {
    pub skill: Option<Value>,
}
