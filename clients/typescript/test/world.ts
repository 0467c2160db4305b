/** A real supervisor with real plugins, in a directory of its own. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

import { Runtime, type RuntimeOptions } from "../src/index.js";
import { CLIENTS } from "./cases.js";
import { until } from "./fake.js";

const REPOSITORY = resolve(CLIENTS, "..");
/** The program under test, and beside it the plugins of the fixtures. */
const BIN = resolve(process.env.OUTRIGGER_BIN ?? join(REPOSITORY, "target/debug/outrigger"));
const PROGRAMS = resolve(BIN, "..");
/** Manifests and scripts of the fixtures. */
const FIXTURES = resolve(process.env.OUTRIGGER_FIXTURES ?? join(REPOSITORY, "sdk-fixtures"));
/** A Python environment with stock stubs: `venv/` and `stubs/`. */
const PYTHON = resolve(process.env.OUTRIGGER_PYTHON ?? join(REPOSITORY, "target/python"));

/** A plugin of the operator's file. */
export interface Plugin {
  id: string;
  /** Made into the package directory. */
  write: (directory: string) => void;
  tier?: string;
  config?: string;
  /** Further lines of the entry. */
  lines?: string;
}

/** A fixture with a program of the build. */
export function fixture(id: string, more: Partial<Plugin> = {}): Plugin {
  return {
    id,
    write: (directory) => {
      cpSync(join(FIXTURES, "plugins", id), directory, { recursive: true });
      manifest(directory, "command", JSON.stringify([join(PROGRAMS, id)]));
    },
    ...more,
  };
}

/** The plugin that misbehaves, as a guard of the tool that is its id. */
export function misbehave(id: string, ...fault: string[]): Plugin {
  return {
    id,
    write: (directory) => {
      cpSync(join(FIXTURES, "plugins/misbehave"), directory, { recursive: true });
      manifest(directory, "id", JSON.stringify(id));
      manifest(directory, "tools", JSON.stringify([id]));
      manifest(directory, "command", JSON.stringify([join(PROGRAMS, "misbehave"), "--tool", id, ...fault]));
    },
  };
}

/** The plugin that writes down every event it reads. */
export function eventReader(): Plugin {
  const lines = [
    'id = "event-reader"',
    'version = "0.1.0"',
    `command = ${JSON.stringify([join(PROGRAMS, "event-reader")])}`,
    'connect = "absolute"',
    'scopes = ["events.read", "hooks.conversation"]',
  ];
  const write = (directory: string): void => {
    mkdirSync(directory);
    writeFileSync(join(directory, "plugin.toml"), lines.join("\n"));
  };
  return { id: "event-reader", write, tier: "trusted" };
}

/** A plugin from stock Python stubs: of the fixtures, or of the clients'. */
export function python(id: string, script: string, from: string, more: Partial<Plugin> = {}): Plugin {
  return {
    id,
    write: (directory) => {
      cpSync(from, directory, { recursive: true });
      for (const stock of ["stock_gate.py", "stock_tools.py"])
        cpSync(join(FIXTURES, "python", stock), join(directory, stock));
      cpSync(join(PYTHON, "stubs"), directory, { recursive: true });
      manifest(directory, "command", JSON.stringify([join(PYTHON, "venv/bin/python"), "-B", `{package}/${script}`]));
    },
    ...more,
  };
}

/** The two served tools. */
export const tools = (): Plugin =>
  python("python-tools", "stock_tools.py", join(FIXTURES, "plugins/python-tools"), { tier: "trusted" });
/** The plugin that writes down what it is called with. */
export const recorder = (): Plugin => python("recorder", "recorder.py", join(CLIENTS, "fixtures"), { tier: "trusted" });

function manifest(directory: string, key: string, value: string): void {
  const path = join(directory, "plugin.toml");
  const lines = readFileSync(path, "utf8").split("\n");
  writeFileSync(path, lines.map((line) => (line.startsWith(`${key} = `) ? `${key} = ${value}` : line)).join("\n"));
}

/** Short times, so that a test need not wait; their relations are those of the defaults. */
const TIMES: Record<string, string> = {
  drain: "500ms",
  shutdown: "500ms",
  terminate: "300ms",
  stop_all: "5s",
  cancel_grace: "1500ms",
  ping: "250ms",
  idle_ping: "500ms",
  backoff_first: "40ms",
  backoff_max: "200ms",
};

