// Waiting for states, each with a limit.

/** Longest wait for one state, where the caller names none. */
export const PATIENCE_MS = 30_000;

/** How often a limit is looked at, and the most that one look counts, in ms. */
const TICK_MS = 100;
const MOST_MS = 1_000;

/** Calls `late` once so much time has passed in which this process could run: a machine that stood still counts for little. */
export function limit(ms: number, late: () => void): () => void {
  let left = ms;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    left -= Math.min(now - last, MOST_MS);
    last = now;
    if (left > 0) return;
    clearInterval(timer);
    late();
  }, TICK_MS);
  return () => clearInterval(timer);
}

/** Looks again and again until `look` finds something; an error names what was waited for. */
export async function until<T>(what: string, look: () => T | undefined | false | Promise<T | undefined | false>, limitMs = PATIENCE_MS): Promise<T> {
  let late = false;
  const stop = limit(limitMs, () => (late = true));
  try {
    for (;;) {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      if (late) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
      await new Promise((done) => setTimeout(done, 25));
    }
  } finally {
    stop();
  }
}

/** The promise, or an error once the limit is over. */
export async function within<T>(what: string, promise: Promise<T>, limitMs: number): Promise<T> {
  let stop = () => {};
  const late = new Promise<never>((_, reject) => {
    stop = limit(limitMs, () => reject(new Error(`took longer than ${limitMs} ms: ${what}`)));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop();
  }
}
