/** What the plugins made of a hook, as plain values. */

import { toMs } from "./errors.js";
import {
  FinalizeAction,
  type ApprovalRequest as WireApprovalRequest,
  type Evaluation as WireEvaluation,
  type FinalizeDecision as WireFinalizeDecision,
  type HookResult as WireHookResult,
  ApprovalOutcome as WireOutcome,
  ApprovalSeverity as WireSeverity,
} from "./gen/outrigger/types/v1/hook_pb.js";
import {
  HandlerOutcome,
  PluginState,
  type HandlerReport as WireHandlerReport,
} from "./gen/outrigger/types/v1/plugin_pb.js";
import { decodeJson, decodeObject, type JsonObject, type JsonValue } from "./json.js";

/** The merged answer, by kind. Absent texts: nobody set them. */
export type HookResult =
  /** Parameters in full, as they are to run. Absent: unchanged. */
  | { kind: "tool_call"; params?: JsonObject }
  | {
      kind: "prompt";
      prependContext?: string;
      appendContext?: string;
      prependSystemContext?: string;
      appendSystemContext?: string;
      /** Replaces the system prompt; empty: none. */
      systemPrompt?: string;
      /** Tools that stay; empty: none. */
      toolsAllow?: string[];
    }
  | { kind: "message"; content?: string; message?: JsonValue; cancel: boolean; reason?: string; metadata?: JsonValue }
  | { kind: "gate"; block?: Block; findings: JsonValue[] }
  | {
      kind: "claim";
      reply?: JsonValue;
      text?: string;
      reason?: string;
      queuedFinal: boolean;
      counts: Record<string, number>;
    }
  | ({ kind: "finalize" } & FinalizeDecision)
  | { kind: "model"; model?: string; provider?: string }
  | { kind: "exec_environment"; variables: Record<string, string> }
  | ({ kind: "evaluation" } & Evaluation)
  | { kind: "subagent_spawn"; error?: string; threadBindingReady: boolean }
  | { kind: "subagent_delivery"; origin?: JsonObject };

/** A refusal by a gate. */
export interface Block {
  reason?: string;
  /** What the person sees in place of the blocked content. */
  message?: string;
  category?: string;
  metadata?: JsonValue;
}

/** What to do with an answer about to go out. */
export interface FinalizeDecision {
  action: "continue" | "revise" | "finalize";
  reason?: string;
  /** The retry that was taken, or none. */
  retries: { instruction: string; idempotencyKey?: string; maxAttempts: number }[];
}

/** A verdict on a proposal. */
export interface Evaluation {
  verdict: "completed" | "skipped" | "none";
  block: boolean;
  reason?: string;
  detail?: JsonValue;
}

/** How one handler fared. */
export interface HandlerReport {
  pluginId: string;
  handlerId: string;
  outcome: "allow" | "deny" | "error" | "timeout" | "absent" | "skipped";
  elapsedMs?: number;
  message?: string;
  toolPolicy: boolean;
  recheck: boolean;
  /** What the plugin was doing instead, of an absent one: `waiting`, `starting`, … */
  pluginState?: string;
}

/** Answers that may be offered for an approval, and how it may end. */
export type ApprovalOutcome = "allowed_once" | "allowed_always" | "denied" | "timed_out" | "cancelled" | "no_route";

/** A question to a person. */
export interface ApprovalRequest {
  title: string;
  description: string;
  detail?: string;
  severity: "info" | "warning" | "critical";
  timeoutMs?: number;
  /** Answers offered. */
  allowed: ApprovalOutcome[];
}

const OUTCOMES = new Map<number, ApprovalOutcome>([
  [WireOutcome.ALLOWED_ONCE, "allowed_once"],
  [WireOutcome.ALLOWED_ALWAYS, "allowed_always"],
  [WireOutcome.DENIED, "denied"],
  [WireOutcome.TIMED_OUT, "timed_out"],
  [WireOutcome.CANCELLED, "cancelled"],
  [WireOutcome.NO_ROUTE, "no_route"],
]);

/** The number of an outcome on the wire. */
export function outcomeNumber(outcome: ApprovalOutcome): WireOutcome {
  for (const [number, name] of OUTCOMES) if (name === outcome) return number;
  return WireOutcome.UNSPECIFIED;
}

/** An outcome; what is not known denies. */
export const readOutcome = (number: number): ApprovalOutcome => OUTCOMES.get(number) ?? "denied";

/** A text that is not empty. */
export const text = (value: string): string | undefined => (value === "" ? undefined : value);

