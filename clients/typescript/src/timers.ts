/** Timers and waits that end with what they belong to. */

/** Starts a timer; with `unref` it does not keep the process alive. */
export function startTimer(ms: number, unref: boolean, then: () => void): NodeJS.Timeout {
  const timer = setTimeout(then, ms);
  if (unref) timer.unref();
  return timer;
}

/** Waits until `check` holds, looked at whenever `Changes` says so, at most `ms`. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Something changed. */
  notify(): void {
    for (const look of [...this.#waiting]) look();
  }

  /** Whether `check` came true in time. Keeps the process alive while it waits. */
  until(check: () => boolean, ms: number, signal?: AbortSignal): Promise<boolean> {
    if (check()) return Promise.resolve(true);
    if (ms <= 0 || signal?.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        signal?.removeEventListener("abort", end);
        resolve(check());
      };
      const look = (): void => {
        if (check()) end();
      };
      const timer = setTimeout(end, ms);
      this.#waiting.add(look);
      signal?.addEventListener("abort", end, { once: true });
    });
  }
}
