/** The key of a runtime: one line `RUNTIME_ID:SECRET` of a file that others cannot read. */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** A key file cannot be used. The message names the file and never its content. */
export class KeyError extends Error {
  override name = "KeyError";
}

/** Longest file that is read, in bytes. */
const LONGEST = 256;
const LINE = /^[a-z0-9_-]+:[0-9a-f]{64}\n?$/;

/** Reads a key file; its line as it travels with every call. */
export function readKey(path: string): string {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    throw new KeyError(`read the key \`${path}\`: ${why(error)}`);
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw new KeyError(`use the key \`${path}\`: it is no file`);
    if ((status.mode & 0o007) !== 0) {
      const mode = (status.mode & 0o7777).toString(8).padStart(4, "0");
      throw new KeyError(
        `use the key \`${path}\`: others can read or write it (mode ${mode}); make a new one, as this one may be known`,
      );
    }
    const bytes = Buffer.alloc(LONGEST + 1);
    const text = bytes.toString("latin1", 0, readSync(file, bytes));
    if (!LINE.test(text))
      throw new KeyError(`use the key \`${path}\`: it is not a file with one line \`HOLDER:SECRET\``);
    return text.trimEnd();
  } catch (error) {
    throw error instanceof KeyError ? error : new KeyError(`read the key \`${path}\`: ${why(error)}`);
  } finally {
    closeSync(file);
  }
}

function why(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "there is no such file; has the supervisor ever started with this state directory?";
    case "EACCES":
    case "EPERM":
      return "permission denied; only the supervisor's user may, and a group that was given it";
    default:
      return String((error as Error).message ?? error);
  }
}
