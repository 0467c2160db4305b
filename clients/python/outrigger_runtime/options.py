"""Options of a runtime, their defaults and bounds."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .backoff import Backoff
from .catalogue import FAIL_CLOSED_HOOKS, NUMBERS
from .directives import DirectiveResult, Handler
from .interest import Contributions


@dataclass(frozen=True)
class SessionRef:
    """A session, as the runtime names it."""

    key: str
    """Canonical key, for example `agent:main:main`."""
    id: str = ""
    """Its incarnation, changed by a reset."""
    agent_id: str = ""


@dataclass(frozen=True)
class LiveRun:
    """A run that goes on."""

    run_id: str
    session: SessionRef | None = None


@dataclass(frozen=True)
class Agent:
    """An agent the runtime runs."""

    agent_id: str
    workspace_path: str = ""
    """Absolute."""
    is_default: bool = False


def _unsupported(_: Any) -> DirectiveResult:
    return DirectiveResult("unsupported")


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class RuntimeOptions:
    """Options; all may be left out."""

    socket_path: str | None = None
    """Socket of the supervisor. None: `runtime.sock` where the `outrigger` command looks."""
    key_path: str | None = None
    """File with the runtime's key, read at every attempt. None: `keys/default.key` in the state directory."""
    software: str = ""
    """Product and version, for the operator."""
    incarnation: int = field(default_factory=lambda: secrets.randbits(64) | 1)
    """The runtime's start: another number after each, never 0."""
    served_hooks: Iterable[str] = ()
    """Hooks this runtime calls. Empty: not told, all may be called."""
    reserved_tool_names: Iterable[str] = ()
    """Names of tools of its own, which no plugin may serve."""
    agents: Sequence[Agent] = ()
    """Agents it runs."""
    live_runs: Callable[[], Iterable[LiveRun]] | None = None
    """Runs that go on, asked at every attach. None: those that calls and events named and that have not ended."""
    only_if_free: bool = False
    """Wait until no other start of this runtime is attached, and do not take its place."""
    fail_closed_hooks: Iterable[str] = FAIL_CLOSED_HOOKS
    """Hooks that are denied as long as nobody has said what plugins guard."""
    call_timeout_ms: float = 30_000
    """Longest wait for a hook whose call names no timeout; raised to what the handlers may take."""
    max_calls_in_flight: int = 1024
    """Hook calls in flight at once; the supervisor takes 1,024."""
    max_bytes_in_flight: int = 64 * 1024 * 1024
    """Bytes of hook calls in flight at once."""
    event_buffer_events: int = 4096
    """Events that wait or are not confirmed."""
    event_buffer_bytes: int = 8 * 1024 * 1024
    """Their bytes."""
    backoff: Backoff = Backoff()
    """Waits between attempts to attach."""
    remembered_directives: int = 4096
    """Outcomes of directives that are remembered."""
    on_directive: Handler = _unsupported
    """Carries out what the supervisor asks; a coroutine function or a plain one."""
    on_state_change: Callable[[str], None] = _nothing
    """The state changed."""
    on_contributions: Callable[[Contributions], None] = _nothing
    """What plugins want changed."""
    on_notice: Callable[[str, Any], None] = _nothing
    """News came: kind and message as on the wire."""

    def __post_init__(self) -> None:
        for name in (
            "call_timeout_ms",
            "max_calls_in_flight",
            "max_bytes_in_flight",
            "event_buffer_events",
            "event_buffer_bytes",
            "remembered_directives",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} wants more than zero")
        if not 0 < self.backoff.min_ms <= self.backoff.max_ms:
            raise ValueError("backoff.max_ms wants at least backoff.min_ms, and that more than zero")
        if not 0 < self.incarnation < 1 << 64:
            raise ValueError("incarnation wants a number from 1 to 2^64-1")
        for hook in (*self.served_hooks, *self.fail_closed_hooks):
            if hook not in NUMBERS:
                raise ValueError(f"`{hook}` is no hook")
