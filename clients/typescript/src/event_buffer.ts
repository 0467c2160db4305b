/** Events on their way: bounded, numbered by run, kept until the supervisor has told that it took them. Pure. */

/** What the buffer knows of an event. */
export interface Buffered<E> {
  readonly event: E;
  readonly runId: string;
  readonly stream: string;
  /** The run ends with it: always published, and never given up for another. */
  readonly terminal: boolean;
  readonly bytes: number;
  /** Position its publisher gave it. `undefined`: it is numbered here. */
  readonly given?: bigint;
  /** Position in the run. `undefined`: not written yet; 0: not numbered. */
  seq?: bigint;
}

/** What became of an event: it waits; nobody wants it; there was no room. */
export type Offered = "queued" | "skipped" | "dropped";

/** Bounds of what waits or is not confirmed. */
export interface EventBufferBounds {
  /** Events. */
  events: number;
  /** Bytes of their data. */
  bytes: number;
}

/** Runs whose positions are counted; events of further ones go without, so that a repetition is not recognised. */
export const MOST_RUNS = 4096;

/** Streams somebody wants. */
export interface WantedStreams {
  readonly allStreams: boolean;
  readonly eventStreams: ReadonlySet<string>;
}

/** The buffer. Events are taken in order, and written again in order with the same position after a break. */
export class EventBuffer<E> {
  readonly #bounds: EventBufferBounds;
  #waiting: Buffered<E>[] = [];
  #written: Buffered<E>[] = [];
  #bytes = 0;
  #writtenBytes = 0;
  readonly #last = new Map<string, bigint>();
  #wanted: WantedStreams | undefined;
  /** What was wanted before a restart of the supervisor, as long as plugins are still starting. */
  #before: WantedStreams | undefined;

  constructor(bounds: EventBufferBounds) {
    this.#bounds = bounds;
  }

  /** Events that wait to be written. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Events written and not confirmed. */
  get written(): number {
    return this.#written.length;
  }

  /** Data of events written and not confirmed, in bytes. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Data of both, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Says what is wanted from now on. As long as nobody has, everything is. While plugins are `starting`, what was wanted
   * before waits: who wanted it may be back in a moment.
   */
  want(wanted: WantedStreams, starting = false): void {
    this.#before = starting ? (this.#before ?? this.#wanted) : undefined;
    this.#wanted = wanted;
  }

  /** Events of the stream are taken in. */
  wants(stream: string): boolean {
    return this.#wanted === undefined || has(this.#wanted, stream) || (!!this.#before && has(this.#before, stream));
  }

  /** Takes an event in. A terminal one that finds no room takes that of the newest other one that waits. */
  offer(event: Buffered<E>, onDropped: () => void = () => {}): Offered {
    if (!event.terminal && !this.wants(event.stream)) return "skipped";
    while (!this.#hasRoom(event)) {
      if (!event.terminal || !this.#dropNewest()) return "dropped";
      onDropped();
    }
    this.#waiting.push(event);
    this.#bytes += event.bytes;
    return "queued";
  }

  /**
   * The next events to write, numbered, of so many bytes; one at least where one may be written. What nobody wants any
   * more is left out; what may be wanted again in a moment is held back, and with it what comes after it in its run.
   */
  take(mostEvents: number, mostBytes: number): Buffered<E>[] {
    const taken: Buffered<E>[] = [];
    const held: Buffered<E>[] = [];
    const heldRuns = new Set<string>();
    let bytes = 0;
    let passed = 0;
    for (const event of this.#waiting) {
      if (taken.length >= mostEvents || (taken.length > 0 && bytes + event.bytes > mostBytes)) break;
      passed += 1;
      // One that was written before keeps its place: leaving it out would leave a gap.
      if (event.seq === undefined) {
        const unwanted = !event.terminal && this.#wanted !== undefined && !has(this.#wanted, event.stream);
        if (heldRuns.has(event.runId) || (unwanted && this.wants(event.stream))) {
          heldRuns.add(event.runId);
          held.push(event);
          continue;
        }
        if (unwanted) {
          this.#bytes -= event.bytes;
          continue;
        }
      }
      event.seq ??= event.given ?? this.#number(event.runId);
      bytes += event.bytes;
      taken.push(event);
    }
    this.#waiting.splice(0, passed, ...held);
    this.#written.push(...taken);
    this.#writtenBytes += bytes;
    return taken;
  }

  /** The first so many that were written have been taken; all, where no number is given. */
  confirm(count = this.#written.length): void {
    for (const event of this.#written.splice(0, count)) {
      this.#bytes -= event.bytes;
      this.#writtenBytes -= event.bytes;
      if (event.terminal) this.#last.delete(event.runId);
    }
  }

  /** What was written may be lost: it is written again, first and with the same positions. */
  restore(): void {
    this.#waiting.unshift(...this.#written);
    this.#written = [];
    this.#writtenBytes = 0;
  }

  /** A run has ended: its positions are counted no more. */
  forget(runId: string): void {
    this.#last.delete(runId);
  }

  /** Whether an event of the run waits or is not confirmed. */
  holds(runId: string): boolean {
    const of = (event: Buffered<E>): boolean => event.runId === runId;
    return this.#waiting.some(of) || this.#written.some(of);
  }

  #hasRoom({ bytes }: Buffered<E>): boolean {
    const count = this.#waiting.length + this.#written.length;
    return count < this.#bounds.events && this.#bytes + bytes <= this.#bounds.bytes;
  }

  /** Gives up the newest event that was never written and ends no run. */
  #dropNewest(): boolean {
    const index = this.#waiting.findLastIndex((event) => !event.terminal && event.seq === undefined);
    if (index < 0) return false;
    const [dropped] = this.#waiting.splice(index, 1);
    this.#bytes -= dropped?.bytes ?? 0;
    return true;
  }

  #number(runId: string): bigint {
    const last = this.#last.get(runId);
    if (last === undefined && this.#last.size >= MOST_RUNS) return 0n;
    const next = (last ?? 0n) + 1n;
    this.#last.set(runId, next);
    return next;
  }
}

const has = ({ allStreams, eventStreams }: WantedStreams, stream: string): boolean =>
  allStreams || eventStreams.has(stream);
