// The guard of faults.mjs as a plugin of Outrigger, from the .proto files and nothing of ours: a process of its own.
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { strike } from "./faults.mjs";

const definition = loadSync("outrigger/plugin/v1/plugin.proto", {
  includeDirs: [process.argv[2] ?? "proto"],
  keepCase: true,
  longs: String,
  enums: String,
  oneofs: true,
  arrays: true,
});
const { PluginService } = (loadPackageDefinition(definition) as any).outrigger.plugin.v1;
const client = new PluginService(process.env["OUTRIGGER_TARGET"], credentials.createInsecure());
const session = client.Session();
const token = process.env["OUTRIGGER_TOKEN"];
delete process.env["OUTRIGGER_TOKEN"];
session.on("error", () => process.exit(1));
session.on("end", () => process.exit(0));
session.on("data", async (frame: any) => {
  for (const { invocation_id, hook } of frame.invocations) {
    const { params } = JSON.parse(hook.event_json.toString());
    void strike(String(params.command ?? "")).then(() => session.write({ results: [{ invocation_id, declined: {} }] }));
  }
  if (frame.welcome) session.write({ register: { hooks: [{ handler_id: "guard", hook: "HOOK_BEFORE_TOOL_CALL", tool_names: ["exec"] }] } });
  if (frame.ping) session.write({ pong: { ping_id: frame.ping.ping_id } });
  if (frame.shutdown) session.end();
});
session.write({ hello: { token, protocol: { min: 1, max: 1 } } });
