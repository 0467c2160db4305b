"""The cases that all runtime clients share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outrigger_runtime import Contributions, Interest

CLIENTS = Path(__file__).resolve().parents[2]
"""The directory of the clients."""


def cases(name: str) -> Any:
    """Reads a file of cases."""
    return json.loads((CLIENTS / "cases" / name).read_text())


def contributions(hooks: list[dict[str, Any]]) -> Contributions:
    """What a case wants of hooks."""
    sets = ("tool_names", "triggers", "dispatch_kinds")
    lists = ("guard_plugin_ids",)
    interests = (
        Interest(
            **{
                name: frozenset(value) if name in sets else tuple(value) if name in lists else value
                for name, value in told.items()
            }
        )
        for told in hooks
    )
    return Contributions(epoch=1, hooks={interest.hook: interest for interest in interests})
