// A supervisor of the scenario's own, its plugins, and what it counted.
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Runtime } from "outrigger-runtime";
import { BRIDGE, BUILT, PYTHON, ROOT, STUBS } from "./places.js";
import { type Running, run, start } from "./processes.js";
import { until } from "./wait.js";

/** A plugin and the operator's entry for it. */
export interface Plugin {
  id: string;
  /** Writes the package. */
  write(directory: string): void;
  /** TOML that follows `package = …` in its entry. */
  entry?: string;
}

/** What the supervisor counted of one handler. */
export interface Handler {
  plugin_id: string;
  hook: string;
  handler_id: string;
  calls: number;
  outcomes: Record<string, number>;
  tools: string[];
}

const toml = (value: unknown): string => JSON.stringify(value);

/** A plugin of this directory in Python, made of stock stubs; `manifest` is what follows id and command. */
export function pythonPlugin(id: string, script: string, manifest: string, options: { args?: string[]; entry?: string } = {}): Plugin {
  return {
    id,
    ...(options.entry === undefined ? {} : { entry: options.entry }),
    write(directory) {
      mkdirSync(directory, { recursive: true });
      copyFileSync(join(BRIDGE, "test/plugins", script), join(directory, script));
      pythonParts(directory);
      const command = toml([PYTHON, "-B", `{package}/${script}`, ...(options.args ?? [])]);
      writeFileSync(join(directory, "plugin.toml"), `id = ${toml(id)}\nversion = "0.1.0"\ncommand = ${command}\nconnect = "relative"\n${manifest}`);
    },
  };
}

/** A Python plugin of the fixtures, as it is. */
export function stockPlugin(id: string, fixture: string, script: string, entry?: string): Plugin {
  return {
    id,
    ...(entry === undefined ? {} : { entry }),
    write(directory) {
      cpSync(join(ROOT, "sdk-fixtures/plugins", fixture), directory, { recursive: true });
      copyFileSync(join(ROOT, "sdk-fixtures/python", script), join(directory, script));
      pythonParts(directory);
      const file = join(directory, "plugin.toml");
      writeFileSync(file, readFileSync(file, "utf8").replace('"python3"', toml(PYTHON)));
    },
  };
}

function pythonParts(directory: string): void {
  copyFileSync(join(ROOT, "sdk-fixtures/python/stock_gate.py"), join(directory, "stock_gate.py"));
  cpSync(join(STUBS, "outrigger"), join(directory, "outrigger"), { recursive: true });
}

/** A plugin of the fixtures in Rust, as it is. */
export function builtPlugin(id: string, entry?: string): Plugin {
  return {
    id,
    ...(entry === undefined ? {} : { entry }),
    write(directory) {
      cpSync(join(ROOT, "sdk-fixtures/plugins", id), directory, { recursive: true });
      copyFileSync(join(BUILT, id), join(directory, id));
    },
  };
}

export class Supervisor {
  readonly #environment: NodeJS.ProcessEnv;
  #running: Running | undefined;

  /** `directory` must be short: the addresses of sockets are bounded. */
  constructor(
    readonly directory: string,
    plugins: Plugin[],
    settings = "",
  ) {
    mkdirSync(join(directory, "p"), { recursive: true });
    let text = `[supervisor]\ncancel_grace = "1s"\nbackoff_first = "100ms"\nbackoff_max = "500ms"\n${settings}\n`;
    for (const plugin of plugins) {
      plugin.write(join(directory, "p", plugin.id));
      text += `[[plugin]]\npackage = ${toml(`p/${plugin.id}`)}\n${plugin.entry ?? ""}\n`;
    }
    writeFileSync(join(directory, "outrigger.toml"), text, { mode: 0o600 });
    this.#environment = {
      PATH: process.env["PATH"],
      OUTRIGGER_RUNTIME_DIR: join(directory, "r"),
      OUTRIGGER_STATE_DIR: join(directory, "s"),
      OUTRIGGER_CONFIG: join(directory, "outrigger.toml"),
    };
    this.plugins = plugins.map(({ id }) => id);
  }

  readonly plugins: string[];

  get socket(): string {
    return join(this.directory, "r/runtime.sock");
  }

  get keyFile(): string {
    return join(this.directory, "s/keys/default.key");
  }

  /** A runtime of the same key, as another process would have it. */
  runtime(): Runtime {
    return new Runtime({ socketPath: this.socket, keyPath: this.keyFile, software: "scenario" });
  }

  get log(): string {
    return this.#running?.stderr ?? "";
  }

  get pid(): number {
    return this.#running?.pid ?? -1;
  }

  /** Starts it and waits until its plugins are ready, or those that are named. */
  async start(ready: string[] = this.plugins): Promise<void> {
    this.#running = start(join(BUILT, "outrigger"), ["run"], { env: this.#environment, cwd: this.directory });
    await until("the supervisor's plugins are ready", async () => {
      if (this.#running?.isOver) throw new Error(`the supervisor ended:\n${this.log}`);
      const states = await this.states().catch(() => undefined);
      return states !== undefined && ready.every((id) => states[id] === "ready");
    });
  }

  /** SIGKILL, to the supervisor alone: its keepers end the plugins. */
  async kill(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    process.kill(running.pid, "SIGKILL");
    await running.ended;
    this.#running = undefined;
  }

  /** In order. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined || running.isOver) return;
    process.kill(running.pid, "SIGTERM");
    const timer = setTimeout(() => running.kill(), 20_000);
    await running.ended;
    clearTimeout(timer);
    this.#running = undefined;
  }

  /** One of `outrigger`'s commands with `--json`. */
  async ask(...args: string[]): Promise<any> {
    const ended = await run(join(BUILT, "outrigger"), [...args, "--json"], { env: this.#environment }, 20_000);
    if (ended.code !== 0) throw new Error(`outrigger ${args.join(" ")}: ${ended.stderr || ended.stdout}`);
    return JSON.parse(ended.stdout);
  }

  /** One that prints a line for each thing. */
  async lines(...args: string[]): Promise<any[]> {
    const ended = await run(join(BUILT, "outrigger"), [...args, "--json"], { env: this.#environment }, 20_000);
    if (ended.code !== 0) throw new Error(`outrigger ${args.join(" ")}: ${ended.stderr || ended.stdout}`);
    return ended.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }

  /** Has the bridge in a folder claim all tools that are served, as an operator would. */
  async claimTools(bridge: string): Promise<string> {
    const environment = { ...this.#environment, OUTRIGGER: join(BUILT, "outrigger") };
    const ended = await run(process.execPath, [join(bridge, "dist/claim-tools.js")], { env: environment }, 20_000);
    if (ended.code !== 0) throw new Error(ended.stderr);
    return ended.stdout.trim();
  }

  async states(): Promise<Record<string, string>> {
    const { plugins } = await this.ask("status");
    return Object.fromEntries(plugins.map((plugin: any) => [plugin.plugin_id, plugin.state]));
  }

  async handlers(): Promise<Handler[]> {
    return (await this.ask("hooks")).handlers;
  }

  /** Calls of one handler, by hook. */
  async calls(hook: string, plugin?: string): Promise<number> {
    const handlers = await this.handlers();
    return handlers.filter((it) => it.hook === hook && (plugin === undefined || it.plugin_id === plugin)).reduce((sum, { calls }) => sum + calls, 0);
  }

  /** How the calls of a hook ended. */
  async outcomes(hook: string, plugin: string): Promise<Record<string, number>> {
    const handlers = await this.handlers();
    return handlers.find((it) => it.hook === hook && it.plugin_id === plugin)?.outcomes ?? {};
  }
}

