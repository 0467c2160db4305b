// Child processes of a scenario: output kept, a limit for each, nothing left behind.
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { limit } from "./wait.js";

/** How a program ended. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  durationMs: number;
}

/** Most output that is kept of one stream, in characters; the end of it counts. */
const KEPT = 4_000_000;

export class Running {
  readonly ended: Promise<Ended>;
  stdout = "";
  stderr = "";
  /** Most memory that was seen, in bytes. */
  peakRss = 0;
  isOver = false;

  constructor(readonly child: ChildProcess) {
    const began = performance.now();
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.stdout = (this.stdout + text).slice(-KEPT)));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr = (this.stderr + text).slice(-KEPT)));
    this.ended = new Promise((done, failed) => {
      child.on("error", failed);
      child.on("close", (code, signal) => {
        this.isOver = true;
        done({ code, signal, stdout: this.stdout, stderr: this.stderr, durationMs: performance.now() - began });
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Ends it and what it started, at once. */
  kill(): void {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {
      // It is gone already.
    }
  }
}

/** Starts a program as the head of a process group of its own. */
export function start(command: string, args: string[], options: SpawnOptions): Running {
  return new Running(spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options, detached: true }));
}

/** Runs a program to its end, or kills it once the limit is over. */
export async function run(command: string, args: string[], options: SpawnOptions, limitMs: number): Promise<Ended> {
  const running = start(command, args, options);
  const stop = limit(limitMs, () => running.kill());
  try {
    return await running.ended;
  } finally {
    stop();
  }
}