/** How a plugin stands. */
interface Status {
  plugins: { plugin_id: string; state: string; generation: number }[];
}

export class World {
  readonly directory = mkdtempSync(join(tmpdir(), "orw-"));
  readonly #env: NodeJS.ProcessEnv;
  readonly #runtimes: Runtime[] = [];
  #child: ChildProcess | undefined;

  constructor(plugins: Plugin[]) {
    for (const name of ["run", "state"]) mkdirSync(join(this.directory, name), { mode: 0o700 });
    let config = "[supervisor]\n";
    for (const [key, value] of Object.entries(TIMES)) config += `${key} = "${value}"\n`;
    for (const { id, write, tier, config: settings, lines } of plugins) {
      write(join(this.directory, id));
      config += `\n[[plugin]]\npackage = "${id}"\n`;
      if (tier) config += `tier = "${tier}"\n`;
      if (settings) config += `config = ${settings}\n`;
      config += lines ?? "";
    }
    writeFileSync(join(this.directory, "outrigger.toml"), config);
    this.#env = {
      ...process.env,
      OUTRIGGER_RUNTIME_DIR: join(this.directory, "run"),
      OUTRIGGER_STATE_DIR: join(this.directory, "state"),
      OUTRIGGER_CONFIG: join(this.directory, "outrigger.toml"),
    };
  }

  get socketPath(): string {
    return join(this.directory, "run/runtime.sock");
  }

  get keyPath(): string {
    return join(this.directory, "state/keys/default.key");
  }

  /** A client; closed when the world ends. */
  runtime(options: RuntimeOptions = {}): Runtime {
    const backoff = { minMs: 20, maxMs: 100 };
    const runtime = new Runtime({ socketPath: this.socketPath, keyPath: this.keyPath, backoff, ...options });
    this.#runtimes.push(runtime);
    return runtime;
  }

  /** Starts the supervisor, and does not wait for it. */
  start(): this {
    const log = join(this.directory, "log");
    const child = spawn("/bin/sh", ["-c", 'exec "$0" run >>"$1" 2>&1', BIN, log], { env: this.#env, stdio: "ignore" });
    this.#child = child;
    return this;
  }

  /** Waits until all plugins serve. */
  async ready(): Promise<this> {
    await until("all plugins are ready", async () => {
      if (this.#child?.exitCode !== null) throw new Error(`the supervisor ended: ${this.log()}`);
      const status = await this.outrigger<Status>("status").catch(() => undefined);
      return status?.plugins.every(({ state }) => state === "ready") ?? false;
    });
    return this;
  }

  /** What the supervisor wrote. */
  log(): string {
    const path = join(this.directory, "log");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** Kills the supervisor and waits for its end. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once("exit", done));
    child.kill(signal);
    await gone;
  }

  /** What the operator's command says, as JSON. */
  async outrigger<T>(...args: string[]): Promise<T> {
    const { stdout } = await promisify(execFile)(BIN, [...args, "--json"], { env: this.#env, timeout: 60_000 });
    return JSON.parse(stdout) as T;
  }

  /** Calls of each handler, as the supervisor counts them. */
  async handlerCalls(): Promise<Record<string, number>> {
    type Handlers = { handlers: { plugin_id: string; handler_id: string; calls: number }[] };
    const { handlers } = await this.outrigger<Handlers>("hooks");
    return Object.fromEntries(
      handlers.map(({ plugin_id, handler_id, calls }) => [`${plugin_id}/${handler_id}`, calls]),
    );
  }

  /** Lines of a file in a plugin's data directory, each JSON. */
  lines<T>(plugin: string, file: string): T[] {
    const path = join(this.directory, "state/data", plugin, file);
    if (!existsSync(path)) return [];
    // The last may be half written.
    return readFileSync(path, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as T);
  }

  /** Ends everything. */
  async end(): Promise<void> {
    await Promise.all(this.#runtimes.map((runtime) => runtime.close({ timeoutMs: 0 })));
    await this.kill("SIGTERM");
    // What a killed supervisor leaves is closed to everybody but root.
    const run = join(this.directory, "run");
    for (const name of readdirSync(run, { recursive: true, withFileTypes: true })) {
      if (name.isDirectory()) chmodSync(join(name.parentPath, name.name), 0o700);
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
