// One misbehaving piece of code for both places: a plugin in OpenClaw's process, and one behind the bridge. A command
// that holds `fault:NAME` makes it strike, once for each call.

/** What a leak keeps. */
const kept = [];

/** How long the loop is blocked, in ms. */
export const BLOCK_MS = 5_000;
/** Kept by each leak, in bytes. */
export const LEAK_BYTES = 256 * 1024 * 1024;

export const FAULTS = ["throw", "hang", "block", "leak"];

/** Misbehaves as the command says. The promise is what the guard waits for. */
export async function strike(command) {
  switch (/fault:([a-z]+)/.exec(command)?.[1]) {
    case "throw":
      setTimeout(() => {
        throw new Error("thrown in a timer");
      }, 0);
      // The error comes while the guard works on something else.
      await new Promise((done) => setTimeout(done, 50));
      return;
    case "hang":
      await new Promise(() => {});
      return;
    case "block": {
      const end = Date.now() + BLOCK_MS;
      while (Date.now() < end);
      return;
    }
    case "leak":
      kept.push(Buffer.alloc(LEAK_BYTES, 1));
      return;
    default:
  }
}
