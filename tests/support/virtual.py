"""Waiting in virtual time: trio's clock jumps to the next deadline, nothing is slept through."""

from __future__ import annotations

from collections.abc import Callable

import trio


async def until(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait for a condition of whole nodes; fails after `within_s` of trio's clock."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - the conditions are of several nodes
            await trio.sleep(0.02)
