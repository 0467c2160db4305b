/** What plugins want of the runtime now, and whether a call is wanted. */

import { type HookName, hookName, TOOL_HOOKS } from "./catalogue.js";
import { toMs } from "./errors.js";
import type { Contributions as WireContributions } from "./gen/outrigger/runtime/v1/directive_pb.js";
import { DispatchKind as WireDispatchKind, Trigger as WireTrigger } from "./gen/outrigger/types/v1/hook_pb.js";

/** What started a turn or message. */
export type Trigger = "user" | "heartbeat" | "cron";
/** Who handles a dispatched reply. */
export type DispatchKind = "agent" | "acp";

/** What plugins want of one hook, over all plugins. An empty set: of all. */
export interface Interest {
  readonly hook: HookName;
  readonly toolNames: ReadonlySet<string>;
  readonly triggers: ReadonlySet<Trigger>;
  readonly dispatchKinds: ReadonlySet<DispatchKind>;
  /** Some handler wants the conversation; without it, it need not be collected. */
  readonly wantsMessages: boolean;
  /** A guard: the call must be made and must succeed, or the runtime blocks. */
  readonly failClosed: boolean;
  /** Longest time the call takes, all handlers together, in ms. Absent: no bound is known. */
  readonly maxDurationMs?: number;
  /** Plugins that guard it, for some tool at least, in the order of asking; 64 at most are told. */
  readonly guardPluginIds: readonly string[];
}

/** What a call is about, as far as it decides whether somebody wants it. */
export interface Subject {
  toolName?: string;
  trigger?: Trigger;
  dispatchKind?: DispatchKind;
}

/** Everything plugins want. */
export interface Contributions {
  /** Rises with every change. */
  readonly epoch: bigint;
  readonly hooks: ReadonlyMap<HookName, Interest>;
  /** Streams of agent events that somebody wants. */
  readonly eventStreams: ReadonlySet<string>;
  /** Somebody wants every stream. */
  readonly allStreams: boolean;
  /** Rises whenever the answer of a List call changes; see `listTools`. */
  readonly catalogueEpoch: bigint;
  /** Some plugin has not been ready yet since the supervisor's start: more may be wanted soon. */
  readonly starting: boolean;
  /** Preparing a turn can come to something. */
  readonly prepareTurns: boolean;
}

const TRIGGERS = new Map<number, Trigger>([
  [WireTrigger.USER, "user"],
  [WireTrigger.HEARTBEAT, "heartbeat"],
  [WireTrigger.CRON, "cron"],
]);
const DISPATCH_KINDS = new Map<number, DispatchKind>([
  [WireDispatchKind.AGENT, "agent"],
  [WireDispatchKind.ACP, "acp"],
]);

/** The number of a trigger on the wire. */
export const triggerNumber = (trigger: Trigger | undefined): WireTrigger => number(TRIGGERS, trigger);
/** The number of a kind of dispatch on the wire. */
export const dispatchKindNumber = (kind: DispatchKind | undefined): WireDispatchKind => number(DISPATCH_KINDS, kind);

/** A tool's name as hooks match on it. */
export const canonicalTool = (name: string): string => name.trim().toLowerCase();

/**
 * What is wanted of a hook for this subject; `undefined`: nothing, make no call. A tool hook whose tool is not told
 * matches what is wanted of any tool. What starts or dispatches and is not told matches only who wants all.
 */
export function match(hooks: ReadonlyMap<HookName, Interest>, hook: HookName, subject: Subject): Interest | undefined {
  const interest = hooks.get(hook);
  if (interest === undefined) return undefined;
  const { toolNames, triggers, dispatchKinds } = interest;
  if (TOOL_HOOKS.has(hook) && subject.toolName !== undefined && toolNames.size > 0) {
    if (!toolNames.has(canonicalTool(subject.toolName))) return undefined;
  }
  if (triggers.size > 0 && !(subject.trigger !== undefined && triggers.has(subject.trigger))) return undefined;
  if (dispatchKinds.size > 0 && !(subject.dispatchKind !== undefined && dispatchKinds.has(subject.dispatchKind))) {
    return undefined;
  }
  return interest;
}

/** What the supervisor told. Hooks this client does not know are left out: it calls none of them. */
export function readContributions(wire: WireContributions): Contributions {
  const hooks = new Map<HookName, Interest>();
  for (const told of wire.hooks) {
    const hook = hookName(told.hook);
    if (hook === undefined) continue;
    hooks.set(hook, {
      hook,
      toolNames: new Set(told.toolNames),
      triggers: known(told.triggers, TRIGGERS),
      dispatchKinds: known(told.dispatchKinds, DISPATCH_KINDS),
      wantsMessages: told.wantsMessages,
      failClosed: told.failClosed,
      maxDurationMs: toMs(told.maxDuration),
      guardPluginIds: told.guardPluginIds,
    });
  }
  return {
    epoch: wire.contributionEpoch,
    hooks,
    eventStreams: new Set(wire.eventStreams),
    allStreams: wire.allStreams,
    catalogueEpoch: wire.catalogueEpoch,
    starting: wire.starting,
    prepareTurns: wire.prepareTurns,
  };
}

/** A filter of nothing but values that are not known here must not become none at all. */
function known<T>(numbers: readonly number[], names: ReadonlyMap<number, T>): ReadonlySet<T> {
  return new Set(numbers.map((told) => names.get(told) ?? (`unknown ${told}` as T)));
}

function number<T>(names: ReadonlyMap<number, T>, name: T | undefined): number {
  if (name !== undefined) for (const [number, known] of names) if (known === name) return number;
  return 0;
}
