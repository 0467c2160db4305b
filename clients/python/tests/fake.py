"""A server that plays the supervisor, for faults that a real one cannot be made to have."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import shutil
import tempfile
import unittest
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from outrigger_runtime import Backoff, Runtime, RuntimeOptions
from outrigger_runtime._gen.outrigger.runtime.v1 import directive_pb2, runtime_pb2
from outrigger_runtime._gen.outrigger.types.v1 import common_pb2, error_pb2, hook_pb2, plugin_pb2

LIMIT = 240
"""Longest time of a test, in seconds."""
KEY = f"default:{'0123456789abcdef' * 4}"
GO_ON = runtime_pb2.HookOutcome(verdict=runtime_pb2.HOOK_VERDICT_GO_ON)
REFUSED = runtime_pb2.CallError(
    code=9, reason=error_pb2.ERROR_REASON_RUN_ENDED, message="it has ended", metadata={"run_id": "r"}
)


def guard(*tools: str) -> Any:
    """A guard of tools, or of all."""
    return plugin_pb2.HookInterest(hook=hook_pb2.HOOK_BEFORE_TOOL_CALL, tool_names=tools, fail_closed=True)


class Fake:
    """The server, and what it saw. How it behaves may be changed at any time."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="orf-"))
        self.socket = self.directory / "runtime.sock"
        self.key = self.directory / "default.key"
        self.key.write_text(KEY)
        self.key.chmod(0o600)
        self.attaches: list[Any] = []
        self.calls: list[Any] = []
        self.unary: list[str] = []
        self.cancelled: list[int] = []
        self.streams = 0
        self.events: list[Any] = []
        self.publishes = 0
        self.acknowledged: list[tuple[str, int]] = []
        self.hold = False
        self.refuse = False
        self.deaf = False
        self.stream_status: grpc.StatusCode | None = None
        self.attach_status: grpc.StatusCode | None = None
        self.acknowledge_status: grpc.StatusCode | None = None
        self.epoch = 1
        self.answer_epoch: int | None = None
        self.hooks = [guard("exec"), plugin_pb2.HookInterest(hook=hook_pb2.HOOK_MESSAGE_SENDING)]
        self.limits = common_pb2.Limits()
        self.lost_run_ids: list[str] = []
        self.contributions: dict[str, Any] = {"all_streams": True}
        self.break_publishes = 0
        self.confirms_at_most = 1 << 60
        """Events of a stream that are confirmed."""
        self._server: Any = None
        self._directives: asyncio.Queue[Any] = asyncio.Queue()
        self._broken = asyncio.Event()
        self._runtimes: list[Runtime] = []

    def runtime(self, **options: Any) -> Runtime:
        """A client of it."""
        options = {"socket_path": str(self.socket), "key_path": str(self.key), "backoff": Backoff(10, 40), **options}
        self._runtimes.append(Runtime(RuntimeOptions(**options)))
        return self._runtimes[-1]

    async def start(self) -> Fake:
        handlers = {
            "Attach": grpc.unary_stream_rpc_method_handler(
                self._attach, directive_pb2.AttachRequest.FromString, directive_pb2.AttachResponse.SerializeToString
            ),
            "HookStream": grpc.stream_stream_rpc_method_handler(
                self._hook_stream,
                runtime_pb2.HookStreamRequest.FromString,
                runtime_pb2.HookStreamResponse.SerializeToString,
            ),
            "InvokeHook": grpc.unary_unary_rpc_method_handler(
                self._invoke_hook,
                runtime_pb2.InvokeHookRequest.FromString,
                runtime_pb2.InvokeHookResponse.SerializeToString,
            ),
            "PublishEvents": grpc.stream_stream_rpc_method_handler(
                self._publish_events,
                runtime_pb2.PublishEventsRequest.FromString,
                runtime_pb2.PublishEventsResponse.SerializeToString,
            ),
            "AcknowledgeDirectives": grpc.unary_unary_rpc_method_handler(
                self._acknowledge,
                directive_pb2.AcknowledgeDirectivesRequest.FromString,
                directive_pb2.AcknowledgeDirectivesResponse.SerializeToString,
            ),
        }
        self._directives = asyncio.Queue()
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("outrigger.runtime.v1.RuntimeService", handlers)]
        )
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Goes away at once."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)
        self.socket.unlink(missing_ok=True)

    async def end(self) -> None:
        """Ends everything, the clients too."""
        await asyncio.gather(*(runtime.close(0) for runtime in self._runtimes))
        await self.stop()
        shutil.rmtree(self.directory)

    def send(self, *directives: Any) -> None:
        self._directives.put_nowait(directive_pb2.AttachResponse(directives=directives))

    def contribute(self) -> None:
        """Says what plugins want, under a new epoch."""
        self.epoch += 1
        self.send(self._contributions())

    def break_streams(self) -> None:
        """Ends the streams of hooks with an error; the directives go on."""
        self._broken.set()
        self._broken = asyncio.Event()

    def _contributions(self) -> Any:
        contributions = directive_pb2.Contributions(
            contribution_epoch=self.epoch, hooks=self.hooks, **self.contributions
        )
        return directive_pb2.Directive(contributions=contributions)

    async def _attach(self, request: Any, context: Any) -> Any:
        self.attaches.append(request)
        if dict(context.invocation_metadata()).get("outrigger-key") != KEY:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the key is wrong")
        if self.attach_status is not None:
            await context.abort(self.attach_status, "as told")
        welcome = directive_pb2.Welcome(
            supervisor_version="0", runtime_id="default", limits=self.limits, lost_run_ids=self.lost_run_ids
        )
        directives = [directive_pb2.Directive(welcome=welcome), self._contributions()]
        yield directive_pb2.AttachResponse(directives=directives)
        while True:
            yield await self._directives.get()

    async def _hook_stream(self, requests: Any, context: Any) -> Any:
        self.streams += 1
        if self.stream_status is not None:
            await context.abort(self.stream_status, "as told")
        broken = self._broken
        await context.send_initial_metadata(())
        reading = asyncio.ensure_future(anext(requests, None))
        breaking = asyncio.ensure_future(broken.wait())
        try:
            while True:
                await asyncio.wait([reading, breaking], return_when=asyncio.FIRST_COMPLETED)
                if breaking.done():
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
                message = reading.result()
                if message is None:
                    return
                reading = asyncio.ensure_future(anext(requests, None))
                answer = runtime_pb2.HookStreamResponse(contribution_epoch=self.answer_epoch or self.epoch)
                for call in message.calls:
                    self.calls.append(call)
                    if self.refuse:
                        answer.answers.add(call_id=call.call_id, error=REFUSED)
                    elif not self.hold:
                        answer.answers.add(call_id=call.call_id, outcome=GO_ON)
                for call_id in message.cancelled_call_ids:
                    self.cancelled.append(call_id)
                    if self.deaf:
                        continue
                    answer.answers.add(call_id=call_id, error=runtime_pb2.CallError(code=1, message="cancelled"))
                if answer.answers:
                    yield answer
        finally:
            reading.cancel()
            breaking.cancel()

    async def _invoke_hook(self, request: Any, _: Any) -> Any:
        self.unary.append(request.invocation.tool_call_id)
        return runtime_pb2.InvokeHookResponse(outcome=GO_ON, contribution_epoch=self.epoch)

    async def _publish_events(self, requests: Any, context: Any) -> Any:
        self.publishes += 1
        read = 0
        async for message in requests:
            self.events += message.events
            read += len(message.events)
            if self.break_publishes > 0:
                self.break_publishes -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
            told = min(read, self.confirms_at_most)
            yield runtime_pb2.PublishEventsResponse(accepted=told, read=told)

    async def _acknowledge(self, request: Any, context: Any) -> Any:
        if self.acknowledge_status is not None:
            await context.abort(self.acknowledge_status, "as told")
        self.acknowledged += [(told.directive_id, told.outcome) for told in request.acknowledgements]
        return directive_pb2.AcknowledgeDirectivesResponse()


async def until(what: str, check: Callable[[], bool | Awaitable[bool]], limit: float = 20) -> None:
    """Waits until something holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while True:
        holds = check()
        if holds if isinstance(holds, bool) else await holds:
            return
        if loop.time() > end:
            raise AssertionError(f"{what}: not within {limit} s")
        await asyncio.sleep(0.005)


class Bounded(unittest.IsolatedAsyncioTestCase):
    """A test that ends: after LIMIT the process does, and says where it was."""

    def setUp(self) -> None:
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
        for name in ("outrigger_runtime", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
