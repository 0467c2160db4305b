"""What a hook comes to when the supervisor is not there to ask. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from .interest import Contributions, match

_LONGEST_NAME = 128
"""How many characters of a tool's name a reason has at most."""
_MOST_NAMED = 3
"""How many plugins a reason names at most."""


def away_verdict(
    contributions: Contributions | None,
    fail_closed_hooks: AbstractSet[str],
    hook: str,
    *,
    tool_name: str | None = None,
    trigger: str | None = None,
    dispatch_kind: str | None = None,
) -> tuple[str, str | None]:
    """Verdict and reason while the supervisor is away: what the last contributions call a guard is denied and other hooks
    are skipped; where none was ever heard, every hook of `fail_closed_hooks` is denied."""
    about = "" if tool_name is None else f" of `{tool_name[:_LONGEST_NAME]}`"
    if contributions is None:
        if hook not in fail_closed_hooks:
            return "go_on", None
        return "stop", f"outrigger: the supervisor is away; what plugins guard was never heard, so {hook}{about} is denied"
    subject = {"tool_name": tool_name, "trigger": trigger, "dispatch_kind": dispatch_kind}
    interest = match(contributions.hooks, hook, **subject)
    if interest is None or not interest.fail_closed:
        return "go_on", None
    guards = _named(interest.guard_plugin_ids)
    return "stop", f"outrigger: the supervisor is away; {hook}{about} is guarded by {guards}"


def _named(plugins: Sequence[str]) -> str:
    if not plugins:
        return "a plugin"
    return ", ".join(plugins[:_MOST_NAMED]) + (" and others" if len(plugins) > _MOST_NAMED else "")
