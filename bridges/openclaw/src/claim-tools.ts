#!/usr/bin/env node
// Writes the names of served tools into the manifest, where OpenClaw wants to find them before it takes the tools:
// `outrigger-openclaw-tools NAME…`, or without names those that plugins of the running supervisor serve. It asks the
// `outrigger` command (or the one in OUTRIGGER), since a connection of our own would take the runtime's place.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const manifestPath = fileURLToPath(new URL("../openclaw.plugin.json", import.meta.url));
const program = process.env["OUTRIGGER"] ?? "outrigger";

const ask = (...args: string[]) => JSON.parse(execFileSync(program, [...args, "--json"], { encoding: "utf8" }));

interface Item {
  kind: string;
  id: string;
  accepted: boolean;
}

function served(): string[] {
  const { plugins } = ask("status") as { plugins: { plugin_id: string }[] };
  return plugins.flatMap(({ plugin_id: plugin }) => {
    const { items } = ask("inspect", plugin) as { items: Item[] };
    return items.filter(({ kind, accepted }) => kind === "tool" && accepted).map(({ id }) => id);
  });
}

try {
  const given = process.argv.slice(2);
  const names = [...new Set(given.length > 0 ? given : served())].sort();
  const manifest = JSON.parse(readFileSync(manifestPath, "utf8"));
  manifest.contracts.tools = names;
  writeFileSync(manifestPath, `${JSON.stringify(manifest, null, 2)}\n`);
  console.log(names.length > 0 ? `claimed: ${names.join(", ")}` : "no tool is claimed");
} catch (error) {
  console.error(`failed to claim tools: ${(error as Error).message}`);
  process.exitCode = 1;
}
