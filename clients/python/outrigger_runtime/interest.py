"""What plugins want of the runtime now, and whether a call is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from outrigger_runtime._gen.outrigger.types.v1 import hook_pb2

from .catalogue import NAMES, TOOL_HOOKS
from .errors import to_ms

TRIGGERS: dict[str, int] = {
    "user": hook_pb2.TRIGGER_USER,
    "heartbeat": hook_pb2.TRIGGER_HEARTBEAT,
    "cron": hook_pb2.TRIGGER_CRON,
}
"""What can start a turn or message."""

DISPATCH_KINDS: dict[str, int] = {"agent": hook_pb2.DISPATCH_KIND_AGENT, "acp": hook_pb2.DISPATCH_KIND_ACP}
"""Who can handle a dispatched reply."""


@dataclass(frozen=True)
class Interest:
    """What plugins want of one hook, over all plugins. An empty set: of all."""

    hook: str
    tool_names: frozenset[str] = frozenset()
    triggers: frozenset[str] = frozenset()
    dispatch_kinds: frozenset[str] = frozenset()
    wants_messages: bool = False
    """Some handler wants the conversation; without it, it need not be collected."""
    fail_closed: bool = False
    """A guard: the call must be made and must succeed, or the runtime blocks."""
    max_duration_ms: float | None = None
    """Longest time the call takes, all handlers together. None: no bound is known."""
    guard_plugin_ids: tuple[str, ...] = ()
    """Plugins that guard it, for some tool at least, in the order of asking; 64 at most are told."""


@dataclass(frozen=True)
class Contributions:
    """Everything plugins want."""

    epoch: int
    """Rises with every change."""
    hooks: Mapping[str, Interest] = field(default_factory=dict)
    event_streams: frozenset[str] = frozenset()
    """Streams of agent events that somebody wants."""
    all_streams: bool = False
    """Somebody wants every stream."""
    catalogue_epoch: int = 0
    """Rises whenever the answer of a List call changes; see `list_tools`."""
    starting: bool = False
    """Some plugin has not been ready yet since the supervisor's start: more may be wanted soon."""
    prepare_turns: bool = False
    """Preparing a turn can come to something."""


def canonical_tool(name: str) -> str:
    """A tool's name as hooks match on it."""
    return name.strip().lower()


def match(
    hooks: Mapping[str, Interest],
    hook: str,
    *,
    tool_name: str | None = None,
    trigger: str | None = None,
    dispatch_kind: str | None = None,
) -> Interest | None:
    """What is wanted of a hook for this subject; None: nothing, make no call.

    A tool hook whose tool is not told matches what is wanted of any tool. What starts or dispatches and is not told
    matches only who wants all.
    """
    interest = hooks.get(hook)
    if interest is None:
        return None
    if hook in TOOL_HOOKS and tool_name is not None and interest.tool_names:
        if canonical_tool(tool_name) not in interest.tool_names:
            return None
    if interest.triggers and trigger not in interest.triggers:
        return None
    if interest.dispatch_kinds and dispatch_kind not in interest.dispatch_kinds:
        return None
    return interest


def read_contributions(wire: Any) -> Contributions:
    """What the supervisor told. Hooks this client does not know are left out: it calls none of them."""
    hooks = {}
    for told in wire.hooks:
        hook = NAMES.get(told.hook)
        if hook is None:
            continue
        hooks[hook] = Interest(
            hook=hook,
            tool_names=frozenset(told.tool_names),
            triggers=_known(told.triggers, TRIGGERS),
            dispatch_kinds=_known(told.dispatch_kinds, DISPATCH_KINDS),
            wants_messages=told.wants_messages,
            fail_closed=told.fail_closed,
            max_duration_ms=to_ms(told, "max_duration"),
            guard_plugin_ids=tuple(told.guard_plugin_ids),
        )
    return Contributions(
        epoch=wire.contribution_epoch,
        hooks=hooks,
        event_streams=frozenset(wire.event_streams),
        all_streams=wire.all_streams,
        catalogue_epoch=wire.catalogue_epoch,
        starting=wire.starting,
        prepare_turns=wire.prepare_turns,
    )


def _known(numbers: Iterable[int], names: Mapping[str, int]) -> frozenset[str]:
    """A filter of nothing but values that are not known here must not become none at all."""
    by_number = {number: name for name, number in names.items()}
    return frozenset(by_number.get(number, f"unknown {number}") for number in numbers)
