/** A server that plays the supervisor, for faults that a real one cannot be made to have. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";

import {
  type AcknowledgeDirectivesRequest,
  type AttachRequest,
  type AttachResponse,
  AttachResponseSchema,
  type ContributionsSchema,
  type DirectiveSchema,
} from "../src/gen/outrigger/runtime/v1/directive_pb.js";
import {
  type HookInvocation,
  type HookStreamRequest,
  type HookStreamResponse,
  type HookStreamResponse_Answer,
  HookStreamResponse_AnswerSchema,
  HookVerdict,
  type InvokeHookRequest,
  type PublishEventsRequest,
  RuntimeService,
} from "../src/gen/outrigger/runtime/v1/runtime_pb.js";
import { ErrorReason } from "../src/gen/outrigger/types/v1/error_pb.js";
import type { AgentEvent } from "../src/gen/outrigger/types/v1/event_pb.js";
import { Hook } from "../src/gen/outrigger/types/v1/hook_pb.js";
import { Runtime, type RuntimeOptions } from "../src/index.js";

type Directive = MessageInitShape<typeof DirectiveSchema>;
type Duplex = grpc.ServerDuplexStream<HookStreamRequest, HookStreamResponse>;

/** What the server does with a call of a hook on the stream. */
export type OnCall = "go_on" | "hold" | "deaf" | "refuse";

const KEY = `default:${"0123456789abcdef".repeat(4)}`;
const GO_ON = { verdict: HookVerdict.GO_ON };
const REFUSED = { code: 9, reason: ErrorReason.RUN_ENDED, message: "it has ended", metadata: { run_id: "r" } };

/** The server, and what it saw. */
export class Fake {
  readonly directory = mkdtempSync(join(tmpdir(), "orf-"));
  readonly socketPath = join(this.directory, "runtime.sock");
  readonly keyPath = join(this.directory, "default.key");
  readonly seen = {
    attaches: [] as AttachRequest[],
    /** Call ids and tool call ids on the stream. */
    calls: [] as [bigint, string][],
    invocations: [] as HookInvocation[],
    unary: [] as string[],
    cancelled: [] as bigint[],
    streams: 0,
    events: [] as AgentEvent[],
    publishes: 0,
    acknowledged: [] as [string, number][],
  };
  /** How it behaves; may be changed at any time. */
  onCall: OnCall = "go_on";
  streamStatus: grpc.status | undefined;
  attachStatus: grpc.status | undefined;
  epoch = 1n;
  answerEpoch: bigint | undefined;
  contributions: MessageInitShape<typeof ContributionsSchema> = {
    hooks: [{ hook: Hook.BEFORE_TOOL_CALL, toolNames: ["exec"], failClosed: true }, { hook: Hook.MESSAGE_SENDING }],
    allStreams: true,
  };
  limits: { maxCallsInFlight?: number; maxPayloadBytes?: bigint; maxStreamMessageBytes?: bigint } = {};
  lostRunIds: string[] = [];
  /** Breaks the next streams of events at their first message. */
  breakPublishes = 0;
  /** Confirms no more than so many events of a stream. */
  confirmsAtMost = 1n << 60n;
  acknowledgeStatus: grpc.status | undefined;
  #server: grpc.Server | undefined;
  #attached: grpc.ServerWritableStream<AttachRequest, AttachResponse> | undefined;
  readonly #streams = new Set<Duplex>();
  readonly #runtimes: Runtime[] = [];

  constructor() {
    writeFileSync(this.keyPath, KEY, { mode: 0o600 });
  }

  /** A client of it. */
  runtime(options: RuntimeOptions = {}): Runtime {
    const runtime = new Runtime({
      socketPath: this.socketPath,
      keyPath: this.keyPath,
      backoff: { minMs: 10, maxMs: 40 },
      ...options,
    });
    this.#runtimes.push(runtime);
    return runtime;
  }

