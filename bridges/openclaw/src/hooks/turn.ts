// The two hooks of a turn that the runtime API has calls of its own for: they lease what plugins left for the turn, and
// count how often an answer may be sent back.
import type { JsonValue } from "outrigger-runtime";
import type { Bridge } from "../bridge.js";
import type { Fields } from "../openclaw.js";
import { contextOf, eventOf, plain } from "../payload.js";
import { subjectOf } from "../subject.js";

/** Answers asked about, by run; more than one only where one is sent back. */
const attempts = new Map<string, number>();
const MOST_RUNS = 1_024;

/** `agent_turn_prepare`, and for a heartbeat's turn `heartbeat_prompt_contribution` too: one call folds both. */
export async function prepareTurn(bridge: Bridge, event: Fields, context: Fields): Promise<unknown> {
  await bridge.ready();
  const subject = subjectOf(event, context);
  const { runtime } = bridge;
  const wanted = runtime.wants("agent_turn_prepare", subject) ?? (subject.trigger === "heartbeat" ? runtime.wants("heartbeat_prompt_contribution", subject) : undefined);
  if (wanted === undefined || subject.session === undefined || subject.run === undefined) return undefined;
  const { event: rest, messages } = eventOf(event);
  // OpenClaw's own queue of injections; the supervisor puts its own in their place.
  delete rest["queuedInjections"];
  const turn = await runtime.prepareTurn({
    session: subject.session,
    run: subject.run,
    trigger: subject.trigger,
    event: rest,
    context: contextOf(context),
    messages: messages && (() => plain(messages) as JsonValue[]),
  });
  return defined({ prependContext: turn.prependContext, appendContext: turn.appendContext });
}

/** `before_agent_finalize`. */
export async function finalizeTurn(bridge: Bridge, event: Fields, context: Fields): Promise<unknown> {
  await bridge.ready();
  const subject = subjectOf(event, context);
  const { runtime } = bridge;
  if (runtime.wants("before_agent_finalize", subject) === undefined || subject.session === undefined || subject.run === undefined) return undefined;
  const { event: rest, messages } = eventOf(event);
  const answer = await runtime.finalizeTurn({
    session: subject.session,
    run: subject.run,
    attempt: next(subject.run),
    event: rest,
    context: contextOf(context),
    messages: messages && (() => plain(messages) as JsonValue[]),
  });
  const { action, reason, retries } = answer;
  if (action === "continue") return undefined;
  const [retry] = retries;
  return defined({ action, reason, retry: retry && defined(retry) });
}

function next(runId: string): number {
  const attempt = (attempts.get(runId) ?? 0) + 1;
  attempts.set(runId, attempt);
  if (attempts.size > MOST_RUNS) attempts.delete(attempts.keys().next().value as string);
  return attempt;
}

function defined<T extends object>(fields: T): Partial<T> | undefined {
  const told = Object.entries(fields).filter(([, value]) => value !== undefined);
  return told.length > 0 ? (Object.fromEntries(told) as Partial<T>) : undefined;
}
