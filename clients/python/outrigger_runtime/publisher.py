"""Publishes agent events on one long stream.

What was written is kept until the supervisor says that it has read it, and written again with its positions on the next
stream if this one breaks before.
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
from .errors import RuntimeCallError, from_rpc, unavailable
from .event_buffer import Buffered, EventBuffer
from .interest import Contributions
from .json_text import encode
from .link import Link
from .tasks import Changes

_MESSAGE_EVENTS, _MESSAGE_BYTES = 256, 512 * 1024
"""Events and bytes of one message; the contract's bounds are 1,024 and 4 MiB."""
_WINDOW_EVENTS, _WINDOW_BYTES = 1024, 2 * 1024 * 1024
"""Events and bytes written and not confirmed, so that no more than these are written twice."""
_ANSWER_MS = 10_000
"""How long the supervisor may take to read what is written, and to confirm anything of it."""
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
    """Publishes what is wanted."""

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
        self._answers = 0
        """How often the supervisor has confirmed something."""

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

        return await self._changes.until(done, timeout_ms)

    def forget(self, run_id: str) -> None:
        """A run has ended."""
        self._buffer.forget(run_id)

    async def run(self, link: Link) -> None:
        """Publishes over a connection until it is cancelled; what was not confirmed then is written again by the next."""
        failures = 0
        while True:
            await self._changes.until(lambda: self._buffer.writable, None)
            answers = self._answers
            try:
                await self._stream(link)
            except (grpc.aio.AioRpcError, RuntimeCallError, asyncio.TimeoutError, asyncio.InvalidStateError) as error:
                self._failed(from_rpc(error))
                failures = 1 if self._answers > answers else failures + 1
                await asyncio.sleep(backoff_ms(self._backoff, failures) / 1000)

    async def _stream(self, link: Link) -> None:
        """Writes what waits on one stream until that ends, and raises why."""
        stream = link.duplex("PublishEvents", runtime_pb2.PublishEventsRequest, runtime_pb2.PublishEventsResponse)
        reader = asyncio.create_task(self._read(stream))
        reader.add_done_callback(lambda _: self._changes.notify())
        try:
            while not reader.done():
                answers = self._answers
                limit = _ANSWER_MS if self._buffer.written else None
                in_time = await self._changes.until(
                    lambda: reader.done() or self._may_write() or self._answers > answers, limit
                )
                if not in_time:
                    raise asyncio.TimeoutError
                if self._may_write() and not reader.done():
                    await self._write(stream)
            await reader
        finally:
            reader.cancel()
            stream.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            self._buffer.restore()

    def _may_write(self) -> bool:
        buffer = self._buffer
        return buffer.written < _WINDOW_EVENTS and buffer.written_bytes < _WINDOW_BYTES and buffer.writable

    async def _write(self, stream: Any) -> None:
        taken = self._buffer.take(min(_MESSAGE_EVENTS, _WINDOW_EVENTS - self._buffer.written), _MESSAGE_BYTES)
        # What was left out may be what a flush waits for.
        self._changes.notify()
        if not taken:
            return
        for buffered in taken:
            buffered.event.seq = buffered.seq or 0
        request = runtime_pb2.PublishEventsRequest(events=[buffered.event for buffered in taken])
        await asyncio.wait_for(stream.write(request), _ANSWER_MS / 1000)

    async def _read(self, stream: Any) -> None:
        told = runtime_pb2.PublishEventsResponse()
        while (answer := await stream.read()) is not grpc.aio.EOF:
            self._confirmed(told, answer)
            told = answer
        raise unavailable("the stream of events ended")

    def _confirmed(self, before: Any, answer: Any) -> None:
        self._answers += 1
        self.counts["published"] += answer.accepted - before.accepted
        self.counts["events_duplicate"] += answer.duplicate - before.duplicate
        self.counts["events_rejected"] += answer.rejected - before.rejected
        for problem in answer.problems[len(before.problems) :]:
            self._on_problem(f"an event was refused: {problem}")
        self._buffer.confirm(answer.read - before.read)
        self._changes.notify()

    def _failed(self, error: RuntimeCallError) -> None:
        if error.code not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
            return
        # Writing it again would come to the same.
        lost = len(self._buffer.take(_WINDOW_EVENTS, _WINDOW_BYTES))
        self._buffer.confirm()
        self.counts["events_dropped"] += lost
        self._on_problem(f"{lost} events were lost: {error}")
        self._changes.notify()

    def _count(self, name: str) -> None:
        self.counts[name] += 1


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
