/** An agent runtime's side of Outrigger. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

import { Attachment, toSession } from "./attachment.js";
import type { HookName } from "./catalogue.js";
import { digest } from "./digest.js";
import { type DirectiveResult, Directives } from "./directives.js";
import { away, fromStatus, type RuntimeError } from "./errors.js";
import type { Welcome, Directive as WireDirective } from "./gen/outrigger/runtime/v1/directive_pb.js";
import {
  DeleteSessionRequestSchema,
  EndRunRequestSchema,
  FinalizeTurnRequestSchema,
  PrepareTurnRequestSchema,
  RedeemDecisionRequestSchema,
  ResetSessionRequestSchema,
  ResolveApprovalRequestSchema,
  RunEnd,
  RuntimeService,
  UpsertSessionRequestSchema,
} from "./gen/outrigger/runtime/v1/runtime_pb.js";
import type { ReclaimReport } from "./gen/outrigger/types/v1/plugin_pb.js";
import {
  type CallCounts,
  type Decision,
  type HookAnswer,
  type HookCall,
  HookCalls,
  type PendingApproval,
  readDecision,
} from "./hook_calls.js";
import { type Contributions, type Interest, type Subject, type Trigger, triggerNumber } from "./interest.js";
import { encodeJson, type JsonObject, type JsonValue } from "./json.js";
import type { Link } from "./link.js";
import {
  type LiveRun,
  type Logger,
  type RuntimeOptions,
  type RuntimeState,
  type SessionRef,
  type Settings,
  settle,
} from "./options.js";
import { type AgentEvent, type EventCounts, Publisher } from "./publisher.js";
import {
  type ApprovalOutcome,
  type FinalizeDecision,
  outcomeNumber,
  readFinalize,
  readOutcome,
  text,
} from "./results.js";
import { Changes } from "./timers.js";
import { invokeTool, listTools, type ServedTool, type ToolCall, type ToolEvent } from "./tools.js";

/** Longest time of a call without handlers behind it, in ms. */
const CALL_MS = 30_000;
/** How long `endRun` waits until the run's events are with the supervisor, in ms. */
const EVENTS_FIRST_MS = 5_000;
/** Runs that are remembered; the oldest gives way. */
const MOST_REMEMBERED = 4096;

/** A turn about to be prepared. */
export interface Turn {
  session: SessionRef;
  run: string;
  trigger?: Trigger;
  /** Event of `agent_turn_prepare`, without the conversation. */
  event?: JsonObject;
  context?: JsonObject;
  /** Sent only if some handler wants it. */
  messages?: JsonValue[] | (() => JsonValue[]);
  heartbeatName?: string;
  /** Turn or wake this turn carries out. */
  directiveId?: string;
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** What goes around a turn's prompt. */
export interface PreparedTurn {
  prependContext?: string;
  appendContext?: string;
  /** Names what is leased. */
  leaseId?: string;
  injections: { id: string; pluginId: string; text: string; prepend: boolean; deliveryAttempt: number }[];
  /** To be put into the prompt by the runtime. */
  systemEvents: { id: string; text: string; contextKey?: string }[];
  supersededLeases: number;
  epoch: bigint;
  called: boolean;
  /** Why there is nothing: the turn goes on without. */
  failure?: RuntimeError;
}

/** An answer about to go out. */
export interface FinalAnswer {
  session: SessionRef;
  run: string;
  /** Which answer of the run this is, from 1. */
  attempt: number;
  /** A repetition would have effects again: no retry is granted. */
  sideEffectsCommitted?: boolean;
  event?: JsonObject;
  context?: JsonObject;
  messages?: JsonValue[] | (() => JsonValue[]);
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Whether it may. */
export interface Finalized extends FinalizeDecision {
  /** Plugin whose retry was taken or that finalised. */
  pluginId?: string;
  budgetUsed: number;
  /** A retry was asked for and not granted. */
  retryWithheld: boolean;
  epoch: bigint;
  called: boolean;
  /** Why nobody was asked: the answer goes out. */
  failure?: RuntimeError;
}

/** Counts since the start, and sizes now. */
export interface Stats extends CallCounts, EventCounts {
  inFlight: number;
  /** Attached how often. */
  attaches: number;
  /** Streams of directives that ended or could not be opened. */
  reconnects: number;
  directives: number;
  directivesRepeated: number;
}

/** A client of the supervisor. Its methods may be called in any state; none blocks. */
export class Runtime {
  readonly #settings: Settings;
  readonly #options: RuntimeOptions;
  readonly #logger: Logger;
  readonly #attachment: Attachment;
  readonly #calls: HookCalls;
  readonly #publisher: Publisher;
  readonly #directives: Directives;
  readonly #changes = new Changes();
  /** Runs that calls and events named, the least recently named first. */
  readonly #runs = new Map<string, SessionRef | undefined>();
  /** Runs that ended here: what is still told of one does not begin it again. */
  readonly #ended = new Map<string, true>();
  /** The end of a run could not be told: which runs go on is then to be told at the next attach. */
  #endUntold = false;
  #state: RuntimeState = "connecting";
  #link: Link | undefined;
  #welcome: Welcome | undefined;
  #lastError: RuntimeError | undefined;
  #attaches = 0;
  #reconnects = 0;

