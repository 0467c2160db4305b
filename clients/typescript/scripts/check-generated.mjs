// Compares src/gen with what `npm run generate` would make now.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const names = (directory) =>
  readdirSync(directory, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".ts"))
    .sort();

const fresh = mkdtempSync(".fresh-");
try {
  execFileSync("npx", ["--no-install", "buf", "generate", "--output", fresh], { stdio: "inherit" });
  const made = join(fresh, "src/gen");
  const same = names(made).join() === names("src/gen").join();
  const differs = (name) => !readFileSync(join(made, name)).equals(readFileSync(join("src/gen", name)));
  if (!same || names(made).some(differs)) {
    console.error("src/gen is not fresh: run `npm run generate`");
    process.exitCode = 1;
  } else {
    console.log("src/gen is fresh");
  }
} finally {
  rmSync(fresh, { recursive: true });
}
