"""An observer for the scenarios: writes down every agent event and every hook it is told of, one JSON object a line."""

import json
import os
import threading

from outrigger.plugin.v1 import plugin_pb2 as p
from outrigger.plugin.v1 import plugin_pb2_grpc
from outrigger.types.v1 import hook_pb2 as h
from stock_gate import Gate

OBSERVED = ["LLM_INPUT", "LLM_OUTPUT", "MODEL_CALL_STARTED", "MODEL_CALL_ENDED", "AFTER_TOOL_CALL", "AGENT_END"]


class Watcher(Gate):
    serial = False

    def __init__(self):
        super().__init__()
        self.book = open(os.path.join(os.environ["OUTRIGGER_DATA_DIR"], "seen"), "a", buffering=1)
        self.lock = threading.Lock()

    def write(self, **entry):
        with self.lock:
            self.book.write(json.dumps(entry) + "\n")

    def invoked(self, invocation):
        name = h.Hook.Name(invocation.hook.hook).removeprefix("HOOK_").lower()
        event = json.loads(invocation.hook.event_json)
        self.write(hook=name, run=invocation.run.id, members=sorted(event), messages=bool(invocation.hook.messages_json))
        self.answer(invocation.invocation_id, completed=p.Completed())

    def welcome(self, _):
        hooks = [p.HookRegistration(handler_id=name.lower(), hook=h.Hook.Value("HOOK_" + name)) for name in OBSERVED]
        events = [p.SubscriptionRegistration(subscription_id="all")]
        self.send(register=p.Register(hooks=hooks, subscriptions=events))

    def registered(self, _):
        threading.Thread(target=self.events, daemon=True).start()

    def events(self):
        for frame in plugin_pb2_grpc.PluginServiceStub(self.channel).Events(p.EventsRequest(credits=0)):
            for delivery in frame.events:
                event = delivery.event
                phase = json.loads(event.data_json or b"{}").get("phase")
                self.write(stream=event.stream, run=event.run_id, seq=event.seq, phase=phase, terminal=event.terminal)


if __name__ == "__main__":
    Watcher().run()
