/** Tools that plugins serve to the model. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceError } from "@grpc/grpc-js";

import { toSession } from "./attachment.js";
import { aborted, fromStatus, toMs } from "./errors.js";
import {
  InvokeToolRequestSchema,
  type InvokeToolResponse,
  ListToolsRequestSchema,
  type ListToolsResponse_Entry,
  RuntimeService,
} from "./gen/outrigger/runtime/v1/runtime_pb.js";
import {
  PluginState,
  ToolRisk,
  type ToolContent as WireContent,
  type ToolResult as WireResult,
} from "./gen/outrigger/types/v1/plugin_pb.js";
import { decodeJson, decodeObject, encodeJson, type JsonObject, type JsonValue } from "./json.js";
import type { Link } from "./link.js";
import type { SessionRef } from "./options.js";
import { text } from "./results.js";

/** A tool some plugin serves, or served last. */
export interface ServedTool {
  name: string;
  description: string;
  /** JSON Schema of the arguments. */
  inputSchema: JsonObject;
  /** JSON Schema of `structured`. */
  outputSchema?: JsonObject;
  hints: { readOnly?: boolean; destructive?: boolean; idempotent?: boolean; openWorld?: boolean };
  pluginId: string;
  pluginName: string;
  /** A call would reach the plugin now. */
  available: boolean;
  /** `ready`, `waiting`, … */
  pluginState: string;
  /** Time one call may take, in ms. */
  timeoutMs?: number;
  displayName?: string;
  /** What it is, for people. */
  about?: string;
  risk?: "low" | "medium" | "high";
  tags: string[];
}

/** One part of what a tool answers. */
export type ToolContent =
  | { type: "text"; text: string }
  | { type: "json"; value: JsonValue }
  | { type: "image"; data: Uint8Array; mediaType: string }
  | { type: "file"; fileName: string; stagedFileId: string; stagedPath: string; sizeBytes: number; mediaType?: string };

/** What a tool answered. */
export interface ToolResult {
  content: ToolContent[];
  /** The model is to see it as an error. */
  isError: boolean;
  /** For programs. */
  structured?: JsonValue;
  pluginId: string;
  /** The arguments do not satisfy the tool's schema: the plugin was not called. */
  argumentsInvalid: boolean;
  /** Contribution epoch this was answered under. */
  epoch: bigint;
}

/** How far a tool has come. */
export interface ToolProgress {
  done: number;
  /** Absent: not known. */
  total?: number;
  message?: string;
}

/** News of a tool call; the result is the last. */
export type ToolEvent = { progress: ToolProgress; result?: undefined } | { progress?: undefined; result: ToolResult };

/** A call of a served tool. */
export interface ToolCall {
  tool: string;
  arguments?: JsonObject;
  /** Of its before_tool_call, where some plugin wants that for the tool; used up by the call. */
  decision?: { id: string };
  session?: SessionRef;
  run?: string;
  /** 1 to 256 characters. */
  toolCallId: string;
  context?: JsonObject;
  /** Longest time, in ms. Default: the tool's own. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Tools on a page. */
const PAGE = 1000;
/** Longest time a tool may take (the contract's bound), and what is left for the way, in ms. */
const LONGEST_MS = 3_600_000;
const GRACE_MS = 1_000;
/** Most pages read: registrations are bounded far below. */
const MOST_PAGES = 100;

/** All tools that plugins serve, by plugin and name. */
export async function listTools(link: Link, timeoutMs: number): Promise<ServedTool[]> {
  const tools: ServedTool[] = [];
  let pageToken = "";
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const request = create(ListToolsRequestSchema, { pageSize: PAGE, pageToken });
    const answer = await link.unary(RuntimeService.method.listTools, request, { timeoutMs });
    for (const entry of answer.entries) {
      const tool = readTool(entry);
      if (tool) tools.push(tool);
    }
    pageToken = answer.nextPageToken;
    if (pageToken === "") break;
  }
  return tools;
}

