"""Events on their way: bounded, numbered by run, kept until the supervisor has told that it took them. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

MOST_RUNS = 4096
"""Runs whose positions are counted; events of further ones go without, so that a repetition is not recognised."""


@dataclass
class Buffered:
    """What the buffer knows of an event."""

    event: Any
    run_id: str
    stream: str
    terminal: bool
    """The run ends with it: always published, and never given up for another."""
    size: int
    """Bytes."""
    given: int | None = None
    """Position its publisher gave it. None: it is numbered here."""
    seq: int | None = None
    """Position in the run. None: not written yet; 0: not numbered."""


class EventBuffer:
    """Events are taken in order, and written again in order with the same position after a break."""

    def __init__(self, most_events: int, most_bytes: int) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._waiting: deque[Buffered] = deque()
        self._written: list[Buffered] = []
        self._last: dict[str, int] = {}
        self._wanted: AbstractSet[str] | None = None
        self._all = True
        self.bytes = 0
        """Bytes of what waits and of what is not confirmed."""

    @property
    def waiting(self) -> int:
        """Events that wait to be written."""
        return len(self._waiting)

    @property
    def written(self) -> int:
        """Events written and not confirmed."""
        return len(self._written)

    def want(self, streams: AbstractSet[str], every: bool) -> None:
        """Says what is wanted from now on. As long as nobody has, everything is."""
        self._wanted, self._all = streams, every

    def offer(self, event: Buffered, on_dropped: Callable[[], None] = lambda: None) -> str:
        """Takes an event in: `queued`, `skipped` (nobody wants it) or `dropped` (no room). A terminal one that finds no room
        takes that of the newest other one that waits, of which `on_dropped` is told."""
        if not self._wants(event):
            return "skipped"
        while not self._has_room(event):
            if not event.terminal or not self._drop_newest():
                return "dropped"
            on_dropped()
        self._waiting.append(event)
        self.bytes += event.size
        return "queued"

    def take(self, most_events: int, most_bytes: int) -> list[Buffered]:
        """The next events to write, numbered, of so many bytes; one at least where one waits. What nobody wants any more is
        left out."""
        taken: list[Buffered] = []
        size = 0
        while self._waiting and len(taken) < most_events:
            event = self._waiting[0]
            if taken and size + event.size > most_bytes:
                break
            self._waiting.popleft()
            # One that was written before keeps its place: leaving it out would leave a gap.
            if event.seq is None and not self._wants(event):
                self.bytes -= event.size
                continue
            if event.seq is None:
                event.seq = event.given if event.given is not None else self._number(event.run_id)
            size += event.size
            taken.append(event)
        self._written += taken
        return taken

    def confirm(self) -> None:
        """What was written has been taken."""
        for event in self._written:
            self.bytes -= event.size
            if event.terminal:
                self._last.pop(event.run_id, None)
        self._written = []

    def restore(self) -> None:
        """What was written may be lost: it is written again, first and with the same positions."""
        self._waiting.extendleft(reversed(self._written))
        self._written = []

    def forget(self, run_id: str) -> None:
        """A run has ended: its positions are counted no more."""
        self._last.pop(run_id, None)

    def holds(self, run_id: str) -> bool:
        """Whether an event of the run waits or is not confirmed."""
        return any(event.run_id == run_id for event in (*self._waiting, *self._written))

    def _wants(self, event: Buffered) -> bool:
        return event.terminal or self._all or self._wanted is None or event.stream in self._wanted

    def _has_room(self, event: Buffered) -> bool:
        count = len(self._waiting) + len(self._written)
        return count < self._most_events and self.bytes + event.size <= self._most_bytes

    def _drop_newest(self) -> bool:
        """Gives up the newest event that was never written and ends no run."""
        for index in range(len(self._waiting) - 1, -1, -1):
            event = self._waiting[index]
            if not event.terminal and event.seq is None:
                del self._waiting[index]
                self.bytes -= event.size
                return True
        return False

    def _number(self, run_id: str) -> int:
        last = self._last.get(run_id)
        if last is None and len(self._last) >= MOST_RUNS:
            return 0
        self._last[run_id] = (last or 0) + 1
        return self._last[run_id]
