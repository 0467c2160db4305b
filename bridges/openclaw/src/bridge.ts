// What all registrations of the plugin in one process share: OpenClaw loads the plugin's module and calls `register`
// several times (to discover, to prepare, for the run), each time in a module instance of its own, and asks hooks of one
// registration while events go to another. So there is one connection a process, and it hangs on the global object.
import { type HookAnswer, type HookCall, type HookName, type JsonValue, Runtime, type ServedTool, type SessionRef } from "outrigger-runtime";
import { ensureSupervisor } from "./child.js";
import type { Config } from "./config.js";
import { Calls } from "./gate/calls.js";
import { SERVED } from "./hooks/served.js";
import type { Fields, Logger } from "./openclaw.js";
import { contextOf, eventOf, plain } from "./payload.js";
import { subjectOf } from "./subject.js";

/** The version stands in the key, so that a reloaded plugin of another version does not get the old one's connection. */
const SHARED = Symbol.for("outrigger.openclaw/0.1.0");
/** Calls that a registration's end waits for; beyond it the oldest are no longer waited for. */
const MOST_PENDING = 1_024;
/** How long another process with the same key keeps the place, at least, in ms. */
const RECLAIM_MS = 5_000;

/** What a hook call may say besides its event and context. */
export type CallExtras = Partial<Pick<HookCall, "toolName" | "toolCallId" | "signal" | "waitForObservers" | "targetPluginId">>;

export class Bridge {
  readonly runtime: Runtime;
  /** Shared too: the policy may be asked of one registration and the last hook of another. */
  readonly calls = new Calls();
  /** Tools that plugins serve, as last listed. */
  tools: ServedTool[] = [];
  #listed: bigint | undefined;
  readonly #pending = new Set<Promise<unknown>>();
  #first: Promise<unknown> | undefined;
  #listing: Promise<unknown> | undefined;
  #started = false;
  #lostAt = 0;
  #regained: Promise<unknown> | undefined;
  readonly #announced = new Set<string>();
  #stopChild: (() => void) | undefined;

  constructor(
    readonly config: Config,
    readonly logger: Logger,
    openclaw: string,
  ) {
    this.runtime = new Runtime({
      socketPath: config.socket,
      keyPath: config.keyFile,
      software: `openclaw ${openclaw}`.slice(0, 128),
      servedHooks: [...SERVED],
      failClosedHooks: config.failClosed as HookName[] | undefined,
      callTimeoutMs: config.callMs,
      onStateChange: (state) => {
        if (state === "away") this.#lostAt = performance.now();
      },
      onContributions: () => {
        this.#listing = this.#track(this.#listTools());
      },
      // OpenClaw ends the process by itself when a turn is over, but nothing of ours should hold it up either.
      unref: true,
      logger: prefixed(logger),
    });
  }

