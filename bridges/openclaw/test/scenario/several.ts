// Several turns in one process: OpenClaw's gateway, which runs them with the same embedded runner, and where a person
// can be asked. One supervisor with all plugins at once.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Gateway } from "../support/openclaw.js";
import { BRIDGE, NODE, OPENCLAW } from "../support/places.js";
import { start } from "../support/processes.js";
import { builtPlugin, pythonPlugin, type Supervisor } from "../support/supervisor.js";
import { until } from "../support/wait.js";
import type { Scenario, World } from "../support/world.js";
import { gate, seen, tools, watcher } from "./turns.js";

const RULES = 'config = { rules = "House rule: always be brief.", notes = [{ word = "deploy", text = "Deployments are frozen." }] }\ntier = "trusted"';
const POLICY = 'scopes = ["hooks.tools", "policy.trusted"]\n[[guard]]\nhook = "before_tool_call"\ntools = ["exec"]\npolicy = true\n';

/** The setting of most scenarios here. */
async function setting(world: World, plugins = [gate()], tool: string[] = []) {
  const supervisor = await world.supervisor(plugins);
  const { openclaw, gateway } = await world.gateway(supervisor, { tools: tool });
  const say = async (name: string, command: string, session = `agent:main:${name}`) => {
    world.model.script(name, [{ tool: "exec", args: { command } }]);
    return turn(world, gateway, `scenario:${name}`, session);
  };
  return { supervisor, openclaw, gateway, say };
}

async function turn(world: World, gateway: Gateway, message: string, session = "agent:main:several") {
  const answer = await gateway.turn(message, session);
  world.note(`> ${message}   → ${answer.text} (${Math.round(answer.ms)} ms)`);
  return answer;
}

const total = (outcomes: Record<string, number>) => Object.values(outcomes).reduce((sum, number) => sum + number, 0);

