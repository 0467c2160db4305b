// `outrigger run` as a child of OpenClaw, where nobody else runs it.
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { runtimeDir, runtimeSocket } from "outrigger-runtime";
import type { Config } from "./config.js";
import type { Logger } from "./openclaw.js";

/** Starts a supervisor unless one answers; the function ends the one it started. It ends with this process, too. */
export function ensureSupervisor(config: Config, logger: Logger): () => void {
  let stop = () => {};
  let unwanted = false;
  const socket = connect(config.socket ?? runtimeSocket(config.supervisor.runtimeDir ?? runtimeDir()));
  socket.unref();
  socket.once("connect", () => socket.destroy());
  socket.once("error", () => {
    if (!unwanted) stop = launch(config, logger);
  });
  return () => {
    unwanted = true;
    stop();
  };
}

function launch({ supervisor }: Config, logger: Logger): () => void {
  const env = { ...process.env };
  if (supervisor.config !== undefined) env["OUTRIGGER_CONFIG"] = supervisor.config;
  if (supervisor.runtimeDir !== undefined) env["OUTRIGGER_RUNTIME_DIR"] = supervisor.runtimeDir;
  if (supervisor.stateDir !== undefined) env["OUTRIGGER_STATE_DIR"] = supervisor.stateDir;
  const child = spawn(supervisor.command, ["run"], { env, stdio: "ignore" });
  child.on("error", (error) => logger.error(`outrigger: failed to start \`${supervisor.command} run\`: ${error.message}`));
  child.unref();
  const stop = () => void child.kill("SIGTERM");
  process.once("exit", stop);
  child.once("exit", (code) => {
    process.removeListener("exit", stop);
    if (code !== 0 && code !== null) logger.warn(`outrigger: the supervisor ended with status ${code}; \`${supervisor.command} check\` tells more`);
  });
  return stop;
}
