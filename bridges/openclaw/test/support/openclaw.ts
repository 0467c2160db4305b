// The real OpenClaw, in a state directory of its own: single turns of the embedded runner, and a gateway for several.
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { cpSync, readFileSync } from "node:fs";
import { BRIDGE, NODE, OPENCLAW, OPENCLAW_CLI } from "./places.js";
import { type Ended, type Running, run, start } from "./processes.js";
import { limit, until } from "./wait.js";

/** Longest time for one turn, its start included: some 10 s on two free cores. */
const TURN_MS = 120_000;

export interface Settings {
  modelPort: number;
  /** `plugins.entries.outrigger.config`; absent: the bridge is not loaded. */
  bridge?: Record<string, unknown>;
  /** Further plugins of OpenClaw, by id and folder. */
  plugins?: Record<string, string>;
  gatewayPort?: number;
  /** `plugins.entries.ID.hooks` beside what every plugin has. */
  hooks?: Record<string, object>;
  /** Served tools that the bridge's manifest claims. */
  tools?: string[];
}

/** What one turn came to. */
export interface Turn extends Ended {
  /** The last answer. */
  text: string;
  json: any;
}

export class OpenClaw {
  readonly environment: NodeJS.ProcessEnv;

  constructor(
    readonly directory: string,
    readonly settings: Settings,
  ) {
    for (const name of ["state", "home", "work"]) mkdirSync(join(directory, name), { recursive: true });
    if (settings.bridge !== undefined) this.#install();
    writeFileSync(join(directory, "openclaw.json"), JSON.stringify(this.#config(), null, 2));
    this.environment = {
      PATH: process.env["PATH"],
      HOME: join(directory, "home"),
      TMPDIR: directory,
      OPENCLAW_LOG_LEVEL: "debug",
      // Else each directory would compile all of OpenClaw once more.
      NODE_COMPILE_CACHE: join(OPENCLAW, "compile-cache"),
      OPENCLAW_STATE_DIR: join(directory, "state"),
      OPENCLAW_CONFIG_PATH: join(directory, "openclaw.json"),
    };
  }

  #config(): unknown {
    const { modelPort, bridge, plugins = {}, gatewayPort } = this.settings;
    const model = { id: "fake", name: "Fake", contextWindow: 128_000, maxTokens: 4_096 };
    const provider = { baseUrl: `http://127.0.0.1:${modelPort}/v1`, apiKey: "ollama-local", api: "openai-completions", models: [model] };
    const folders = { ...(bridge === undefined ? {} : { outrigger: join(this.directory, "bridge") }), ...plugins };
    const hooks = { allowConversationAccess: true };
    const entries = Object.fromEntries(Object.keys(folders).map((id) => [id, { enabled: true, hooks: { ...hooks, ...this.settings.hooks?.[id] }, ...(id === "outrigger" ? { config: bridge } : {}) }]));
    return {
      models: { mode: "merge", providers: { fake: provider } },
      agents: { defaults: { model: { primary: "fake/fake" }, workspace: join(this.directory, "work") } },
      plugins: { load: { paths: Object.values(folders) }, allow: Object.keys(folders), entries },
      tools: { exec: { security: "full", ask: "off" } },
      ...(gatewayPort === undefined
        ? {}
        : { gateway: { mode: "local", port: gatewayPort, bind: "loopback", auth: { mode: "token", token: "scenario" }, http: { endpoints: { chatCompletions: { enabled: true } } } } }),
    };
  }

  /** The bridge as its package has it, with what its manifest claims. */
  #install(): void {
    const folder = join(this.directory, "bridge");
    for (const name of ["dist", "package.json", "openclaw.plugin.json"]) cpSync(join(BRIDGE, name), join(folder, name), { recursive: true });
    const file = join(folder, "openclaw.plugin.json");
    const manifest = JSON.parse(readFileSync(file, "utf8"));
    manifest.contracts.tools = this.settings.tools ?? [];
    writeFileSync(file, JSON.stringify(manifest));
  }

  /** One turn of the embedded runner. */
  async turn(message: string, session = "agent:main:scenario"): Promise<Turn> {
    return readTurn(await this.cli(["agent", "--local", "--session-key", session, "--message", message, "--json"]));
  }

  /** The same, while it runs. */
  begin(message: string, session = "agent:main:scenario"): { running: Running; turn: Promise<Turn> } {
    const running = start(NODE, [OPENCLAW_CLI, "agent", "--local", "--session-key", session, "--message", message, "--json"], this.#options());
    return { running, turn: running.ended.then(readTurn).finally(limit(TURN_MS, () => running.kill())) };
  }

  cli(args: string[]): Promise<Ended> {
    return run(NODE, [OPENCLAW_CLI, ...args], this.#options(), TURN_MS);
  }

  /** Starts the gateway and waits until it answers. */
  async gateway(): Promise<Gateway> {
    const running = start(NODE, [OPENCLAW_CLI, "gateway", "run"], this.#options());
    const gateway = new Gateway(running, this.settings.gatewayPort ?? 0);
    await until(
      "the gateway answers",
      async () => {
        if (running.isOver) throw new Error(`the gateway ended:\n${running.stdout}\n${running.stderr}`);
        return gateway.answers();
      },
      TURN_MS,
    );
    return gateway;
  }

  #options() {
    return { env: this.environment, cwd: join(this.directory, "work") };
  }
}

/** A gateway; each message is a turn of the same embedded runner in one process. */
export class Gateway {
  constructor(
    readonly running: Running,
    readonly port: number,
  ) {}

  async answers(): Promise<boolean> {
    const response = await fetch(`http://127.0.0.1:${this.port}/v1/models`, { headers: { authorization: "Bearer scenario" } }).catch(() => undefined);
    return response?.ok === true;
  }

  /** One turn. */
  async turn(message: string, session: string): Promise<{ text: string; ms: number }> {
    const began = performance.now();
    const late = new AbortController();
    const stop = limit(TURN_MS, () => late.abort());
    try {
      const response = await fetch(`http://127.0.0.1:${this.port}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: "Bearer scenario", "content-type": "application/json", "x-openclaw-session-key": session, "x-openclaw-message-channel": "webchat" },
        body: JSON.stringify({ model: "openclaw", messages: [{ role: "user", content: message }] }),
        signal: late.signal,
      });
      const body = (await response.json()) as any;
      if (!response.ok) throw new Error(`the gateway answered ${response.status}: ${JSON.stringify(body)}`);
      return { text: body.choices[0].message.content, ms: performance.now() - began };
    } finally {
      stop();
    }
  }

  async stop(): Promise<Ended> {
    const { running } = this;
    if (!running.isOver) process.kill(running.pid, "SIGTERM");
    const timer = setTimeout(() => running.kill(), 20_000);
    const ended = await running.ended;
    clearTimeout(timer);
    return ended;
  }
}

function readTurn(ended: Ended): Turn {
  let json: any;
  try {
    json = JSON.parse(ended.stdout);
  } catch {
    json = undefined;
  }
  const payloads: { text?: string }[] = json?.payloads ?? [];
  return { ...ended, json, text: payloads.map(({ text }) => text ?? "").join("\n") };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === "object" && address !== null ? address.port : 0;
}
