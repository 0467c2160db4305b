// Single turns of the embedded runner (`openclaw agent --local`): one process each, from its start to its end.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Plugin, pythonPlugin, stockPlugin } from "../support/supervisor.js";
import { until } from "../support/wait.js";
import type { Scenario, World } from "../support/world.js";

const GUARD = 'scopes = ["hooks.tools"]\n[[guard]]\nhook = "before_tool_call"\ntools = ["exec"]\n';
export const gate = (): Plugin => pythonPlugin("gate", "gate.py", GUARD);
export const tools = (): Plugin => stockPlugin("python-tools", "python-tools", "stock_tools.py", 'tier = "trusted"');
const OBSERVER = 'scopes = ["hooks.conversation", "hooks.tools", "events.read"]\n';
export const watcher = (): Plugin => pythonPlugin("watcher", "watcher.py", OBSERVER, { entry: 'tier = "trusted"' });

/** What the watcher wrote down. */
export function seen(world: World): any[] {
  const file = join(world.directory, "o/s/data/watcher/seen");
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line)) : [];
}

const exec = (world: World, name: string, command: string) => world.model.script(name, [{ tool: "exec", args: { command } }]);

/** Times that are asserted on are far from what a slow machine makes of them. */
export const TURNS: Scenario[] = [
  {
    name: "allowed",
    title: "A tool call is allowed",
    about: "A guard in Python has no opinion on the command; the bridge redeems the decision and the tool runs.",
    async run(world) {
      const supervisor = await world.supervisor([gate()]);
      exec(world, "allowed", "echo all-is-well");
      const turn = await world.turn(world.openclaw(supervisor), "scenario:allowed");
      assert.equal(turn.code, 0);
      assert.match(turn.text, /all-is-well/);
      assert.deepEqual(await supervisor.outcomes("before_tool_call", "gate"), { allow: 1 });
      assert.deepEqual(turn.json.meta.agentMeta.terminalReceipt.successfulToolNames, ["exec"]);
      await world.counted(supervisor);
    },
  },
  {
    name: "denied",
    title: "A tool call is denied by a plugin in Python",
    about: "The model gets the plugin's reason in place of a result, and the command never ran.",
    async run(world) {
      const supervisor = await world.supervisor([gate()]);
      const trace = join(world.directory, "ran");
      exec(world, "denied", `touch ${trace}; echo deny`);
      const turn = await world.turn(world.openclaw(supervisor), "scenario:denied");
      assert.equal(turn.code, 0);
      assert.match(turn.text, /gate: the guard in Python says no/);
      assert.ok(!existsSync(trace), "the command must not have run");
      assert.deepEqual(await supervisor.outcomes("before_tool_call", "gate"), { deny: 1 });
      await world.counted(supervisor);
    },
  },
  {
    name: "served-tool",
    title: "A tool served by a plugin in Python",
    about: "The model calls `word_count`, which the manifest claims; its result is in the answer. No plugin wants the hook for it, so it runs without a decision.",
    async run(world) {
      const supervisor = await world.supervisor([tools()]);
      world.model.script("served-tool", [{ tool: "word_count", args: { text: "one two two three three three" } }]);
      const openclaw = world.openclaw(supervisor);
      world.note(`$ outrigger-openclaw-tools   → ${await supervisor.claimTools(join(openclaw.directory, "bridge"))}`);
      const turn = await world.turn(openclaw, "scenario:served-tool");
      assert.match(turn.text, /6 words, 3 of them different/);
      const [first] = world.model.of("served-tool");
      assert.ok(first !== undefined);
      assert.ok(first.toolNames.includes("word_count") && first.toolNames.includes("wait"), "the model is shown both tools");
      world.note(`the model was shown: ${first.toolNames.filter((name) => name === "word_count" || name === "wait").join(", ")} beside ${first.toolNames.length - 2} tools of OpenClaw's own`);
    },
  },
  {
    name: "nobody-interested",
    title: "No plugin is interested",
    about: "A guard for another tool: the whole turn makes no hook call, and the supervisor counts none.",
    async run(world) {
      const other = pythonPlugin("gate", "gate.py", GUARD.replace('"exec"', '"apply_patch"'), { args: ["--tool", "apply_patch"] });
      const supervisor = await world.supervisor([other]);
      exec(world, "nobody", "echo nobody-asked");
      const turn = await world.turn(world.openclaw(supervisor), "scenario:nobody");
      assert.match(turn.text, /nobody-asked/);
      assert.equal(await supervisor.calls("before_tool_call"), 0);
      const told = /outrigger: 0 hook calls, (\d+) not wanted, 0 denied while away, 0 failed/.exec(turn.stderr);
      assert.ok(told, `the bridge tells that it made no call:\n${turn.stderr.split("\n").filter((line) => line.includes("outrigger")).join("\n")}`);
      assert.ok(Number(told[1]) >= 10, "hooks came by and were not wanted");
      await world.counted(supervisor);
      world.note(`the bridge: ${told[0]}`);
    },
  },
  {
    name: "events-in-order",
    title: "Hooks and events are observed in order",
    about: "A plugin in Python is told of the turn's hooks and of every agent event, in the order in which they happened; the run ends with its terminal event, and OpenClaw's process ends by itself.",
    async run(world) {
      const supervisor = await world.supervisor([watcher()]);
      exec(world, "events", "echo watched");
      const turn = await world.turn(world.openclaw(supervisor), "scenario:events");
      assert.equal(turn.code, 0);
      await until("the terminal event arrives", () => seen(world).some(({ terminal }) => terminal));
      const entries = seen(world);
      const events = entries.filter(({ stream }) => stream !== undefined);
      const positions = events.map(({ seq }) => seq);
      assert.deepEqual(positions, positions.map((_, at) => at + 1), "positions rise without a gap");
      assert.equal(events[0].stream, "lifecycle");
      assert.equal(events[0].phase, "start");
      assert.equal(events.at(-1).phase, "end");
      assert.deepEqual(events.filter(({ terminal }) => terminal).length, 1);
      const streams = [...new Set(events.map(({ stream }) => stream))];
      for (const stream of ["lifecycle", "item", "tool", "assistant"]) assert.ok(streams.includes(stream), `${stream} is among ${streams}`);
      const hooks = entries.filter(({ hook }) => hook !== undefined).map(({ hook }) => hook);
      const order = ["model_call_started", "model_call_ended", "after_tool_call", "model_call_started", "model_call_ended", "agent_end"];
      // Large payloads are checked beside the others, so they may come after what happened next.
      const large = ["llm_input", "llm_output"];
      assert.deepEqual(hooks.filter((hook) => !large.includes(hook)), order);
      for (const hook of large) assert.equal(hooks.filter((it) => it === hook).length, 1, hook);
      world.note(`${events.length} events: ${events.map(({ stream, phase }) => (phase ? `${stream}:${phase}` : stream)).join(" ")}`);
      world.note(`hooks: ${hooks.join(" ")}`);
    },
  },
  {
    name: "approval-local",
    title: "An approval without anybody to ask",
    about: "`openclaw agent --local` has no surface for approvals: OpenClaw cancels what a plugin asks for, the bridge tells the supervisor, and the tool does not run.",
    async run(world) {
      const supervisor = await world.supervisor([gate()]);
      const trace = join(world.directory, "ran");
      exec(world, "ask-local", `touch ${trace}; echo ask`);
      const turn = await world.turn(world.openclaw(supervisor), "scenario:ask-local");
      assert.match(turn.text, /Plugin approval unavailable/);
      assert.ok(!existsSync(trace), "the command must not have run");
      assert.equal(await supervisor.calls("before_tool_call", "gate"), 1);
      const { lines } = await supervisor.ask("logs", "gate");
      assert.ok(lines.some(({ text }: { text: string }) => text === "approval cancelled"), "the plugin is told how its question ended");
      world.note("the plugin was told: approval cancelled");
      await world.counted(supervisor);
    },
  },
  {
    name: "never-there",
    title: "The supervisor is not there",
    about: "OpenClaw starts alone and never hears of a supervisor: what could be guarded is denied, here the run itself.",
    async run(world) {
      const supervisor = await world.supervisor([gate()], { started: false });
      exec(world, "never", "echo must-not-run");
      const turn = await world.turn(world.openclaw(supervisor, { bridge: { deadlines: { attachMs: 500 } } }), "scenario:never");
      assert.equal(world.model.of("never").length, 0, "the model was not asked");
      assert.doesNotMatch(turn.stdout, /must-not-run/);
      assert.match(turn.text, /could not be sent/);
    },
  },
  {
    name: "openclaw-first",
    title: "OpenClaw starts first, the supervisor later",
    about: "The supervisor comes up while OpenClaw is starting; the turn's tool call is guarded as if it had always been there.",
    async run(world) {
      const supervisor = await world.supervisor([gate()], { started: false });
      exec(world, "late", "echo deny");
      const { running, turn } = world.openclaw(supervisor, { bridge: { deadlines: { attachMs: 60_000 } } }).begin("scenario:late");
      world.atEnd(async () => running.kill());
      await until("the bridge fails to attach", () => /not attached to outrigger/.test(running.stderr), 60_000);
      world.note("openclaw runs and says: not attached to outrigger");
      await supervisor.start();
      world.note("supervisor started");
      const ended = await turn;
      world.told("scenario:late", ended);
      assert.match(ended.text, /gate: the guard in Python says no/);
      assert.deepEqual(await supervisor.outcomes("before_tool_call", "gate"), { deny: 1 });
      await world.counted(supervisor);
    },
  },
];
