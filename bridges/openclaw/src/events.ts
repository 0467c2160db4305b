// OpenClaw's agent events, published to plugins.
import type { Bridge } from "./bridge.js";
import type { AgentEvent, PluginApi } from "./openclaw.js";
import { plain } from "./payload.js";

/** The last event of each run: where two registrations are told of one, it is published once. */
const published = new Map<string, number>();
const MOST_RUNS = 1_024;

export function registerEvents(api: PluginApi, bridge: Bridge): void {
  api.agent?.events?.registerAgentEventSubscription({
    id: "outrigger",
    description: "Publishes agent events to the plugins that run under Outrigger",
    handle: (event) => publish(bridge, event),
  });
}

/** A run ends with its last `lifecycle` event; `finishing` comes before it. */
const isTerminal = ({ stream, data }: AgentEvent): boolean => stream === "lifecycle" && (data["phase"] === "end" || data["phase"] === "error");

function publish(bridge: Bridge, event: AgentEvent): void {
  if (event.seq <= (published.get(event.runId) ?? 0)) return;
  published.set(event.runId, event.seq);
  if (published.size > MOST_RUNS) published.delete(published.keys().next().value as string);
  bridge.start();
  const terminal = isTerminal(event);
  bridge.runtime.publish({
    runId: event.runId,
    stream: event.stream,
    data: plain(event.data) ?? {},
    timeMs: event.ts,
    sessionKey: event.sessionKey,
    sessionId: event.sessionId,
    agentId: event.agentId,
    terminal,
  });
}
