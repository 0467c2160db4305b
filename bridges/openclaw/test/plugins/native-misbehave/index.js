// The guard of faults.mjs as a plugin of OpenClaw itself.
import { strike } from "./faults.mjs";

export default {
  id: "native-misbehave",
  name: "Misbehaves in the process",
  description: "A guard that misbehaves when told to",
  register(api) {
    api.on("before_tool_call", async ({ params }) => void (await strike(String(params.command ?? ""))), { matcher: ["exec"] });
  },
};