export const SEVERAL: Scenario[] = [
  {
    name: "decisions",
    title: "Allowed, denied, rewritten, in one process",
    about: "Three turns of one session; in the last one the model's conversation holds what the turns before stored.",
    async run(world) {
      const { supervisor, say } = await setting(world);
      const session = "agent:main:decisions";
      assert.match((await say("one", "echo first-output", session)).text, /first-output/);
      assert.match((await say("two", "echo deny", session)).text, /gate: the guard in Python says no/);
      const rewritten = await say("three", "echo original; echo rewrite", session);
      assert.match(rewritten.text, /rewritten-by-python/);
      assert.doesNotMatch(rewritten.text, /original/);
      assert.deepEqual(await supervisor.outcomes("before_tool_call", "gate"), { allow: 2, deny: 1 });
      const history = JSON.stringify(world.model.of("three").at(-1)?.messages);
      for (const stored of ["first-output", "the guard in Python says no", "rewritten-by-python"]) assert.ok(history.includes(stored), `${stored} is stored`);
      await world.counted(supervisor);
    },
  },
  {
    name: "policy",
    title: "A trusted tool policy in Python",
    about: "A plugin that the operator trusts with `policy.trusted` replaces the parameters as a whole: a member that it leaves out is gone when the tool runs.",
    async run(world) {
      const policy = pythonPlugin("policy", "policy.py", POLICY, { entry: 'tier = "trusted"' });
      const supervisor = await world.supervisor([policy]);
      const { gateway } = await world.gateway(supervisor);
      world.model.script("policy", [{ tool: "exec", args: { command: "pwd", workdir: "/" } }]);
      const answer = await turn(world, gateway, "scenario:policy");
      assert.match(answer.text, /c.work\b/, "workdir was taken out, so it ran in the workspace");
      assert.equal(total(await supervisor.outcomes("before_tool_call", "policy")), 1);
      await world.counted(supervisor);
    },
  },
  {
    name: "approvals",
    title: "Approvals: allowed, denied, and one nobody can answer",
    about: "A person at OpenClaw's approvals answers what the plugin asks. The tool runs only where the supervisor took the answer and the bridge redeemed its decision; the plugin is told how each ended.",
    async run(world) {
      const { supervisor, openclaw, gateway, say } = await setting(world);
      const refused = await say("ask-nobody", "echo ask");
      assert.match(refused.text, /no approval route/);
      const person = start(NODE, [join(BRIDGE, "test/helpers/person.mjs"), join(OPENCLAW, "node_modules/openclaw"), `ws://127.0.0.1:${gateway.port}`, "scenario", "deny"], { env: openclaw.environment });
      world.atEnd(async () => person.kill());
      await until("the person is there", () => person.stdout.includes('"ready"'));
      world.note("a person connects to the approvals");
      const allowed = await say("ask-allow", "echo ask answer:allow-once");
      assert.match(allowed.text, /ask answer:allow-once/);
      const trace = join(world.directory, "ran");
      const denied = await say("ask-deny", `touch ${trace}; echo ask answer:deny`);
      assert.match(denied.text, /Denied by user/);
      assert.ok(!existsSync(trace), "the command must not have run");
      const asked = person.stdout.split("\n").filter((line) => line.includes('"asked"')).map((line) => JSON.parse(line));
      assert.equal(asked.length, 2);
      for (const { title, description, pluginId } of asked) {
        assert.equal(title, "Run a command");
        assert.match(description, /Asked by gate/);
        assert.equal(pluginId, "outrigger");
        world.note(`the person was asked: ${title}: ${description.replaceAll("\n", " / ")}`);
      }
      const told = async () => (await supervisor.ask("logs", "gate")).lines.map(({ text }: { text: string }) => text).filter((text: string) => text.startsWith("approval"));
      const ends = ["approval cancelled", "approval allowed_once", "approval denied"];
      await until("the plugin is told", async () => (await told()).length === ends.length);
      assert.deepEqual(await told(), ends);
      world.note(`the plugin was told: ${ends.join(", ")}`);
      assert.equal(await supervisor.calls("before_tool_call", "gate"), 3);
      await world.counted(supervisor);
    },
  },
  {
    name: "prompt",
    title: "Prompt context is added",
    about: "The model sees the house rules in the system prompt of every turn, and the note only where its word is in the prompt.",
    async run(world) {
      const supervisor = await world.supervisor([builtPlugin("prompt-contributor", RULES)]);
      const { gateway } = await world.gateway(supervisor);
      world.model.script("plain", [{ say: "noted" }]);
      world.model.script("frozen", [{ say: "noted" }]);
      await turn(world, gateway, "scenario:plain");
      await turn(world, gateway, "scenario:frozen Please deploy it.");
      const shown = (name: string) => JSON.stringify(world.model.of(name)[0]?.messages);
      assert.ok(shown("plain").includes("House rule: always be brief."));
      assert.ok(!shown("plain").includes("Deployments are frozen."));
      assert.ok(shown("frozen").includes("House rule: always be brief."));
      assert.ok(shown("frozen").includes("Deployments are frozen."));
      world.note("the model saw the rule in both turns, the note in the second");
      assert.equal(await supervisor.calls("before_prompt_build"), 2);
      assert.equal(await supervisor.calls("agent_turn_prepare"), 2);
      await world.counted(supervisor);
    },
  },
  {
    name: "gated-tool",
    title: "A served tool behind a guard, with progress and a failure",
    about: "The guard wants the hook for the served tool, so its decision is used up by the call itself. A tool's own error reaches the model as one.",
    async run(world) {
      const guard = pythonPlugin("gate", "gate.py", 'scopes = ["hooks.tools"]\n[[guard]]\nhook = "before_tool_call"\ntools = ["wait"]\n', { args: ["--tool", "wait"] });
      const supervisor = await world.supervisor([tools(), guard, watcher()]);
      const { gateway } = await world.gateway(supervisor, { tools: ["word_count", "wait"] });
      world.model.script("waits", [{ tool: "wait", args: { seconds: 0.3 } }]);
      world.model.script("waits-long", [{ tool: "wait", args: { seconds: 40 } }]);
      world.model.script("waits-wrong", [{ tool: "wait", args: { seconds: -1 } }]);
      assert.match((await turn(world, gateway, "scenario:waits")).text, /waited 0.3 s/);
      const updates = await until("the tool's progress comes as an event of OpenClaw's", () => {
        const found = seen(world).filter(({ stream, phase }) => stream === "tool" && phase === "update");
        return found.length > 0 && found;
      });
      world.note(`OpenClaw told of the tool's progress: ${updates.length} updates`);
      assert.match((await turn(world, gateway, "scenario:waits-long")).text, /30 seconds are the most/);
      assert.match((await turn(world, gateway, "scenario:waits-wrong")).text, /seconds|minimum/);
      assert.ok((await supervisor.calls("before_tool_call", "gate")) >= 2);
      await world.counted(supervisor);
    },
  },
  {
    name: "dies",
    title: "A plugin is killed in the middle of a hook",
    about: "The guard ends itself while it decides. The call is denied at once, naming the plugin; the gateway goes on, and the next generation decides the next call.",
    async run(world) {
      const { supervisor, gateway, say } = await setting(world);
      const trace = join(world.directory, "ran");
      const denied = await say("dies", `touch ${trace}; echo die`);
      assert.match(denied.text, /^RESULTS .*gate/);
      assert.ok(!existsSync(trace), "the command must not have run");
      await until("the next generation is ready", async () => (await supervisor.states())["gate"] === "ready");
      assert.match((await say("after-death", "echo alive-again")).text, /alive-again/);
      assert.ok(!gateway.running.isOver);
      const { plugins } = await supervisor.ask("status");
      assert.equal(plugins[0].generation, 2);
      await world.counted(supervisor);
      world.note(`generation of the plugin now: ${plugins[0].generation}; the gateway's process is the same`);
    },
  },
  {
    name: "hangs",
    title: "A plugin hangs in a hook",
    about: "The guard never answers; its operator gives it a second. The call is denied then, and other turns of the same process go on meanwhile.",
    async run(world) {
      const slow = pythonPlugin("gate", "gate.py", 'scopes = ["hooks.tools"]\n[[guard]]\nhook = "before_tool_call"\ntools = ["exec"]\n', { entry: '[plugin.hooks.before_tool_call]\ntimeout = "1s"' });
      const { supervisor, say } = await setting(world, [slow]);
      const hanging = say("hangs", "echo hang");
      const beside = await say("beside", "echo meanwhile");
      assert.match(beside.text, /meanwhile/);
      assert.match((await hanging).text, /gate.*1 ?s|gate.*time/i);
      assert.equal((await supervisor.outcomes("before_tool_call", "gate"))["timeout"], 1);
      await world.counted(supervisor);
    },
  },
  {
    name: "restarts",
    title: "The supervisor is killed and started again",
    about: "While it is away, what its guards guarded is denied and other tools run; when it is back the same OpenClaw process asks it again.",
    async run(world) {
      const { supervisor, gateway, say } = await setting(world);
      assert.match((await say("before", "echo before-the-kill")).text, /before-the-kill/);
      await supervisor.kill();
      world.note("supervisor killed");
      const away = await say("away", "echo must-not-run");
      assert.doesNotMatch(away.text, /RESULTS \["must-not-run"\]/);
      assert.match(away.text, /outrigger/);
      world.model.script("unguarded", [{ tool: "ls", args: { path: "." } }]);
      const unguarded = await turn(world, gateway, "scenario:unguarded");
      assert.doesNotMatch(unguarded.text, /outrigger/);
      await supervisor.start();
      world.note("supervisor started again");
      const back = await until("it is asked again", async () => {
        const answer = await say("back", "echo back-again");
        return answer.text.includes("back-again") && answer;
      });
      assert.ok(back);
      assert.ok((await supervisor.calls("before_tool_call", "gate")) >= 1);
      await world.counted(supervisor);
    },
  },
  {
    name: "two-processes",
    title: "Two processes with one key",
    about: "A turn of `openclaw agent --local` beside a gateway that uses the same key takes the gateway's place; afterwards the gateway has it again, and its calls are guarded as before. From a process that keeps the place the gateway takes it back, after a while.",
    async run(world) {
      const { supervisor, gateway, say } = await setting(world);
      assert.match((await say("first-mine", "echo gateway-first")).text, /gateway-first/);
      // A state directory of its own, as a gateway holds the lock of its.
      const beside = world.openclaw(supervisor, { name: "local" });
      world.model.script("second", [{ tool: "exec", args: { command: "echo deny" } }]);
      const local = await world.turn(beside, "scenario:second");
      assert.match(local.text, /gate: the guard in Python says no/);
      const again = await say("mine-again", "echo gateway-again");
      assert.match(again.text, /gateway-again/);
      const log = () => gateway.running.stdout + gateway.running.stderr;
      const keeper = supervisor.runtime();
      try {
        keeper.start();
        const said = (what: string) => log().split(what).length - 1;
        const told = said("not attached");
        const taken = said("takes its place back");
        assert.ok(await keeper.attached());
        await until("the gateway is told", () => said("not attached") > told);
        assert.match((await say("taken-back", "echo gateway-third")).text, /gateway-third/);
        assert.ok(said("takes its place back") > taken);
        await until("the other one is told", () => keeper.displaced);
      } finally {
        await keeper.close();
      }
      assert.deepEqual(await supervisor.outcomes("before_tool_call", "gate"), { allow: 3, deny: 1 });
      await world.counted(supervisor);
    },
  },
  {
    name: "watched",
    title: "Two runs at once, each in order",
    about: "Two turns of two sessions in one process: the observer's positions rise in each run without a gap.",
    async run(world) {
      const { gateway, supervisor } = await setting(world, [watcher()]);
      world.model.script("left", [{ tool: "exec", args: { command: "echo left" } }]);
      world.model.script("right", [{ tool: "exec", args: { command: "echo right" } }]);
      await Promise.all([turn(world, gateway, "scenario:left", "agent:main:left"), turn(world, gateway, "scenario:right", "agent:main:right")]);
      await until("both runs end", () => seen(world).filter(({ terminal }) => terminal).length === 2);
      const runs = new Map<string, any[]>();
      for (const event of seen(world)) if (event.stream !== undefined) runs.set(event.run, [...(runs.get(event.run) ?? []), event]);
      assert.equal(runs.size, 2);
      for (const events of runs.values()) {
        assert.deepEqual(events.map(({ seq }) => seq), events.map((_, at) => at + 1));
        assert.equal(events.at(-1)?.terminal, true);
      }
      world.note(`events: ${[...runs.values()].map((events) => events.length).join(" and ")}`);
      const { runtimes } = (await supervisor.ask("status")).supervisor;
      assert.equal(runtimes[0].live_runs ?? 0, 0);
    },
  },
];
