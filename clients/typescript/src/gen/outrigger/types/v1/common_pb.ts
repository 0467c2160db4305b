// Names shared by all packages.
//
// Conventions of the whole contract; a field comment only says what differs.
//
//   Text       UTF-8. A "character" is a UTF-16 code unit, as in the runtimes whose limits these are. Text is trimmed
//              where a comment says so; an empty string is absence unless the field is `optional` or in a oneof.
//              Short texts from plugins lose control and bidirectional characters where they come in.
//   JSON       A field named `*_json` holds one UTF-8 JSON text in `bytes`, passed on as written. Empty bytes are
//              absence (JSON null is the four bytes `null`). A *value* is what a plugin stores, emits or returns of its
//              own: at most 262,144 bytes, depth 32 (root 0), 4,096 nodes, 512 keys an object, 65,536 characters a
//              string or key. A *payload* is what a runtime hands over for plugins to read: at most 3,145,728 bytes
//              with its context, depth 128, nodes and keys unbounded. What a handler returns of a payload
//              (`params_json`, `message_json`, `entry_patch_json`) is bounded by the message it travels in, depth 128.
//              All three: no duplicate keys, no lone surrogates, numbers that a 64-bit float can hold finitely.
//   Messages   A Session message to a plugin is at most 4 MiB, from a plugin 1 MiB, a host call 512 KiB, a chunk of an
//              attachment 64 KiB, a message of a runtime or operator 4 MiB. `Limits` says what is in force.
//   Digest     `*_sha256` over JSON is SHA-256 of its RFC 8785 canonical form, 32 bytes. Numbers are 64-bit floats
//              there, but integers (no fraction, no exponent) beyond ±2^53 are digested as written.
//   Time       `Timestamp` for a point in time, `Duration` for a length. A `timeout` is what is left when the message
//              is written, never a clock reading, so clocks need not agree. Durations are >= 0. What one call of a
//              plugin may take is at most 600 s, that of a tool it serves 1 h.
//   Ids        Plugin id: `[a-z0-9][a-z0-9_-]{0,63}` (no dot: a dot separates a plugin from its event streams) and not
//              a reserved event stream. Handler, namespace, job and descriptor ids: 1 to 128 characters after trimming,
//              no control characters. Idempotency keys: 1 to 512 characters after trimming.
//   Names      Features, scopes, quotas and operator scopes are strings, spelled as in manifest, grant and denial. One
//              that is not known is shown, and satisfies nothing; where it is asked for it is refused by name.
//   Order      Wherever plugins are ordered: by position in `outrigger.toml`, never by time of arrival.
//   Presence   Absence of a message field means "not known" or "not wanted" as its comment says; scalars have a
//              default of zero, and zero means the documented default wherever zero itself is not a legal value.
//   Enums      Zero is UNSPECIFIED and never sent on purpose. Receivers tolerate values they do not know, and treat
//              them as the comment of the enum says.
//   Numbers    Field numbers 1 to 15 are spent on what travels with every call. Numbers are never reused.
//   Paging     `page_size` 0 means 100, larger than 1,000 is cut to 1,000. `page_token` is opaque, empty on the first
//              page; `next_page_token` empty means there is no further page. Other request fields must not change
//              between pages. Every listing is ordered by the key its comment names.
//   Metadata   `outrigger-session`: the session secret of a plugin, on a connection that does not carry its Session.
//              `outrigger-key`: the one line of a control socket's key file, on every call. Nothing else is read from
//              metadata but the deadline.
//   Errors     See error.proto.
//
// Scopes, the rights a plugin can be granted. Effective rights are the tier's default and the operator's grant
// together, within the tier's ceiling and the manifest's request. Capitals in the list below say which is which:
//
//   tier        default                        ceiling
//   bundled     all                            all
//   trusted     all but those with B or G      all but those with B
//   community   those with C                   all but those with B
//   workspace   those with C                   all but those with B or W
//
//   hooks.conversation      Hooks, `messages_json` and content streams, which show conversation text.
//   hooks.prompt        C   Hooks that add to the prompt; they see the conversation only with `hooks.conversation`.
//   hooks.tools         C   Hooks around tool calls.
//   hooks.messages          Hooks that see or change messages on their way.
//   policy.trusted      W   Tool policies that run before every ordinary hook, and before_install.
//   tools.serve             Tools for the model. Quota: `staged-bytes` (with `attach`).
//   events.read         C   Agent events; without `hooks.conversation` only *meta* streams (see event.proto).
//   events.emit         C   Events on the plugin's own streams. Quota: `events-per-minute` (600 / 6,000).
//   events.host-streams B   Events on the host's streams, terminal ones excepted. Quota: `events-per-minute`.
//   state               C   Session state and run context. Quotas: `state-bytes` (1 MiB a session), `run-context-bytes`
//                           (1 MiB a run).
//   inject              C   Next-turn injections. Quota: `injections` (live in one session, at most 32).
//   approvals               Questions to a person outside a tool call. Quota: `pending-approvals` (8 / 64).
//   transition          GW  Fields of a session's entry that transitions may change, by name: granted one by one. A
//                           field belongs to one plugin, the first in `outrigger.toml` whose manifest claims it.
//   schedule                Scheduled turns and job records. Quotas: `pending-turns` (32 / 256), `min-interval-ms`
//                           (60 s / 2 s), `horizon-ms` (30 d / 10 y).
//   lease                   Continuation leases. Quotas: `continuations-per-chain` (16 / 64), `continuations-per-day`
//                           (96 / 960; UTC).
//   attach              W   Files to a session's conversation, from roots a grant names. Quotas: `files` (at most 10),
//                           `delivery-bytes` (at most 26,214,400), `staged-bytes` (64 MiB / 256 MiB).
//   commands.reserved   B   Reserved commands, by name: without a grant the one that is the plugin's id, with it those
//                           it names.
//   sessions.address    W   Naming a session by key in place of a handle.
//
// Two numbers of a quota are the defaults for `community` and `trusted`; `workspace` has the first, `bundled` the
// second. A grant can set each.
//
// Operator scopes, what a person or client may do on the runtime: `operator.admin` (satisfies all), `operator.write`
// (satisfies read and talk), `operator.read`, `operator.approvals`, `operator.pairing`, `operator.questions`,
// `operator.talk`, `operator.talk.secrets`. The list is closed: a registration that names another is refused.

