// Runs the scenarios against the real OpenClaw, some side by side, and with `--write` keeps the transcript.
// Names as arguments: only these.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SEVERAL } from "./scenario/several.js";
import { TURNS } from "./scenario/turns.js";
import { commitNow } from "./support/commit.js";
import { Model } from "./support/model.js";
import { missing, OPENCLAW, ROOT } from "./support/places.js";
import { within } from "./support/wait.js";
import { type Scenario, World } from "./support/world.js";

/** Side by side: a turn is mostly the start of a process, which two cores bear twice. */
const LANES = Number(process.env["SCENARIO_LANES"] ?? 2);
/** Longest time for one scenario. */
const LIMIT_MS = 240_000;

interface Told {
  scenario: Scenario;
  ms: number;
  lines: string[];
  failure?: string;
}

async function play(scenario: Scenario, model: Model): Promise<Told> {
  const world = new World(model);
  const began = performance.now();
  let failure: string | undefined;
  try {
    await within(scenario.name, scenario.run(world), LIMIT_MS);
  } catch (error) {
    failure = (error as Error).stack ?? String(error);
  }
  await world.end();
  const ms = performance.now() - began;
  console.log(`${failure === undefined ? "ok  " : "FAIL"} ${scenario.name} (${(ms / 1000).toFixed(1)} s)`);
  if (failure !== undefined) console.log([...world.lines, failure].map((line) => `     ${line}`).join("\n"));
  return { scenario, ms, lines: world.lines, failure };
}

const lacks = missing();
if (lacks.length > 0) {
  console.error(lacks.map((lack) => `error: ${lack}`).join("\n"));
  process.exit(1);
}
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const all = [...SEVERAL, ...TURNS];
const unknown = wanted.filter((name) => !all.some((scenario) => scenario.name === name));
if (unknown.length > 0) {
  console.error(`error: no scenario ${unknown.join(", ")}; there are: ${all.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}
const waiting = wanted.length === 0 ? [...all] : all.filter(({ name }) => wanted.includes(name));
const order = [...waiting];
const commit = commitNow();
const model = await Model.start();
const began = performance.now();
const told: Told[] = [];
await Promise.all(
  Array.from({ length: LANES }, async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) told.push(await play(next, model));
  }),
);
await model.stop();
const failed = told.filter(({ failure }) => failure !== undefined).length;
const seconds = (performance.now() - began) / 1000;
if (process.argv.includes("--write") && failed === 0) write(seconds);
console.log(`${told.length - failed} passed, ${failed} failed (${seconds.toFixed(0)} s)`);
process.exitCode = failed === 0 ? 0 : 1;

function write(duration: number): void {
  const version = JSON.parse(readFileSync(join(OPENCLAW, "node_modules/openclaw/package.json"), "utf8")).version;
  const date = new Date().toISOString().slice(0, 10);
  const head = [
    `# OpenClaw behind the bridge: the scenarios, ${date}`,
    "",
    "| | |",
    "| --- | --- |",
    "| command | `npm run transcript` in `bridges/openclaw` |",
    `| commit | ${commit} |`,
    `| OpenClaw | ${version}, its embedded runner, with a scripted stand-in for the model |`,
    `| duration | ${duration.toFixed(0)} s, ${LANES} scenarios side by side |`,
    "",
    "Each line was written by the scenario as it went; `DIR` is its own directory. What is asserted is in `bridges/openclaw/test/scenario`.",
  ];
  const sections = order.map((scenario) => {
    const it = told.find((one) => one.scenario === scenario) as Told;
    return `\n## ${scenario.title}\n\n${scenario.about} (${(it.ms / 1000).toFixed(1)} s)\n\n\`\`\`text\n${it.lines.join("\n")}\n\`\`\``;
  });
  const folder = join(ROOT, "docs/measurements");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${date}-openclaw-scenarios.md`), `${[...head, ...sections].join("\n")}\n`);
}
