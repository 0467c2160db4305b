// The entry of the plugin. OpenClaw calls `register` several times in a process, and asks hooks even of registrations
// that it calls discovery, so each registers everything and all share one connection.
import { acquire } from "./bridge.js";
import { readConfig } from "./config.js";
import { registerEvents } from "./events.js";
import { registerGate } from "./gate/register.js";
import { registerHooks } from "./hooks/register.js";
import type { PluginApi } from "./openclaw.js";
import { registerTools } from "./tools.js";

/** Modes in which OpenClaw only reads what there is; nothing is asked and no turn is run. */
const PASSIVE = new Set(["setup-only", "setup-runtime", "cli-metadata"]);

export default {
  id: "outrigger",
  name: "Outrigger",
  description: "Runs plugins as supervised processes outside OpenClaw",

  register(api: PluginApi): void {
    if (PASSIVE.has(api.registrationMode ?? "full")) return;
    const { bridge, release } = acquire(readConfig(api.pluginConfig), api.logger, api.runtime?.version ?? "");
    registerHooks(api, bridge);
    registerGate(api, bridge, bridge.calls);
    registerTools(api, bridge, bridge.calls);
    registerEvents(api, bridge);
    api.lifecycle?.onDispose?.(release);
  },
};
