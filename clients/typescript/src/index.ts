/** The runtime client of Outrigger: hooks, events, tools and directives of an agent runtime. */

export { type AwayVerdict, awayVerdict } from "./away.js";
export { type Backoff, backoffMs } from "./backoff.js";
export { FAIL_CLOSED_HOOKS, HOOK_NAMES, type HookName, TOOL_HOOKS } from "./catalogue.js";
export { digest } from "./digest.js";
export type { Directive, DirectiveResult } from "./directives.js";
export { RuntimeError } from "./errors.js";
export type { EventBufferBounds } from "./event_buffer.js";
export type { Decision, FailureKind, HookAnswer, HookCall, PendingApproval } from "./hook_calls.js";
export { type Contributions, type DispatchKind, type Interest, match, type Subject, type Trigger } from "./interest.js";
export { canonicalJson, type JsonObject, type JsonValue } from "./json.js";
export { KeyError } from "./key.js";
export type { Agent, LiveRun, Logger, News, RuntimeOptions, RuntimeState, SessionRef } from "./options.js";
export { PlaceError, runtimeDir, runtimeKey, runtimeSocket, stateDir } from "./places.js";
export type { AgentEvent, Provenance } from "./publisher.js";
export type {
  ApprovalOutcome,
  ApprovalRequest,
  Block,
  Evaluation,
  FinalizeDecision,
  HandlerReport,
  HookResult,
} from "./results.js";
export { type FinalAnswer, type Finalized, type PreparedTurn, Runtime, type Stats, type Turn } from "./runtime.js";
export type { ServedTool, ToolCall, ToolContent, ToolEvent, ToolProgress, ToolResult } from "./tools.js";
