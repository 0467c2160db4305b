"""The fast stream of hook calls: many in flight by id, answered in any order; what waits to be written shares a message."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import grpc

from outrigger_runtime._gen.outrigger.runtime.v1 import runtime_pb2

from .errors import RuntimeCallError, from_call_error, from_rpc, unavailable, unknown
from .link import Link

_MOST_IN_MESSAGE = 64
"""Calls put into one message."""
_FULL = 256 * 1024
"""A message takes no further call beyond so many bytes."""


class HookStream:
    """A stream. `run` drives it; what is in flight when it ends is undecided, and never asked twice."""

    def __init__(self, link: Link, on_ready: Callable[[], None], on_epoch: Callable[[int], None]) -> None:
        self._link = link
        self._on_ready = on_ready
        self._on_epoch = on_epoch
        self._calls: dict[int, asyncio.Future[tuple[Any, int]]] = {}
        self._sizes: dict[int, int] = {}
        """Of calls without an answer, cancelled ones among them."""
        self._bytes = 0
        self._redemptions: defaultdict[str, deque[asyncio.Future[RuntimeCallError | None]]] = defaultdict(deque)
        self._out: deque[tuple[int, str, Any]] = deque()
        self._some = asyncio.Event()
        self._last_id = 0
        self.ready = False
        """Calls may be made on it."""

    @property
    def in_flight(self) -> int:
        """Calls without an answer, cancelled ones among them."""
        return len(self._sizes)

    @property
    def bytes_in_flight(self) -> int:
        """Their bytes: of a supervisor that reads nothing they wait here."""
        return self._bytes

    async def call(self, invocation: Any, size: int) -> tuple[Any, int]:
        """The outcome of a call of `size` bytes, and its epoch. Raises `RuntimeCallError`. Cancelling it cancels the call."""
        self._last_id += 1
        call_id = self._last_id
        future: asyncio.Future[tuple[Any, int]] = asyncio.get_running_loop().create_future()
        self._calls[call_id] = future
        self._sizes[call_id] = size
        self._bytes += size
        self._put(size, "calls", runtime_pb2.HookStreamRequest.Call(call_id=call_id, invocation=invocation))
        try:
            return await future
        except asyncio.CancelledError:
            if self._calls.pop(call_id, None) is not None and self.ready:
                self._put(0, "cancelled_call_ids", call_id)
            raise

    async def redeem(self, request: Any) -> RuntimeCallError | None:
        """Uses up a decision; why not, or None."""
        future: asyncio.Future[RuntimeCallError | None] = asyncio.get_running_loop().create_future()
        self._redemptions[request.decision_id].append(future)
        self._put(64, "redemptions", request)
        return await future

    async def run(self) -> RuntimeCallError:
        """Speaks until the stream ends; why it did."""
        stream = self._link.duplex("HookStream", runtime_pb2.HookStreamRequest, runtime_pb2.HookStreamResponse)
        writer = asyncio.create_task(self._write(stream))
        error = unavailable("the stream of hooks was closed")
        try:
            await stream.initial_metadata()
            if not stream.done():
                self.ready = True
                self._on_ready()
            while (message := await stream.read()) is not grpc.aio.EOF:
                self._read(message)
            error = unavailable("the stream of hooks ended")
        except grpc.aio.AioRpcError as status:
            error = from_rpc(status)
        finally:
            self.ready = False
            writer.cancel()
            stream.cancel()
            self._end(error)
        return error

    def _put(self, size: int, field: str, item: Any) -> None:
        # Bounded by what may be in flight.
        self._out.append((size, field, item))
        self._some.set()

    async def _write(self, stream: Any) -> None:
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                while self._out:
                    message, size = runtime_pb2.HookStreamRequest(), 0
                    while self._out and len(message.calls) < _MOST_IN_MESSAGE:
                        if size and size + self._out[0][0] > _FULL:
                            break
                        more, field, item = self._out.popleft()
                        size += more
                        getattr(message, field).append(item)
                    await stream.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # The reader is told why.

    def _read(self, message: Any) -> None:
        self._on_epoch(message.contribution_epoch)
        for answer in message.answers:
            self._bytes -= self._sizes.pop(answer.call_id, 0)
            future = self._calls.pop(answer.call_id, None)
            if future is None or future.done():
                continue
            kind = answer.WhichOneof("answer")
            if kind == "outcome":
                future.set_result((answer.outcome, message.contribution_epoch))
            else:
                future.set_exception(from_call_error(answer.error) if kind else unknown())
        for answer in message.redemptions:
            waiting = self._redemptions.get(answer.decision_id)
            if not waiting:
                continue
            redeemed = waiting.popleft()
            if not waiting:
                del self._redemptions[answer.decision_id]
            kind = answer.WhichOneof("answer")
            if not redeemed.done():
                error = from_call_error(answer.error) if kind == "error" else unknown()
                redeemed.set_result(None if kind == "redeemed" else error)

    def _end(self, error: RuntimeCallError) -> None:
        calls, self._calls = self._calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(error)
        for waiting in self._redemptions.values():
            for redeemed in waiting:
                if not redeemed.done():
                    redeemed.set_result(error)
        self._redemptions.clear()
        self._sizes.clear()
        self._bytes = 0
        self._out.clear()
