/**
 * Publishes agent events on one long stream. What was written is kept until the supervisor says that it has read it, and
 * written again with its positions on the next stream if this one breaks before.
 */

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type ClientDuplexStream, type ServiceError, status } from "@grpc/grpc-js";

import { type Backoff, backoffMs } from "./backoff.js";
import { fromStatus, type RuntimeError } from "./errors.js";
import { type Buffered, EventBuffer, type EventBufferBounds } from "./event_buffer.js";
import {
  type PublishEventsRequest,
  PublishEventsRequestSchema,
  type PublishEventsResponse,
  PublishEventsResponseSchema,
  RuntimeService,
} from "./gen/outrigger/runtime/v1/runtime_pb.js";
import {
  AgentEventSchema,
  type AgentEvent as WireEvent,
  Provenance as WireProvenance,
} from "./gen/outrigger/types/v1/event_pb.js";
import type { Contributions } from "./interest.js";
import { encodeJson, type JsonValue } from "./json.js";
import type { Link } from "./link.js";
import { Changes, startTimer } from "./timers.js";

/** How far the text in an event can be believed. */
export type Provenance = "host" | "owner" | "untrusted";

/** One event of a run. */
export interface AgentEvent {
  runId: string;
  /** `lifecycle`, `tool`, `assistant`, … */
  stream: string;
  data: JsonValue;
  /** Position in the run, from 1 without gaps. Absent: numbered here, in the order of publishing. */
  seq?: number | bigint;
  /** When it happened, in ms since 1970. Absent: now. */
  timeMs?: number;
  sessionKey?: string;
  sessionId?: string;
  agentId?: string;
  /** Default `host` for `lifecycle`, `usage`, `model`, `compaction` and `approval`, else `untrusted`. */
  provenance?: Provenance;
  /** The run ends with it; `lifecycle` only. */
  terminal?: boolean;
}

/** Counts of events since the start. */
export interface EventCounts {
  /** Confirmed by the supervisor, repetitions included. */
  published: number;
  /** Not published, as nobody wants their stream. */
  eventsSkipped: number;
  /** Lost, as the buffer was full or they could not be written. */
  eventsDropped: number;
  /** Refused by the supervisor. */
  eventsRejected: number;
  /** Written again after a break and known already. */
  eventsDuplicate: number;
}

/** Events and bytes of one message; the contract's bounds are 1,024 and 4 MiB. */
const MESSAGE = { events: 256, bytes: 512 * 1024 };
/** Events and bytes written and not confirmed, so that no more than these are written twice. */
const WINDOW = { events: 1024, bytes: 2 * 1024 * 1024 };
/** How long the supervisor may take to confirm anything of what was written, in ms. */
const ANSWER_MS = 10_000;
/** Longest data of an event, in bytes: the contract's bound on payloads. */
const MOST_DATA = 3 * 1024 * 1024;
/** Characters that the fields beside the data may take in sum are far fewer; counted with each event. */
const OVERHEAD = 256;

const META_STREAMS = new Set(["lifecycle", "usage", "model", "compaction", "approval"]);
const PROVENANCES = { host: WireProvenance.HOST, owner: WireProvenance.OWNER, untrusted: WireProvenance.UNTRUSTED };

/** Publishes what is wanted. */
export class Publisher {
  readonly counts: EventCounts = {
    published: 0,
    eventsSkipped: 0,
    eventsDropped: 0,
    eventsRejected: 0,
    eventsDuplicate: 0,
  };
  readonly #buffer: EventBuffer<WireEvent>;
  readonly #backoff: Backoff;
  readonly #unref: boolean;
  readonly #onProblem: (message: string) => void;
  readonly #changes = new Changes();
  #link: Link | undefined;
  #stream: ClientDuplexStream<PublishEventsRequest, PublishEventsResponse> | undefined;
  /** What this stream has confirmed so far. */
  #told = create(PublishEventsResponseSchema);
  /** After a failure: nothing is written for a while. */
  #paused = false;
  /** The connection has no room: wait for it. */
  #full = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #scheduled = false;

  constructor(bounds: EventBufferBounds, backoff: Backoff, unref: boolean, onProblem: (message: string) => void) {
    this.#buffer = new EventBuffer(bounds);
    this.#backoff = backoff;
    this.#unref = unref;
    this.#onProblem = onProblem;
  }

  /** Takes an event; false where it is lost. */
  publish(event: AgentEvent): boolean {
    const buffered = toBuffered(event);
    if (typeof buffered === "string") {
      this.#onProblem(buffered);
      this.counts.eventsDropped += 1;
      return false;
    }
    const offered = this.#buffer.offer(buffered, () => (this.counts.eventsDropped += 1));
    if (offered === "skipped") this.counts.eventsSkipped += 1;
    if (offered === "dropped") this.counts.eventsDropped += 1;
    if (offered === "queued") this.#schedule();
    return offered !== "dropped";
  }

  /** Says which streams are wanted. */
  want(contributions: Contributions): void {
    this.#buffer.want(contributions, contributions.starting);
    this.#schedule();
  }

  /** Events of the stream are taken in. */
  wants(stream: string): boolean {
    return this.#buffer.wants(stream);
  }

  /** Publishes over a connection from now on. */
  attach(link: Link): void {
    this.#link = link;
    this.#failures = 0;
    this.#schedule();
  }

  /** The connection is gone. */
  detach(): void {
    this.#link = undefined;
    this.#abandon();
  }

