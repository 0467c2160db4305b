// The part of OpenClaw's plugin API that the bridge uses, in structural types of our own: the package that has the
// real ones weighs 850 MB, and the scenarios run against it anyway. As of OpenClaw 2026.9.

/** Any JSON object; what OpenClaw gives as event or context may hold functions besides. */
export type Fields = Record<string, unknown>;

export interface Logger {
  debug?(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export interface HookOptions {
  /** Higher ones are asked first. */
  priority?: number;
  timeoutMs?: number;
  registrationId?: string;
}

/** How a person answered, as OpenClaw tells it. */
export type ApprovalResolution = "allow-once" | "allow-always" | "deny" | "timeout" | "cancelled";

export interface RequireApproval {
  title: string;
  description: string;
  severity?: "info" | "warning" | "critical";
  timeoutMs?: number;
  allowedDecisions?: ("allow-once" | "allow-always" | "deny")[];
  pluginId?: string;
  onResolution?(resolution: ApprovalResolution): void | Promise<void>;
}

/** What `before_tool_call` and a trusted tool policy may answer. Nothing: no opinion. */
export interface ToolCallAnswer {
  params?: Fields;
  block?: boolean;
  blockReason?: string;
  requireApproval?: RequireApproval;
}

export interface ToolContent {
  type: "text" | "image";
  text?: string;
  data?: string;
  mimeType?: string;
}

export interface ToolAnswer {
  content: ToolContent[];
  details: unknown;
  progress?: unknown;
}

export interface Tool {
  name: string;
  label: string;
  description: string;
  parameters: unknown;
  /** `direct-only` keeps it in front of the model instead of behind OpenClaw's tool search. */
  catalogMode?: "direct-only";
  getExecutionTimeoutMs?(args: unknown): number | undefined;
  execute(callId: string, params: unknown, signal?: AbortSignal, onUpdate?: (partial: ToolAnswer) => void): Promise<ToolAnswer>;
}

export interface ToolFactoryContext {
  agentId?: string;
  sessionKey?: string;
  sessionId?: string;
}

export interface AgentEvent {
  runId: string;
  seq: number;
  stream: string;
  ts: number;
  data: Fields;
  sessionKey?: string;
  sessionId?: string;
  agentId?: string;
}

export interface PluginApi {
  id: string;
  version?: string;
  registrationMode?: string;
  pluginConfig?: Fields;
  runtime?: { version?: string };
  logger: Logger;
  on(hook: string, handler: (event: Fields, context: Fields) => unknown, options?: HookOptions): void;
  registerTool(factory: (context: ToolFactoryContext) => Tool[] | null): void;
  registerTrustedToolPolicy?(policy: {
    id: string;
    description: string;
    evaluate(event: Fields, context: Fields): Promise<ToolCallAnswer | undefined>;
  }): void;
  agent?: {
    events?: {
      registerAgentEventSubscription(subscription: { id: string; description?: string; handle(event: AgentEvent): void | Promise<void> }): void;
    };
  };
  lifecycle?: {
    onDispose?(dispose: () => void | Promise<void>): () => void;
  };
}
