"""Keeps the kernel of this host in step with the mesh, and says why where it cannot.

One task: it computes what should be whenever members, endpoints or attachments change, and
hands it to the dataplane. Nothing else calls `apply`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.observer import Observer, Wake
from meshcrdt.daemon.places import ROOT_STATE_DIR
from meshcrdt.daemon.workloads.desired import Seen, desired_state
from meshcrdt.daemon.workloads.records import Remembered
from meshcrdt.dataplane.model import DataplaneConfig, Desired, Report
from meshcrdt.dataplane.registry import open_dataplane
from meshcrdt.errors import MissingExtra

if TYPE_CHECKING:
    from meshcrdt.abc import Dataplane
    from meshcrdt.mesh.mesh import Mesh

_LOG = logging.getLogger("meshcrdt.dataplane")
DEFAULT_BRIDGE = "meshcrdt"
_VNI_MASK = 0xFFFFFF
_ANY_UNIVERSE = ("10.32.0.0/12",)
_PAUSE_S = 0.02
"""Changes come in bursts; the kernel is touched once for a burst."""


def bridge_name(state_dir: Path) -> str:
    """Return the bridge of the daemon with this state directory: two on a host never share one."""
    if state_dir == ROOT_STATE_DIR:
        return DEFAULT_BRIDGE
    return f"mcrdt-{hashlib.blake2b(str(state_dir).encode(), digest_size=4).hexdigest()}"


def network_id(cluster: str) -> int:
    """Return the VXLAN network identifier of a cluster: the same on all its hosts, never 0."""
    return (int(cluster[:6], 16) & _VNI_MASK) or 1


def bare_plane(name: str, bridge: str) -> Dataplane:
    """Return a dataplane that only knows its bridge: enough to check ranges and to remove all."""
    config = DataplaneConfig(universes=_ANY_UNIVERSE, vni=1, bridge=bridge)
    try:
        return open_dataplane(name, config)
    except MissingExtra as error:
        raise CommandError(str(error)) from None


class Plane:
    """The dataplane of one daemon, following one mesh."""

    def __init__(
        self,
        mesh: Mesh,
        dataplane: Dataplane,
        observer: Observer,
        *,
        config: DataplaneConfig,
        remembered: Callable[[], Remembered],
    ) -> None:
        self._mesh = mesh
        self._dataplane = dataplane
        self._observer = observer
        self.config = config
        """What stays the same while the daemon runs."""
        self._remembered = remembered
        self._asked = Wake()
        self._generation = 0
        self._applied = 0
        self._done = Wake()
        self.report = Report(paths={})
        self.last: Desired | None = None

    def why_closed(self) -> str | None:
        """Return one line that says why no other host can be reached at all, or None."""
        return self._dataplane.why_closed()

    async def run(self, on_gone: Callable[[tuple[str, ...]], Awaitable[None]]) -> None:
        """Follow the mesh until cancelled; workloads whose namespace vanished are told."""
        async with self._dataplane.run() as reports, trio.open_nursery() as nursery:
            nursery.start_soon(self._take_reports, reports, on_gone)
            while True:
                changed, asked = self._observer.forwarding.next(), self._asked.next()
                report = await self._apply()
                if report.gone:
                    # In a task of its own: whoever waits for us may hold what it needs.
                    nursery.start_soon(on_gone, report.gone)
                await _first(changed, asked)
                await trio.sleep(_PAUSE_S)

    async def settle(self) -> Report:
        """Apply what is remembered now and return what came of it."""
        self._generation += 1
        wanted = self._generation
        while self._applied < wanted:
            done = self._done.next()
            self._asked.set()
            await done.wait()
        return self.report

    async def _apply(self) -> Report:
        generation = self._generation
        stats = self._mesh.status()
        seen = Seen(stats.peer, stats.members, self._mesh.node.endpoints())
        desired = desired_state(seen, self._remembered())
        if desired != self.last or generation != self._applied:
            self._note(await self._dataplane.apply(desired))
            self.last = desired
        self._applied = generation
        self._done.set()
        return self.report

    async def _take_reports(
        self,
        reports: AsyncIterable[Report],
        on_gone: Callable[[tuple[str, ...]], Awaitable[None]],
    ) -> None:
        async for report in reports:
            self._note(report)
            if report.gone:
                await on_gone(report.gone)

    def _note(self, report: Report) -> None:
        for line in report.errors:
            if line not in self.report.errors:
                _LOG.warning("dataplane: %s", line)
        self.report = report

    def without_path(self) -> dict[str, str]:
        """Return peer -> one line that says why no workload traffic goes there."""
        return {peer: reason for peer, reason in self.report.paths.items() if reason is not None}

    def status(self) -> dict[str, Any]:
        """Return what `status` shows of the dataplane."""
        return {
            "bridge": self.config.bridge,
            "mtu": self.report.mtu,
            "paths": dict(self.report.paths),
            "errors": list(self.report.errors),
        }


async def _first(*events: trio.Event) -> None:
    """Return when one of the events is set."""
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
