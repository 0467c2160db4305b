// OpenClaw's agent events, published to plugins.
import type { Bridge } from "./bridge.js";
import type { AgentEvent, PluginApi } from "./openclaw.js";
import { plain } from "./payload.js";

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
  const terminal = isTerminal(event);
  const session = event.sessionKey === undefined ? undefined : { key: event.sessionKey, id: event.sessionId, agentId: event.agentId };
  bridge.runs.seen({ run: event.runId, session });
  bridge.runtime.publish({
    runId: event.runId,
    stream: event.stream,
    data: plain(event.data),
    timeMs: event.ts,
    sessionKey: event.sessionKey,
    sessionId: event.sessionId,
    agentId: event.agentId,
    terminal,
  } as never);
  if (terminal) bridge.runs.ended(event.runId);
}
