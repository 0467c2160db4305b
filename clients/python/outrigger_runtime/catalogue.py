"""The hooks of the wire contract by name, and what a client has to know of them by heart."""

from __future__ import annotations

from outrigger_runtime._gen.outrigger.types.v1 import hook_pb2

_PREFIX = "HOOK_"

NUMBERS: dict[str, int] = {
    name.removeprefix(_PREFIX).lower(): number for name, number in hook_pb2.Hook.items() if number != 0
}
"""The number of each hook on the wire, in the order of the catalogue."""

NAMES: dict[int, str] = {number: name for name, number in NUMBERS.items()}
"""The name of each number."""

HOOK_NAMES: tuple[str, ...] = tuple(NUMBERS)
"""Every hook, in the order of the catalogue."""

FAIL_CLOSED_HOOKS: frozenset[str] = frozenset({"before_tool_call", "before_agent_run", "before_install"})
"""Hooks whose failure blocks: denied as long as nobody has said what plugins guard."""

HOOKS_WITH_OWN_CALL: frozenset[str] = frozenset(
    {"agent_turn_prepare", "heartbeat_prompt_contribution", "before_agent_finalize"}
)
"""Hooks with a call of their own: `prepare_turn` and `finalize_turn`."""

TOOL_HOOKS: frozenset[str] = frozenset({"before_tool_call", "after_tool_call"})
"""Hooks that match on a tool."""
