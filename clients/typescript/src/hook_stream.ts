/** The fast stream of hook calls: many in flight by id, answered in any order; calls of one turn of the event loop share a message. */

import { create } from "@bufbuild/protobuf";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";

import { aborted, fromCallError, fromStatus, RuntimeError } from "./errors.js";
import {
  type HookInvocation,
  type HookOutcome,
  type HookStreamRequest,
  HookStreamRequest_CallSchema,
  HookStreamRequestSchema,
  type HookStreamResponse,
  type RedeemDecisionRequest,
  RuntimeService,
} from "./gen/outrigger/runtime/v1/runtime_pb.js";
import type { Link } from "./link.js";

/** Calls put into one message. */
const MOST_IN_MESSAGE = 64;
/** A message takes no further call beyond so many bytes. */
const FULL = 256 * 1024;

/** What became of a call on the stream. Never asked twice: one that was broken off has an unknown effect. */
export type StreamAnswer = { outcome: HookOutcome; epoch: bigint } | { error: RuntimeError };

interface Waiting {
  settle: (answer: StreamAnswer) => void;
  bytes: number;
}

/** An open stream. */
export class HookStream {
  readonly #stream: ClientDuplexStream<HookStreamRequest, HookStreamResponse>;
  readonly #calls = new Map<bigint, Waiting>();
  readonly #redemptions = new Map<string, ((error: RuntimeError | undefined) => void)[]>();
  readonly #ended: (error: RuntimeError) => void;
  readonly #onEpoch: (epoch: bigint) => void;
  #lastId = 0n;
  #out: HookStreamRequest | undefined;
  #bytes = 0;
  #bytesInFlight = 0;
  #ready = false;
  #broken: RuntimeError | undefined;

  /**
   * @param onReady the supervisor has taken the stream
   * @param onEpoch an answer was given under this epoch
   * @param onEnd the stream has ended; told once
   */
  constructor(link: Link, onReady: () => void, onEpoch: (epoch: bigint) => void, onEnd: (error: RuntimeError) => void) {
    this.#onEpoch = onEpoch;
    this.#ended = onEnd;
    this.#stream = link.duplex(RuntimeService.method.hookStream);
    this.#stream.on("metadata", () => {
      if (this.#broken) return;
      this.#ready = true;
      onReady();
    });
    this.#stream.on("data", (message: HookStreamResponse) => this.#read(message));
    this.#stream.on("error", (error: ServiceError) => this.#end(fromStatus(error)));
    this.#stream.on("end", () => this.#end(fromStatus({ code: 14, details: "the stream of hooks ended" })));
  }

  /** Calls may be made on it. */
  get ready(): boolean {
    return this.#ready && this.#broken === undefined;
  }

  /** Calls without an answer, cancelled ones among them. */
  get inFlight(): number {
    return this.#calls.size;
  }

  /** Their bytes: of a supervisor that reads nothing they wait here. */
  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  /** Makes a call of `bytes` bytes. Its signal cancels it: it is answered at once, and the supervisor told. */
  call(invocation: HookInvocation, bytes: number, signal?: AbortSignal): Promise<StreamAnswer> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve({ error: aborted() });
      if (this.#broken) return resolve({ error: this.#broken });
      const id = ++this.#lastId;
      const cancel = (): void => {
        this.#next(0).cancelledCallIds.push(id);
        resolve({ error: aborted() });
      };
      const settle = (answer: StreamAnswer): void => {
        signal?.removeEventListener("abort", cancel);
        resolve(answer);
      };
      this.#calls.set(id, { settle, bytes });
      this.#bytesInFlight += bytes;
      this.#next(bytes).calls.push(create(HookStreamRequest_CallSchema, { callId: id, invocation }));
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** Uses up a decision; why not, or `undefined`. */
  redeem(request: RedeemDecisionRequest): Promise<RuntimeError | undefined> {
    return new Promise((resolve) => {
      if (this.#broken) return resolve(this.#broken);
      const waiting = this.#redemptions.get(request.decisionId);
      if (waiting) waiting.push(resolve);
      else this.#redemptions.set(request.decisionId, [resolve]);
      this.#next(request.paramsSha256.length).redemptions.push(request);
    });
  }

  /** Ends the stream; calls in flight are undecided. */
  close(): void {
    this.#end(fromStatus({ code: 14, details: "the stream of hooks was closed" }));
    this.#stream.cancel();
  }

  /** The message to come, with room for so many bytes. */
  #next(bytes: number): HookStreamRequest {
    const out = this.#out;
    if (out && (out.calls.length >= MOST_IN_MESSAGE || this.#bytes + bytes > FULL)) this.#flush();
    if (this.#out === undefined) {
      this.#out = create(HookStreamRequestSchema);
      queueMicrotask(() => this.#flush());
    }
    this.#bytes += bytes;
    return this.#out;
  }

  #flush(): void {
    const out = this.#out;
    this.#out = undefined;
    this.#bytes = 0;
    // What waits to be written is bounded by what may be in flight.
    if (out && this.#broken === undefined) this.#stream.write(out);
  }

  #read(message: HookStreamResponse): void {
    this.#onEpoch(message.contributionEpoch);
    for (const { callId, answer } of message.answers) {
      const waiting = this.#calls.get(callId);
      this.#calls.delete(callId);
      this.#bytesInFlight -= waiting?.bytes ?? 0;
      if (answer.case === "outcome") waiting?.settle({ outcome: answer.value, epoch: message.contributionEpoch });
      else waiting?.settle({ error: answer.case === "error" ? fromCallError(answer.value) : unknownAnswer() });
    }
    for (const { decisionId, answer } of message.redemptions) {
      const waiting = this.#redemptions.get(decisionId);
      const first = waiting?.shift();
      if (waiting?.length === 0) this.#redemptions.delete(decisionId);
      if (answer.case === "redeemed") first?.(undefined);
      else first?.(answer.case === "error" ? fromCallError(answer.value) : unknownAnswer());
    }
  }

  #end(error: RuntimeError): void {
    if (this.#broken) return;
    this.#broken = error;
    for (const { settle } of this.#calls.values()) settle({ error });
    this.#calls.clear();
    for (const waiting of this.#redemptions.values()) for (const settle of waiting) settle(error);
    this.#redemptions.clear();
    this.#ended(error);
  }
}

const unknownAnswer = (): RuntimeError =>
  new RuntimeError(2, "", "the supervisor answered nothing that this client knows");
