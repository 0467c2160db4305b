"""A guard for the scenarios: what it does with a command is said by the command itself.

Built on the session of stock_gate.py. `deny`, `rewrite`, `ask`, `die`, `hang` and `slow-N` are words in the command; it
has no opinion on any other.
"""

import json
import os
import re
import sys
import threading

from outrigger.plugin.v1 import plugin_pb2 as p
from outrigger.types.v1 import hook_pb2 as h
from stock_gate import Gate


def proceed(**fields):
    return {"hook": h.HookResult(tool_call=h.ToolCallDecision(proceed=h.Proceed(**fields)))}


class Scenario(Gate):
    serial = False  # it goes on reading while a call hangs

    def welcome(self, _):
        tool = sys.argv[2] if sys.argv[1:2] == ["--tool"] else "exec"
        guard = p.HookRegistration(handler_id="guard", hook=h.HOOK_BEFORE_TOOL_CALL, tool_names=[tool])
        self.send(register=p.Register(hooks=[guard]))

    def decide(self, invocation):
        params = json.loads(invocation.hook.event_json)["params"]
        command = str(params.get("command", ""))
        print("decides on", command, flush=True)
        if "ask" in command:
            return proceed(approval=h.ApprovalRequest(title="Run a command", description=f"Run `{command}`?"))
        if "deny" in command:
            block = h.Block(reason="the guard in Python says no")
            return {"hook": h.HookResult(tool_call=h.ToolCallDecision(block=block))}
        if "rewrite" in command:
            return proceed(params_json=json.dumps({"command": "echo rewritten-by-python"}).encode())
        if "die" in command:
            os._exit(9)
        return {"declined": p.Declined()}

    def invoked(self, invocation):
        if invocation.WhichOneof("call") == "approval":
            outcome = h.ApprovalOutcome.Name(invocation.approval.outcome).removeprefix("APPROVAL_OUTCOME_").lower()
            print("approval", outcome, flush=True)
            return self.answer(invocation.invocation_id, completed=p.Completed())
        command = json.loads(invocation.hook.event_json)["params"].get("command", "")
        if "hang" in command:
            return
        if found := re.search(r"slow-(\d+)", command):
            timer = threading.Timer(int(found[1]) / 1000, super().invoked, [invocation])
            timer.daemon = True
            timer.start()
            return
        super().invoked(invocation)


if __name__ == "__main__":
    Scenario().run()
