// What an operator sets under `plugins.entries.outrigger.config`. OpenClaw has checked it against `configSchema` of
// openclaw.plugin.json before; here it only gets its defaults.
import type { Fields } from "./openclaw.js";

export interface SupervisorConfig {
  /** Start `outrigger run` where none answers. */
  start: boolean;
  /** The program. */
  command: string;
  /** Its configuration file. Absent: where it looks by itself. */
  config?: string;
  runtimeDir?: string;
  stateDir?: string;
}

export interface Config {
  /** The runtime socket. Absent: looked for as the command line does. */
  socket?: string;
  /** The key file. Absent: `keys/default.key` in the state directory. */
  keyFile?: string;
  /** Longest time for one hook call, all plugins together, in ms. The supervisor's own bounds come first. */
  callMs: number;
  /** Longest wait for the first contact before the first answer, in ms. */
  attachMs: number;
  /** Longest time for what is still to be sent when a registration ends, in ms. */
  closeMs: number;
  /** Hooks that are denied while the supervisor was never heard of. Absent: the catalogue's. */
  failClosed?: string[];
  /** Tool calls are decided at OpenClaw's trusted policy stage and confirmed at the last hook; false: all at the last hook. */
  trustedPolicy: boolean;
  /** Parameters that were decided on overrule what other plugins of OpenClaw make of them. */
  bindParams: boolean;
  /** Served tools stand in front of the model instead of behind OpenClaw's tool search. */
  directTools: boolean;
  supervisor: SupervisorConfig;
}

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
const flag = (value: unknown, otherwise: boolean): boolean => (typeof value === "boolean" ? value : otherwise);
const millis = (value: unknown, otherwise: number): number =>
  typeof value === "number" && Number.isInteger(value) && value > 0 ? value : otherwise;
const fields = (value: unknown): Fields => (typeof value === "object" && value !== null ? (value as Fields) : {});

/** The configuration with its defaults. */
export function readConfig(given: Fields | undefined): Config {
  const { socket, keyFile, deadlines, failClosed, trustedPolicy, bindParams, directTools, supervisor } = given ?? {};
  const times = fields(deadlines);
  const child = fields(supervisor);
  return {
    socket: text(socket),
    // OpenClaw runs as several processes over one configuration, and the supervisor takes one at a time of each key.
    keyFile: text(process.env["OUTRIGGER_KEY_FILE"]) ?? text(keyFile),
    callMs: millis(times["callMs"], 30_000),
    attachMs: millis(times["attachMs"], 2_000),
    closeMs: millis(times["closeMs"], 1_000),
    failClosed: Array.isArray(failClosed) ? failClosed.filter((name) => typeof name === "string") : undefined,
    trustedPolicy: flag(trustedPolicy, true),
    bindParams: flag(bindParams, true),
    directTools: flag(directTools, true),
    supervisor: {
      start: flag(child["start"], false),
      command: text(child["command"]) ?? "outrigger",
      config: text(child["config"]),
      runtimeDir: text(child["runtimeDir"]),
      stateDir: text(child["stateDir"]),
    },
  };
}
