// Every hook but `before_tool_call`, which has a file of its own.
import { type HookName, RuntimeError } from "outrigger-runtime";
import * as answers from "../answers.js";
import type { Bridge } from "../bridge.js";
import type { Fields, PluginApi } from "../openclaw.js";
import { text } from "../payload.js";
import { finalizeTurn, prepareTurn } from "./turn.js";

// Where a hook's place among OpenClaw's own plugins matters, ours is last. A gate that is asked last decides on what
// gets through, and sees nothing that another one stops. Of message edits OpenClaw takes the last (`message_sending`),
// or each sees the one before (`reply_payload_sending`): either way nothing is put back after ours. For the others the
// place says nothing, or being first would only take the word from others; they stand where a plugin stands by default.
export const LAST = Number.MIN_SAFE_INTEGER;

const ASKED: [HookName, answers.Convert, number][] = [
  ["before_model_resolve", answers.model, 0],
  ["before_prompt_build", answers.prompt, 0],
  ["before_agent_run", answers.agentRun, LAST],
  ["before_agent_reply", answers.agentReply, 0],
  ["inbound_claim", answers.inbound, 0],
  ["before_dispatch", answers.dispatch, 0],
  ["reply_dispatch", answers.replyDispatch, 0],
  ["message_sending", answers.sending, LAST],
  ["reply_payload_sending", answers.payload, LAST],
  ["resolve_exec_env", answers.environment, 0],
  ["subagent_delivery_target", answers.delivery, 0],
  ["before_install", answers.install, LAST],
  ["skill_proposal_evaluate", answers.evaluation, 0],
];

/** Observers that OpenClaw goes on without. */
const TOLD: HookName[] = [
  "model_call_started", "model_call_ended", "llm_input", "llm_output", "before_compaction", "after_compaction", "channel_pairing_requested",
  "message_received", "message_sent", "session_start", "subagent_spawned", "subagent_progress", "subagent_ended", "gateway_start",
  "cron_reconciled", "cron_changed", "skill_proposal_changed", "skill_changed",
];

/** Observers after which the process may end, or the subject be gone: OpenClaw waits until they have arrived. */
const AWAITED: HookName[] = ["agent_end", "session_end", "before_reset", "gateway_stop"];

/** What OpenClaw waits beyond our own bound, so that the answer, which names the plugin, is there first. */
const MARGIN_MS = 5_000;

export function registerHooks(api: PluginApi, bridge: Bridge): void {
  const timeoutMs = bridge.config.callMs + MARGIN_MS;
  for (const [hook, convert, priority] of ASKED) {
    const handler = async (event: Fields, context: Fields) => convert(await bridge.call(hook, event, context, extrasOf(context)), event);
    // The catalogue gives an evaluator 120 s, far beyond what a hook call may take otherwise.
    api.on(hook, handler, { priority, ...(hook === "skill_proposal_evaluate" ? {} : { timeoutMs }) });
  }
  for (const hook of TOLD) {
    api.on(hook, (event, context) => void bridge.tell(hook, event, context), { timeoutMs });
  }
  for (const hook of AWAITED) {
    api.on(hook, async (event, context) => void (await bridge.tell(hook, event, context)), {});
  }
  api.on("after_tool_call", (event, context) => void bridge.tell("after_tool_call", event, context, toolOf(event, context)), { timeoutMs });
  api.on("agent_turn_prepare", (event, context) => prepareTurn(bridge, event, context), { timeoutMs });
  api.on("before_agent_finalize", (event, context) => finalizeTurn(bridge, event, context), { timeoutMs });
  endSessions(api, bridge);
}

/** What plugins own in a session ends with it. */
function endSessions(api: PluginApi, bridge: Bridge): void {
  api.on("session_end", async (event, context) => {
    const key = typeof event["sessionKey"] === "string" ? event["sessionKey"] : context["sessionKey"];
    if (typeof key !== "string" || key === "") return;
    const session = { key, id: text(event["sessionId"]), agentId: text(context["agentId"]) };
    const next = typeof event["nextSessionId"] === "string" ? event["nextSessionId"] : undefined;
    const { reason } = event;
    // `new`, `idle` and `daily` begin a fresh conversation under the same key, as a reset does; after a compaction, a
    // shutdown or a restart the same one goes on.
    if (reason === "deleted") await bridge.later(ifServed(bridge.runtime.deleteSession(session)));
    else if (reason === "reset" || reason === "new" || reason === "idle" || reason === "daily") {
      await bridge.later(ifServed(bridge.runtime.resetSession(session, { nextSessionId: next })));
    }
  });
  api.on("session_start", (event, context) => {
    const key = event["sessionKey"] ?? context["sessionKey"];
    if (typeof key !== "string" || key === "") return;
    const session = { key, id: text(event["sessionId"]), agentId: text(context["agentId"]) };
    void bridge.later(bridge.ready(true).then(() => bridge.announce(session)));
  });
}

/** gRPC's `UNIMPLEMENTED`: an older supervisor, which keeps nothing that could be taken back. */
const UNIMPLEMENTED = 12;

async function ifServed(call: Promise<unknown>): Promise<void> {
  await call.catch((error) => {
    if (!(error instanceof RuntimeError && error.code === UNIMPLEMENTED)) throw error;
  });
}

function extrasOf(context: Fields): { signal?: AbortSignal } {
  return context["abortSignal"] instanceof AbortSignal ? { signal: context["abortSignal"] } : {};
}

/** The tool of a tool hook, as matchers name it. */
export function toolOf(event: Fields, context: Fields): { toolName: string; toolCallId?: string } {
  const name = String(event["toolName"] ?? context["toolName"] ?? "").trim().toLowerCase();
  const id = event["toolCallId"] ?? context["toolCallId"];
  return { toolName: name, toolCallId: typeof id === "string" && id !== "" ? id : undefined };
}
