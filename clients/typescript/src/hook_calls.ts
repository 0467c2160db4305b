/** Hook calls: whether to make them, how, and what a failure comes to. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

import { toSession } from "./attachment.js";
import { awayVerdict } from "./away.js";
import { backoffMs } from "./backoff.js";
import { HOOKS_WITH_OWN_CALL, type HookName, hookNumber } from "./catalogue.js";
import { aborted, fromStatus, type RuntimeError } from "./errors.js";
import type { Welcome } from "./gen/outrigger/runtime/v1/directive_pb.js";
import {
  ClaimMiss,
  type HookInvocation,
  HookInvocationSchema,
  type HookOutcome,
  HookVerdict,
  InvokeHookRequestSchema,
  type RedeemDecisionRequest,
  RuntimeService,
  type Decision as WireDecision,
} from "./gen/outrigger/runtime/v1/runtime_pb.js";
import { HookStream, type StreamAnswer } from "./hook_stream.js";
import {
  type Contributions,
  canonicalTool,
  type DispatchKind,
  dispatchKindNumber,
  type Interest,
  match,
  type Subject,
  type Trigger,
  triggerNumber,
} from "./interest.js";
import { encodeJson, type JsonObject, type JsonValue } from "./json.js";
import type { Link } from "./link.js";
import type { SessionRef, Settings } from "./options.js";
import {
  type ApprovalRequest,
  type Evaluation,
  type HandlerReport,
  type HookResult,
  readApprovalRequest,
  readEvaluation,
  readReport,
  readResult,
  text,
} from "./results.js";
import { Changes, startTimer } from "./timers.js";

/** One call of a hook. */
export interface HookCall {
  hook: HookName;
  /** Without the conversation. `before_tool_call`: with `params`, an object. */
  event: JsonObject;
  context?: JsonObject;
  /** The conversation; asked for, and sent, only if some handler wants it. */
  messages?: JsonValue[] | (() => JsonValue[]);
  session?: SessionRef;
  /** Id of the run. */
  run?: string;
  /** Required for tool hooks; sent trimmed and in lower case. */
  toolName?: string;
  /** 1 to 256 characters; required for `before_tool_call`. */
  toolCallId?: string;
  trigger?: Trigger;
  dispatchKind?: DispatchKind;
  /** Longest time for all handlers together, in ms. Default: what the operator set. */
  timeoutMs?: number;
  /** Cancels the call for real. */
  signal?: AbortSignal;
  /** Answer when the observers are done, not when they are queued. */
  waitForObservers?: boolean;
  /** Report every handler. */
  reportHandlers?: boolean;
  /** Ask this plugin only, for a targeted claim. */
  targetPluginId?: string;
  toolAuthority?: string;
  /** The caller's trace, as W3C has it. */
  trace?: { traceparent: string; tracestate?: string };
}

/** Lets a tool run once, with exactly these parameters. */
export interface Decision {
  id: string;
  paramsSha256: Uint8Array;
  /** The tool call it was given for. */
  toolCallId: string;
}

/** An approval to obtain from a person, for `resolveApproval`. */
export interface PendingApproval {
  id: string;
  pluginId: string;
  pluginName: string;
  request: ApprovalRequest;
  /** In ms since 1970. */
  expiresAtMs?: number;
  toolCallId: string;
}

/** Why a call has no answer of plugins. */
export type FailureKind = "away" | "timeout" | "aborted" | "overloaded" | "refused" | "broken" | "invalid";

/** What became of a hook. */
export interface HookAnswer {
  /** Anything but `go_on` is a no; `ask`: go on once the approval is given. */
  verdict: "go_on" | "stop" | "ask";
  /** The merged answer. Absent: nobody had an opinion. */
  result?: HookResult;
  /** The handler that decided. */
  decidedBy?: HandlerReport;
  /** Why not; begins with the plugin's id, or with `outrigger:` where no plugin said it. */
  reason?: string;
  /** Contribution epoch; 0: none was ever heard. */
  epoch: bigint;
  /** The supervisor was asked. */
  called: boolean;
  decision?: Decision;
  approval?: PendingApproval;
  handlers: HandlerReport[];
  evaluations: { handler?: HandlerReport; evaluation: Evaluation }[];
  rechecks: number;
  /** Why a targeted claim was not handled. */
  claimMiss?: "plugin_missing" | "no_handler" | "declined" | "error";
  /** Set where the plugins' answer did not come; the verdict is then that of the hook's policy. */
  failure?: { kind: FailureKind; error?: RuntimeError };
  /** As on the wire. */
  raw?: HookOutcome;
}

