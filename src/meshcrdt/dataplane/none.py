"""The dataplane that is off: the control plane runs, no workload traffic does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from meshcrdt.dataplane.errors import DataplaneOff
from meshcrdt.dataplane.model import DataplaneConfig, Desired, Remote, Report

OFF = "the dataplane is off here (--dataplane none): this daemon carries no workload traffic"


class NoDataplane:
    """Accepts an empty wish, and says plainly that it is off to any other."""

    def __init__(self, config: DataplaneConfig | None = None) -> None:
        self.config = config

    def why_off(self) -> str | None:
        """Return the line that says that it is off."""
        return OFF

    async def check(self, universes: Iterable[str]) -> str | None:
        """Return None: being off works everywhere."""
        await trio.lowlevel.checkpoint()
        return None

    def why_closed(self) -> str | None:
        """Return the line that says that it is off."""
        return OFF

    def why_no_path(self, remotes: Iterable[Remote]) -> dict[str, str]:
        """Return the same line for every remote peer."""
        return {remote.peer: OFF for remote in remotes}

    async def apply(self, desired: Desired) -> Report:
        """Return a report without paths. Raises DataplaneOff when a workload is wanted."""
        await trio.lowlevel.checkpoint()
        if desired.ports:
            raise DataplaneOff(OFF)
        return Report(paths=dict(self.why_no_path(desired.remotes)))

    async def reset(self) -> None:
        """Remove nothing, for there is nothing."""
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[trio.MemoryReceiveChannel[Report]]:
        """Watch nothing: the channel of reports stays silent."""
        send, receive = trio.open_memory_channel[Report](0)
        async with send, receive:
            yield receive


def open_none(config: DataplaneConfig | None = None) -> NoDataplane:
    """Return the dataplane that is off (entry point `none`)."""
    return NoDataplane(config)
