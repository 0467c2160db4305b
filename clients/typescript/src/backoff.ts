/** How long to wait before the next attempt. */

/** Bounds of the wait. */
export interface Backoff {
  /** The first wait, in ms. */
  minMs: number;
  /** The longest, in ms. */
  maxMs: number;
}

/**
 * The wait before attempt `failures` (from 1): doubling from `minMs` to `maxMs`, of which the upper half is left to
 * chance, so that many clients do not come back at once.
 */
export function backoffMs(backoff: Backoff, failures: number, random = Math.random()): number {
  const full = Math.min(backoff.maxMs, backoff.minMs * 2 ** Math.min(Math.max(failures, 1) - 1, 30));
  return full / 2 + (full / 2) * random;
}
