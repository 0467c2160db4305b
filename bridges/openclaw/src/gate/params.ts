// Comparing parameters, and putting them in the place of others.
import { isDeepStrictEqual } from "node:util";
import type { Fields } from "../openclaw.js";

/** The same JSON: a member that is undefined is none. */
export function sameParams(a: Fields, b: Fields): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}

/** OpenClaw lays what a hook returns over the original; a member that was taken out has to be given as undefined. */
export function withRemoved(original: Fields, final: Fields): Fields {
  const removed = Object.keys(original).filter((key) => !(key in final));
  return { ...Object.fromEntries(removed.map((key) => [key, undefined])), ...final };
}