/** Counts of hook calls since the start. */
export interface CallCounts {
  /** The supervisor was asked. */
  calls: number;
  /** Of these one by one, not on the fast stream. */
  callsUnary: number;
  /** Nobody wanted them. */
  skipped: number;
  /** Denied, as the supervisor was away. */
  deniedAway: number;
  /** Asked, and no answer of plugins came. */
  failed: number;
  /** Fast streams that ended before their connection did. */
  streamBreaks: number;
}

/** How much longer than the handlers the supervisor may take, in ms. */
const GRACE_MS = 1_000;
/** How long an answer may be ahead of the Contributions it tells of, in ms. */
const NEWS_MS = 1_000;
/** How long a decision's redemption may take, in ms. */
const REDEEM_MS = 10_000;
/** Bytes of a message beside its JSON texts. */
const OVERHEAD = 32 * 1024;
/** The contract's bounds, where Welcome tells none. */
const DEFAULT_LIMITS = { message: 4 * 1024 * 1024, payload: 3 * 1024 * 1024 };

/** Makes hook calls. */
export class HookCalls {
  readonly counts: CallCounts = { calls: 0, callsUnary: 0, skipped: 0, deniedAway: 0, failed: 0, streamBreaks: 0 };
  readonly #settings: Settings;
  readonly #onProblem: (message: string) => void;
  readonly #news = new Changes();
  #contributions: Contributions | undefined;
  #answeredEpoch = 0n;
  #link: Link | undefined;
  #limits = { ...DEFAULT_LIMITS, inFlight: 0 };
  #stream: HookStream | undefined;
  #streamTimer: NodeJS.Timeout | undefined;
  #streamFailures = 0;
  #inFlight = 0;
  #bytesInFlight = 0;

  constructor(settings: Settings, onProblem: (message: string) => void) {
    this.#settings = settings;
    this.#onProblem = onProblem;
  }

  /** What plugins wanted last. */
  get contributions(): Contributions | undefined {
    return this.#contributions;
  }

  /** The supervisor answered under a newer epoch than that of the contributions: others are on their way. */
  get stale(): boolean {
    return this.#contributions !== undefined && this.#answeredEpoch > this.#contributions.epoch;
  }

  /** Calls in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** The fast stream is open. */
  get fast(): boolean {
    return this.#stream?.ready ?? false;
  }

