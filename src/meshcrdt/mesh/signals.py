"""A wake-up that cannot be missed: set it at any time, one task waits for it."""

from __future__ import annotations

import trio


class Signal:
    """Remembers that it was set until the waiting task has seen it."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake the waiting task, now or when it next waits."""
        self._event.set()

    async def wait(self) -> None:
        """Return once it was set since the last return; cancelling loses nothing."""
        await self._event.wait()
        self._event = trio.Event()
