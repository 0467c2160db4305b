// Measures hooks within OpenClaw's process, by its own hook runner: a message `meter ROUNDS CALLS` is answered with the
// medians of each round, in µs. The tools are names only: nobody wants `meter_none`, a guard of this plugin wants
// `meter_native`, and plugins of Outrigger want the others.
import { getGlobalHookRunner } from "openclaw/plugin-sdk/plugin-runtime";

const TOOLS = ["meter_none", "meter_native", "meter_rust", "meter_python"];

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

let calls = 0;

async function round(toolName, times) {
  const runner = getGlobalHookRunner();
  const taken = [];
  for (let at = 0; at < times; at += 1) {
    calls += 1;
    const ids = { toolCallId: `meter-${calls}`, runId: "meter" };
    const context = { toolName, agentId: "main", sessionKey: "agent:main:meter", sessionId: "meter", ...ids };
    const began = process.hrtime.bigint();
    const answer = await runner.runBeforeToolCall({ toolName, params: { command: "echo metered" }, ...ids }, context);
    taken.push(Number(process.hrtime.bigint() - began) / 1000);
    if (answer?.block) throw new Error(`${toolName} was blocked: ${answer.blockReason}`);
  }
  return median(taken);
}

export default {
  id: "native-meter",
  name: "Meter",
  description: "Measures hooks within the process",
  register(api) {
    api.on("before_tool_call", async () => undefined, { matcher: ["meter_native", "exec"] });
    api.on("before_agent_reply", async ({ cleanedBody }) => {
      const asked = /meter (\d+) (\d+)/.exec(cleanedBody);
      if (!asked) return undefined;
      const rounds = Object.fromEntries(TOOLS.map((tool) => [tool, []]));
      for (const tool of TOOLS) await round(tool, 50);
      for (let at = 0; at < Number(asked[1]); at += 1) {
        for (const tool of TOOLS) rounds[tool].push(await round(tool, Number(asked[2])));
      }
      return { handled: true, reply: { text: JSON.stringify(rounds) } };
    });
  },
};
