// The commit that a measurement belongs to, asked before it begins: files may be edited while it runs.
import { execFileSync } from "node:child_process";
import { ROOT } from "./places.js";

export function commitNow(): string {
  const git = (...args: string[]) => execFileSync("git", ["-C", ROOT, ...args], { encoding: "utf8" }).trim();
  try {
    return `${git("rev-parse", "HEAD")}${git("status", "--porcelain") === "" ? "" : "-dirty"}`;
  } catch {
    return "unknown";
  }
}
