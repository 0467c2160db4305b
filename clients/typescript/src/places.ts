/** Where socket and key lie: looked up in the order of the `outrigger` command. */

import { isAbsolute, join } from "node:path";

/** A place cannot be told. */
export class PlaceError extends Error {
  override name = "PlaceError";
}

type Env = Readonly<Record<string, string | undefined>>;

const named = (env: Env, variable: string): string | undefined => {
  const path = env[variable] || undefined;
  if (path !== undefined && !isAbsolute(path)) throw new PlaceError(`use ${variable}: \`${path}\` is not absolute`);
  return path;
};

// Relative ones are to be ignored, as the XDG Base Directory Specification wants.
const base = (env: Env, variable: string): string | undefined => {
  const path = env[variable];
  return path && isAbsolute(path) ? path : undefined;
};

/** The directory of the sockets: `OUTRIGGER_RUNTIME_DIR`; `/run/outrigger` for root; `$XDG_RUNTIME_DIR/outrigger`; `/tmp/outrigger-UID`. */
export function runtimeDir(env: Env = process.env, uid = process.geteuid?.() ?? -1): string {
  const path = named(env, "OUTRIGGER_RUNTIME_DIR");
  if (path !== undefined) return path;
  if (uid === 0) return "/run/outrigger";
  const xdg = base(env, "XDG_RUNTIME_DIR");
  return xdg === undefined ? `/tmp/outrigger-${uid}` : join(xdg, "outrigger");
}

/** The directory of keys: `OUTRIGGER_STATE_DIR`; `/var/lib/outrigger` for root; `$XDG_STATE_HOME/outrigger`; `~/.local/state/outrigger`. */
export function stateDir(env: Env = process.env, uid = process.geteuid?.() ?? -1): string {
  const path = named(env, "OUTRIGGER_STATE_DIR");
  if (path !== undefined) return path;
  if (uid === 0) return "/var/lib/outrigger";
  const state = base(env, "XDG_STATE_HOME");
  if (state !== undefined) return join(state, "outrigger");
  const home = base(env, "HOME");
  if (home === undefined) {
    throw new PlaceError("find the user's directories: neither XDG_STATE_HOME nor HOME is an absolute path");
  }
  return join(home, ".local/state/outrigger");
}

/** The socket for runtimes. */
export const runtimeSocket = (directory: string): string => join(directory, "runtime.sock");

/** The key file of a runtime. */
export const runtimeKey = (directory: string, runtimeId = "default"): string =>
  join(directory, "keys", `${runtimeId}.key`);