/** The merged answer; `undefined`: none, or of a kind this client does not know. Throws where JSON in it is none. */
export function readResult(wire: WireHookResult | undefined): HookResult | undefined {
  const result = wire?.result;
  switch (result?.case) {
    case "toolCall": {
      const decision = result.value.decision;
      return {
        kind: "tool_call",
        params: decision.case === "proceed" ? decodeObject(decision.value.paramsJson) : undefined,
      };
    }
    case "prompt": {
      const prompt = result.value;
      return {
        kind: "prompt",
        prependContext: text(prompt.prependContext),
        appendContext: text(prompt.appendContext),
        prependSystemContext: text(prompt.prependSystemContext),
        appendSystemContext: text(prompt.appendSystemContext),
        systemPrompt: prompt.systemPrompt,
        toolsAllow: prompt.toolsAllow?.names,
      };
    }
    case "message": {
      const { replacement, cancel, reason, metadataJson } = result.value;
      return {
        kind: "message",
        content: replacement.case === "content" ? replacement.value : undefined,
        message: replacement.case === "messageJson" ? decodeJson(replacement.value) : undefined,
        cancel,
        reason: text(reason),
        metadata: decodeJson(metadataJson),
      };
    }
    case "gate": {
      const { decision, findingsJson } = result.value;
      const block = decision.case === "block" ? decision.value : undefined;
      return {
        kind: "gate",
        block: block && {
          reason: text(block.reason),
          message: text(block.message),
          category: text(block.category),
          metadata: decodeJson(block.metadataJson),
        },
        findings: findingsJson.map((finding) => decodeJson(finding) ?? null),
      };
    }
    case "claim": {
      const { replyJson, text: answer, reason, queuedFinal, counts } = result.value;
      return {
        kind: "claim",
        reply: decodeJson(replyJson),
        text: text(answer),
        reason: text(reason),
        queuedFinal,
        counts,
      };
    }
    case "finalize":
      return { kind: "finalize", ...readFinalize(result.value) };
    case "model":
      return { kind: "model", model: result.value.model, provider: result.value.provider };
    case "execEnvironment":
      return { kind: "exec_environment", variables: result.value.variables };
    case "evaluation":
      return { kind: "evaluation", ...readEvaluation(result.value) };
    case "subagentSpawn": {
      const { status } = result.value;
      return {
        kind: "subagent_spawn",
        error: status.case === "error" ? status.value : undefined,
        threadBindingReady: status.case === "ok" && status.value.threadBindingReady,
      };
    }
    case "subagentDelivery":
      return { kind: "subagent_delivery", origin: decodeObject(result.value.originJson) };
    default:
      return undefined;
  }
}

/** What to do with an answer; what is not known or not set is to go on. */
export function readFinalize(wire: WireFinalizeDecision | undefined): FinalizeDecision {
  const actions = { [FinalizeAction.REVISE]: "revise", [FinalizeAction.FINALIZE]: "finalize" } as const;
  const action = actions[wire?.action as keyof typeof actions] ?? "continue";
  const retries = (wire?.retries ?? []).map(({ instruction, idempotencyKey, maxAttempts }) => {
    return { instruction, idempotencyKey: text(idempotencyKey), maxAttempts };
  });
  return { action, reason: text(wire?.reason ?? ""), retries };
}

/** One handler's verdict. */
export function readEvaluation(wire: WireEvaluation | undefined): Evaluation {
  const verdict = wire?.verdict;
  switch (verdict?.case) {
    case "completed": {
      const { block, reason, detailJson } = verdict.value;
      return { verdict: "completed", block, reason: text(reason), detail: decodeJson(detailJson) };
    }
    case "skipped":
      return { verdict: "skipped", block: false, reason: text(verdict.value.reason) };
    default:
      return { verdict: "none", block: false };
  }
}

/** How a handler fared; an unknown outcome counts as an error. */
export function readReport(wire: WireHandlerReport): HandlerReport {
  const name = HandlerOutcome[wire.outcome]?.toLowerCase();
  const outcome = name === undefined || name === "unspecified" ? "error" : (name as HandlerReport["outcome"]);
  const state = PluginState[wire.pluginState]?.toLowerCase();
  return {
    pluginId: wire.pluginId,
    handlerId: wire.handlerId,
    outcome,
    elapsedMs: toMs(wire.elapsed),
    message: text(wire.message),
    toolPolicy: wire.toolPolicy,
    recheck: wire.recheck,
    pluginState: state === "unspecified" ? undefined : state,
  };
}

/** A question to a person. */
export function readApprovalRequest(wire: WireApprovalRequest): ApprovalRequest {
  const severities = { [WireSeverity.INFO]: "info", [WireSeverity.CRITICAL]: "critical" } as const;
  return {
    title: wire.title,
    description: wire.description,
    detail: text(wire.detail),
    severity: severities[wire.severity as keyof typeof severities] ?? "warning",
    timeoutMs: toMs(wire.timeout),
    allowed: wire.allowed.map(readOutcome),
  };
}
