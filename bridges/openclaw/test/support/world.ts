// What a scenario has: a directory, the model, a supervisor with plugins, OpenClaw, and a transcript to write into.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Model } from "./model.js";
import { type Gateway, freePort, OpenClaw, type Settings, type Turn } from "./openclaw.js";
import { BUILT, NODE, OPENCLAW, PYTHON, ROOT } from "./places.js";
import { type Plugin, Supervisor } from "./supervisor.js";

export interface Scenario {
  name: string;
  title: string;
  /** What is shown, in a sentence or two. */
  about: string;
  run(world: World): Promise<void>;
}

/** What is a path of one machine in one place is `…` in the transcript. */
const PLACES = [OPENCLAW, NODE, BUILT, PYTHON, ROOT];

export class World {
  readonly directory = mkdtempSync("/tmp/oc-");
  readonly lines: string[] = [];
  readonly #ends: (() => Promise<unknown>)[] = [];

  constructor(readonly model: Model) {}

  /** Something done or seen, for the transcript. */
  note(line: string): void {
    let told = line.replaceAll(this.directory, "DIR");
    for (const place of PLACES) told = told.replaceAll(place, "…");
    this.lines.push(told);
  }

  /** Called when the scenario is over, the last one first. */
  atEnd(end: () => Promise<unknown>): void {
    this.#ends.push(end);
  }

  /** A supervisor, started unless told otherwise. */
  async supervisor(plugins: Plugin[], { started = true, settings = "" } = {}): Promise<Supervisor> {
    const supervisor = new Supervisor(join(this.directory, "o"), plugins, settings);
    this.atEnd(() => supervisor.stop());
    if (started) await supervisor.start();
    this.note(`supervisor ${started ? "started" : "not started yet"}, plugins: ${plugins.map(({ id }) => id).join(", ") || "none"}`);
    return supervisor;
  }

  /** OpenClaw with the bridge to the supervisor, or without one. */
  openclaw(supervisor: Supervisor | undefined, { name = "c", ...more }: Partial<Settings> & { name?: string } = {}): OpenClaw {
    const bridge = supervisor && { socket: supervisor.socket, keyFile: supervisor.keyFile, ...more.bridge };
    const directory = join(this.directory, name);
    return new OpenClaw(directory, { ...more, modelPort: this.model.port, bridge });
  }

  async gateway(supervisor: Supervisor | undefined, more: Partial<Settings> = {}): Promise<{ openclaw: OpenClaw; gateway: Gateway }> {
    const openclaw = this.openclaw(supervisor, { ...more, gatewayPort: await freePort() });
    const gateway = await openclaw.gateway();
    this.atEnd(() => gateway.stop());
    this.note("openclaw gateway started");
    return { openclaw, gateway };
  }

  /** A turn of the embedded runner, told. */
  async turn(openclaw: OpenClaw, message: string): Promise<Turn> {
    const turn = await openclaw.turn(message);
    this.told(message, turn);
    return turn;
  }

  told(message: string, turn: Turn): void {
    this.note(`$ openclaw agent --local --message "${message}" --json   → status ${turn.code ?? turn.signal}, answer: ${turn.text}`);
  }

  /** What the supervisor counted, told. */
  async counted(supervisor: Supervisor, hook?: string): Promise<void> {
    for (const it of await supervisor.handlers()) {
      if (hook !== undefined && it.hook !== hook) continue;
      const outcomes = Object.entries(it.outcomes).map(([name, number]) => `${name} ${number}`);
      this.note(`supervisor counted: ${it.hook} of ${it.plugin_id}: ${it.calls} calls${outcomes.length > 0 ? ` (${outcomes.join(", ")})` : ""}`);
    }
  }

  async end(): Promise<void> {
    for (const end of this.#ends.reverse()) await end().catch(() => {});
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