// @generated by protoc-gen-es v2.13.0 with parameter "target=ts,import_extension=js"
// @generated from file outrigger/types/v1/common.proto (package outrigger.types.v1, syntax proto3)
/* eslint-disable */

import type { GenEnum, GenFile, GenMessage } from "@bufbuild/protobuf/codegenv2";
import { enumDesc, fileDesc, messageDesc } from "@bufbuild/protobuf/codegenv2";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { file_google_protobuf_duration } from "@bufbuild/protobuf/wkt";
import type { Message } from "@bufbuild/protobuf";

/**
 * Describes the file outrigger/types/v1/common.proto.
 */
export const file_outrigger_types_v1_common: GenFile = /*@__PURE__*/
  fileDesc("Ch9vdXRyaWdnZXIvdHlwZXMvdjEvY29tbW9uLnByb3RvEhJvdXRyaWdnZXIudHlwZXMudjEiWwoKU2Vzc2lvblJlZhIOCgZoYW5kbGUYASABKAkSCwoDa2V5GAIgASgJEgoKAmlkGAMgASgJEhAKCGFnZW50X2lkGAQgASgJEhIKCnJ1bnRpbWVfaWQYBSABKAkiJAoGUnVuUmVmEg4KBmhhbmRsZRgBIAEoCRIKCgJpZBgCIAEoCSI3CgxUcmFjZUNvbnRleHQSEwoLdHJhY2VwYXJlbnQYASABKAkSEgoKdHJhY2VzdGF0ZRgCIAEoCSIpCg1Qcm90b2NvbFJhbmdlEgsKA21pbhgBIAEoDRILCgNtYXgYAiABKA0i/gMKBkxpbWl0cxIgChhtYXhfc3RyZWFtX21lc3NhZ2VfYnl0ZXMYASABKAQSHgoWbWF4X2NhbGxfbWVzc2FnZV9ieXRlcxgCIAEoBBIXCg9tYXhfY2h1bmtfYnl0ZXMYAyABKAQSFwoPbWF4X3ZhbHVlX2J5dGVzGAQgASgEEhkKEW1heF9wYXlsb2FkX2J5dGVzGAUgASgEEhcKD21heF92YWx1ZV9kZXB0aBgGIAEoDRIXCg9tYXhfdmFsdWVfbm9kZXMYByABKA0SFwoPbWF4X29iamVjdF9rZXlzGAggASgNEh0KFW1heF9zdHJpbmdfY2hhcmFjdGVycxgJIAEoDRIbChNtYXhfY2FsbHNfaW5fZmxpZ2h0GAogASgNEhwKFG1heF9jYWxsc19wZXJfc2Vjb25kGAsgASgNEiYKHm1heF91bmFja25vd2xlZGdlZF9ldmVudF9ieXRlcxgMIAEoBBIvCgxjYW5jZWxfZ3JhY2UYDSABKAsyGS5nb29nbGUucHJvdG9idWYuRHVyYXRpb24SMAoNcGluZ19pbnRlcnZhbBgOIAEoCzIZLmdvb2dsZS5wcm90b2J1Zi5EdXJhdGlvbhI1ChJpZGxlX3BpbmdfaW50ZXJ2YWwYDyABKAsyGS5nb29nbGUucHJvdG9idWYuRHVyYXRpb24iMgoFUXVvdGESDAoEbmFtZRgBIAEoCRINCgVsaW1pdBgCIAEoBBIMCgR1c2VkGAMgASgEIlUKClNjb3BlR3JhbnQSDQoFc2NvcGUYASABKAkSKQoGcXVvdGFzGAIgAygLMhkub3V0cmlnZ2VyLnR5cGVzLnYxLlF1b3RhEg0KBW5hbWVzGAMgAygJIoABCgZDYWxsZXISDgoGc2NvcGVzGAEgAygJEhUKDWNvbm5lY3Rpb25faWQYAiABKAkSDwoHY2hhbm5lbBgDIAEoCRIRCglzZW5kZXJfaWQYBCABKAkSFwoPc2VuZGVyX2lzX293bmVyGAUgASgIEhIKCmF1dGhvcml6ZWQYBiABKAgqaAoEVGllchIUChBUSUVSX1VOU1BFQ0lGSUVEEAASEAoMVElFUl9CVU5ETEVEEAESEAoMVElFUl9UUlVTVEVEEAISEgoOVElFUl9DT01NVU5JVFkQAxISCg5USUVSX1dPUktTUEFDRRAEYgZwcm90bzM", [file_google_protobuf_duration]);

