"""Publishes agent events.

The supervisor tells what it took when a stream is closed, so events go in short streams, one after the other: what was
written is kept until the stream's answer, and written again with its positions if that does not come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from outrigger_runtime._gen.outrigger.runtime.v1 import runtime_pb2
from outrigger_runtime._gen.outrigger.types.v1 import event_pb2

from .backoff import Backoff, backoff_ms
from .errors import RuntimeCallError, from_rpc
from .event_buffer import Buffered, EventBuffer
from .interest import Contributions
from .json_text import encode
from .link import Link
from .tasks import Changes

_MESSAGE_EVENTS, _MESSAGE_BYTES = 256, 512 * 1024
"""Events and bytes of one message; the contract's bounds are 1,024 and 4 MiB."""
_STREAM_EVENTS, _STREAM_BYTES = 1024, 2 * 1024 * 1024
"""Events and bytes of one stream, so that no more than these are written twice."""
_IDLE_MS = 50
"""A stream with nothing more to write is closed after so long."""
_ANSWER_MS = 10_000
"""How long the supervisor may take to answer a closed stream."""
_MOST_DATA = 3 * 1024 * 1024
"""Longest data of an event, in bytes: the contract's bound on payloads."""
_OVERHEAD = 256
"""Bytes of an event beside its data."""
_META_STREAMS = {"lifecycle", "usage", "model", "compaction", "approval"}
_PROVENANCES = {
    "host": event_pb2.PROVENANCE_HOST,
    "owner": event_pb2.PROVENANCE_OWNER,
    "untrusted": event_pb2.PROVENANCE_UNTRUSTED,
}


@dataclass(frozen=True)
class AgentEvent:
    """One event of a run."""

    run_id: str
    stream: str
    """`lifecycle`, `tool`, `assistant`, …"""
    data: Any
    """A JSON value."""
    seq: int | None = None
    """Position in the run, from 1 without gaps. None: numbered here, in the order of publishing."""
    time_ms: float | None = None
    """When it happened, since 1970. None: now."""
    session_key: str = ""
    session_id: str = ""
    agent_id: str = ""
    provenance: str | None = None
    """`host`, `owner` or `untrusted`. None: `host` for the streams about the run itself, else `untrusted`."""
    terminal: bool = False
    """The run ends with it; `lifecycle` only."""


