// The runs that go on, told at every attach so that a supervisor that was away does not count them as lost.
import type { LiveRun } from "outrigger-runtime";
import type { Subject } from "./subject.js";

/** Most runs a runtime may name. */
const MOST = 4_096;

export class LiveRuns {
  readonly #live = new Map<string, LiveRun>();
  readonly #ended = new Set<string>();

  /** A hook or event named it. What comes after a run's end does not revive it. */
  seen({ run, session }: Subject): void {
    if (run === undefined || this.#ended.has(run)) return;
    const known = this.#live.get(run);
    if (known !== undefined && (known.session !== undefined || session === undefined)) return;
    if (this.#live.size >= MOST && known === undefined) this.#live.delete(this.#live.keys().next().value as string);
    this.#live.set(run, { runId: run, session });
  }

  ended(runId: string): void {
    this.#live.delete(runId);
    this.#ended.add(runId);
    if (this.#ended.size > MOST) this.#ended.delete(this.#ended.values().next().value as string);
  }

  list(): LiveRun[] {
    return [...this.#live.values()];
  }

  sessionOf(runId: string): LiveRun["session"] {
    return this.#live.get(runId)?.session;
  }
}