  /** Nothing is done before `start`. Throws where an option is out of its range. */
  constructor(options: RuntimeOptions = {}) {
    this.#options = options;
    this.#settings = settle(options);
    this.#logger = options.logger ?? {};
    const { backoff, unref, eventBuffer, rememberedDirectives } = this.#settings;
    const problem = (message: string): void => this.#logger.warn?.(message);
    this.#calls = new HookCalls(this.#settings, problem);
    this.#publisher = new Publisher(eventBuffer, backoff, unref, problem);
    const handle = options.onDirective ?? ((): DirectiveResult => ({ outcome: "unsupported" }));
    this.#directives = new Directives(handle, rememberedDirectives, backoff, unref, problem);
    this.#attachment = new Attachment(this.#settings, {
      liveRuns: () => this.#liveRuns(),
      allRunsLive: () => this.#settings.liveRuns === undefined && this.#attaches > 0 && !this.#endUntold,
      attached: (link, welcome, contributions) => this.#attached(link, welcome, contributions),
      contributions: (contributions) => this.#learn(contributions),
      directive: (directive) => this.#directive(directive),
      lost: (error) => this.#lost(error),
    });
  }

  /** Begins to attach, and keeps attached. Never throws. May be called again: then it takes the place back, where `displaced`. */
  start(): void {
    if (this.#state !== "closed") this.#attachment.start();
  }

  /** Waits until it is attached; false where that takes longer, or it is closed. Default 10 s. */
  async attached({ timeoutMs = 10_000, signal }: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<boolean> {
    await this.#changes.until(() => this.#state === "attached" || this.#state === "closed", timeoutMs, signal);
    return this.#state === "attached";
  }

  /** `connecting`: never attached; `away`: was, and is not now. */
  get state(): RuntimeState {
    return this.#state;
  }

  /** Another start of this runtime, with the same key, took the place; this one waits until it is free. */
  get displaced(): boolean {
    return this.#attachment.displaced;
  }

  /** Why it is not attached. */
  get lastError(): RuntimeError | undefined {
    return this.#state === "attached" ? undefined : this.#lastError;
  }

  /** What plugins wanted last; `undefined`: never heard. */
  get contributions(): Contributions | undefined {
    return this.#calls.contributions;
  }

  /** What the supervisor said of itself at the last attach. */
  get supervisor(): { version: string; instance: string; runtimeId: string } | undefined {
    const { supervisorVersion: version, supervisorInstance: instance, runtimeId } = this.#welcome ?? {};
    return version === undefined ? undefined : { version, instance: instance ?? "", runtimeId: runtimeId ?? "" };
  }

  /** The fast stream of hooks is open; else calls are made one by one. */
  get fast(): boolean {
    return this.#calls.fast;
  }

  get stats(): Stats {
    return {
      ...this.#calls.counts,
      ...this.#publisher.counts,
      ...this.#directives.counts,
      inFlight: this.#calls.inFlight,
      attaches: this.#attaches,
      reconnects: this.#reconnects,
    };
  }

  /** What is wanted of a hook, by what was heard last; `undefined`: nothing, and `callHook` would make no call. */
  wants(hook: HookName, subject: Subject = {}): Interest | undefined {
    return this.#calls.wants(hook, subject);
  }

  /** Some handler of the hook wants the conversation. */
  wantsConversation(hook: HookName, subject: Subject = {}): boolean {
    return this.wants(hook, subject)?.wantsMessages ?? false;
  }

  /** Some plugin, or an operator who watches, wants events of the stream. */
  wantsStream(stream: string): boolean {
    return this.#publisher.wants(stream);
  }

  /** Calls a hook. Never rejects. With no subscriber it answers at once, and makes no call. */
  async callHook(call: HookCall): Promise<HookAnswer> {
    if (call.run !== undefined) this.#noteRun(call.run, call.session);
    return this.#calls.call(call);
  }

  /**
   * Uses up the decision of a tool call, just before the tool runs with `params`. Never rejects; anything but `ok` is a
   * no. Not to be repeated.
   */
  async redeem(decision: Decision, params: JsonObject): Promise<{ ok: boolean; reason?: string }> {
    let paramsSha256: Uint8Array;
    try {
      paramsSha256 = digest(params);
    } catch (error) {
      return { ok: false, reason: `outrigger: the parameters are no JSON: ${(error as Error).message}` };
    }
    if (Buffer.compare(paramsSha256, decision.paramsSha256) !== 0) {
      return { ok: false, reason: "outrigger: the parameters are not those the decision was given for" };
    }
    const { id: decisionId, toolCallId } = decision;
    const error = await this.#calls.redeem(
      create(RedeemDecisionRequestSchema, { decisionId, toolCallId, paramsSha256 }),
    );
    return error ? { ok: false, reason: `outrigger: the decision cannot be used: ${error.message}` } : { ok: true };
  }

  /** Tells how an approval ended. Never rejects; the verdict is `go_on` only where it counts as allowed. Safe to repeat. */
  async resolveApproval(
    approval: PendingApproval | string,
    outcome: ApprovalOutcome,
    { resolvedBy = "", timeoutMs = CALL_MS }: { resolvedBy?: string; timeoutMs?: number } = {},
  ): Promise<{ verdict: "go_on" | "stop"; outcome?: ApprovalOutcome; decision?: Decision; reason?: string }> {
    const approvalId = typeof approval === "string" ? approval : approval.id;
    try {
      const request = create(ResolveApprovalRequestSchema, { approvalId, outcome: outcomeNumber(outcome), resolvedBy });
      const answer = await this.#live().unary(RuntimeService.method.resolveApproval, request, { timeoutMs });
      const stands = readOutcome(answer.outcome);
      const allowed = stands === "allowed_once" || stands === "allowed_always";
      const decision = readDecision(answer.decision, answer.toolCallId);
      const reason = text(answer.message) ?? (allowed ? undefined : `outrigger: the approval ended as ${stands}`);
      return { verdict: allowed ? "go_on" : "stop", outcome: stands, decision, reason };
    } catch (error) {
      return { verdict: "stop", reason: `outrigger: ${fromStatus(error).message}` };
    }
  }

  /** Publishes an event, if its stream is wanted or the run ends with it; false where it is lost. */
  publish(event: AgentEvent): boolean {
    if (this.#state === "closed") return false;
    const { runId, sessionKey, sessionId, agentId, terminal } = event;
    if (terminal) this.#runEnded(runId);
    else this.#noteRun(runId, sessionKey === undefined ? undefined : { key: sessionKey, id: sessionId, agentId });
    const taken = this.#publisher.publish(event);
    if (terminal && !taken) this.#endUntold = true;
    return taken;
  }

  /** Waits until all published events are with the supervisor; false where that takes longer. */
  flush(timeoutMs = 5_000): Promise<boolean> {
    return this.#publisher.flush(timeoutMs);
  }

  /** Announces a session, or its new id, agent, revision or key. Rejects with a `RuntimeError`. */
  async upsertSession(
    session: SessionRef,
    { revision = 0n, previousKey = "" }: { revision?: bigint; previousKey?: string } = {},
  ): Promise<{ created: boolean }> {
    const request = create(UpsertSessionRequestSchema, { session: toSession(session), revision, previousKey });
    const { created } = await this.#live().unary(RuntimeService.method.upsertSession, request, { timeoutMs: CALL_MS });
    return { created };
  }

  /** Takes back what plugins own in a session that is reset. Rejects with a `RuntimeError`. */
  async resetSession(
    session: SessionRef,
    { nextSessionId = "", pluginId = "" }: { nextSessionId?: string; pluginId?: string } = {},
  ): Promise<ReclaimReport[]> {
    const request = create(ResetSessionRequestSchema, { session: toSession(session), nextSessionId, pluginId });
    return (await this.#live().unary(RuntimeService.method.resetSession, request, { timeoutMs: CALL_MS })).reports;
  }

  /** Takes back what plugins own in a session that is deleted. Rejects with a `RuntimeError`. */
  async deleteSession(session: SessionRef): Promise<ReclaimReport[]> {
    const request = create(DeleteSessionRequestSchema, { session: toSession(session) });
    return (await this.#live().unary(RuntimeService.method.deleteSession, request, { timeoutMs: CALL_MS })).reports;
  }

  /**
   * Prepares a turn: once for each prompt build. Never rejects; where it fails the turn goes on without. With nothing to
   * come of it, no call is made.
   */
  async prepareTurn(turn: Turn): Promise<PreparedTurn> {
    this.#noteRun(turn.run, turn.session);
    const { trigger, timeoutMs } = turn;
    if (this.contributions?.prepareTurns === false) await this.#calls.settled();
    if (this.#link !== undefined && this.contributions?.prepareTurns === false) {
      this.#calls.counts.skipped += 1;
      return this.#unprepared(false);
    }
    const interests = [this.wants("agent_turn_prepare", { trigger })];
    if (trigger === "heartbeat") interests.push(this.wants("heartbeat_prompt_contribution", { trigger }));
    try {
      const request = create(PrepareTurnRequestSchema, {
        session: toSession(turn.session),
        run: { id: turn.run },
        trigger: triggerNumber(trigger),
        eventJson: encodeJson(turn.event ?? {}),
        contextJson: encodeJson(turn.context),
        messagesJson: messages(turn.messages, interests),
        heartbeatName: turn.heartbeatName ?? "",
        directiveId: turn.directiveId ?? "",
        timeout: timeoutMs === undefined ? undefined : durationFromMs(Math.max(1, timeoutMs)),
      });
      const longest = interests.reduce((sum, interest) => sum + (interest?.maxDurationMs ?? 0), 0);
      const limit = { timeoutMs: this.#calls.limitMs(timeoutMs, longest), signal: turn.signal };
      const answer = await this.#live().unary(RuntimeService.method.prepareTurn, request, limit);
      this.#calls.answeredUnder(answer.contributionEpoch);
      return {
        prependContext: text(answer.prependContext),
        appendContext: text(answer.appendContext),
        leaseId: text(answer.leaseId),
        injections: answer.injections.map((injection) => ({
          id: injection.injectionId,
          pluginId: injection.pluginId,
          text: injection.text,
          prepend: injection.prepend,
          deliveryAttempt: injection.deliveryAttempt,
        })),
        systemEvents: answer.systemEvents.map((event) => {
          return { id: event.eventId, text: event.text, contextKey: text(event.contextKey) };
        }),
        supersededLeases: answer.supersededLeases,
        epoch: answer.contributionEpoch,
        called: true,
      };
    } catch (error) {
      const failure = this.#failure("prepareTurn", error);
      return this.#unprepared(failure.reason !== "SUPERVISOR_AWAY", failure);
    }
  }

  #unprepared(called: boolean, failure?: RuntimeError): PreparedTurn {
    const epoch = this.contributions?.epoch ?? 0n;
    return { injections: [], systemEvents: [], supersededLeases: 0, epoch, called, failure };
  }

  /** Asks whether an answer may go out. Never rejects; where it fails, or nobody wants the hook, the answer goes out. */
  async finalizeTurn(answer: FinalAnswer): Promise<Finalized> {
    this.#noteRun(answer.run, answer.session);
    const unasked: Finalized = {
      action: "continue",
      retries: [],
      budgetUsed: 0,
      retryWithheld: false,
      epoch: this.contributions?.epoch ?? 0n,
      called: false,
    };
    if (this.wants("before_agent_finalize") === undefined) await this.#calls.settled();
    const interest = this.wants("before_agent_finalize");
    if (interest === undefined) return unasked;
    try {
      const request = create(FinalizeTurnRequestSchema, {
        session: toSession(answer.session),
        run: { id: answer.run },
        attempt: answer.attempt,
        sideEffectsCommitted: answer.sideEffectsCommitted ?? false,
        eventJson: encodeJson(answer.event ?? {}),
        contextJson: encodeJson(answer.context),
        messagesJson: messages(answer.messages, [interest]),
        timeout: answer.timeoutMs === undefined ? undefined : durationFromMs(Math.max(1, answer.timeoutMs)),
      });
      const limit = { timeoutMs: this.#calls.limitMs(answer.timeoutMs, interest.maxDurationMs), signal: answer.signal };
      const told = await this.#live().unary(RuntimeService.method.finalizeTurn, request, limit);
      this.#calls.answeredUnder(told.contributionEpoch);
      const { pluginId, budgetUsed, retryWithheld, contributionEpoch: epoch } = told;
      return {
        ...readFinalize(told.decision),
        pluginId: text(pluginId),
        budgetUsed,
        retryWithheld,
        epoch,
        called: true,
      };
    } catch (error) {
      const failure = this.#failure("finalizeTurn", error);
      return { ...unasked, called: failure.reason !== "SUPERVISOR_AWAY", failure };
    }
  }

  /** Ends a run, after its events are with the supervisor. Rejects with a `RuntimeError`; safe to repeat. */
  async endRun(
    run: string,
    end: "completed" | "failed" | "cancelled" | "lost",
    { session }: { session?: SessionRef } = {},
  ): Promise<{ settled: boolean; consumed: number; returned: number }> {
    this.#runEnded(run);
    this.#endUntold ||= this.#link === undefined;
    const link = this.#live();
    await this.#publisher.flush(EVENTS_FIRST_MS, run);
    this.#publisher.forget(run);
    const request = create(EndRunRequestSchema, {
      run: { id: run },
      session: session && toSession(session),
      end: RunEnd[end.toUpperCase() as keyof typeof RunEnd],
    });
    try {
      const told = await link.unary(RuntimeService.method.endRun, request, { timeoutMs: CALL_MS });
      return { settled: told.settled, consumed: told.consumed, returned: told.returned };
    } catch (error) {
      this.#endUntold = true;
      throw error;
    }
  }

  /** Lists the tools plugins serve. Rejects with a `RuntimeError`. Changes when `contributions.catalogueEpoch` does. */
  async listTools(): Promise<ServedTool[]> {
    return listTools(this.#live(), CALL_MS);
  }

  /** Runs a served tool: progress, then one result. Throws a `RuntimeError`. Leaving the loop cancels the call. */
  async *invokeTool(call: ToolCall): AsyncGenerator<ToolEvent, void, void> {
    if (call.run !== undefined) this.#noteRun(call.run, call.session);
    for await (const event of invokeTool(this.#live(), call)) {
      if (event.result) this.#calls.answeredUnder(event.result.epoch);
      yield event;
    }
  }

  /** Tells how a directive ended that its handler had `accepted`. */
  acknowledge(directiveId: string, result: DirectiveResult): void {
    this.#directives.acknowledge(directiveId, result);
  }

  /** Publishes what is left, within `timeoutMs` (default 2,000), and detaches. What is in flight fails. Idempotent. */
  async close({ timeoutMs = 2_000 }: { timeoutMs?: number } = {}): Promise<void> {
    if (this.#state === "closed") return;
    if (this.#state === "attached") await this.#publisher.flush(timeoutMs);
    this.#enter("closed");
    this.#link = undefined;
    this.#attachment.stop();
    this.#calls.detach();
    this.#publisher.close();
    this.#directives.close();
  }

  #attached(link: Link, welcome: Welcome, contributions: Contributions): void {
    this.#link = link;
    this.#welcome = welcome;
    this.#attaches += 1;
    this.#endUntold = false;
    for (const run of welcome.lostRunIds) {
      this.#runEnded(run);
      this.#publisher.forget(run);
    }
    this.#publisher.want(contributions);
    this.#calls.attach(link, welcome, contributions);
    this.#publisher.attach(link);
    this.#directives.attach(link);
    this.#logger.info?.(`attached to outrigger ${welcome.supervisorVersion} as runtime \`${welcome.runtimeId}\``);
    this.#enter("attached");
    this.#told(() => this.#options.onContributions?.(contributions));
  }

  #learn(contributions: Contributions): void {
    this.#publisher.want(contributions);
    this.#calls.learn(contributions);
    this.#told(() => this.#options.onContributions?.(contributions));
  }

  #directive(directive: WireDirective): void {
    if (directive.directiveId !== "") return this.#directives.take(directive);
    const { kind } = directive;
    if (kind.case === "withdrawn" && kind.value.subject.case === "directiveId") {
      this.#directives.withdraw(kind.value.subject.value);
    }
    if (kind.case !== undefined) this.#told(() => this.#options.onNotice?.(kind));
  }

  #lost(error: RuntimeError): void {
    this.#reconnects += 1;
    const known = this.#lastError?.message === error.message && this.#state !== "attached";
    if (!known) {
      const tell = error.code === status.UNAVAILABLE ? this.#logger.warn : this.#logger.error;
      tell?.call(this.#logger, `not attached to outrigger: ${error}`);
    }
    this.#lastError = error;
    this.#link = undefined;
    this.#calls.detach();
    this.#publisher.detach();
    this.#directives.detach();
    this.#enter(this.contributions === undefined ? "connecting" : "away");
  }

  #enter(state: RuntimeState): void {
    if (this.#state === state || this.#state === "closed") return;
    this.#state = state;
    this.#changes.notify();
    this.#told(() => this.#options.onStateChange?.(state));
  }

  /** Tells the runtime; what its own code throws is its own affair. */
  #told(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#logger.error?.(`a callback failed: ${String((error as Error)?.message ?? error)}`);
    }
  }

  #live(): Link {
    if (this.#link === undefined) throw away(this.#state === "closed" ? "the runtime client is closed" : undefined);
    return this.#link;
  }

  #failure(what: string, error: unknown): RuntimeError {
    const failure = fromStatus(error);
    this.#logger.warn?.(`${what} failed: ${failure}`);
    return failure;
  }

  #runEnded(run: string): void {
    this.#runs.delete(run);
    remember(this.#ended, run, true);
  }

  #noteRun(run: string, session: SessionRef | undefined): void {
    if (this.#ended.has(run)) return;
    remember(this.#runs, run, session ?? this.#runs.get(run));
  }

  #liveRuns(): readonly LiveRun[] {
    if (this.#settings.liveRuns === undefined) return [...this.#runs].map(([runId, session]) => ({ runId, session }));
    try {
      return this.#settings.liveRuns();
    } catch (error) {
      this.#logger.error?.(`liveRuns failed: ${String((error as Error)?.message ?? error)}`);
      return [];
    }
  }
}

/** Puts something last in a bounded table. */
function remember<V>(table: Map<string, V>, key: string, value: V): void {
  table.delete(key);
  table.set(key, value);
  if (table.size > MOST_REMEMBERED) {
    for (const oldest of table.keys()) {
      table.delete(oldest);
      break;
    }
  }
}

function messages(given: Turn["messages"], interests: (Interest | undefined)[]): Uint8Array {
  if (given === undefined || !interests.some((interest) => interest?.wantsMessages)) return encodeJson(undefined);
  return encodeJson(typeof given === "function" ? given() : given);
}
