/** One connection to the supervisor, with the key on every call. A connection is used for one attachment and then closed. */

import { closeSync, constants, openSync } from "node:fs";
import type { Socket } from "node:net";
import { basename, dirname } from "node:path";

import { type DescMessage, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";

import { aborted, fromStatus } from "./errors.js";

/** Metadata that carries the line of the key file. */
const KEY_METADATA = "outrigger-key";
/** Longest address of a socket on Linux, in bytes. */
const LONGEST_ADDRESS = 107;
/** Longest message taken in, in bytes: the contract's 4 MiB and what surrounds it. */
const LONGEST_MESSAGE = 5 * 1024 * 1024;

interface Method<I extends DescMessage, O extends DescMessage> {
  parent: { typeName: string };
  name: string;
  input: I;
  output: O;
}

/** How a call may end early. */
export interface CallOptions {
  /** Longest time, in ms. */
  timeoutMs?: number;
  /** Cancels the call. */
  signal?: AbortSignal;
}

/** A connection. */
export class Link {
  readonly #client: grpc.Client;
  readonly #metadata = new grpc.Metadata();
  readonly #directory: number | undefined;
  /** Calls that have not ended; closing cancels them, as a channel by itself would let them finish. */
  readonly #calls = new Set<grpc.Call>();
  #closed = false;

  /**
   * Nothing is dialled before the first call.
   *
   * @param unref the connection by itself does not keep the process alive
   */
  constructor(socketPath: string, key: string, unref: boolean) {
    this.#metadata.set(KEY_METADATA, key);
    let address = socketPath;
    if (Buffer.byteLength(socketPath) > LONGEST_ADDRESS) {
      // By way of the directory's descriptor, so that no limit on the length of an address applies.
      this.#directory = openSync(dirname(socketPath), constants.O_RDONLY | constants.O_DIRECTORY);
      address = `/proc/self/fd/${this.#directory}/${basename(socketPath)}`;
    }
    this.#client = new grpc.Client(`unix:${address}`, credentials(unref), {
      "grpc.default_authority": "localhost",
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_retries": 0,
      "grpc.service_config_disable_resolution": 1,
      "grpc.enable_http_proxy": 0,
      "grpc.max_receive_message_length": LONGEST_MESSAGE,
      "grpc.max_send_message_length": LONGEST_MESSAGE,
    });
  }

  /** One request, one answer. Rejects with a `RuntimeError`. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & Method<I, O>,
    request: MessageShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted) return reject(aborted());
      const { path, serialize, deserialize } = wire(method);
      const call = this.#client.makeUnaryRequest(
        path,
        serialize,
        deserialize,
        request,
        this.#metadata,
        callOptions(options),
        (error, answer) => {
          this.#calls.delete(call);
          options.signal?.removeEventListener("abort", cancel);
          if (error) reject(options.signal?.aborted ? aborted() : fromStatus(error));
          else if (answer === undefined) reject(fromStatus(new Error("the supervisor answered nothing")));
          else resolve(answer);
        },
      );
      this.#calls.add(call);
      const cancel = (): void => call.cancel();
      options.signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** One request, many answers. */
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & Method<I, O>,
    request: MessageShape<I>,
    options: CallOptions = {},
  ): grpc.ClientReadableStream<MessageShape<O>> {
    const { path, serialize, deserialize } = wire(method);
    return this.#keep(
      this.#client.makeServerStreamRequest(path, serialize, deserialize, request, this.#metadata, callOptions(options)),
    );
  }

  /** Many requests, many answers. */
  duplex<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & Method<I, O>,
  ): grpc.ClientDuplexStream<MessageShape<I>, MessageShape<O>> {
    const { path, serialize, deserialize } = wire(method);
    return this.#keep(this.#client.makeBidiStreamRequest(path, serialize, deserialize, this.#metadata, {}));
  }

  #keep<C extends grpc.Call & NodeJS.EventEmitter>(call: C): C {
    this.#calls.add(call);
    call.once("status", () => this.#calls.delete(call));
    return call;
  }

  /** Ends the connection and what still is on it. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    this.#client.close();
    if (this.#directory !== undefined) closeSync(this.#directory);
  }
}

function callOptions({ timeoutMs }: CallOptions): grpc.CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function wire<I extends DescMessage, O extends DescMessage>(method: Method<I, O>) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    serialize: (message: MessageShape<I>): Buffer => {
      const bytes = toBinary(method.input, message);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    deserialize: (bytes: Buffer): MessageShape<O> => fromBinary(method.output, bytes),
  };
}

/**
 * Credentials of a plain connection. grpc-js keeps the process alive while a call is open, and the stream of directives
 * always is; with `unref` the socket is taken out of that, and what is in flight keeps the process by its timer instead.
 */
function credentials(unref: boolean): grpc.ChannelCredentials {
  const plain = grpc.credentials.createInsecure();
  if (!unref) return plain;
  const create = plain._createSecureConnector.bind(plain);
  plain._createSecureConnector = (...given) => {
    const connector = create(...given);
    const connect = connector.connect.bind(connector);
    connector.connect = (socket: Socket) => {
      socket.unref();
      socket.ref = () => socket;
      return connect(socket);
    };
    return connector;
  };
  return plain;
}
