"""A guard from stock stubs: blocks tool calls whose command contains a configured text.

The stubs in `outrigger/` beside this file are what grpcio-tools makes of the .proto files; there is no other library.
`Gate` handles one call at a time where it reads the stream, and says so with `serial`.
"""

import json
import os
import queue

import grpc
from outrigger.plugin.v1 import plugin_pb2 as p
from outrigger.plugin.v1 import plugin_pb2_grpc
from outrigger.types.v1 import common_pb2 as c
from outrigger.types.v1 import hook_pb2 as h


class Gate:
    """One launch. The address is relative and needs no channel option; the token leaves the environment."""

    serial = True

    def __init__(self):
        self.channel = grpc.insecure_channel(os.environ["OUTRIGGER_TARGET"])  # unix:host.sock
        self.out = queue.Queue()  # None ends this side of the stream
        self.config = {}

    def run(self):
        """Speaks until the supervisor ends the session; an end it did not announce is an exception."""
        self.send(hello=p.Hello(token=os.environ.pop("OUTRIGGER_TOKEN"), protocol=c.ProtocolRange(min=1, max=1),
                                sdk="python/grpcio " + grpc.__version__))
        for frame in plugin_pb2_grpc.PluginServiceStub(self.channel).Session(iter(self.out.get, None)):
            for invocation in frame.invocations:
                self.invoked(invocation)
            for cancel in frame.cancels:
                self.cancelled(cancel.invocation_id)
            if control := frame.WhichOneof("control"):
                getattr(self, control, lambda _: None)(getattr(frame, control))

    def send(self, **message):
        self.out.put(p.SessionRequest(**message))

    def invoked(self, invocation):
        self.answer(invocation.invocation_id, **self.decide(invocation))

    def answer(self, invocation_id, **outcome):
        self.send(results=[p.InvocationResult(invocation_id=invocation_id, **outcome)])

    def decide(self, invocation):
        text = self.config.get("text", "rm -rf")
        params = json.loads(invocation.hook.event_json)["params"]
        if text in str(params.get("command", "")):
            block = h.Block(reason=f"the command contains `{text}`")
            return {"hook": h.HookResult(tool_call=h.ToolCallDecision(block=block))}
        return {"declined": p.Declined()}

    def cancelled(self, invocation_id):
        """Nothing to do: every invocation is answered before the next message is read."""

    # What the supervisor's control frames are called. Those that are not here need no action.

    def welcome(self, welcome):
        self.config = json.loads(welcome.config_json or b"{}")
        guard = p.HookRegistration(handler_id="guard", hook=h.HOOK_BEFORE_TOOL_CALL, tool_names=["exec"])
        self.send(register=p.Register(serial=self.serial, hooks=[guard]))

    def ping(self, ping):
        self.send(pong=p.Pong(ping_id=ping.ping_id))

    def shutdown(self, _):
        self.out.put(None)


if __name__ == "__main__":
    Gate().run()
