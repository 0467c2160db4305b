// The same misbehaving guard in OpenClaw's process and behind the bridge: what became of process and turns.
import { cpSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Gateway } from "../support/openclaw.js";
import { BRIDGE, NODE, ROOT } from "../support/places.js";
import type { Plugin, Supervisor } from "../support/supervisor.js";
import { until } from "../support/wait.js";
import type { World } from "../support/world.js";

export type Place = "in the process" | "behind the bridge";

export interface Damage {
  fault: string;
  place: Place;
  process: string;
  victim: string;
  beside: string;
  silenceMs: number;
  next: string;
  keptBytes: number;
  account: string;
}

/** Both get the same time for an answer, so that nobody waits for a hang longer than the other. */
const HOOK_MS = 3_000;

/** A turn that does not come back. */
const TURN_MS = 40_000;

/** The plugin of test/plugins/node_misbehave.ts, run by the Node that runs OpenClaw. */
export function nodeMisbehave(): Plugin {
  return {
    id: "misbehave",
    entry: `limits = { memory = "256MiB" }\n[plugin.hooks.before_tool_call]\ntimeout = "${HOOK_MS}ms"`,
    write(directory) {
      mkdirSync(directory, { recursive: true });
      copyFileSync(join(BRIDGE, "build/node_misbehave.js"), join(directory, "plugin.mjs"));
      cpSync(join(ROOT, "proto/outrigger"), join(directory, "proto/outrigger"), { recursive: true });
      const command = JSON.stringify([NODE, "{package}/plugin.mjs", "{package}/proto"]);
      const guard = '[[guard]]\nhook = "before_tool_call"\ntools = ["exec"]\n';
      writeFileSync(join(directory, "plugin.toml"), `id = "misbehave"\nversion = "0.1.0"\ncommand = ${command}\nscopes = ["hooks.tools"]\n${guard}`);
    },
  };
}

/** The same as a plugin of OpenClaw, with the shared file beside it, as OpenClaw copies packages. */
export function nativeMisbehave(directory: string): string {
  const folder = join(directory, "native-misbehave");
  cpSync(join(BRIDGE, "test/plugins/native-misbehave"), folder, { recursive: true });
  copyFileSync(join(BRIDGE, "test/plugins/faults.mjs"), join(folder, "faults.mjs"));
  return folder;
}

export async function damage(world: World, fault: string, place: Place): Promise<Damage> {
  const supervisor = place === "behind the bridge" ? await world.supervisor([nodeMisbehave()]) : undefined;
  const plugins: Record<string, string> = supervisor ? {} : { "native-misbehave": nativeMisbehave(world.directory) };
  const hooks = { timeouts: { before_tool_call: HOOK_MS } };
  const { gateway } = await world.gateway(supervisor, { plugins, hooks: { "native-misbehave": hooks } });
  const key = `${fault}-${supervisor ? "out" : "in"}`;
  const say = (name: string, command: string) => {
    world.model.script(`${name}-${key}`, [{ tool: "exec", args: { command } }]);
    return outcome(gateway, `scenario:${name}-${key}`, `agent:main:${name}`);
  };
  await say("warm", "echo warm");
  const before = memory(gateway.running.pid);
  const probe = new Probe(gateway);
  const victim = say("victim", `echo ran # fault:${fault}`);
  await new Promise((done) => setTimeout(done, 100));
  const beside = say("beside", "echo ran");
  const told = { victim: await victim, beside: await beside };
  if (supervisor && !gateway.running.isOver) await recovered(supervisor);
  const next = await say("next", "echo ran");
  const silenceMs = await probe.stop();
  const after = memory(gateway.running.pid);
  const ended = gateway.running.isOver ? await gateway.running.ended : undefined;
  return {
    fault,
    place,
    process: ended === undefined ? "goes on" : `ended (${ended.signal ?? `status ${ended.code}`})`,
    victim: told.victim,
    beside: told.beside,
    silenceMs,
    next,
    keptBytes: ended === undefined ? Math.max(0, after - before) : 0,
    account: supervisor ? await account(supervisor) : "",
  };
}

async function outcome(gateway: Gateway, message: string, session: string): Promise<string> {
  const began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  const late = new Promise<"late">((done) => setTimeout(done, TURN_MS, "late").unref());
  try {
    const answer = await Promise.race([gateway.turn(message, session), late]);
    if (answer === "late") return `no answer in ${TURN_MS / 1000} s`;
    return `${answer.text === 'RESULTS ["ran"]' ? "ran" : `denied: ${inner(answer.text)}`} (${seconds()})`;
  } catch {
    return `lost (${seconds()})`;
  }
}

/** The text that the model got in place of a result. */
function inner(text: string): string {
  const given: string = JSON.parse(text.replace(/^RESULTS /, "")).at(-1) ?? text;
  try {
    return JSON.parse(given).error ?? given;
  } catch {
    return given;
  }
}

/** Each of the faults costs the plugin its launch; the next one is waited for. */
async function recovered(supervisor: Supervisor): Promise<void> {
  const { plugins } = await until(
    "the next generation is ready",
    async () => {
      const status = await supervisor.ask("status");
      const [{ state, generation }] = status.plugins;
      return state === "ready" && generation >= 2 && status;
    },
    60_000,
  );
  if (plugins.length !== 1) throw new Error("another plugin is there");
}

async function account(supervisor: Supervisor): Promise<string> {
  const { plugins } = await supervisor.ask("status");
  const [{ generation, recent_failures: failures }] = plugins;
  const why = await supervisor.ask("why", "misbehave");
  const last = why.failures?.at(-1)?.cause ?? why.failures?.[0]?.cause;
  return `generation ${generation}, ${failures} failure${failures === 1 ? "" : "s"}${last ? ` (${last})` : ""}`;
}

/** Memory of OpenClaw's processes, which are one process group; the supervisor and its plugins are not in it. */
function memory(group: number): number {
  let sum = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const [, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(pgrp) === group) sum += Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
    } catch {
      // It has ended meanwhile.
    }
  }
  return sum;
}

/** Asks the gateway for something trivial again and again: its longest silence is how long everybody waited. */
class Probe {
  #longest = 0;
  #over = false;
  readonly #done: Promise<void>;

  constructor(gateway: Gateway) {
    this.#done = this.#go(gateway);
  }

  async #go(gateway: Gateway): Promise<void> {
    while (!this.#over && !gateway.running.isOver) {
      const began = performance.now();
      const answered = await gateway.answers();
      if (answered) this.#longest = Math.max(this.#longest, performance.now() - began);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  async stop(): Promise<number> {
    this.#over = true;
    await this.#done;
    return this.#longest;
  }
}
