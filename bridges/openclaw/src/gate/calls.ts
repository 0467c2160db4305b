// Tool calls between their decision and their execution. Bounded: what is forgotten is asked about again, or refused.
import type { Decision } from "outrigger-runtime";
import type { Fields } from "../openclaw.js";
import type { Subject } from "../subject.js";

/** How an approval ended, as the supervisor took it. */
export interface Settled {
  allowed: boolean;
  decision?: Decision;
  reason?: string;
}

/** A call that the plugins let pass, or let a person decide. */
export interface Decided {
  params: Fields;
  decision?: Decision;
  /** A person was asked; set, it resolves once the supervisor has taken the answer. */
  approval?: Promise<Settled>;
}

/** What a served tool needs to know of its call. */
export interface Admitted {
  subject: Subject;
  decision?: Decision;
  approval?: Promise<Settled>;
}

/** Most calls that are remembered of each kind. */
const MOST = 1_024;

/** A map that forgets its oldest entries. */
class Bounded<V> {
  readonly #entries = new Map<string, V>();

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size > MOST) this.#entries.delete(this.#entries.keys().next().value as string);
  }

  take(key: string): V | undefined {
    const value = this.#entries.get(key);
    this.#entries.delete(key);
    return value;
  }
}

export class Calls {
  /** Decided on by the policy and not confirmed yet. */
  readonly decided = new Bounded<Decided>();
  /** Calls of served tools that may be carried out. */
  readonly admitted = new Bounded<Admitted>();
}

/** A call's key: ids of calls are unique within a run. */
export const callKey = (runId: string | undefined, callId: string): string => `${runId ?? ""}\n${callId}`;
