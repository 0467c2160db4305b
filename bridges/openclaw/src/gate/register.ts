// `before_tool_call`, in two steps where OpenClaw lets the bridge register a trusted tool policy.
//
// 1. The *policy* asks the plugins. OpenClaw puts an approval it asks for to a person and waits for the answer before
//    it goes on, and takes rewritten parameters as a whole.
// 2. The *last hook*, after every other plugin's, confirms: it waits until the supervisor has taken the person's answer,
//    redeems the decision, and only then lets the tool run, with the parameters that were decided on.
//
// In one step this could not be had: OpenClaw tells how an approval ended without waiting for whoever is told, so the
// tool would run whether or not the supervisor took the answer; and it lays a hook's parameters over the original ones,
// so a member that a plugin took out would come back. Without the policy (an operator has to have enabled the plugin by
// name for it) the last hook does both, with these two shortcomings.
import type { Bridge } from "../bridge.js";
import { LAST, toolOf } from "../hooks/register.js";
import type { Fields, PluginApi, ToolCallAnswer } from "../openclaw.js";
import { Calls } from "./calls.js";
import { Gate } from "./gate.js";

export function registerGate(api: PluginApi, bridge: Bridge, calls: Calls): void {
  const gate = new Gate(bridge, calls, api.id);
  if (bridge.config.trustedPolicy) {
    api.registerTrustedToolPolicy?.({
      id: "outrigger",
      description: "Asks the plugins that run outside OpenClaw, under Outrigger",
      async evaluate(event, context): Promise<ToolCallAnswer | undefined> {
        // Without an id the two steps cannot find each other; the last hook then does both.
        return toolOf(event, context).toolCallId === undefined ? undefined : gate.decide(event, context, true);
      },
    });
  }
  // An approval is waited for outside of this, but not the supervisor's word on it.
  const timeoutMs = 2 * bridge.config.callMs + 5_000;
  api.on("before_tool_call", (event: Fields, context: Fields) => gate.confirm(event, context), { priority: LAST, timeoutMs });
}
