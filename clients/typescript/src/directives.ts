/** Directives with an id: each is carried out once, whatever the number of times it is sent, and acknowledged. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

import { type Backoff, backoffMs } from "./backoff.js";
import { fromStatus } from "./errors.js";
import {
  AcknowledgeDirectivesRequest_AcknowledgementSchema,
  AcknowledgeDirectivesRequestSchema,
  type AcknowledgeDirectivesRequest_Acknowledgement as Acknowledgement,
  DirectiveOutcome,
  type Directive as WireDirective,
} from "./gen/outrigger/runtime/v1/directive_pb.js";
import { RuntimeService } from "./gen/outrigger/runtime/v1/runtime_pb.js";
import type { Link } from "./link.js";
import { startTimer } from "./timers.js";

/** What the supervisor asks of the runtime. */
export interface Directive {
  id: string;
  /** How often it was sent, this time included. */
  attempt: number;
  /** Which, and what goes with it, as on the wire: `runTurn`, `wake`, `deliverAttachments`, `requestApproval`. */
  kind: WireDirective["kind"];
  /** Aborted when the supervisor takes it back, or the runtime is closed. */
  signal: AbortSignal;
}

/** What became of a directive. */
export interface DirectiveResult {
  outcome: "accepted" | "done" | "busy" | "failed_transient" | "failed" | "skipped" | "session_unknown" | "unsupported";
  /** One sentence, at most 500 characters. */
  message?: string;
  /** When to send it again, with `busy`, in ms. */
  retryAfterMs?: number;
  /** Run that took the turn. */
  runId?: string;
  /** How a delivery ended. */
  delivered?: { channel: string; deliveredTo: string; failedFiles?: number[] };
}

/** Directives that may be carried out at once; the bound the supervisor is told as its window. */
export const WINDOW = 256;
/** Acknowledgements in a request (the contract's bound). */
const MOST_ACKNOWLEDGEMENTS = 256;
/** How long an acknowledgement may take, in ms. */
const ACKNOWLEDGE_MS = 10_000;

const OUTCOMES: Record<DirectiveResult["outcome"], DirectiveOutcome> = {
  accepted: DirectiveOutcome.ACCEPTED,
  done: DirectiveOutcome.DONE,
  busy: DirectiveOutcome.BUSY,
  failed_transient: DirectiveOutcome.FAILED_TRANSIENT,
  failed: DirectiveOutcome.FAILED,
  skipped: DirectiveOutcome.SKIPPED,
  session_unknown: DirectiveOutcome.SESSION_UNKNOWN,
  unsupported: DirectiveOutcome.UNSUPPORTED,
};

/** Carries out directives and remembers how they ended. */
export class Directives {
  readonly #handle: (directive: Directive) => Promise<DirectiveResult> | DirectiveResult;
  readonly #remembered: number;
  readonly #backoff: Backoff;
  readonly #unref: boolean;
  readonly #onProblem: (message: string) => void;
  readonly #running = new Map<string, AbortController>();
  /** Final outcomes, the oldest first. */
  readonly #ended = new Map<string, DirectiveResult>();
  /** To be told, by id; a newer result takes the place of an older one. */
  readonly #unsent = new Map<string, DirectiveResult>();
  #link: Link | undefined;
  #sending = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Directives carried out, and those seen again. */
  readonly counts = { directives: 0, directivesRepeated: 0 };

  /** @param remembered final outcomes kept to answer a directive that comes again */
  constructor(
    handle: (directive: Directive) => Promise<DirectiveResult> | DirectiveResult,
    remembered: number,
    backoff: Backoff,
    unref: boolean,
    onProblem: (message: string) => void,
  ) {
    this.#handle = handle;
    this.#remembered = remembered;
    this.#backoff = backoff;
    this.#unref = unref;
    this.#onProblem = onProblem;
  }

  /** Final outcomes that are remembered. */
  get remembered(): number {
    return this.#ended.size;
  }

  /** Tells outcomes over a connection from now on. */
  attach(link: Link): void {
    this.#link = link;
    this.#failures = 0;
    this.#send();
  }

