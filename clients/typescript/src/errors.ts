/** How calls fail: a status of gRPC with the reason that its details give. */

import { fromBinary } from "@bufbuild/protobuf";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";

import { ErrorDetailSchema, RetryDetailSchema, StatusDetailsSchema } from "./gen/outrigger/client/v1/status_pb.js";
import type { CallError } from "./gen/outrigger/runtime/v1/runtime_pb.js";
import { ErrorReason } from "./gen/outrigger/types/v1/error_pb.js";

/** A call was not carried out. */
export class RuntimeError extends Error {
  override name = "RuntimeError";

  constructor(
    /** Number of the gRPC status. */
    readonly code: number,
    /** Name of an `ErrorReason` without its prefix; `SUPERVISOR_AWAY` and `ABORTED_BY_CALLER` are the client's own; empty: not told. */
    readonly reason: string,
    message: string,
    /** When trying again can help, in ms. */
    readonly retryAfterMs?: number,
    /** What goes with the reason. */
    readonly metadata: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }

  /** Name of the gRPC status, for instance `NOT_FOUND`. */
  get status(): string {
    return status[this.code] ?? String(this.code);
  }

  override toString(): string {
    return `${this.status}${this.reason ? ` (${this.reason})` : ""}: ${this.message}`;
  }
}

/** The supervisor cannot be reached. */
export function away(why = "the supervisor is away"): RuntimeError {
  return new RuntimeError(status.UNAVAILABLE, "SUPERVISOR_AWAY", why);
}

/** The caller's signal ended the call. */
export function aborted(): RuntimeError {
  return new RuntimeError(status.CANCELLED, "ABORTED_BY_CALLER", "the runtime aborted the call");
}

/** What a status says. */
export function fromStatus(error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return error;
  const { code, details, metadata, message } = error as Partial<ServiceError>;
  let reason = "";
  let retryAfterMs: number | undefined;
  let meta: Record<string, string> = {};
  const [bytes] = metadata instanceof Metadata ? metadata.get("grpc-status-details-bin") : [];
  if (bytes instanceof Uint8Array) {
    try {
      for (const detail of fromBinary(StatusDetailsSchema, bytes).details) {
        if (detail.typeUrl.endsWith("/google.rpc.ErrorInfo")) {
          const info = fromBinary(ErrorDetailSchema, detail.value);
          reason = info.reason;
          meta = info.metadata;
        } else if (detail.typeUrl.endsWith("/google.rpc.RetryInfo")) {
          retryAfterMs = toMs(fromBinary(RetryDetailSchema, detail.value).retryDelay);
        }
      }
    } catch {
      // Details that cannot be read leave the code, which is right by itself.
    }
  }
  return new RuntimeError(code ?? status.UNKNOWN, reason, details || message || String(error), retryAfterMs, meta);
}

/** What an error inside a stream says. */
export function fromCallError(error: CallError): RuntimeError {
  const reason = error.reason === ErrorReason.UNSPECIFIED ? "" : (ErrorReason[error.reason] ?? "");
  return new RuntimeError(error.code, reason, error.message, toMs(error.retryAfter), error.metadata);
}

/** A length of time in ms. */
export function toMs(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : durationMs(duration);
}
