/** Keeps the runtime attached: dials, says who it is, reads directives, and begins again when the stream ends. */

import { create } from "@bufbuild/protobuf";
import { type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";

import { backoffMs } from "./backoff.js";
import { hookNumber } from "./catalogue.js";
import { WINDOW } from "./directives.js";
import { away, fromStatus, type RuntimeError } from "./errors.js";
import {
  type AttachRequest,
  AttachRequestSchema,
  type AttachResponse,
  type Welcome,
  type Directive as WireDirective,
} from "./gen/outrigger/runtime/v1/directive_pb.js";
import { RuntimeService } from "./gen/outrigger/runtime/v1/runtime_pb.js";
import { type Contributions, readContributions } from "./interest.js";
import { readKey } from "./key.js";
import { Link } from "./link.js";
import type { LiveRun, Settings } from "./options.js";
import { runtimeDir, runtimeKey, runtimeSocket, stateDir } from "./places.js";
import { startTimer } from "./timers.js";

/** Version of the protocol spoken. */
const PROTOCOL = 1;
/** How long Welcome and Contributions may take, in ms. */
const HANDSHAKE_MS = 10_000;
/** How often it looks, at most, whether its place is free that another start of the runtime took, in ms. */
const PLACE_MS = 500;
/** Runs an attach may name (the contract's bound). */
const MOST_LIVE_RUNS = 4096;

/** Who is told. */
export interface AttachmentEvents {
  /** Runs that go on. */
  liveRuns(): readonly LiveRun[];
  /** All runs go on that the supervisor knows of this start of the runtime. */
  allRunsLive(): boolean;
  /** Attached: the first Contributions are here. */
  attached(link: Link, welcome: Welcome, contributions: Contributions): void;
  /** Other Contributions came. */
  contributions(contributions: Contributions): void;
  /** A directive other than these. */
  directive(directive: WireDirective): void;
  /** The stream ended, or could not be opened. */
  lost(error: RuntimeError): void;
}

/** The loop. */
export class Attachment {
  readonly #settings: Settings;
  readonly #events: AttachmentEvents;
  #link: Link | undefined;
  #stream: ClientReadableStream<AttachResponse> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #running = false;
  #displaced = false;

  constructor(settings: Settings, events: AttachmentEvents) {
    this.#settings = settings;
    this.#events = events;
  }

  /** Another start of this runtime took the place; this one waits until it is free. */
  get displaced(): boolean {
    return this.#displaced;
  }

  /** Begins; does nothing while it goes on, but takes the place back where another start has it. */
  start(): void {
    if (this.#running && !this.#displaced) return;
    this.#drop();
    this.#running = true;
    this.#displaced = false;
    this.#timer = startTimer(0, this.#settings.unref, () => this.#attempt());
  }

  /** Ends the stream and the connection. */
  stop(): void {
    this.#running = false;
    this.#drop();
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.cancel();
    this.#link?.close();
    this.#link = undefined;
  }

  #attempt(): void {
    const { unref } = this.#settings;
    let link: Link;
    try {
      const socket = this.#settings.socketPath ?? runtimeSocket(runtimeDir());
      const key = readKey(this.#settings.keyPath ?? runtimeKey(stateDir()));
      link = new Link(socket, key, unref);
    } catch (error) {
      return this.#ended(away(String((error as Error).message ?? error)));
    }
    this.#link = link;
    const stream = link.serverStream(RuntimeService.method.attach, this.#request());
    this.#stream = stream;
    let welcome: Welcome | undefined;
    let attached = false;
    stream.on("data", (message: AttachResponse) => {
      if (stream !== this.#stream) return;
      for (const directive of message.directives) {
        const { kind } = directive;
        if (kind.case === "welcome") welcome = kind.value;
        else if (kind.case !== "contributions") this.#events.directive(directive);
        else if (attached) this.#events.contributions(readContributions(kind.value));
        else if (welcome) {
          attached = true;
          this.#failures = 0;
          this.#displaced = false;
          clearTimeout(this.#timer);
          this.#events.attached(link, welcome, readContributions(kind.value));
        }
      }
    });
    const end = (error: RuntimeError): void => {
      if (stream === this.#stream) this.#ended(error);
    };
    stream.on("error", (error: ServiceError) => end(fromStatus(error)));
    stream.on("end", () => end(away("the supervisor ended the stream of directives")));
    this.#timer = startTimer(HANDSHAKE_MS, unref, () => {
      end(away(`the supervisor did not answer Attach within ${HANDSHAKE_MS} ms`));
    });
  }

  #ended(error: RuntimeError): void {
    this.#drop();
    this.#failures += 1;
    // To take the place back would only end the other one's stream in turn.
    if (error.code === status.ABORTED) this.#displaced = true;
    const wait = backoffMs(this.#settings.backoff, this.#failures);
    this.#timer = startTimer(this.#displaced ? Math.min(wait, PLACE_MS) : wait, this.#settings.unref, () =>
      this.#attempt(),
    );
    this.#events.lost(error);
  }

  #request(): AttachRequest {
    const { incarnation, software, agents, servedHooks, reservedToolNames, onlyIfFree } = this.#settings;
    return create(AttachRequestSchema, {
      incarnation,
      protocol: { min: PROTOCOL, max: PROTOCOL },
      software,
      agents: agents.map(({ agentId, workspacePath = "", isDefault = false }) => ({
        agentId,
        workspacePath,
        isDefault,
      })),
      servedHooks: servedHooks.map((hook) => hookNumber(hook) ?? 0),
      reservedToolNames: [...reservedToolNames],
      window: WINDOW,
      onlyIfFree: onlyIfFree || this.#displaced,
      allRunsLive: this.#events.allRunsLive(),
      liveRuns: this.#events
        .liveRuns()
        .slice(-MOST_LIVE_RUNS)
        .map(({ runId, session }) => ({ run: { id: runId }, session: session && toSession(session) })),
    });
  }
}

/** A session as it travels. */
export function toSession({ key, id = "", agentId = "" }: { key: string; id?: string; agentId?: string }) {
  return { key, id, agentId };
}
