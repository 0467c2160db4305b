/** JSON as it travels: UTF-8 text in bytes, empty where there is nothing. */

/** A JSON value. Integers beyond ±2^53 may be given as `bigint`; they are never read as such. */
export type JsonValue = null | boolean | number | bigint | string | JsonValue[] | { [key: string]: JsonValue };

/** A JSON object. */
export type JsonObject = { [key: string]: JsonValue };

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Nothing: how absence travels. */
export const ABSENT: Uint8Array = new Uint8Array(0);

/** The bytes of a value, as `JSON.stringify` has it; none for `undefined`. Takes `bigint`. Throws at cycles. */
export function encodeJson(value: unknown): Uint8Array {
  if (value === undefined) return ABSENT;
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // A bigint, or a cycle, which the slow way tells apart.
    text = write(value, new Set(), (keys) => keys);
  }
  return text === undefined ? ABSENT : encoder.encode(text);
}

/** The value of bytes; `undefined` for none. Throws where they are no JSON. */
export function decodeJson(bytes: Uint8Array): JsonValue | undefined {
  return bytes.length === 0 ? undefined : (JSON.parse(decoder.decode(bytes)) as JsonValue);
}

/** The object in bytes; `undefined` for none or another kind of value. */
export function decodeObject(bytes: Uint8Array): JsonObject | undefined {
  const value = decodeJson(bytes);
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
}

/** The canonical text of a value (RFC 8785): keys in UTF-16 order, numbers as ECMAScript writes them, no space. */
export function canonicalJson(value: unknown): string {
  return write(value, new Set(), (keys) => keys.sort());
}

/** Writes JSON as `JSON.stringify` does, but refuses what that would change (`NaN`, functions), and takes `bigint`. */
function write(value: unknown, within: Set<object>, order: (keys: string[]) => string[]): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return value.toString();
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(`${value} is no number of JSON`);
      return Object.is(value, -0) ? "0" : String(value);
    case "object":
      break;
    default:
      throw new TypeError(`a ${typeof value} is no value of JSON`);
  }
  if (value === null) return "null";
  if (within.has(value)) throw new TypeError("the value contains itself");
  within.add(value);
  let text: string;
  if (Array.isArray(value)) {
    text = `[${value.map((item) => (item === undefined ? "null" : write(item, within, order))).join(",")}]`;
  } else if ("toJSON" in value && typeof value.toJSON === "function") {
    text = write(value.toJSON(), within, order);
  } else {
    const object = value as Record<string, unknown>;
    const members: string[] = [];
    for (const key of order(Object.keys(object))) {
      if (object[key] === undefined) continue;
      members.push(`${JSON.stringify(key)}:${write(object[key], within, order)}`);
    }
    text = `{${members.join(",")}}`;
  }
  within.delete(value);
  return text;
}
