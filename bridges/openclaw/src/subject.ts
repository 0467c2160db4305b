// Who and what a hook is about: session, run, trigger, from its context and event.
import type { SessionRef } from "outrigger-runtime";
import type { Fields } from "./openclaw.js";
import { text } from "./payload.js";

export interface Subject {
  session?: SessionRef;
  /** Id of the run. */
  run?: string;
  trigger?: "user" | "heartbeat" | "cron";
  dispatchKind?: "agent" | "acp";
}

/** The subject; the context counts before the event, as OpenClaw fills it itself. */
export function subjectOf(event: Fields, context: Fields): Subject {
  const of = (key: string) => text(context[key]) ?? text(event[key]);
  const key = of("sessionKey");
  const trigger = of("trigger");
  const kind = of("dispatchKind");
  return {
    session: key === undefined ? undefined : { key, id: of("sessionId"), agentId: of("agentId") },
    run: of("runId"),
    trigger: trigger === "user" || trigger === "heartbeat" || trigger === "cron" ? trigger : undefined,
    dispatchKind: kind === "agent" || kind === "acp" ? kind : undefined,
  };
}
