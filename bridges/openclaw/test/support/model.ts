// A stand-in for a model on loopback: the OpenAI chat-completions stream, with answers from a script. It sees the whole
// conversation in each request, so the next step follows from the tool results after the last message with a marker.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Message {
  role: string;
  content: unknown;
}

/** What the model does at one point of a turn. */
export type Step = { tool: string; args: unknown } | { say: string | ((results: string[]) => string) };

/** A turn: its steps in order. After the last one it answers with the results of its tools. */
export type Script = Step[];

/** One request as it came. */
export interface Asked {
  scenario: string;
  step: number;
  messages: Message[];
  toolNames: string[];
  atMs: number;
}

const MARKER = /scenario:([a-z0-9-]+)/g;

/** The text of a message, whatever form it has. */
export function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part?.text === "string" ? part.text : "")).join("");
}

export class Model {
  readonly asked: Asked[] = [];
  readonly #scripts = new Map<string, Script>();
  readonly #server: Server;
  #calls = 0;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<Model> {
    const model = new Model();
    await new Promise<void>((done) => model.#server.listen(0, "127.0.0.1", done));
    return model;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** What it does in turns whose message holds `scenario:NAME`. */
  script(name: string, steps: Script): void {
    this.#scripts.set(name, steps);
  }

  /** The requests of a scenario. */
  of(name: string): Asked[] {
    return this.asked.filter(({ scenario }) => scenario === name);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.method === "GET") {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ object: "list", data: [{ id: "fake", object: "model" }] }));
      return;
    }
    const body = JSON.parse(Buffer.concat(chunks).toString()) as { messages: Message[]; tools?: { function?: { name?: string } }[] };
    const { scenario, results } = situation(body.messages);
    const script = this.#scripts.get(scenario) ?? [];
    const toolNames = (body.tools ?? []).flatMap((tool) => tool.function?.name ?? []);
    this.asked.push({ scenario, step: results.length, messages: body.messages, toolNames, atMs: performance.now() });
    response.writeHead(200, { "content-type": "text/event-stream" });
    this.#answer(response, script[results.length] ?? { say: (all) => `RESULTS ${JSON.stringify(all)}` }, results);
  }

  #answer(response: ServerResponse, step: Step, results: string[]): void {
    const send = (delta: unknown, finish: string | null = null) => {
      const chunk = { id: "fake", object: "chat.completion.chunk", created: 1, model: "fake", choices: [{ index: 0, delta, finish_reason: finish }] };
      response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    };
    if ("tool" in step) {
      const call = { name: step.tool, arguments: JSON.stringify(step.args) };
      this.#calls += 1;
      send({ role: "assistant", tool_calls: [{ index: 0, id: `call_${this.#calls}`, type: "function", function: call }] });
      send({}, "tool_calls");
    } else {
      send({ role: "assistant", content: typeof step.say === "string" ? step.say : step.say(results) });
      send({}, "stop");
    }
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    response.write(`data: ${JSON.stringify({ id: "fake", object: "chat.completion.chunk", created: 1, model: "fake", choices: [], usage })}\n\n`);
    response.end("data: [DONE]\n\n");
  }
}

/** OpenClaw adds user messages of its own, so the marker is looked for in all of them and the last one counts. */
function situation(messages: Message[]): { scenario: string; results: string[] } {
  let scenario = "";
  let at = -1;
  messages.forEach((message, index) => {
    if (message.role !== "user") return;
    for (const [, name] of textOf(message.content).matchAll(MARKER)) [scenario, at] = [name ?? "", index];
  });
  const results = messages.slice(at + 1).filter(({ role }) => role === "tool");
  return { scenario, results: results.map(({ content }) => textOf(content)) };
}
