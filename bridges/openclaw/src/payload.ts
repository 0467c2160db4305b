// OpenClaw's values as JSON for plugins. What a plugin gets leaves the process, so a context is taken by an allow-list:
// some contexts hold the whole configuration, with its secrets, and live objects.
import type { JsonObject, JsonValue } from "outrigger-runtime";
import type { Fields } from "./openclaw.js";

/** Members of hook contexts that are handed on. */
const CONTEXT = [
  "runId", "jobId", "trace", "traceId", "spanId", "parentSpanId", "callDepth", "agentId", "sessionKey", "sessionId", "workspaceDir",
  "activeProjectKeys", "modelProviderId", "modelId", "messageProvider", "channel", "channelId", "accountId", "chatId", "conversationId",
  "parentConversationId", "senderId", "messageId", "trigger", "inputProvenance", "contextTokenBudget", "contextWindowSource",
  "contextWindowReferenceTokens", "channelContext", "toolName", "toolKind", "toolInputKind", "toolCallId", "requester", "replyToId",
  "replyToIdFull", "replyToBody", "replyToSender", "replyToIsQuote", "childSessionKey", "requesterSessionKey", "dispatchKind",
  "targetType", "requestKind", "origin", "pluginBinding",
] as const;

/** Members of events that are the conversation, or a part of it that only some handlers ask for. */
const CONVERSATION = ["messages", "historyMessages"] as const;

/** Containers deeper than the supervisor takes (128) are cut off; a cycle ends here too. */
const DEEPEST = 100;

/** The context as plugins may see it. */
export function contextOf(context: Fields): JsonObject {
  const picked: JsonObject = {};
  for (const key of CONTEXT) {
    const value = plain(context[key]);
    if (value !== undefined) picked[key] = value;
  }
  return picked;
}

/** An event without the conversation, and the conversation. */
export function eventOf(event: Fields): { event: JsonObject; messages?: unknown[] } {
  const rest: JsonObject = {};
  let messages: unknown[] | undefined;
  for (const [key, value] of Object.entries(event)) {
    if ((CONVERSATION as readonly string[]).includes(key) && Array.isArray(value)) messages = value;
    else {
      const taken = plain(value);
      if (taken !== undefined) rest[key] = taken;
    }
  }
  return { event: rest, messages };
}

/** A value with nothing but JSON in it: functions and symbols are left out, numbers that are none become null. */
export function plain(value: unknown, depth = 0): JsonValue | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : null;
    case "bigint":
      return value.toString();
    case "object":
      break;
    default:
      return undefined;
  }
  if (value === null) return null;
  if (depth >= DEEPEST) return null;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Uint8Array || value instanceof AbortSignal) return undefined;
  if (value instanceof Error) return value.message;
  if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1) ?? null);
  const out: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const taken = plain(item, depth + 1);
    if (taken !== undefined) out[key] = taken;
  }
  return out;
}

/** A plain object, as OpenClaw's `params` should be. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A text that is not empty. */
export const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
