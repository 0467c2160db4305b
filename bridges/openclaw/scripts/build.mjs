// Bundles the plugin into one file with all it needs, so that OpenClaw, which copies a plugin's package before it loads
// it, has nothing to resolve; `--tests` bundles the tests instead.
import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const tests = process.argv.includes("--tests");
// What is CommonJS within (the gRPC library) asks for Node's modules by `require`, which an ES module does not have.
const banner = {
  js: 'import { createRequire as outriggerRequire } from "node:module"; const require = outriggerRequire(import.meta.url);',
};
// The client is taken from its sources, beside us in this repository; what it imports is in our own dependencies.
const client = { alias: { "outrigger-runtime": `${root}../../clients/typescript/src/index.ts` }, nodePaths: [`${root}node_modules`] };
const common = { ...client, absWorkingDir: root, bundle: true, platform: "node", format: "esm", target: "node20", banner, logLevel: "warning" };

if (tests) {
  rmSync(`${root}/build`, { recursive: true, force: true });
  const unit = readdirSync(`${root}/test/unit`).map((name) => `test/unit/${name}`);
  await build({ ...common, entryPoints: unit, outdir: "build/unit" });
  await build({ ...common, entryPoints: ["test/scenarios.ts", "test/measure.ts", "test/plugins/node_misbehave.ts"], outdir: "build", outbase: "test", entryNames: "[name]" });
} else {
  rmSync(`${root}/dist`, { recursive: true, force: true });
  await build({ ...common, entryPoints: ["src/index.ts", "src/claim-tools.ts"], outdir: "dist" });
}
