"""Two tools from stock stubs: `word_count` and `wait`, with progress and cancels.

Built on the session of stock_gate.py, which reads the stream; each call runs on a thread of its own, so pings are
answered and cancels noticed while it works. See `Register.max_in_flight` for how many at most.
"""

import collections
import json
import threading
import time

from outrigger.plugin.v1 import plugin_pb2 as p
from outrigger.types.v1 import plugin_pb2 as t
from stock_gate import Gate

CHUNK = 10_000  # words between two reports
TEXT = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 1_000_000}}, "required": ["text"],
        "additionalProperties": False}
SECONDS = {"type": "object", "properties": {"seconds": {"type": "number", "minimum": 0, "maximum": 60}},
           "required": ["seconds"], "additionalProperties": False}


class Call:
    """One call of a tool: its arguments, its progress, and whether it was cancelled."""

    def __init__(self, tools, invocation):
        self.id, self.tools = invocation.invocation_id, tools
        self.arguments = json.loads(invocation.tool.arguments_json or b"{}")
        self.cancelled = threading.Event()

    def progress(self, done, total, message=""):
        """Tells how far it has come; `done` never goes back."""
        news = t.ToolProgress(done=done, total=total, message=message)
        self.tools.send(progress=[p.InvocationProgress(invocation_id=self.id, progress=news)])


def word_count(call):
    words = call.arguments["text"].split()
    common = collections.Counter()
    for start in range(0, len(words), CHUNK):
        if call.cancelled.is_set():
            return None
        call.progress(start, len(words), "counting")
        common.update(word.lower() for word in words[start:start + CHUNK])
    call.progress(len(words), len(words), "done")
    counts = {"words": len(words), "common": [list(pair) for pair in common.most_common(3)]}
    text = t.ToolContent(text=f"{len(words)} words, {len(common)} of them different")
    return t.ToolResult(content=[text], structured_json=json.dumps(counts).encode())


def wait(call):
    seconds = call.arguments["seconds"]
    if seconds > 30:  # an answer that the model is to see as an error; a failure would be an exception
        return t.ToolResult(content=[t.ToolContent(text="30 seconds are the most")], is_error=True)
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        call.progress(waited, seconds, "waiting")
        if call.cancelled.wait(min(0.25, seconds - waited)):
            return None
    call.progress(seconds, seconds, "done")
    return t.ToolResult(content=[t.ToolContent(text=f"waited {seconds} s")])


class Tools(Gate):
    serial = False

    def __init__(self):
        super().__init__()
        self.calls = {}

    def welcome(self, _):
        specs = [t.ToolSpec(name="word_count", description="Counts the words of a text, and its most common ones.",
                            input_schema_json=json.dumps(TEXT).encode(), hints=t.ToolHints(read_only=True)),
                 t.ToolSpec(name="wait", description="Waits for some seconds, 30 at most.",
                            input_schema_json=json.dumps(SECONDS).encode(), hints=t.ToolHints(read_only=True))]
        self.send(register=p.Register(max_in_flight=8, tools=[p.ToolRegistration(spec=spec) for spec in specs]))

    def invoked(self, invocation):
        work = {"word_count": word_count, "wait": wait}.get(invocation.tool.name)
        if invocation.WhichOneof("call") != "tool" or work is None:
            reason = p.FAILURE_REASON_UNSUPPORTED
            return self.answer(invocation.invocation_id, failed=p.Failed(reason=reason, message="no such tool"))
        call = self.calls[invocation.invocation_id] = Call(self, invocation)
        # A daemon: what still works at the end must not keep the process.
        threading.Thread(target=self.work, args=(call, work), daemon=True).start()

    def work(self, call, work):
        try:
            result = work(call)
            outcome = {"tool": result} if result else {"declined": p.Declined()}
        except Exception as error:
            outcome = {"failed": p.Failed(reason=p.FAILURE_REASON_ERROR, message=str(error)[:500])}
        self.calls.pop(call.id, None)
        self.answer(call.id, **outcome)

    def cancelled(self, invocation_id):
        if call := self.calls.get(invocation_id):
            call.cancelled.set()


if __name__ == "__main__":
    Tools().run()