/**
 * A session of an agent runtime.
 *
 * Toward a plugin it carries the handle, which is the plugin's capability: calls name the session by it. A handle is
 * random, valid for one plugin and one generation, and dies with the generation or the session's deletion; a reset
 * keeps it. Toward and from a runtime the handle is empty and the key is the name, within that runtime.
 *
 * @generated from message outrigger.types.v1.SessionRef
 */
export type SessionRef = Message<"outrigger.types.v1.SessionRef"> & {
  /**
   * Capability of the receiving plugin for this session. ASCII, 16 to 128 characters, opaque. Empty between runtime
   * and supervisor.
   *
   * @generated from field: string handle = 1;
   */
  handle: string;

  /**
   * Canonical session key, for example `agent:main:main`. 1 to 4,096 characters. For reading and logs; it grants
   * nothing by itself.
   *
   * @generated from field: string key = 2;
   */
  key: string;

  /**
   * The session's current incarnation, changed by a reset. At most 256 characters; empty when the runtime has none.
   *
   * @generated from field: string id = 3;
   */
  id: string;

  /**
   * Agent that owns the session, `[a-z0-9][a-z0-9_-]{0,63}`. Derived from the key by the runtime; empty for the keys
   * `global` and `unknown`.
   *
   * @generated from field: string agent_id = 4;
   */
  agentId: string;

  /**
   * Runtime that has the session: keys of two runtimes are two sessions. Set by the supervisor; from a runtime empty.
   *
   * @generated from field: string runtime_id = 5;
   */
  runtimeId: string;
};

