#!/usr/bin/env node
// Writes the names of served tools into the manifest, where OpenClaw wants to find them before it takes the tools:
// `outrigger-openclaw-tools NAME…`, or without names those that the running supervisor lists.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Runtime } from "outrigger-runtime";

const manifestPath = fileURLToPath(new URL("../openclaw.plugin.json", import.meta.url));

async function listed(): Promise<string[]> {
  const runtime = new Runtime({ software: "outrigger-openclaw-tools", logger: { warn: console.error, error: console.error } });
  runtime.start();
  try {
    if (!(await runtime.attached({ timeoutMs: 5_000 }))) throw new Error("no supervisor answers; name the tools, or start `outrigger run`");
    return (await runtime.listTools()).map(({ name }) => name);
  } finally {
    await runtime.close();
  }
}

const given = process.argv.slice(2);
try {
  const names = [...new Set(given.length > 0 ? given : await listed())].sort();
  const manifest = JSON.parse(readFileSync(manifestPath, "utf8"));
  manifest.contracts.tools = names;
  writeFileSync(manifestPath, `${JSON.stringify(manifest, null, 2)}\n`);
  console.log(names.length > 0 ? `claimed: ${names.join(", ")}` : "no tool is claimed");
} catch (error) {
  console.error(`failed to claim tools: ${(error as Error).message}`);
  process.exitCode = 1;
}