  async start(): Promise<this> {
    const server = new grpc.Server();
    const { method } = RuntimeService;
    server.addService(
      service([
        method.attach,
        method.hookStream,
        method.invokeHook,
        method.publishEvents,
        method.acknowledgeDirectives,
      ]),
      {
        Attach: (call: grpc.ServerWritableStream<AttachRequest, AttachResponse>) => this.#attach(call),
        HookStream: (call: Duplex) => this.#hooks(call),
        InvokeHook: (call: grpc.ServerUnaryCall<InvokeHookRequest, unknown>, answer: grpc.sendUnaryData<unknown>) => {
          this.seen.unary.push(call.request.invocation?.toolCallId ?? "");
          answer(null, create(method.invokeHook.output, { outcome: GO_ON, contributionEpoch: this.epoch }));
        },
        PublishEvents: (call: grpc.ServerDuplexStream<PublishEventsRequest, unknown>) => this.#publish(call),
        AcknowledgeDirectives: (
          { request }: grpc.ServerUnaryCall<AcknowledgeDirectivesRequest, unknown>,
          answer: grpc.sendUnaryData<unknown>,
        ) => {
          if (this.acknowledgeStatus !== undefined) return answer({ code: this.acknowledgeStatus });
          for (const { directiveId, outcome } of request.acknowledgements)
            this.seen.acknowledged.push([directiveId, outcome]);
          answer(null, create(method.acknowledgeDirectives.output));
        },
      },
    );
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${this.socketPath}`, grpc.ServerCredentials.createInsecure(), (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    this.#server = server;
    return this;
  }

  /** Goes away at once. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.#attached = undefined;
    this.#streams.clear();
    rmSync(this.socketPath, { force: true });
  }

  /** Ends everything, the clients too. */
  async end(): Promise<void> {
    await Promise.all(this.#runtimes.map((runtime) => runtime.close({ timeoutMs: 0 })));
    this.stop();
    rmSync(this.directory, { recursive: true });
  }

  send(...directives: Directive[]): void {
    this.#attached?.write(create(AttachResponseSchema, { directives }));
  }

  /** Says what plugins want, under a new epoch. */
  contribute(): void {
    this.epoch += 1n;
    this.send(this.#contributions());
  }

  /** Ends the streams of hooks with an error; the directives go on. */
  breakStreams(): void {
    for (const stream of this.#streams) stream.emit("error", { code: grpc.status.UNAVAILABLE, details: "broken" });
    this.#streams.clear();
  }

  #contributions(): Directive {
    return {
      kind: { case: "contributions", value: { ...this.contributions, contributionEpoch: this.epoch } as never },
    };
  }

  #attach(call: grpc.ServerWritableStream<AttachRequest, AttachResponse>): void {
    this.seen.attaches.push(call.request);
    if (call.metadata.get("outrigger-key")[0] !== KEY) {
      call.emit("error", { code: grpc.status.UNAUTHENTICATED, details: "the key is wrong" });
    } else if (this.attachStatus !== undefined) {
      call.emit("error", { code: this.attachStatus, details: "as told" });
    } else {
      this.#attached = call;
      const value = { supervisorVersion: "0", runtimeId: "default", limits: this.limits, lostRunIds: this.lostRunIds };
      this.send({ kind: { case: "welcome", value: value as never } }, this.#contributions());
    }
  }

  #hooks(call: Duplex): void {
    this.seen.streams += 1;
    if (this.streamStatus !== undefined) {
      call.emit("error", { code: this.streamStatus, details: "as told" });
      return;
    }
    this.#streams.add(call);
    call.sendMetadata(new grpc.Metadata());
    call.on("error", () => {});
    call.on("data", (message: HookStreamRequest) => {
      const answers: HookStreamResponse_Answer[] = [];
      const answer = (value: MessageInitShape<typeof HookStreamResponse_AnswerSchema>) =>
        answers.push(create(HookStreamResponse_AnswerSchema, value));
      for (const { callId, invocation } of message.calls) {
        this.seen.calls.push([callId, invocation?.toolCallId ?? ""]);
        if (invocation) this.seen.invocations.push(invocation);
        if (this.onCall === "go_on") answer({ callId, answer: { case: "outcome", value: GO_ON } });
        if (this.onCall === "refuse") answer({ callId, answer: { case: "error", value: REFUSED } });
      }
      for (const callId of message.cancelledCallIds) {
        this.seen.cancelled.push(callId);
        if (this.onCall === "deaf") continue;
        answer({ callId, answer: { case: "error", value: { code: 1, message: "cancelled" } } });
      }
      const contributionEpoch = this.answerEpoch ?? this.epoch;
      if (answers.length > 0)
        call.write(create(RuntimeService.method.hookStream.output, { answers, contributionEpoch }));
    });
    call.on("end", () => call.end());
  }

  #publish(call: grpc.ServerDuplexStream<PublishEventsRequest, unknown>): void {
    this.seen.publishes += 1;
    let read = 0n;
    const confirm = () => {
      const told = read < this.confirmsAtMost ? read : this.confirmsAtMost;
      call.write(create(RuntimeService.method.publishEvents.output, { accepted: told, read: told }));
    };
    call.on("error", () => {});
    call.on("data", ({ events }: PublishEventsRequest) => {
      this.seen.events.push(...events);
      read += BigInt(events.length);
      if (this.breakPublishes > 0) {
        this.breakPublishes -= 1;
        call.emit("error", { code: grpc.status.UNAVAILABLE, details: "broken" });
      } else confirm();
    });
    call.on("end", () => call.end());
  }
}

interface Method {
  name: string;
  parent: { typeName: string };
  methodKind: string;
  input: DescMessage;
  output: DescMessage;
}

function service(methods: Method[]): grpc.ServiceDefinition {
  const definitions = methods.map(
    ({ name, parent, methodKind, input, output }): [string, grpc.MethodDefinition<any, any>] => [
      name,
      {
        path: `/${parent.typeName}/${name}`,
        requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
        responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
        requestSerialize: (message) => Buffer.from(toBinary(input, message)),
        requestDeserialize: (bytes) => fromBinary(input, bytes),
        responseSerialize: (message) => Buffer.from(toBinary(output, message)),
        responseDeserialize: (bytes) => fromBinary(output, bytes),
      },
    ],
  );
  return Object.fromEntries(definitions);
}

/** Waits until something holds. */
export async function until(what: string, check: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
