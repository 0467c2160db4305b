"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Bounds of the wait."""

    min_ms: float = 100
    """The first wait."""
    max_ms: float = 5_000
    """The longest."""


def backoff_ms(backoff: Backoff, failures: int, chance: float | None = None) -> float:
    """The wait before attempt `failures` (from 1): doubling from `min_ms` to `max_ms`, of which the upper half is left to
    chance, so that many clients do not come back at once."""
    full = min(backoff.max_ms, backoff.min_ms * 2 ** min(max(failures, 1) - 1, 30))
    return full / 2 + full / 2 * (random.random() if chance is None else chance)
