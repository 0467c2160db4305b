// A well-behaved guard in Rust: the `misbehave` fixture without a fault.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BUILT } from "../support/places.js";
import type { Plugin } from "../support/supervisor.js";

export function builtGuard(tool: string): Plugin {
  return {
    id: "misbehave",
    write(directory) {
      mkdirSync(directory, { recursive: true });
      const command = JSON.stringify([join(BUILT, "misbehave"), "--tool", tool]);
      const guard = `[[guard]]\nhook = "before_tool_call"\ntools = ["${tool}"]\n`;
      writeFileSync(join(directory, "plugin.toml"), `id = "misbehave"\nversion = "0.1.0"\ncommand = ${command}\nconnect = "absolute"\nscopes = ["hooks.tools", "state"]\n${guard}`);
    },
  };
}
