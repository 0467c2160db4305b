/** The digest that binds a decision to what runs. */

import { createHash } from "node:crypto";

import { canonicalJson } from "./json.js";

/** SHA-256 of the canonical form (RFC 8785) of a value, 32 bytes. Throws where JSON has no form for it. */
export function digest(value: unknown): Uint8Array {
  return createHash("sha256").update(canonicalJson(value), "utf8").digest();
}
