// A person at OpenClaw's approvals: an operator's client of the gateway, run by the Node that OpenClaw demands, which
// answers each plugin approval as its title or description says (`answer:allow-once` …), else as the argument says.
// Arguments: the folder of the openclaw package, the gateway's address, its token, the answer.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, url, token, otherwise] = process.argv.slice(2);
const sdk = pathToFileURL(join(folder, "dist/plugin-sdk/gateway-runtime.js")).href;
const { GatewayClient, startGatewayClientWhenEventLoopReady } = await import(sdk);

const client = new GatewayClient({
  url,
  token,
  clientName: "gateway-client",
  clientDisplayName: "A person",
  mode: "backend",
  caps: ["approvals", "plugin-approvals"],
  scopes: ["operator.admin", "operator.approvals", "operator.read", "operator.write"],
  onHelloOk: () => console.log(JSON.stringify({ event: "ready" })),
  onConnectError: (error) => console.log(JSON.stringify({ event: "error", message: String(error) })),
  onClose: (code, reason) => console.log(JSON.stringify({ event: "closed", code, reason: String(reason) })),
  onEvent: async ({ event, payload }) => {
    if (event !== "plugin.approval.requested") return;
    const { id, request } = payload;
    const decision = /answer:([a-z-]+)/.exec(request.description)?.[1] ?? otherwise;
    console.log(JSON.stringify({ event: "asked", id, title: request.title, description: request.description, pluginId: request.pluginId, decision }));
    const answer = await client.request("plugin.approval.resolve", { id, decision }).catch((error) => ({ error: String(error) }));
    console.log(JSON.stringify({ event: "answered", answer }));
  },
});
await startGatewayClientWhenEventLoopReady(client, { clientOptions: {} });
