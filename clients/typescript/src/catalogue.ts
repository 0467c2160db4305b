/** The hooks of the wire contract by name, and what a client has to know of them by heart. */

import { Hook } from "./gen/outrigger/types/v1/hook_pb.js";

/** Every hook, in the order of the catalogue. */
export const HOOK_NAMES = [
  "before_model_resolve",
  "agent_turn_prepare",
  "before_prompt_build",
  "heartbeat_prompt_contribution",
  "before_agent_run",
  "before_agent_reply",
  "before_agent_finalize",
  "model_call_started",
  "model_call_ended",
  "llm_input",
  "llm_output",
  "agent_end",
  "before_compaction",
  "after_compaction",
  "before_reset",
  "inbound_claim",
  "channel_pairing_requested",
  "message_received",
  "message_sending",
  "reply_payload_sending",
  "message_sent",
  "before_dispatch",
  "reply_dispatch",
  "before_tool_call",
  "after_tool_call",
  "resolve_exec_env",
  "tool_result_persist",
  "before_message_write",
  "session_start",
  "session_end",
  "subagent_spawning",
  "subagent_delivery_target",
  "subagent_spawned",
  "subagent_progress",
  "subagent_ended",
  "gateway_start",
  "gateway_stop",
  "cron_reconciled",
  "cron_changed",
  "before_install",
  "skill_proposal_evaluate",
  "skill_proposal_changed",
  "skill_changed",
] as const;

/** A hook. */
export type HookName = (typeof HOOK_NAMES)[number];

/** Hooks whose failure blocks: denied as long as nobody has said what plugins guard. */
export const FAIL_CLOSED_HOOKS: readonly HookName[] = ["before_tool_call", "before_agent_run", "before_install"];

/** Hooks with a call of their own: `prepareTurn` and `finalizeTurn`. */
export const HOOKS_WITH_OWN_CALL: readonly HookName[] = [
  "agent_turn_prepare",
  "heartbeat_prompt_contribution",
  "before_agent_finalize",
];

/** Hooks that match on a tool. */
export const TOOL_HOOKS: ReadonlySet<HookName> = new Set(["before_tool_call", "after_tool_call"]);

const numbers = new Map<HookName, Hook>();
const names = new Map<number, HookName>();
for (const name of HOOK_NAMES) {
  const number = Hook[name.toUpperCase() as keyof typeof Hook];
  numbers.set(name, number);
  names.set(number, name);
}

/** The number of a hook on the wire; `undefined` for a name that is not in the catalogue. */
export function hookNumber(name: HookName): Hook | undefined {
  return numbers.get(name);
}

/** The name of a number on the wire; `undefined` for a hook this client does not know. */
export function hookName(number: number): HookName | undefined {
  return names.get(number);
}
