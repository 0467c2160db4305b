// The case, measured: what a misbehaving plugin does in OpenClaw's process and behind the bridge, and what the bridge
// costs. One run; with `--write` its tables are kept.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { type Damage, damage, type Place } from "./measure/damage.js";
import { hooks, median, turns } from "./measure/latency.js";
import { FAULTS, LEAK_BYTES } from "./plugins/faults.mjs";
import { commitNow } from "./support/commit.js";
import { Model } from "./support/model.js";
import { missing, OPENCLAW, ROOT } from "./support/places.js";
import { World } from "./support/world.js";

const ROUNDS = 9;
const CALLS = 200;
const PLACES: Place[] = ["in the process", "behind the bridge"];

const lacks = missing();
if (lacks.length > 0) {
  console.error(lacks.map((lack) => `error: ${lack}`).join("\n"));
  process.exit(1);
}
const commit = commitNow();
const model = await Model.start();
const began = performance.now();

async function inWorld<T>(work: (world: World) => Promise<T>): Promise<T> {
  const world = new World(model);
  try {
    return await work(world);
  } finally {
    await world.end();
  }
}

const metered = await inWorld((world) => hooks(world, ROUNDS, CALLS));
console.log(`hooks, medians of ${ROUNDS} rounds of ${CALLS} calls, µs:`, metered);
const turned = await inWorld((inside) => inWorld((outside) => turns(inside, outside, ROUNDS)));
console.log("turns, ms:", turned);
const damages: Damage[] = [];
for (const fault of FAULTS) {
  for (const place of PLACES) {
    const one = await inWorld((world) => damage(world, fault, place));
    console.log(one);
    damages.push(one);
  }
}
await model.stop();
const seconds = (performance.now() - began) / 1000;
if (process.argv.includes("--write")) write();

function write(): void {
  const date = new Date().toISOString().slice(0, 10);
  const version = JSON.parse(readFileSync(join(OPENCLAW, "node_modules/openclaw/package.json"), "utf8")).version;
  const micro = (tool: string) => median(metered[tool] ?? []);
  const native = micro("meter_native");
  const row = (name: string, tool: string) => `| ${name} | ${micro(tool).toFixed(0)} | ${(micro(tool) / native).toFixed(1)} |`;
  const [own, bridged] = [median(turned.native), median(turned.bridged)];
  const bytes = (number: number) => `${Math.round(number / 1024 / 1024)} MiB`;
  const text = `# A misbehaving plugin in OpenClaw and behind the bridge, ${date}

| | |
| --- | --- |
| command | \`npm run measure\` in \`bridges/openclaw\` |
| commit | ${commit} |
| build | debug profile of the supervisor and the guard in Rust |
| OpenClaw | ${version}, its gateway, with a scripted stand-in for the model |
| seed | none |
| rounds, duration | ${ROUNDS} rounds, the forms one after the other in each; ${seconds.toFixed(0)} s in all |
| machine | ${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, ${bytes(totalmem())}, Linux ${release()}; load at the end ${loadavg()[0]?.toFixed(1)}: it was not free of other work |
| settings | \`cancel_grace = "1s"\`, first and longest backoff 100 and 500 ms; the misbehaving plugin: 256 MiB, 3 s for the hook |

## What it does

The same code, a guard of \`exec\` that misbehaves when a command says so, as a plugin of OpenClaw (\`test/plugins/native-misbehave\`) and as a
plugin of Outrigger in a process of its own (\`test/plugins/node_misbehave.ts\`). One turn makes it strike; another turn of another session runs
beside it; a third comes after. Both have 3 s for the hook. *Silence* is the longest that the gateway took to answer something trivial
meanwhile. A leak keeps ${bytes(LEAK_BYTES)}; what OpenClaw keeps of a few turns is in each of the numbers.
Behind the bridge the turn beside it is guarded by the same plugin, so it shares its fate while the plugin is blocked; other tools do not.

| fault | the plugin runs | OpenClaw's process | the turn | a turn beside it | silence | the next turn | memory kept by OpenClaw | the supervisor's account |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
${damages.map((it) => `| ${it.fault} | ${it.place} | ${it.process} | ${it.victim} | ${it.beside} | ${it.silenceMs.toFixed(0)} ms | ${it.next} | ${it.keptBytes === 0 ? "–" : bytes(it.keptBytes)} | ${it.account || "–"} |`).join("\n")}

## What it costs

One \`before_tool_call\` by OpenClaw's own hook runner, within one process: median of the rounds' medians, ${CALLS} calls a round. A call behind the
bridge asks the guard and redeems its decision: two exchanges with the supervisor and one with the plugin.

| the guard | µs | ratio to a guard in the process |
| --- | --- | --- |
${row("none wants the tool; the bridge is loaded", "meter_none")}
${row("in the process", "meter_native")}
${row("behind the bridge, in Rust", "meter_rust")}
${row("behind the bridge, in Python", "meter_python")}

A turn with one tool call, from the message to the answer, in two gateways that take turns:

| the guard | ms, median of ${ROUNDS} | ratio |
| --- | --- | --- |
| in the process | ${own.toFixed(0)} | 1.00 |
| behind the bridge, in Python | ${bridged.toFixed(0)} | ${(bridged / own).toFixed(2)} |

Of a turn of ${own.toFixed(0)} ms the guarded call behind the bridge is ${((micro("meter_python") / 1000 / own) * 100).toFixed(2)} %.
`;
  const folder = join(ROOT, "docs/measurements");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${date}-openclaw-damage.md`), text);
}
