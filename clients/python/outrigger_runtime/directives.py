"""Directives with an id: each is carried out once, whatever the number of times it is sent, and acknowledged."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import grpc

from outrigger_runtime._gen.outrigger.runtime.v1 import directive_pb2

from .backoff import Backoff, backoff_ms
from .errors import from_rpc, to_duration
from .link import Link
from .tasks import Changes, Tasks

WINDOW = 256
"""Directives that may be carried out at once; the bound the supervisor is told as its window."""
_MOST_ACKNOWLEDGEMENTS = 256
"""Acknowledgements in a request (the contract's bound)."""
_ACKNOWLEDGE_MS = 10_000
"""How long an acknowledgement may take."""
_OUTCOMES: dict[str, int] = {
    name.removeprefix("DIRECTIVE_OUTCOME_").lower(): number
    for name, number in directive_pb2.DirectiveOutcome.items()
    if number != 0
}


@dataclass(frozen=True)
class Directive:
    """What the supervisor asks of the runtime."""

    id: str
    attempt: int
    """How often it was sent, this time included."""
    kind: str | None
    """`run_turn`, `wake`, `deliver_attachments`, `request_approval`; None: one this client does not know."""
    value: Any
    """What goes with it, as on the wire."""


@dataclass(frozen=True)
class DirectiveResult:
    """What became of a directive."""

    outcome: str
    """`accepted`, `done`, `busy`, `failed_transient`, `failed`, `skipped`, `session_unknown` or `unsupported`."""
    message: str = ""
    retry_after_ms: float | None = None
    """When to send it again, with `busy`."""
    run_id: str = ""
    """Run that took the turn."""
    delivered: tuple[str, str, Sequence[int]] | None = None
    """How a delivery ended: channel, recipient, positions of files that failed."""


Handler = Callable[[Directive], Awaitable[DirectiveResult] | DirectiveResult]


class Directives:
    """Carries out directives and remembers how they ended. `run` tells it."""

    def __init__(
        self, handle: Handler, remembered: int, backoff: Backoff, tasks: Tasks, on_problem: Callable[[str], None]
    ) -> None:
        self.counts = {"directives": 0, "directives_repeated": 0}
        self._handle = handle
        self._remembered = remembered
        self._backoff = backoff
        self._tasks = tasks
        self._on_problem = on_problem
        self._changes = Changes()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, DirectiveResult] = {}
        """Final outcomes, the oldest first."""
        self._unsent: dict[str, DirectiveResult] = {}
        """To be told, by id; a newer result takes the place of an older one."""

    def take(self, wire: Any) -> None:
        """A directive with an id came."""
        directive_id = wire.directive_id
        ended = self._ended.get(directive_id)
        if ended is not None or directive_id in self._running:
            self.counts["directives_repeated"] += 1
            if ended is not None:
                self.acknowledge(directive_id, ended)
            return
        if len(self._running) >= WINDOW:
            self.acknowledge(directive_id, DirectiveResult("busy", retry_after_ms=1000))
            return
        self.counts["directives"] += 1
        kind = wire.WhichOneof("kind")
        value = getattr(wire, kind) if kind else None
        directive = Directive(directive_id, wire.delivery_attempt, kind, value)
        self._running[directive_id] = self._tasks.start(self._run(directive))

    def withdraw(self, directive_id: str) -> None:
        """It was taken back: it is cancelled, and needs no acknowledgement."""
        if task := self._running.get(directive_id):
            task.cancel()
        self._unsent.pop(directive_id, None)

    def acknowledge(self, directive_id: str, result: DirectiveResult) -> None:
        """Tells what became of a directive; also later, of one that was `accepted`."""
        if result.outcome not in ("busy", "failed_transient"):
            self._ended.pop(directive_id, None)
            self._ended[directive_id] = result
            if len(self._ended) > self._remembered:
                del self._ended[next(iter(self._ended))]
        self._unsent.pop(directive_id, None)
        # A copy: told from one of the same outcome that is on its way.
        self._unsent[directive_id] = replace(result)
        # One that is not told comes again, and is answered then.
        if len(self._unsent) > self._remembered + WINDOW:
            del self._unsent[next(iter(self._unsent))]
        self._changes.notify()

    async def run(self, link: Link) -> None:
        """Tells outcomes over a connection until it is cancelled."""
        failures = 0
        while True:
            await self._changes.until(lambda: bool(self._unsent), None)
            sent = list(islice(self._unsent.items(), _MOST_ACKNOWLEDGEMENTS))
            request = directive_pb2.AcknowledgeDirectivesRequest(acknowledgements=[_to_wire(*one) for one in sent])
            try:
                answer = directive_pb2.AcknowledgeDirectivesResponse
                await link.unary("AcknowledgeDirectives", request, answer, _ACKNOWLEDGE_MS)
                failures = 0
            except grpc.aio.AioRpcError as status:
                error = from_rpc(status)
                if error.code not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
                    failures += 1
                    await asyncio.sleep(backoff_ms(self._backoff, failures) / 1000)
                    continue
                self._on_problem(f"what became of {len(sent)} directives could not be told: {error}")
            for directive_id, result in sent:
                if self._unsent.get(directive_id) is result:
                    del self._unsent[directive_id]

    async def _run(self, directive: Directive) -> None:
        try:
            answer = self._handle(directive)
            result = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:  # What the runtime's own code raises is a failure of the directive.
            self._on_problem(f"directive {directive.id} failed: {error!r}")
            result = DirectiveResult("failed", str(error)[:500])
        finally:
            self._running.pop(directive.id, None)
        self.acknowledge(directive.id, result)


def _to_wire(directive_id: str, result: DirectiveResult) -> Any:
    wire = directive_pb2.AcknowledgeDirectivesRequest.Acknowledgement(
        directive_id=directive_id,
        outcome=_OUTCOMES.get(result.outcome, directive_pb2.DIRECTIVE_OUTCOME_FAILED),
        message=result.message[:500],
        run_id=result.run_id,
    )
    if result.retry_after_ms is not None:
        wire.retry_after.CopyFrom(to_duration(result.retry_after_ms))
    if result.delivered is not None:
        channel, delivered_to, failed_files = result.delivered
        wire.delivered.channel, wire.delivered.delivered_to = channel, delivered_to
        wire.delivered.failed_files.extend(failed_files)
    return wire