  /** The connection is gone; outcomes wait for the next. */
  detach(): void {
    this.#link = undefined;
    clearTimeout(this.#timer);
  }

  /** A directive with an id came. */
  take(wire: WireDirective): void {
    const id = wire.directiveId;
    const ended = this.#ended.get(id);
    if (ended !== undefined || this.#running.has(id)) {
      this.counts.directivesRepeated += 1;
      if (ended !== undefined) this.acknowledge(id, ended);
      return;
    }
    if (this.#running.size >= WINDOW) return this.acknowledge(id, { outcome: "busy", retryAfterMs: 1000 });
    this.counts.directives += 1;
    const abort = new AbortController();
    this.#running.set(id, abort);
    void this.#run({ id, attempt: wire.deliveryAttempt, kind: wire.kind, signal: abort.signal });
  }

  /** It was taken back: it needs no acknowledgement. */
  withdraw(id: string): void {
    this.#running.get(id)?.abort();
    this.#unsent.delete(id);
  }

  /** Tells what became of a directive; also later, of one that was `accepted`. */
  acknowledge(id: string, result: DirectiveResult): void {
    if (isFinal(result)) {
      this.#ended.delete(id);
      this.#ended.set(id, result);
      if (this.#ended.size > this.#remembered) this.#ended.delete(first(this.#ended));
    }
    this.#unsent.delete(id);
    // A copy: told from one of the same outcome that is on its way.
    this.#unsent.set(id, { ...result });
    // One that is not told comes again, and is answered then.
    if (this.#unsent.size > this.#remembered + WINDOW) this.#unsent.delete(first(this.#unsent));
    queueMicrotask(() => this.#send());
  }

  /** Ends what is running. */
  close(): void {
    this.detach();
    for (const abort of this.#running.values()) abort.abort();
  }

  async #run(directive: Directive): Promise<void> {
    let result: DirectiveResult;
    try {
      result = await this.#handle(directive);
    } catch (error) {
      const message = String((error as Error)?.message ?? error).slice(0, 500);
      this.#onProblem(`directive ${directive.id} failed: ${message}`);
      result = { outcome: "failed", message };
    }
    this.#running.delete(directive.id);
    if (!directive.signal.aborted) this.acknowledge(directive.id, result);
  }

  #send(): void {
    const link = this.#link;
    if (link === undefined || this.#sending || this.#unsent.size === 0) return;
    const sent = [...this.#unsent].slice(0, MOST_ACKNOWLEDGEMENTS);
    const request = create(AcknowledgeDirectivesRequestSchema, {
      acknowledgements: sent.map(([id, result]) => toWire(id, result)),
    });
    this.#sending = true;
    link.unary(RuntimeService.method.acknowledgeDirectives, request, { timeoutMs: ACKNOWLEDGE_MS }).then(
      () => this.#sent(sent),
      (error) => this.#unsendable(sent, fromStatus(error)),
    );
  }

  #sent(sent: [string, DirectiveResult][]): void {
    this.#sending = false;
    this.#failures = 0;
    for (const [id, result] of sent) if (this.#unsent.get(id) === result) this.#unsent.delete(id);
    this.#send();
  }

  #unsendable(sent: [string, DirectiveResult][], error: ReturnType<typeof fromStatus>): void {
    this.#sending = false;
    if (error.code === status.INVALID_ARGUMENT || error.code === status.UNIMPLEMENTED) {
      this.#onProblem(`what became of ${sent.length} directives could not be told: ${error}`);
      return this.#sent(sent);
    }
    if (this.#link === undefined) return;
    this.#failures += 1;
    clearTimeout(this.#timer);
    this.#timer = startTimer(backoffMs(this.#backoff, this.#failures), this.#unref, () => this.#send());
  }
}

/** It is not to be carried out again. */
function isFinal({ outcome }: DirectiveResult): boolean {
  return outcome !== "busy" && outcome !== "failed_transient";
}

function first(map: ReadonlyMap<string, unknown>): string {
  for (const key of map.keys()) return key;
  return "";
}

function toWire(directiveId: string, result: DirectiveResult): Acknowledgement {
  const { message = "", runId = "", retryAfterMs, delivered } = result;
  return create(AcknowledgeDirectivesRequest_AcknowledgementSchema, {
    directiveId,
    outcome: OUTCOMES[result.outcome] ?? DirectiveOutcome.FAILED,
    message: message.slice(0, 500),
    retryAfter: retryAfterMs === undefined ? undefined : durationFromMs(retryAfterMs),
    runId,
    delivered: delivered && { ...delivered, failedFiles: delivered.failedFiles ?? [] },
  });
}
