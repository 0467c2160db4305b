// What the plugins answered, in OpenClaw's words. One function a kind of answer; `undefined` is OpenClaw's "no opinion".
import type { HookAnswer } from "outrigger-runtime";
import type { Fields } from "./openclaw.js";

/** A pure conversion of one hook's answer. */
export type Convert = (answer: HookAnswer, event: Fields) => unknown;

/** The reason of a stop; it names the plugin already. */
export const reasonOf = (answer: HookAnswer): string => answer.reason ?? "stopped by Outrigger";

/** Without members that are undefined: OpenClaw's gates take no others than those they know. */
function defined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

export const model: Convert = ({ result }) =>
  result?.kind === "model" ? defined({ modelOverride: result.model, providerOverride: result.provider }) : undefined;

export const prompt: Convert = ({ result }) => {
  if (result?.kind !== "prompt") return undefined;
  const { kind: _, ...texts } = result;
  return defined(texts);
};

export const agentRun: Convert = (answer) => {
  if (answer.verdict === "go_on") return undefined;
  const block = answer.result?.kind === "gate" ? answer.result.block : undefined;
  const metadata = typeof block?.metadata === "object" && block.metadata !== null && !Array.isArray(block.metadata) ? block.metadata : undefined;
  return defined({ outcome: "block", reason: reasonOf(answer), message: block?.message, category: block?.category, metadata });
};

export const install: Convert = (answer) => {
  const findings = answer.result?.kind === "gate" ? answer.result.findings : [];
  const told = findings.length > 0 ? findings : undefined;
  if (answer.verdict === "go_on") return told && { findings: told };
  return defined({ block: true, blockReason: reasonOf(answer), findings: told });
};

export const agentReply: Convert = ({ result }) =>
  result?.kind === "claim" ? defined({ handled: true, reply: result.reply, reason: result.reason }) : undefined;

export const dispatch: Convert = ({ result }) => (result?.kind === "claim" ? defined({ handled: true, text: result.text }) : undefined);

export const inbound: Convert = ({ result }) => (result?.kind === "claim" ? defined({ handled: true, reply: result.reply }) : undefined);

export const replyDispatch: Convert = ({ result }) => {
  if (result?.kind !== "claim") return undefined;
  return { handled: true, queuedFinal: result.queuedFinal, counts: { tool: 0, block: 0, final: 0, ...result.counts } };
};

export const sending: Convert = (answer) => {
  const { result } = answer;
  if (result?.kind === "message") {
    return defined({ content: result.content, cancel: result.cancel || undefined, cancelReason: result.reason, metadata: result.metadata });
  }
  return answer.verdict === "go_on" ? undefined : { cancel: true, cancelReason: reasonOf(answer) };
};

export const payload: Convert = (answer) => {
  const { result } = answer;
  if (result?.kind === "message") return defined({ payload: result.message, cancel: result.cancel || undefined, reason: result.reason });
  return answer.verdict === "go_on" ? undefined : { cancel: true, reason: reasonOf(answer) };
};

export const environment: Convert = ({ result }) => (result?.kind === "exec_environment" ? result.variables : undefined);

export const delivery: Convert = ({ result }) => (result?.kind === "subagent_delivery" ? { origin: result.origin } : undefined);

/** OpenClaw keeps one outcome a registration, so the plugins' verdicts become one: any block vetoes. */
export const evaluation: Convert = (answer) => {
  const judged = answer.evaluations.flatMap(({ handler, evaluation: it }) => (it.verdict === "completed" ? [{ handler, it }] : []));
  if (judged.length === 0) return undefined;
  const vetoes = judged.filter(({ it }) => it.block);
  const said = (vetoes.length > 0 ? vetoes : judged).map(({ handler, it }) => `${handler?.pluginId ?? "a plugin"}: ${it.reason ?? (it.block ? "blocked" : "passed")}`);
  return { decision: vetoes.length > 0 ? "block" : "pass", decisionReason: said.join("; "), summary: said.join("; "), evaluatorVersion: "outrigger" };
};