/**
 * Describes the message outrigger.types.v1.SessionRef.
 * Use `create(SessionRefSchema)` to create a new message.
 */
export const SessionRefSchema: GenMessage<SessionRef> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 0);

/**
 * One run: an agent turn from its prompt to its end, retries included.
 *
 * @generated from message outrigger.types.v1.RunRef
 */
export type RunRef = Message<"outrigger.types.v1.RunRef"> & {
  /**
   * Capability of the receiving plugin for this run, as for a session. Empty between runtime and supervisor.
   *
   * @generated from field: string handle = 1;
   */
  handle: string;

  /**
   * The runtime's id of the run. 1 to 256 characters. Never used again by this runtime once the run has ended.
   *
   * @generated from field: string id = 2;
   */
  id: string;
};

/**
 * Describes the message outrigger.types.v1.RunRef.
 * Use `create(RunRefSchema)` to create a new message.
 */
export const RunRefSchema: GenMessage<RunRef> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 1);

/**
 * W3C trace context of the caller, for correlation only. Passed on to plugins only where the operator switched that on
 * (`trace_context`); a `traceparent` of another form is left out, with its `tracestate`.
 *
 * @generated from message outrigger.types.v1.TraceContext
 */
export type TraceContext = Message<"outrigger.types.v1.TraceContext"> & {
  /**
   * `traceparent` header value, 55 characters in version 00. Empty: the caller is not traced.
   *
   * @generated from field: string traceparent = 1;
   */
  traceparent: string;

  /**
   * `tracestate` header value, at most 512 characters. Empty: none.
   *
   * @generated from field: string tracestate = 2;
   */
  tracestate: string;
};

/**
 * Describes the message outrigger.types.v1.TraceContext.
 * Use `create(TraceContextSchema)` to create a new message.
 */
export const TraceContextSchema: GenMessage<TraceContext> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 2);

/**
 * The protocol versions a side speaks, both ends included.
 *
 * @generated from message outrigger.types.v1.ProtocolRange
 */
export type ProtocolRange = Message<"outrigger.types.v1.ProtocolRange"> & {
  /**
   * Lowest version spoken, at least 1.
   *
   * @generated from field: uint32 min = 1;
   */
  min: number;

  /**
   * Highest version spoken, at least `min`.
   *
   * @generated from field: uint32 max = 2;
   */
  max: number;
};

/**
 * Describes the message outrigger.types.v1.ProtocolRange.
 * Use `create(ProtocolRangeSchema)` to create a new message.
 */
export const ProtocolRangeSchema: GenMessage<ProtocolRange> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 3);

/**
 * Bounds in force toward one peer, as the operator configured them. 0: does not apply to this peer.
 *
 * @generated from message outrigger.types.v1.Limits
 */
