"""A trusted tool policy for the scenarios: commands run where the workspace is, so `workdir` is taken out."""

import json

from outrigger.plugin.v1 import plugin_pb2 as p
from outrigger.types.v1 import hook_pb2 as h
from stock_gate import Gate


class Policy(Gate):
    def welcome(self, _):
        policy = p.HookRegistration(handler_id="workdir", description="Commands run in the workspace",
                                    tool_names=["exec"])
        self.send(register=p.Register(serial=True, tool_policies=[policy]))

    def decide(self, invocation):
        params = json.loads(invocation.tool_policy.event_json)["params"]
        if params.pop("workdir", None) is None:
            return {"declined": p.Declined()}
        proceed = h.Proceed(params_json=json.dumps(params).encode())
        return {"hook": h.HookResult(tool_call=h.ToolCallDecision(proceed=proceed))}


if __name__ == "__main__":
    Policy().run()