  /**
   * Opens the connection; neither throws nor waits. Not at registration but at the first use: many of OpenClaw's
   * commands load plugins only to look at them, and each connection of a key takes the place of the one before.
   */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    if (this.config.supervisor.start) this.#stopChild = ensureSupervisor(this.config, this.logger);
    this.runtime.start();
  }

  /**
   * Waits for the first contact, once and within its bound: a turn must not be decided in the first milliseconds.
   * `observed`: nothing depends on the answer, so nobody's place is taken for it.
   */
  ready(observed = false): Promise<unknown> {
    this.start();
    if (this.runtime.displaced && !observed) return this.#regain();
    // The tools too, as OpenClaw asks for them later in the turn and does not wait.
    this.#first ??= this.runtime.attached({ timeoutMs: this.config.attachMs }).then(() => this.#listing);
    return this.#first;
  }

  /**
   * Waits for the place that another process with the same key took, a turn of `agent --local` beside a gateway for
   * instance, and takes it back where that one keeps it: else everything guarded would be denied here meanwhile. Not at
   * once, as the two would then do nothing else; it costs the other one what it has in flight, so a key of its own is
   * better.
   */
  #regain(): Promise<unknown> {
    const { runtime, config } = this;
    const regain = async (): Promise<void> => {
      await runtime.attached({ timeoutMs: Math.max(0, this.#lostAt + RECLAIM_MS - performance.now()) });
      if (runtime.displaced) {
        this.logger.warn("outrigger: takes its place back from another process with the same key; give each a key of its own");
        runtime.start();
        await runtime.attached({ timeoutMs: config.attachMs });
      }
    };
    this.#regained ??= regain().finally(() => (this.#regained = undefined));
    return this.#regained;
  }

  /** Asks the plugins. Makes no call where none wants the hook; never rejects. */
  async call(hook: HookName, event: Fields, context: Fields, extras: CallExtras = {}): Promise<HookAnswer> {
    await this.ready();
    return this.#ask(hook, event, context, extras);
  }

  #ask(hook: HookName, event: Fields, context: Fields, extras: CallExtras): Promise<HookAnswer> {
    const { event: rest, messages } = eventOf(event);
    // The conversation is turned into JSON only where somebody wants it.
    const conversation = messages && (() => plain(messages) as JsonValue[]);
    return this.runtime.callHook({ hook, event: rest, context: contextOf(context), messages: conversation, ...subjectOf(event, context), ...extras });
  }

  /** Names a session to the supervisor, once at each of its starts; hooks do so themselves, but only where one is asked. */
  async announce(session: SessionRef): Promise<void> {
    const known = `${this.runtime.supervisor?.instance}\n${session.key}\n${session.id}`;
    if (this.#announced.has(known)) return;
    await this.runtime.upsertSession(session);
    this.#announced.add(known);
    if (this.#announced.size > MOST_PENDING) this.#announced.delete(this.#announced.values().next().value as string);
  }

  /** Tells observers and does not wait; the end of the registration does. */
  tell(hook: HookName, event: Fields, context: Fields, extras: CallExtras = {}): Promise<unknown> {
    return this.#track(this.ready(true).then(() => this.#ask(hook, event, context, extras)));
  }

  /** Work that the end of a registration waits for. */
  later(work: Promise<unknown>): Promise<unknown> {
    return this.#track(work);
  }

  /** Waits, within its bound, until what was told has arrived. */
  async settle(report = false): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise((done) => (timer = setTimeout(done, this.config.closeMs)));
    await Promise.race([Promise.allSettled([...this.#pending]).then(() => this.runtime.flush(this.config.closeMs)), enough]);
    clearTimeout(timer);
    if (report) this.#report();
  }

  async close(): Promise<void> {
    await this.settle();
    this.#report();
    await this.runtime.close({ timeoutMs: this.config.closeMs });
    this.#stopChild?.();
  }

  /** What was asked, for the log: a hook that nobody wants costs no call. */
  #report(): void {
    const { calls, skipped, deniedAway, failed, published, eventsSkipped, eventsDropped } = this.runtime.stats;
    this.logger.debug?.(
      `outrigger: ${calls} hook calls, ${skipped} not wanted, ${deniedAway} denied while away, ${failed} failed; ` +
        `${published} events published, ${eventsSkipped} not wanted, ${eventsDropped} dropped`,
    );
  }

  #track(work: Promise<unknown>): Promise<unknown> {
    const settled = work.catch((error) => this.logger.warn(`outrigger: ${String(error)}`));
    this.#pending.add(settled);
    if (this.#pending.size > MOST_PENDING) this.#pending.delete(this.#pending.values().next().value as Promise<unknown>);
    void settled.finally(() => this.#pending.delete(settled));
    return settled;
  }

  async #listTools(): Promise<void> {
    const epoch = this.runtime.contributions?.catalogueEpoch;
    if (epoch === this.#listed) return;
    this.#listed = epoch;
    this.tools = await this.runtime.listTools();
  }
}

interface Shared {
  bridge: Bridge;
  settings: string;
  holders: number;
}

/** OpenClaw's log with our name before each line. */
function prefixed(logger: Logger): Logger {
  const say = (level: keyof Logger) => (message: string) => logger[level]?.(`outrigger: ${message}`);
  return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}

/** The process's bridge, made by the first registration that asks; each one must be let go of once. */
export function acquire(config: Config, logger: Logger, openclaw: string): { bridge: Bridge; release(): Promise<void> } {
  const holder = globalThis as { [SHARED]?: Shared };
  const settings = JSON.stringify(config);
  // Other settings after a reload: the registrations that still have the old one keep it until they end.
  if (holder[SHARED]?.settings !== settings) {
    const made = new Bridge(config, logger, openclaw);
    holder[SHARED] = { bridge: made, settings, holders: 0 };
  }
  const shared = holder[SHARED] as Shared;
  shared.holders += 1;
  let held = true;
  return {
    bridge: shared.bridge,
    async release() {
      if (!held) return;
      held = false;
      shared.holders -= 1;
      if (shared.holders > 0) return shared.bridge.settle(true);
      if (holder[SHARED] === shared) delete holder[SHARED];
      await shared.bridge.close();
    },
  };
}