function readTool({ spec, metadata, ...entry }: ListToolsResponse_Entry): ServedTool | undefined {
  if (spec === undefined) return undefined;
  const risk = metadata && ToolRisk[metadata.risk]?.toLowerCase();
  const { readOnly, destructive, idempotent, openWorld } = spec.hints ?? {};
  return {
    name: spec.name,
    description: spec.description,
    inputSchema: decodeObject(spec.inputSchemaJson) ?? { type: "object" },
    outputSchema: decodeObject(spec.outputSchemaJson),
    hints: { readOnly, destructive, idempotent, openWorld },
    pluginId: entry.pluginId,
    pluginName: entry.pluginName,
    available: entry.available,
    pluginState: PluginState[entry.pluginState]?.toLowerCase() ?? "unspecified",
    timeoutMs: toMs(entry.timeout),
    displayName: text(metadata?.displayName ?? ""),
    about: text(metadata?.description ?? ""),
    risk: risk === "low" || risk === "medium" || risk === "high" ? risk : undefined,
    tags: metadata?.tags ?? [],
  };
}

/** Runs a tool. Leaving the loop, or the signal, cancels it. Throws a `RuntimeError`; what the tool calls an error is a result. */
export async function* invokeTool(link: Link, call: ToolCall): AsyncGenerator<ToolEvent, void, void> {
  const { signal } = call;
  if (signal?.aborted) throw aborted();
  const request = create(InvokeToolRequestSchema, {
    toolName: call.tool,
    argumentsJson: encodeJson(call.arguments),
    toolCallId: call.toolCallId,
    decisionId: call.decision?.id ?? "",
    session: call.session && toSession(call.session),
    run: call.run === undefined ? undefined : { id: call.run },
    timeout: call.timeoutMs === undefined ? undefined : durationFromMs(call.timeoutMs),
    contextJson: encodeJson(call.context),
  });
  const timeoutMs = (call.timeoutMs ?? LONGEST_MS) + GRACE_MS;
  const stream = link.serverStream(RuntimeService.method.invokeTool, request, { timeoutMs });
  const cancel = (): void => stream.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  // Cancelling makes an error that nobody waits for.
  stream.on("error", () => {});
  let answered = false;
  try {
    for await (const { event } of stream as AsyncIterable<InvokeToolResponse>) {
      if (event.case === "progress") {
        const { done, total, message } = event.value;
        yield { progress: { done, total: total || undefined, message: text(message) } };
      } else if (event.case === "result") {
        answered = true;
        const { result, pluginId, argumentsInvalid, contributionEpoch: epoch } = event.value;
        yield { result: { ...readResult(result), pluginId, argumentsInvalid, epoch } };
      }
    }
  } catch (error) {
    throw signal?.aborted ? aborted() : fromStatus(error as ServiceError);
  } finally {
    signal?.removeEventListener("abort", cancel);
    stream.cancel();
  }
  if (!answered) throw fromStatus({ code: 2, details: "the call ended without a result" });
}

function readResult(wire: WireResult | undefined): Pick<ToolResult, "content" | "isError" | "structured"> {
  const content = (wire?.content ?? []).flatMap((part) => readContent(part) ?? []);
  return { content, isError: wire?.isError ?? true, structured: decodeJson(wire?.structuredJson ?? new Uint8Array()) };
}

function readContent({ part }: WireContent): ToolContent | undefined {
  switch (part.case) {
    case "text":
      return { type: "text", text: part.value };
    case "valueJson":
      return { type: "json", value: decodeJson(part.value) ?? null };
    case "image":
      return { type: "image", data: part.value.data, mediaType: part.value.mediaType };
    case "file": {
      const { fileName, stagedFileId, stagedPath, sizeBytes, mediaType } = part.value;
      return {
        type: "file",
        fileName,
        stagedFileId,
        stagedPath,
        sizeBytes: Number(sizeBytes),
        mediaType: text(mediaType),
      };
    }
    default:
      return undefined;
  }
}
