"""The dataplane half of a daemon: from the moment the ranges are known until the end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.dns.server import open_dns
from meshcrdt.daemon.dns.zone import Zone
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.observer import Observer
from meshcrdt.daemon.outcomes import Unsettled
from meshcrdt.daemon.startup import DNS_PORT, refuse_overlap
from meshcrdt.daemon.underlay import tunnel_ends
from meshcrdt.daemon.workloads.attach import Workloads
from meshcrdt.daemon.workloads.desired import bare
from meshcrdt.daemon.workloads.plane import Plane, bridge_name, network_id
from meshcrdt.daemon.workloads.records import load_records
from meshcrdt.dataplane.model import DataplaneConfig
from meshcrdt.dataplane.registry import open_dataplane
from meshcrdt.errors import MeshError, NotReady

_LOG = logging.getLogger("meshcrdt.dataplane")
HOST_RETRY_S = 2.0


class HostPlane:
    """Runs the dataplane of one daemon."""

    def __init__(self, daemon: Daemon, observer: Observer, *, underlay: tuple[str, ...]) -> None:
        settings = daemon.settings
        self._daemon = daemon
        self._observer = observer
        self._underlay = tunnel_ends(underlay, settings.trusted_subnets)
        self._workloads = Workloads(
            daemon.mesh,
            settings.state_dir,
            load_records(settings.state_dir),
            default_subnet=settings.ipalloc_default_subnet,
        )
        daemon.workloads = self._workloads

    async def start(self, nursery: trio.Nursery, zone: Zone) -> None:
        """Start following the mesh. Raises CommandError when a range hides a host's network."""
        settings, mesh = self._daemon.settings, self._daemon.mesh
        universes, cluster = mesh.universes, mesh.cluster
        await refuse_overlap(settings, universes)
        assert cluster is not None
        config = DataplaneConfig(
            universes=universes,
            vni=network_id(cluster),
            bridge=bridge_name(settings.state_dir),
            mtu=settings.mtu or None,
            trusted=settings.trusted_subnets,
            underlay=self._underlay,
        )
        await self._workloads.restore()
        plane = Plane(
            mesh,
            open_dataplane(settings.dataplane, config),
            self._observer,
            config=config,
            remembered=lambda: self._workloads.remembered,
        )
        self._workloads.plane = plane
        nursery.start_soon(plane.run, self._workloads.release_gone)
        await plane.settle()
        nursery.start_soon(self._give_the_host_a_place, nursery, zone)

    async def _give_the_host_a_place(self, nursery: trio.Nursery, zone: Zone) -> None:
        """Get the host's own addresses, however long that takes, and serve names there."""
        await until_placed(self._workloads.ensure_host)
        settings = self._daemon.settings
        if settings.no_dns or settings.dns_listen is not None:
            return
        host = bare(self._workloads.remembered.host.addresses[0])
        try:
            server = await open_dns(host, DNS_PORT)
        except CommandError as error:
            _LOG.warning("no names are served here: %s", error)
            return
        self._daemon.dns_address = server.address
        nursery.start_soon(server.run, zone)


async def until_placed(ensure_host: Callable[[], Awaitable[None]]) -> None:
    """Try until the host has its addresses; the log gets each reason why not once."""
    told: set[str] = set()
    while True:
        try:
            await ensure_host()
            return
        except (MeshError, CommandError) as error:
            if str(error) not in told:
                told.add(str(error))
                # An outcome, or a node that joins or ends, passes; anything else may stay.
                passes = isinstance(error, Unsettled | NotReady)
                level = logging.INFO if passes else logging.WARNING
                _LOG.log(level, "the host has no address of its own yet: %s", error)
        await trio.sleep(HOST_RETRY_S)