class Publisher:
    """Publishes what is wanted, one stream at a time."""

    def __init__(self, most_events: int, most_bytes: int, backoff: Backoff, on_problem: Callable[[str], None]) -> None:
        self.counts = {
            "published": 0,
            "events_skipped": 0,
            "events_dropped": 0,
            "events_rejected": 0,
            "events_duplicate": 0,
        }
        self._buffer = EventBuffer(most_events, most_bytes)
        self._backoff = backoff
        self._on_problem = on_problem
        self._changes = Changes()
        self._flushing = 0

    def publish(self, event: AgentEvent) -> bool:
        """Takes an event; False where it is lost."""
        try:
            buffered = _to_buffered(event)
        except (TypeError, ValueError) as error:
            self._on_problem(f"an event of stream `{event.stream}` was lost: {error}")
            self.counts["events_dropped"] += 1
            return False
        offered = self._buffer.offer(buffered, lambda: self._count("events_dropped"))
        if offered != "queued":
            self._count(f"events_{offered}")
        self._changes.notify()
        return offered != "dropped"

    def want(self, contributions: Contributions) -> None:
        """Says which streams are wanted."""
        self._buffer.want(contributions.event_streams, contributions.all_streams, contributions.starting)
        self._changes.notify()

    def wants(self, stream: str) -> bool:
        """Events of the stream are taken in."""
        return self._buffer.wants(stream)

    async def flush(self, timeout_ms: float, run_id: str | None = None) -> bool:
        """Waits until all is confirmed, or all of one run; False where that takes longer."""

        def done() -> bool:
            return not self._buffer.holds(run_id) if run_id else self._buffer.waiting + self._buffer.written == 0

        self._flushing += 1
        self._changes.notify()
        try:
            return await self._changes.until(done, timeout_ms)
        finally:
            self._flushing -= 1

    def forget(self, run_id: str) -> None:
        """A run has ended."""
        self._buffer.forget(run_id)

    async def run(self, link: Link) -> None:
        """Publishes over a connection until it is cancelled; what was not confirmed then is written again by the next."""
        failures = 0
        while True:
            await self._changes.until(lambda: self._buffer.writable, None)
            try:
                await self._stream(link)
                failures = 0
            except (grpc.aio.AioRpcError, asyncio.TimeoutError, asyncio.InvalidStateError) as error:
                self._failed(from_rpc(error))
                failures += 1
                await asyncio.sleep(backoff_ms(self._backoff, failures) / 1000)

    async def _stream(self, link: Link) -> None:
        """Writes what waits, and a little more, on one stream, and waits for the answer."""
        stream, size = None, 0
        try:
            while size < _STREAM_BYTES and await self._more():
                room = min(_MESSAGE_EVENTS, _STREAM_EVENTS - self._buffer.written)
                taken = self._buffer.take(room, _MESSAGE_BYTES)
                if not taken:
                    continue
                for buffered in taken:
                    size += buffered.size
                    buffered.event.seq = buffered.seq or 0
                if stream is None:
                    stream = link.client_stream(
                        "PublishEvents", runtime_pb2.PublishEventsRequest, runtime_pb2.PublishEventsResponse
                    )
                await stream.write(runtime_pb2.PublishEventsRequest(events=[buffered.event for buffered in taken]))
            if stream is None:
                return
            await stream.done_writing()
            self._confirmed(await asyncio.wait_for(_answer(stream), _ANSWER_MS / 1000))
        finally:
            # Of a stream that was confirmed nothing is left.
            self._buffer.restore()
            if stream is not None:
                stream.cancel()
            self._changes.notify()

    async def _more(self) -> bool:
        """Something waits, and this stream has room for it."""
        if self._buffer.written >= _STREAM_EVENTS:
            return False
        self._changes.notify()
        if not self._buffer.writable:
            await self._changes.until(lambda: self._buffer.writable or self._flushing > 0, _IDLE_MS)
        return self._buffer.writable

    def _confirmed(self, answer: Any) -> None:
        self._buffer.confirm()
        self.counts["published"] += answer.accepted
        self.counts["events_duplicate"] += answer.duplicate
        self.counts["events_rejected"] += answer.rejected
        for problem in answer.problems:
            self._on_problem(f"an event was refused: {problem}")

    def _failed(self, error: RuntimeCallError) -> None:
        if error.code not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
            return
        # Writing it again would come to the same.
        lost = len(self._buffer.take(_STREAM_EVENTS, _STREAM_BYTES))
        self._buffer.confirm()
        self.counts["events_dropped"] += lost
        self._on_problem(f"{lost} events were lost: {error}")
        self._changes.notify()

    def _count(self, name: str) -> None:
        self.counts[name] += 1


async def _answer(stream: Any) -> Any:
    return await stream


def _to_buffered(given: AgentEvent) -> Buffered:
    data_json = encode(given.data)
    if len(data_json) > _MOST_DATA:
        raise ValueError(f"its data has {len(data_json)} bytes, at most {_MOST_DATA}")
    provenance = given.provenance or ("host" if given.stream in _META_STREAMS else "untrusted")
    when = Timestamp()
    when.FromMilliseconds(int(time.time() * 1000 if given.time_ms is None else given.time_ms))
    event = event_pb2.AgentEvent(
        run_id=given.run_id,
        stream=given.stream,
        data_json=data_json,
        time=when,
        session_key=given.session_key,
        session_id=given.session_id,
        agent_id=given.agent_id,
        provenance=_PROVENANCES.get(provenance, event_pb2.PROVENANCE_UNTRUSTED),
        terminal=given.terminal,
    )
    size = len(data_json) + _OVERHEAD
    return Buffered(event, given.run_id, given.stream, given.terminal, size, given.seq)