export type Limits = Message<"outrigger.types.v1.Limits"> & {
  /**
   * Longest message the peer may send on a stream of calls (Session, HookStream), in bytes. Default 1,048,576 for a
   * plugin, 4,194,304 for a runtime.
   *
   * @generated from field: uint64 max_stream_message_bytes = 1;
   */
  maxStreamMessageBytes: bigint;

  /**
   * Longest message of any other call, in bytes. Default 524,288 for a plugin, 4,194,304 for a runtime.
   *
   * @generated from field: uint64 max_call_message_bytes = 2;
   */
  maxCallMessageBytes: bigint;

  /**
   * Longest chunk of an attachment, in bytes. Default 65,536.
   *
   * @generated from field: uint64 max_chunk_bytes = 3;
   */
  maxChunkBytes: bigint;

  /**
   * Longest JSON value, in bytes. Default 262,144.
   *
   * @generated from field: uint64 max_value_bytes = 4;
   */
  maxValueBytes: bigint;

  /**
   * Longest JSON payload, in bytes. Default 3,145,728.
   *
   * @generated from field: uint64 max_payload_bytes = 5;
   */
  maxPayloadBytes: bigint;

  /**
   * Deepest nesting of a JSON value; the root is 0. Default 32.
   *
   * @generated from field: uint32 max_value_depth = 6;
   */
  maxValueDepth: number;

  /**
   * Most nodes in a JSON value, containers included. Default 4,096.
   *
   * @generated from field: uint32 max_value_nodes = 7;
   */
  maxValueNodes: number;

  /**
   * Most keys in one object of a JSON value. Default 512.
   *
   * @generated from field: uint32 max_object_keys = 8;
   */
  maxObjectKeys: number;

  /**
   * Longest string or key in a JSON value, in characters. Default 65,536.
   *
   * @generated from field: uint32 max_string_characters = 9;
   */
  maxStringCharacters: number;

  /**
   * Most calls in flight from the peer: host calls of a plugin (default 16), hook calls of a runtime (default 1,024).
   *
   * @generated from field: uint32 max_calls_in_flight = 10;
   */
  maxCallsInFlight: number;

  /**
   * Most host calls a second; twice as many in a burst. Default 500.
   *
   * @generated from field: uint32 max_calls_per_second = 11;
   */
  maxCallsPerSecond: number;

  /**
   * Most bytes of events sent and not acknowledged, but never less than one event. Default 16,384.
   *
   * @generated from field: uint64 max_unacknowledged_event_bytes = 12;
   */
  maxUnacknowledgedEventBytes: bigint;

  /**
   * How long a cancelled invocation may keep its slot before the plugin is recycled. Default 10 s.
   *
   * @generated from field: google.protobuf.Duration cancel_grace = 13;
   */
  cancelGrace?: Duration | undefined;

  /**
   * Distance of Pings while an invocation is in flight. Three in a row without an answer: unresponsive. Default 1 s.
   *
   * @generated from field: google.protobuf.Duration ping_interval = 14;
   */
  pingInterval?: Duration | undefined;

  /**
   * Distance of Pings otherwise. Default 30 s.
   *
   * @generated from field: google.protobuf.Duration idle_ping_interval = 15;
   */
  idlePingInterval?: Duration | undefined;
};

/**
 * Describes the message outrigger.types.v1.Limits.
 * Use `create(LimitsSchema)` to create a new message.
 */
export const LimitsSchema: GenMessage<Limits> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 4);

/**
 * One quota of a scope and its use.
 *
 * @generated from message outrigger.types.v1.Quota
 */
export type Quota = Message<"outrigger.types.v1.Quota"> & {
  /**
   * Name, for instance `pending-turns`; the unit follows from it.
   *
   * @generated from field: string name = 1;
   */
  name: string;

  /**
   * Largest value allowed; smallest for `min-interval-ms`.
   *
   * @generated from field: uint64 limit = 2;
   */
  limit: bigint;

  /**
   * Value now. 0 for quotas that have no running total.
   *
   * @generated from field: uint64 used = 3;
   */
  used: bigint;
};

/**
 * Describes the message outrigger.types.v1.Quota.
 * Use `create(QuotaSchema)` to create a new message.
 */
export const QuotaSchema: GenMessage<Quota> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 5);

/**
 * One effective right with its quotas.
 *
 * @generated from message outrigger.types.v1.ScopeGrant
 */
