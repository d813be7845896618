"""How many examples a property is tried with: few at every change, many in a soak."""

from __future__ import annotations

import os

SOAK_FACTOR = 20


def examples(count: int) -> int:
    """Return `count`, or twenty times as many when MESHCRDT_SOAK is set."""
    return count * SOAK_FACTOR if os.environ.get("MESHCRDT_SOAK") else count