  /** Waits until all is confirmed, or all of one run; false where that takes longer. */
  flush(timeoutMs: number, runId?: string): Promise<boolean> {
    const done = (): boolean =>
      runId === undefined ? this.#buffer.waiting + this.#buffer.written === 0 : !this.#buffer.holds(runId);
    return this.#changes.until(done, timeoutMs);
  }

  /** A run has ended. */
  forget(runId: string): void {
    this.#buffer.forget(runId);
  }

  /** Gives up what is left. */
  close(): void {
    this.detach();
    this.#changes.notify();
  }

  #schedule(): void {
    if (this.#scheduled || this.#paused || this.#full || this.#link === undefined) return;
    this.#scheduled = true;
    // After what the current turn of the loop still publishes.
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const link = this.#link;
    if (link === undefined || this.#paused || this.#full) return;
    const buffer = this.#buffer;
    while (buffer.waiting > 0 && buffer.written < WINDOW.events && buffer.writtenBytes < WINDOW.bytes) {
      const taken = buffer.take(Math.min(MESSAGE.events, WINDOW.events - buffer.written), MESSAGE.bytes);
      // The rest waits for plugins that are starting.
      if (taken.length === 0) break;
      this.#stream ??= this.#open(link);
      for (const { event, seq } of taken) event.seq = seq ?? 0n;
      const events = taken.map(({ event }) => event);
      const stream = this.#stream;
      if (this.#timer === undefined) this.#watch();
      if (!stream.write(create(PublishEventsRequestSchema, { events }))) {
        this.#full = true;
        stream.once("drain", () => {
          if (stream !== this.#stream) return;
          this.#full = false;
          this.#schedule();
        });
        break;
      }
    }
    // What was left out may be what a flush waits for.
    this.#changes.notify();
  }

  #open(link: Link): ClientDuplexStream<PublishEventsRequest, PublishEventsResponse> {
    const stream = link.duplex(RuntimeService.method.publishEvents);
    const end = (error: unknown): void => {
      if (stream === this.#stream) this.#failed(fromStatus(error));
    };
    stream.on("data", (answer: PublishEventsResponse) => {
      if (stream === this.#stream) this.#confirmed(answer);
    });
    stream.on("error", (error: ServiceError) => end(error));
    stream.on("end", () => end({ code: status.UNAVAILABLE, details: "the stream of events ended" }));
    return stream;
  }

  /** What was written is to be confirmed in time. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#buffer.written === 0) return;
    const late = { code: status.DEADLINE_EXCEEDED, details: "published events were not confirmed in time" };
    this.#timer = startTimer(ANSWER_MS, this.#unref, () => this.#failed(fromStatus(late)));
  }

  #confirmed(answer: PublishEventsResponse): void {
    const before = this.#told;
    this.#told = answer;
    this.#failures = 0;
    this.counts.published += Number(answer.accepted - before.accepted);
    this.counts.eventsDuplicate += Number(answer.duplicate - before.duplicate);
    this.counts.eventsRejected += Number(answer.rejected - before.rejected);
    for (const problem of answer.problems.slice(before.problems.length)) {
      this.#onProblem(`an event was refused: ${problem}`);
    }
    this.#buffer.confirm(Number(answer.read - before.read));
    this.#watch();
    this.#changes.notify();
    this.#schedule();
  }

  #failed(error: RuntimeError): void {
    this.#abandon();
    if (error.code === status.INVALID_ARGUMENT || error.code === status.UNIMPLEMENTED) {
      // Writing it again would come to the same.
      const lost = this.#buffer.take(WINDOW.events, WINDOW.bytes).length;
      this.#buffer.confirm();
      this.counts.eventsDropped += lost;
      this.#onProblem(`${lost} events were lost: ${error}`);
      this.#changes.notify();
    }
    if (this.#link === undefined) return;
    this.#failures += 1;
    this.#paused = true;
    this.#timer = startTimer(backoffMs(this.#backoff, this.#failures), this.#unref, () => {
      this.#timer = undefined;
      this.#paused = false;
      this.#schedule();
    });
  }

  /** What was not confirmed is written again. */
  #abandon(): void {
    const stream = this.#stream;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stream = undefined;
    this.#told = create(PublishEventsResponseSchema);
    this.#paused = false;
    this.#full = false;
    stream?.cancel();
    this.#buffer.restore();
  }
}

function toBuffered(given: AgentEvent): Buffered<WireEvent> | string {
  const { runId, stream, terminal = false, timeMs = Date.now() } = given;
  let dataJson: Uint8Array;
  try {
    dataJson = encodeJson(given.data ?? null);
  } catch (error) {
    return `an event of stream \`${stream}\` was lost: ${(error as Error).message}`;
  }
  if (dataJson.length > MOST_DATA) {
    return `an event of stream \`${stream}\` was lost: its data has ${dataJson.length} bytes, at most ${MOST_DATA}`;
  }
  const event = create(AgentEventSchema, {
    runId,
    stream,
    dataJson,
    time: timestampFromMs(timeMs),
    sessionKey: given.sessionKey ?? "",
    sessionId: given.sessionId ?? "",
    agentId: given.agentId ?? "",
    provenance: PROVENANCES[given.provenance ?? (META_STREAMS.has(stream) ? "host" : "untrusted")],
    terminal,
  });
  const bytes = dataJson.length + OVERHEAD;
  return { event, runId, stream, terminal, bytes, given: given.seq === undefined ? undefined : BigInt(given.seq) };
}
