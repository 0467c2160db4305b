// A question to a person, put by OpenClaw's own approvals, and its answer brought back to the supervisor.
import type { ApprovalOutcome, HookAnswer } from "outrigger-runtime";
import type { Bridge } from "../bridge.js";
import type { ApprovalResolution, RequireApproval } from "../openclaw.js";
import type { Settled } from "./calls.js";

const DECISIONS = { allowed_once: "allow-once", allowed_always: "allow-always", denied: "deny" } as const;

// OpenClaw says `cancelled` for a run that was stopped, for a person who could not be asked, and for a gateway that
// could not be reached: which of them it was is in a text for the model only.
const OUTCOMES: Record<ApprovalResolution, ApprovalOutcome> = {
  "allow-once": "allowed_once",
  "allow-always": "allowed_always",
  deny: "denied",
  timeout: "timed_out",
  cancelled: "cancelled",
};

/** OpenClaw's bounds. */
const TITLE = 80;
const DESCRIPTION = 512;

/** The request for OpenClaw, and what becomes of it. */
export function approvalOf(bridge: Bridge, answer: HookAnswer, pluginId: string): { request: RequireApproval; settled: Promise<Settled> } | undefined {
  const { approval } = answer;
  if (approval === undefined) return undefined;
  const { title, description, detail, severity, timeoutMs, allowed } = approval.request;
  const asker = approval.pluginName || approval.pluginId;
  let resolve: (settled: Settled) => void = () => {};
  const settled = new Promise<Settled>((done) => (resolve = done));
  const offered = allowed.flatMap((outcome) => (outcome in DECISIONS ? [DECISIONS[outcome as keyof typeof DECISIONS]] : []));
  const request: RequireApproval = {
    title: title.slice(0, TITLE),
    // OpenClaw names the bridge as the one who asks, so the plugin is named here.
    description: `${`${description}${detail ? `\n${detail}` : ""}`.slice(0, DESCRIPTION - asker.length - 12)}\nAsked by ${asker}`,
    severity,
    timeoutMs,
    ...(offered.length > 0 ? { allowedDecisions: offered } : {}),
    pluginId,
    onResolution(resolution) {
      const told = bridge.runtime
        .resolveApproval(approval, OUTCOMES[resolution] ?? "cancelled")
        .then(({ verdict, decision, reason }) => resolve({ allowed: verdict === "go_on" && decision !== undefined, decision, reason }));
      void bridge.later(told);
    },
  };
  return { request, settled };
}
