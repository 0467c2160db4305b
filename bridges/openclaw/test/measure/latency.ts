// What the bridge adds to a hook and to a turn.
import { join } from "node:path";
import type { Gateway } from "../support/openclaw.js";
import { BRIDGE } from "../support/places.js";
import { pythonPlugin, type Plugin } from "../support/supervisor.js";
import type { World } from "../support/world.js";
import { builtGuard } from "./guard.js";

const METER = join(BRIDGE, "test/plugins/native-meter");
const guardOf = (tool: string) => `scopes = ["hooks.tools"]\n[[guard]]\nhook = "before_tool_call"\ntools = ["${tool}"]\n`;

export const median = (numbers: number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

/** Medians of each round in µs, by tool. */
export async function hooks(world: World, rounds: number, calls: number): Promise<Record<string, number[]>> {
  const python = pythonPlugin("gate", "gate.py", guardOf("meter_python"), { args: ["--tool", "meter_python"] });
  const supervisor = await world.supervisor([builtGuard("meter_rust"), python]);
  const { gateway } = await world.gateway(supervisor, { plugins: { "native-meter": METER } });
  const { text } = await gateway.turn(`meter ${rounds} ${calls}`, "agent:main:meter");
  return JSON.parse(text);
}

/** Durations of turns with one tool call in ms: with a guard in the process, and with one behind the bridge. */
export async function turns(inside: World, outside: World, rounds: number): Promise<{ native: number[]; bridged: number[] }> {
  const plugins: Plugin[] = [pythonPlugin("gate", "gate.py", guardOf("exec"))];
  const supervisor = await outside.supervisor(plugins);
  const { gateway: bridged } = await outside.gateway(supervisor);
  const { gateway: native } = await inside.gateway(undefined, { plugins: { "native-meter": METER } });
  const taken = { native: [] as number[], bridged: [] as number[] };
  for (const world of [inside, outside]) world.model.script("latency", [{ tool: "exec", args: { command: "true" } }]);
  for (let round = -1; round < rounds; round += 1) {
    for (const [name, gateway] of [["native", native], ["bridged", bridged]] as [keyof typeof taken, Gateway][]) {
      const { ms, text } = await gateway.turn("scenario:latency", `agent:main:latency-${name}-${round}`);
      if (/outrigger|block|denied/i.test(text)) throw new Error(`the turn went wrong: ${text}`);
      // The first one opens databases and loads what was not needed before.
      if (round >= 0) taken[name].push(ms);
    }
  }
  return taken;
}
