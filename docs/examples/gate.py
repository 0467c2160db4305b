# Blocks `rm -rf`. Made of what grpcio-tools generates from proto/, and nothing else.
import json, os, queue
import grpc
from outrigger.plugin.v1 import plugin_pb2 as p, plugin_pb2_grpc
from outrigger.types.v1 import common_pb2 as c, hook_pb2 as h

channel = grpc.insecure_channel(os.environ["OUTRIGGER_TARGET"])  # unix:host.sock
out = queue.Queue()  # None ends this side of the stream


def decide(invocation):
    command = json.loads(invocation.hook.event_json)["params"].get("command", "")
    if "rm -rf" in command:
        block = h.ToolCallDecision(block=h.Block(reason="deletes a tree"))
        return p.InvocationResult(invocation_id=invocation.invocation_id, hook=h.HookResult(tool_call=block))
    return p.InvocationResult(invocation_id=invocation.invocation_id, declined=p.Declined())


token = os.environ.pop("OUTRIGGER_TOKEN")
out.put(p.SessionRequest(hello=p.Hello(token=token, protocol=c.ProtocolRange(min=1, max=1))))
for frame in plugin_pb2_grpc.PluginServiceStub(channel).Session(iter(out.get, None)):
    for invocation in frame.invocations:
        out.put(p.SessionRequest(results=[decide(invocation)]))
    control = frame.WhichOneof("control")
    if control == "welcome":
        guard = p.HookRegistration(handler_id="guard", hook=h.HOOK_BEFORE_TOOL_CALL, tool_names=["exec"])
        out.put(p.SessionRequest(register=p.Register(serial=True, hooks=[guard])))
    elif control == "ping":
        out.put(p.SessionRequest(pong=p.Pong(ping_id=frame.ping.ping_id)))
    elif control == "shutdown":
        out.put(None)