  /** Calls go over this connection from now on. */
  attach(link: Link, welcome: Welcome, contributions: Contributions): void {
    this.#link = link;
    this.#answeredEpoch = 0n;
    this.#contributions = contributions;
    const { maxStreamMessageBytes, maxPayloadBytes, maxCallsInFlight } = welcome.limits ?? {};
    this.#limits = {
      message: Number(maxStreamMessageBytes || DEFAULT_LIMITS.message),
      payload: Number(maxPayloadBytes || DEFAULT_LIMITS.payload),
      inFlight: maxCallsInFlight || this.#settings.maxCallsInFlight,
    };
    this.#streamFailures = 0;
    this.#openStream(link);
    this.#news.notify();
  }

  /** Plugins want something else. */
  learn(contributions: Contributions): void {
    this.#contributions = contributions;
    this.#news.notify();
  }

  /** The connection is gone: what was in flight is undecided. */
  detach(): void {
    this.#link = undefined;
    clearTimeout(this.#streamTimer);
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.close();
    this.#news.notify();
  }

  /** An answer was given under this epoch. */
  answeredUnder(epoch: bigint): void {
    if (epoch > this.#answeredEpoch) this.#answeredEpoch = epoch;
  }

  /** What is wanted of a hook, by what was heard last. */
  wants(hook: HookName, subject: Subject = {}): Interest | undefined {
    return this.#contributions && match(this.#contributions.hooks, hook, subject);
  }

  /** Waits for contributions that are known to be on their way. */
  async settled(): Promise<void> {
    if (this.stale) await this.#news.until(() => !this.stale || this.#link === undefined, NEWS_MS);
  }

  /** Calls a hook. Never rejects. */
  async call(call: HookCall): Promise<HookAnswer> {
    try {
      return await this.#call(call);
    } catch (error) {
      // What is wrong with a call is the runtime's mistake, and no reason to let pass what a guard guards.
      const interest = this.wants(call.hook, call);
      const guarded = interest?.failClosed ?? this.#settings.failClosedHooks.has(call.hook);
      return this.#failed(guarded, "invalid", String((error as Error)?.message ?? error));
    }
  }

  /** Uses up a decision; why not, or `undefined`. */
  async redeem(request: RedeemDecisionRequest): Promise<RuntimeError | undefined> {
    const link = this.#link;
    if (link === undefined) return fromStatus({ code: status.UNAVAILABLE, details: "the supervisor is away" });
    const stream = this.#stream;
    if (stream?.ready) {
      const late = fromStatus({ code: status.DEADLINE_EXCEEDED, details: `no answer within ${REDEEM_MS} ms` });
      let timer: NodeJS.Timeout | undefined;
      const limit = new Promise<RuntimeError>((resolve) => {
        timer = setTimeout(() => resolve(late), REDEEM_MS);
      });
      return Promise.race([stream.redeem(request), limit]).finally(() => clearTimeout(timer));
    }
    return link.unary(RuntimeService.method.redeemDecision, request, { timeoutMs: REDEEM_MS }).then(
      () => undefined,
      (error) => fromStatus(error),
    );
  }

  async #call(call: HookCall): Promise<HookAnswer> {
    const { hook } = call;
    const number = hookNumber(hook);
    if (number === undefined) return this.#failed(true, "invalid", `\`${hook}\` is no hook`);
    if (HOOKS_WITH_OWN_CALL.includes(hook)) return this.#failed(false, "invalid", `${hook} has a call of its own`);
    if (this.#link !== undefined && this.wants(hook, call) === undefined) await this.settled();
    if (this.#link === undefined) return this.#away(call);
    const interest = this.wants(hook, call);
    if (interest === undefined) {
      this.counts.skipped += 1;
      return this.#unasked("go_on");
    }
    if (call.signal?.aborted) return this.#failed(interest.failClosed, "aborted", aborted().message, aborted());
    const { invocation, bytes } = this.#invocation(call, number, interest);
    if (bytes.payload > this.#limits.payload || bytes.all > this.#limits.message) {
      const why = `event and context have ${bytes.payload} bytes, at most ${this.#limits.payload}`;
      return this.#failed(interest.failClosed, "invalid", why);
    }
    const most = Math.min(this.#settings.maxCallsInFlight, this.#limits.inFlight);
    // Calls that were given up here are the supervisor's until it has answered them.
    const inFlight = Math.max(this.#inFlight, this.#stream?.inFlight ?? 0);
    const bytesInFlight = Math.max(this.#bytesInFlight, this.#stream?.bytesInFlight ?? 0);
    if (inFlight >= most || bytesInFlight + bytes.all > this.#settings.maxBytesInFlight) {
      return this.#failed(interest.failClosed, "overloaded", `${inFlight} hook calls are in flight`);
    }
    this.#inFlight += 1;
    this.#bytesInFlight += bytes.all;
    try {
      return await this.#ask(this.#link, call, interest, invocation, bytes.all);
    } finally {
      this.#inFlight -= 1;
      this.#bytesInFlight -= bytes.all;
    }
  }

  async #ask(
    link: Link,
    call: HookCall,
    interest: Interest,
    invocation: HookInvocation,
    bytes: number,
  ): Promise<HookAnswer> {
    const limit = this.limitMs(call.timeoutMs, interest.maxDurationMs);
    const cancel = new AbortController();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      cancel.abort();
    }, limit);
    const abort = (): void => cancel.abort();
    call.signal?.addEventListener("abort", abort, { once: true });
    this.counts.calls += 1;
    let answer: StreamAnswer;
    const stream = this.#stream;
    if (stream?.ready) {
      answer = await stream.call(invocation, bytes, cancel.signal);
    } else {
      this.counts.callsUnary += 1;
      answer = await this.#unary(link, invocation, cancel.signal);
    }
    clearTimeout(timer);
    call.signal?.removeEventListener("abort", abort);
    if ("outcome" in answer) return this.#read(call, interest, answer.outcome, answer.epoch);
    return { ...this.#unanswered(link, call, interest, late ? limit : undefined, answer.error), called: true };
  }

  #unanswered(
    link: Link,
    call: HookCall,
    interest: Interest,
    late: number | undefined,
    error: RuntimeError,
  ): HookAnswer {
    const failed = (kind: FailureKind, why: string): HookAnswer => this.#failed(interest.failClosed, kind, why, error);
    if (late !== undefined) return failed("timeout", `the supervisor did not answer within ${late} ms`);
    if (call.signal?.aborted) return failed("aborted", error.message);
    if (this.#link !== link) return failed("away", `supervisor away: ${error.message}`);
    if (error.code === status.UNAVAILABLE && error.reason === "") {
      return failed("broken", `the stream of hooks broke: ${error.message}`);
    }
    return failed("refused", error.message);
  }

  #unary(link: Link, invocation: HookInvocation, signal: AbortSignal): Promise<StreamAnswer> {
    return link
      .unary(RuntimeService.method.invokeHook, create(InvokeHookRequestSchema, { invocation }), { signal })
      .then(
        ({ outcome, contributionEpoch: epoch }): StreamAnswer => {
          this.answeredUnder(epoch);
          if (outcome) return { outcome, epoch };
          return { error: fromStatus({ code: status.UNKNOWN, details: "the supervisor answered nothing" }) };
        },
        (error): StreamAnswer => ({ error: fromStatus(error) }),
      );
  }

  /** Longest wait for a call, in ms: what it asks for, or the setting, but never less than the handlers may take. */
  limitMs(timeoutMs: number | undefined, maxDurationMs = 0): number {
    return timeoutMs === undefined
      ? Math.max(this.#settings.callTimeoutMs, maxDurationMs + GRACE_MS)
      : timeoutMs + GRACE_MS;
  }

  #invocation(call: HookCall, hook: number, interest: Interest) {
    const eventJson = encodeJson(call.event);
    const contextJson = encodeJson(call.context);
    const payload = eventJson.length + contextJson.length;
    let messagesJson = encodeJson(undefined);
    if (interest.wantsMessages && call.messages !== undefined) {
      messagesJson = encodeJson(typeof call.messages === "function" ? call.messages() : call.messages);
    }
    const room = Math.min(this.#limits.message - OVERHEAD - payload, this.#limits.payload);
    const messagesOmitted = messagesJson.length > room;
    if (messagesOmitted) messagesJson = encodeJson(undefined);
    const { session, run, trace } = call;
    const invocation = create(HookInvocationSchema, {
      hook,
      timeout: call.timeoutMs === undefined ? undefined : durationFromMs(Math.max(1, call.timeoutMs)),
      eventJson,
      contextJson,
      messagesJson,
      session: session && toSession(session),
      run: run === undefined ? undefined : { id: run },
      toolName: call.toolName === undefined ? "" : canonicalTool(call.toolName),
      toolCallId: call.toolCallId ?? "",
      trigger: triggerNumber(call.trigger),
      dispatchKind: dispatchKindNumber(call.dispatchKind),
      targetPluginId: call.targetPluginId ?? "",
      trace: trace && { traceparent: trace.traceparent, tracestate: trace.tracestate ?? "" },
      waitForObservers: call.waitForObservers ?? false,
      reportHandlers: call.reportHandlers ?? false,
      messagesOmitted,
      toolAuthority: call.toolAuthority ?? "",
    });
    return { invocation, bytes: { payload, all: payload + messagesJson.length + 1024 } };
  }

  #read(call: HookCall, interest: Interest, raw: HookOutcome, epoch: bigint): HookAnswer {
    let result: HookResult | undefined;
    try {
      result = readResult(raw.result);
    } catch (error) {
      return this.#failed(interest.failClosed, "invalid", `an answer cannot be read: ${(error as Error).message}`);
    }
    if (raw.result !== undefined && result === undefined) {
      return this.#failed(interest.failClosed, "invalid", "an answer is of a kind that this client does not know");
    }
    const { approval } = raw;
    const toolCallId = call.toolCallId ?? "";
    const asks = raw.verdict === HookVerdict.ASK && approval?.request !== undefined;
    return {
      verdict: raw.verdict === HookVerdict.GO_ON ? "go_on" : asks ? "ask" : "stop",
      result,
      decidedBy: raw.decidedBy && readReport(raw.decidedBy),
      reason: text(raw.reason),
      epoch,
      called: true,
      decision: readDecision(raw.decision, toolCallId),
      approval: approval?.request && {
        id: approval.approvalId,
        pluginId: approval.pluginId,
        pluginName: approval.pluginName,
        request: readApprovalRequest(approval.request),
        expiresAtMs: approval.expiresAt && timestampMs(approval.expiresAt),
        toolCallId,
      },
      handlers: raw.handlers.map(readReport),
      evaluations: raw.evaluations.map(({ handler, evaluation }) => {
        return { handler: handler && readReport(handler), evaluation: readEvaluation(evaluation) };
      }),
      rechecks: raw.recheckedGuards,
      claimMiss: readClaimMiss(raw.claimMiss),
      raw,
    };
  }

  #away(call: HookCall): HookAnswer {
    const { verdict, reason } = awayVerdict(this.#contributions, this.#settings.failClosedHooks, call.hook, call);
    if (verdict === "stop") this.counts.deniedAway += 1;
    else this.counts.skipped += 1;
    return { ...this.#unasked(verdict), reason, failure: verdict === "stop" ? { kind: "away" } : undefined };
  }

  #failed(guarded: boolean, kind: FailureKind, why: string, error?: RuntimeError): HookAnswer {
    this.counts.failed += 1;
    const answer = this.#unasked(guarded ? "stop" : "go_on");
    return { ...answer, reason: `outrigger: ${why}`, failure: { kind, error } };
  }

  #unasked(verdict: HookAnswer["verdict"]): HookAnswer {
    const epoch = this.#contributions?.epoch ?? 0n;
    return { verdict, epoch, called: false, handlers: [], evaluations: [], rechecks: 0 };
  }

  #openStream(link: Link): void {
    const { backoff, unref } = this.#settings;
    const stream: HookStream = new HookStream(
      link,
      () => {
        this.#streamFailures = 0;
        this.#news.notify();
      },
      (epoch) => this.answeredUnder(epoch),
      (error) => {
        if (this.#stream !== stream) return;
        this.#stream = undefined;
        this.counts.streamBreaks += 1;
        if (error.code === status.UNIMPLEMENTED) return;
        this.#onProblem(`the stream of hooks ended, calls are made one by one: ${error}`);
        this.#streamFailures += 1;
        const wait = backoffMs(backoff, this.#streamFailures);
        this.#streamTimer = startTimer(wait, unref, () => {
          if (this.#link === link) this.#openStream(link);
        });
      },
    );
    this.#stream = stream;
  }
}

/** A decision, as it came for a tool call. */
export function readDecision(wire: WireDecision | undefined, toolCallId: string): Decision | undefined {
  return wire && { id: wire.decisionId, paramsSha256: wire.paramsSha256, toolCallId };
}

function readClaimMiss(miss: ClaimMiss): HookAnswer["claimMiss"] {
  switch (miss) {
    case ClaimMiss.UNSPECIFIED:
      return undefined;
    case ClaimMiss.PLUGIN_MISSING:
      return "plugin_missing";
    case ClaimMiss.NO_HANDLER:
      return "no_handler";
    case ClaimMiss.ERROR:
      return "error";
    default:
      return "declined";
  }
}
