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
        self._before: tuple[AbstractSet[str], bool] | None = None
        """What was wanted before a restart of the supervisor, as long as plugins are still starting."""
        self.written_bytes = 0
        """Bytes of what is written and not confirmed."""
        self.bytes = 0
        """Bytes of what waits and of what is not confirmed."""

    @property
    def waiting(self) -> int:
        """Events that wait to be written."""
        return len(self._waiting)

    @property
    def writable(self) -> bool:
        """`take` would give or leave out something: not all that waits is held back."""
        held_runs: set[str] = set()
        for event in self._waiting:
            if event.seq is not None:
                return True
            if event.run_id not in held_runs and not self._is_held(event):
                return True
            held_runs.add(event.run_id)
        return False

    @property
    def written(self) -> int:
        """Events written and not confirmed."""
        return len(self._written)

    def want(self, streams: AbstractSet[str], every: bool, starting: bool = False) -> None:
        """Says what is wanted from now on. As long as nobody has, everything is. While plugins are `starting`, what was wanted
        before waits: who wanted it may be back in a moment."""
        before = None if self._wanted is None else (self._wanted, self._all)
        self._before = (self._before or before) if starting else None
        self._wanted, self._all = streams, every

    def wants(self, stream: str) -> bool:
        """Events of the stream are taken in."""
        return self._wants_now(stream) or (
            self._before is not None and (self._before[1] or stream in self._before[0])
        )

    def offer(self, event: Buffered, on_dropped: Callable[[], None] = lambda: None) -> str:
        """Takes an event in: `queued`, `skipped` (nobody wants it) or `dropped` (no room). A terminal one that finds no room
        takes that of the newest other one that waits, of which `on_dropped` is told."""
        if not event.terminal and not self.wants(event.stream):
            return "skipped"
        while not self._has_room(event):
            if not event.terminal or not self._drop_newest():
                return "dropped"
            on_dropped()
        self._waiting.append(event)
        self.bytes += event.size
        return "queued"

    def take(self, most_events: int, most_bytes: int) -> list[Buffered]:
        """The next events to write, numbered, of so many bytes; one at least where one may be written. What nobody wants any
        more is left out; what may be wanted again in a moment is held back, and with it what comes after it in its run."""
        taken: list[Buffered] = []
        held: list[Buffered] = []
        held_runs: set[str] = set()
        size = 0
        while self._waiting and len(taken) < most_events:
            event = self._waiting[0]
            if taken and size + event.size > most_bytes:
                break
            self._waiting.popleft()
            # One that was written before keeps its place: leaving it out would leave a gap.
            if event.seq is None:
                if event.run_id in held_runs or self._is_held(event):
                    held_runs.add(event.run_id)
                    held.append(event)
                    continue
                if not event.terminal and not self._wants_now(event.stream):
                    self.bytes -= event.size
                    continue
                event.seq = event.given if event.given is not None else self._number(event.run_id)
            size += event.size
            taken.append(event)
        self._waiting.extendleft(reversed(held))
        self._written += taken
        self.written_bytes += size
        return taken

    def confirm(self, count: int | None = None) -> None:
        """The first so many that were written have been taken; all, where no number is given."""
        count = len(self._written) if count is None else count
        for event in self._written[:count]:
            self.bytes -= event.size
            self.written_bytes -= event.size
            if event.terminal:
                self._last.pop(event.run_id, None)
        del self._written[:count]

    def restore(self) -> None:
        """What was written may be lost: it is written again, first and with the same positions."""
        self._waiting.extendleft(reversed(self._written))
        self._written = []
        self.written_bytes = 0

    def forget(self, run_id: str) -> None:
        """A run has ended: its positions are counted no more."""
        self._last.pop(run_id, None)

    def holds(self, run_id: str) -> bool:
        """Whether an event of the run waits or is not confirmed."""
        return any(event.run_id == run_id for event in (*self._waiting, *self._written))

    def _is_held(self, event: Buffered) -> bool:
        return not event.terminal and not self._wants_now(event.stream) and self.wants(event.stream)

    def _wants_now(self, stream: str) -> bool:
        return self._all or self._wanted is None or stream in self._wanted

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