export type ScopeGrant = Message<"outrigger.types.v1.ScopeGrant"> & {
  /**
   * The scope.
   *
   * @generated from field: string scope = 1;
   */
  scope: string;

  /**
   * Quotas of the right, each name once. Empty: the right has none.
   *
   * @generated from field: repeated outrigger.types.v1.Quota quotas = 2;
   */
  quotas: Quota[];

  /**
   * What a right by name is for, each once: entry fields (`transition`), commands (`commands.reserved`), roots as
   * absolute paths (`attach`). Empty: not a right by name, or nothing is named.
   *
   * @generated from field: repeated string names = 3;
   */
  names: string[];
};

/**
 * Describes the message outrigger.types.v1.ScopeGrant.
 * Use `create(ScopeGrantSchema)` to create a new message.
 */
export const ScopeGrantSchema: GenMessage<ScopeGrant> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 6);

/**
 * On whose behalf a runtime calls a command, action or transition. The runtime has authenticated it; the supervisor
 * enforces what is declared here and hands the plugin a copy.
 *
 * Required operator scopes, one rule for all three: a caller with a connection satisfies them by `scopes`. One without
 * (a channel's message or button) satisfies them only if it is `authorized` and `sender_is_owner`, else it is
 * OPERATOR_SCOPE_MISSING.
 *
 * @generated from message outrigger.types.v1.Caller
 */
export type Caller = Message<"outrigger.types.v1.Caller"> & {
  /**
   * Operator scopes of the connection; without one they do not count. Empty: none.
   *
   * @generated from field: repeated string scopes = 1;
   */
  scopes: string[];

  /**
   * Runtime's id of the client connection, at most 256 characters. Empty: no connection (a channel's message or
   * button).
   *
   * @generated from field: string connection_id = 2;
   */
  connectionId: string;

  /**
   * Channel of the message, for example `telegram`, at most 64 characters. Empty: no channel.
   *
   * @generated from field: string channel = 3;
   */
  channel: string;

  /**
   * Sender on that channel, at most 256 characters. Empty: unknown.
   *
   * @generated from field: string sender_id = 4;
   */
  senderId: string;

  /**
   * The sender owns the agent. Told to a plugin only where its command asks for it.
   *
   * @generated from field: bool sender_is_owner = 5;
   */
  senderIsOwner: boolean;

  /**
   * The runtime lets this sender use commands that require authorisation.
   *
   * @generated from field: bool authorized = 6;
   */
  authorized: boolean;
};

/**
 * Describes the message outrigger.types.v1.Caller.
 * Use `create(CallerSchema)` to create a new message.
 */
export const CallerSchema: GenMessage<Caller> = /*@__PURE__*/
  messageDesc(file_outrigger_types_v1_common, 7);

/**
 * How far a plugin is trusted; the ceiling of its rights. An unknown tier has no rights.
 *
 * @generated from enum outrigger.types.v1.Tier
 */
export enum Tier {
  /**
   * Not known.
   *
   * @generated from enum value: TIER_UNSPECIFIED = 0;
   */
  UNSPECIFIED = 0,

  /**
   * Ships with the host.
   *
   * @generated from enum value: TIER_BUNDLED = 1;
   */
  BUNDLED = 1,

  /**
   * Verified by the operator.
   *
   * @generated from enum value: TIER_TRUSTED = 2;
   */
  TRUSTED = 2,

  /**
   * Installed by a user; the default.
   *
   * @generated from enum value: TIER_COMMUNITY = 3;
   */
  COMMUNITY = 3,

  /**
   * Found in a project; for development only.
   *
   * @generated from enum value: TIER_WORKSPACE = 4;
   */
  WORKSPACE = 4,
}

/**
 * Describes the enum outrigger.types.v1.Tier.
 */
export const TierSchema: GenEnum<Tier> = /*@__PURE__*/
  enumDesc(file_outrigger_types_v1_common, 0);

