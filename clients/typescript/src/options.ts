/** Options of a runtime, their defaults and bounds. */

import { randomBytes } from "node:crypto";

import type { Backoff } from "./backoff.js";
import { FAIL_CLOSED_HOOKS, type HookName, hookNumber } from "./catalogue.js";
import type { Directive, DirectiveResult } from "./directives.js";
import type { EventBufferBounds } from "./event_buffer.js";
import type { Directive as WireDirective } from "./gen/outrigger/runtime/v1/directive_pb.js";
import type { Contributions } from "./interest.js";

/** A session, as the runtime names it. */
export interface SessionRef {
  /** Canonical key, for example `agent:main:main`. */
  key: string;
  /** Its incarnation, changed by a reset. */
  id?: string;
  agentId?: string;
}

/** A run that goes on. */
export interface LiveRun {
  runId: string;
  session?: SessionRef;
}

/** An agent the runtime runs. */
export interface Agent {
  agentId: string;
  /** Absolute path. */
  workspacePath?: string;
  isDefault?: boolean;
}

/** Where the supervisor is, seen from here. */
export type RuntimeState = "connecting" | "attached" | "away" | "closed";

/** News without an answer: what plugins do, what was taken back. As on the wire. */
export type News = WireDirective["kind"];

/** Where the client tells what an operator may want to know. */
export interface Logger {
  debug?(message: string): void;
  info?(message: string): void;
  warn?(message: string): void;
  error?(message: string): void;
}

/** Options; all may be left out. */
export interface RuntimeOptions {
  /** Socket of the supervisor. Default: `runtime.sock` where the `outrigger` command looks. */
  socketPath?: string;
  /** File with the runtime's key, read at every attempt. Default: `keys/default.key` in the state directory. */
  keyPath?: string;
  /** Product and version, for the operator. */
  software?: string;
  /** The runtime's start: another number after each, never 0. Default: random for each `Runtime`. */
  incarnation?: bigint;
  /** Hooks this runtime calls. Default: not told, all may be called. */
  servedHooks?: readonly HookName[];
  /** Names of tools of its own, which no plugin may serve. */
  reservedToolNames?: readonly string[];
  /** Agents it runs. */
  agents?: readonly Agent[];
  /** Runs that go on, asked at every attach. Default: those that calls and events named and that have not ended. */
  liveRuns?: () => readonly LiveRun[];
  /** Wait until no other start of this runtime is attached, and do not take its place. Default false. */
  onlyIfFree?: boolean;
  /** Hooks that are denied as long as nobody has said what plugins guard. Default: those of the catalogue. */
  failClosedHooks?: readonly HookName[];
  /** Longest wait for a hook whose call names no timeout, in ms; raised to what the handlers may take. Default 30,000. */
  callTimeoutMs?: number;
  /** Hook calls in flight at once; the supervisor takes 1,024. Default 1,024. */
  maxCallsInFlight?: number;
  /** Bytes of hook calls in flight at once. Default 64 MiB. */
  maxBytesInFlight?: number;
  /** Bounds of events that wait or are not confirmed. Default 4,096 and 8 MiB. */
  eventBuffer?: Partial<EventBufferBounds>;
  /** Waits between attempts to attach, in ms. Default 100 to 5,000. */
  backoff?: Partial<Backoff>;
  /** Outcomes of directives that are remembered. Default 4,096. */
  rememberedDirectives?: number;
  /** Neither timer nor socket keeps the process alive while nothing is asked. Default false. */
  unref?: boolean;
  /** Carries out what the supervisor asks. Default: `unsupported`. May be called again for the same only after `busy` or `failed_transient`. */
  onDirective?: (directive: Directive) => Promise<DirectiveResult> | DirectiveResult;
  /** The state changed. */
  onStateChange?: (state: RuntimeState) => void;
  /** What plugins want changed. */
  onContributions?: (contributions: Contributions) => void;
  /** News came. */
  onNotice?: (news: News) => void;
  /** Where to tell what happens. Default: nowhere. */
  logger?: Logger;
}

/** Options with every default filled in. */
export interface Settings {
  socketPath: string | undefined;
  keyPath: string | undefined;
  software: string;
  incarnation: bigint;
  servedHooks: readonly HookName[];
  reservedToolNames: readonly string[];
  agents: readonly Agent[];
  liveRuns: (() => readonly LiveRun[]) | undefined;
  onlyIfFree: boolean;
  failClosedHooks: ReadonlySet<HookName>;
  callTimeoutMs: number;
  maxCallsInFlight: number;
  maxBytesInFlight: number;
  eventBuffer: EventBufferBounds;
  backoff: Backoff;
  rememberedDirectives: number;
  unref: boolean;
}

/** Fills in the defaults. Throws a `RangeError` or `TypeError` that names the option. */
export function settle(options: RuntimeOptions): Settings {
  const backoff = { minMs: 100, maxMs: 5_000, ...defined(options.backoff) };
  positive("backoff.minMs", backoff.minMs);
  if (!(backoff.maxMs >= backoff.minMs)) throw new RangeError("backoff.maxMs wants at least backoff.minMs");
  const eventBuffer = { events: 4096, bytes: 8 * 1024 * 1024, ...defined(options.eventBuffer) };
  positive("eventBuffer.events", eventBuffer.events);
  positive("eventBuffer.bytes", eventBuffer.bytes);
  const incarnation = options.incarnation ?? randomBytes(8).readBigUInt64BE() | 1n;
  if (incarnation <= 0n || incarnation >= 1n << 64n)
    throw new RangeError("incarnation wants a number from 1 to 2^64-1");
  for (const list of [options.servedHooks, options.failClosedHooks]) {
    for (const hook of list ?? []) if (hookNumber(hook) === undefined) throw new TypeError(`\`${hook}\` is no hook`);
  }
  return {
    socketPath: options.socketPath,
    keyPath: options.keyPath,
    software: (options.software ?? "").slice(0, 128),
    incarnation,
    servedHooks: options.servedHooks ?? [],
    reservedToolNames: options.reservedToolNames ?? [],
    agents: options.agents ?? [],
    liveRuns: options.liveRuns,
    onlyIfFree: options.onlyIfFree ?? false,
    failClosedHooks: new Set(options.failClosedHooks ?? FAIL_CLOSED_HOOKS),
    callTimeoutMs: positive("callTimeoutMs", options.callTimeoutMs ?? 30_000),
    maxCallsInFlight: positive("maxCallsInFlight", options.maxCallsInFlight ?? 1024),
    maxBytesInFlight: positive("maxBytesInFlight", options.maxBytesInFlight ?? 64 * 1024 * 1024),
    eventBuffer,
    backoff,
    rememberedDirectives: positive("rememberedDirectives", options.rememberedDirectives ?? 4096),
    unref: options.unref ?? false,
  };
}

function positive(name: string, value: number): number {
  if (!(value > 0)) throw new RangeError(`${name} wants more than zero`);
  return value;
}

function defined<T extends object>(given: T | undefined): Partial<T> {
  const entries = Object.entries(given ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Partial<T>;
}
