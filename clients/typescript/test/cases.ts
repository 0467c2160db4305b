/** The cases that all runtime clients share, and where things lie. */

import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { HookName } from "../src/catalogue.js";
import type { Contributions, Interest, Subject } from "../src/interest.js";

/** The directory of this package. */
export const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
/** The directory of the clients. */
export const CLIENTS = resolve(PACKAGE, "..");

/** Reads a file of cases. */
export function cases<T>(name: string): T {
  return JSON.parse(readFileSync(join(CLIENTS, "cases", name), "utf8")) as T;
}

/** What a case wants of a hook. */
export interface InterestCase {
  hook: HookName;
  tool_names?: string[];
  triggers?: Interest["triggers"] extends ReadonlySet<infer T> ? T[] : never;
  dispatch_kinds?: Interest["dispatchKinds"] extends ReadonlySet<infer T> ? T[] : never;
  wants_messages?: boolean;
  fail_closed?: boolean;
  guard_plugin_ids?: string[];
}

/** What a case calls a hook with. */
export interface SubjectCase {
  tool_name?: string;
  trigger?: Subject["trigger"];
  dispatch_kind?: Subject["dispatchKind"];
}

export function contributions(hooks: InterestCase[]): Contributions {
  const interests = hooks.map((told): [HookName, Interest] => [
    told.hook,
    {
      hook: told.hook,
      toolNames: new Set(told.tool_names),
      triggers: new Set(told.triggers),
      dispatchKinds: new Set(told.dispatch_kinds),
      wantsMessages: told.wants_messages ?? false,
      failClosed: told.fail_closed ?? false,
      guardPluginIds: told.guard_plugin_ids ?? [],
    },
  ]);
  const nothing = { eventStreams: new Set<string>(), allStreams: false, catalogueEpoch: 0n };
  return { epoch: 1n, hooks: new Map(interests), ...nothing, starting: false, prepareTurns: false };
}

export const subject = ({ tool_name, trigger, dispatch_kind }: SubjectCase): Subject => {
  return { toolName: tool_name, trigger, dispatchKind: dispatch_kind };
};
