// Tools that plugins serve, as tools of OpenClaw. OpenClaw asks a factory for them at every turn, so they may come and
// go; but it takes only names that the plugin's manifest claims (`contracts.tools`), which `outrigger-openclaw-tools` writes.
import { readFileSync } from "node:fs";
import type { JsonObject, ServedTool, ToolResult } from "outrigger-runtime";
import type { Bridge } from "./bridge.js";
import type { Calls } from "./gate/calls.js";
import type { PluginApi, Tool, ToolAnswer, ToolContent, ToolFactoryContext } from "./openclaw.js";
import { isFields, plain } from "./payload.js";

/** The manifest that OpenClaw read. */
const MANIFEST = new URL("../openclaw.plugin.json", import.meta.url);

/** Names that the manifest claims. */
export function claimedTools(): string[] {
  const manifest = JSON.parse(readFileSync(MANIFEST, "utf8")) as { contracts?: { tools?: string[] } };
  return manifest.contracts?.tools ?? [];
}

export function registerTools(api: PluginApi, bridge: Bridge, calls: Calls): void {
  const claimed = claimedTools();
  if (claimed.length === 0) return;
  api.registerTool((context) => {
    bridge.start();
    return bridge.tools.filter(({ name }) => claimed.includes(name)).map((tool) => served(tool, bridge, calls, context));
  });
}

function served(tool: ServedTool, bridge: Bridge, calls: Calls, context: ToolFactoryContext): Tool {
  return {
    name: tool.name,
    label: tool.displayName ?? tool.name,
    description: tool.description,
    parameters: tool.inputSchema,
    ...(bridge.config.directTools ? { catalogMode: "direct-only" as const } : {}),
    getExecutionTimeoutMs: () => tool.timeoutMs,
    async execute(callId, params, signal, onUpdate) {
      const admitted = calls.admitted.take(callId);
      const approved = admitted?.approval === undefined ? undefined : await admitted.approval;
      if (approved !== undefined && !approved.allowed) throw new Error(approved.reason ?? "the approval was not given");
      const key = context.sessionKey;
      const session = admitted?.subject.session ?? (key ? { key, id: context.sessionId, agentId: context.agentId } : undefined);
      const call = { tool: tool.name, arguments: (plain(isFields(params) ? params : {}) as JsonObject), decision: admitted?.decision ?? approved?.decision, session, run: admitted?.subject.run, toolCallId: callId, signal };
      for await (const news of bridge.runtime.invokeTool(call)) {
        if (news.result !== undefined) return answerOf(tool, news.result);
        onUpdate?.(progressOf(news.progress));
      }
      throw new Error(`${tool.pluginId} gave no result`);
    },
  };
}

function progressOf({ done, total, message }: { done: number; total?: number; message?: string }): ToolAnswer {
  const share = total ? `${Math.floor((100 * done) / total)} %` : `${done}`;
  const line = message ? `${message} (${share})` : share;
  return { content: [{ type: "text", text: line }], details: { progress: { done, total } }, progress: { text: line } };
}

/** OpenClaw has no mark for a result that is an error: a tool that fails throws, and the model sees the message. */
export function answerOf(tool: Pick<ServedTool, "pluginId" | "name">, result: ToolResult): ToolAnswer {
  const content = result.content.map(contentOf);
  if (content.length === 0 && result.structured !== undefined) content.push({ type: "text", text: JSON.stringify(result.structured) });
  if (result.isError) throw new Error(content.map(({ text }) => text ?? "").join("\n") || `${tool.name} failed`);
  // Under a key of its own: OpenClaw reads `status`, `ok`, `error` and others at the top as how the call went.
  return { content, details: { plugin: tool.pluginId, value: result.structured ?? null } };
}

function contentOf(part: ToolResult["content"][number]): ToolContent {
  switch (part.type) {
    case "text":
      return { type: "text", text: part.text };
    case "json":
      return { type: "text", text: JSON.stringify(part.value) };
    case "image":
      return { type: "image", data: Buffer.from(part.data).toString("base64"), mimeType: part.mediaType };
    default:
      return { type: "text", text: `[file ${part.fileName} at ${part.stagedPath}, ${part.sizeBytes} bytes]` };
  }
}
