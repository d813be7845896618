"""One running daemon: everything that it is made of, in one nursery, and the order of its end.

Start: API socket and names are bound first, so that a port in use changes nothing; then the
mesh, then whatever serves it. End: calls that change state are refused, the mesh drains, the
surfaces close; workload traffic goes on.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, assert_never

import trio
from attrs import frozen

from meshcrdt.base.hosts import shown_host_port
from meshcrdt.daemon import values
from meshcrdt.daemon.config import Settings
from meshcrdt.daemon.context import Control, Daemon
from meshcrdt.daemon.dns.server import DnsServer
from meshcrdt.daemon.dns.source import MeshNames
from meshcrdt.daemon.dns.zone import Zone
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.footprint import Footprint
from meshcrdt.daemon.host import HostPlane
from meshcrdt.daemon.http.app import make_app
from meshcrdt.daemon.http.guard import Guard
from meshcrdt.daemon.http.server import bearer_token, serve_api
from meshcrdt.daemon.joining import name_source, until_ready
from meshcrdt.daemon.lines import Starter
from meshcrdt.daemon.memory import Memory, memory_of, origins_line, save_memory
from meshcrdt.daemon.observer import Observer
from meshcrdt.daemon.reset import wipe_state
from meshcrdt.daemon.startup import (
    Bound,
    bind_names,
    bind_surfaces,
    default_subnet_inside,
    effective_dataplane,
    mesh_options,
    probe_listeners,
    same_ranges,
)
from meshcrdt.daemon.workloads.plane import bare_plane, bridge_name
from meshcrdt.errors import HandshakeError, MeshError, UsageError
from meshcrdt.mesh.mesh import Mesh
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.watch import Lost
from meshcrdt.node.effects import Notice

_LOG = logging.getLogger("meshcrdt.daemon")
DRAIN_S_MAX = 9.0
"""With what comes after, the end stays within the ten seconds of the contract."""
LEAVE_S_MAX = 3.0


@frozen(kw_only=True)
class Launch:
    """What a daemon is started with."""

    settings: Settings
    memory: Memory
    """What earlier launches are remembered by; `settings` holds it already."""
    footprint: Footprint
    token: str | None
    starter: Starter
    lock_path: Path


async def run_daemon(launch: Launch) -> None:
    """Run until told to end. Raises CommandError, also inside exception groups."""
    control = Control(launch.lock_path)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, control, nursery.cancel_scope)
            async with AsyncExitStack() as stack:
                await _Running(launch, control, stack).run()
            nursery.cancel_scope.cancel()
    if control.wipe:
        wipe_state(launch.settings.state_dir)
    if control.failure is not None:
        raise control.failure


async def _stop_on_signal(
    signals: AsyncIterator[int], control: Control, everything: trio.CancelScope
) -> None:
    """The first signal ends in an orderly way, the second at once."""
    async for number in signals:
        name = signal.Signals(number).name
        if control.stopping.is_set():
            _LOG.info("%s again: ending at once", name)
            everything.cancel()
        control.stop(f"{name} was received")


class _Running:
    """The parts of one daemon between start and end."""

    def __init__(self, launch: Launch, control: Control, stack: AsyncExitStack) -> None:
        self._launch = launch
        self._settings = launch.settings
        self._control = control
        self._stack = stack
        self._observer = Observer()

    async def run(self) -> None:
        """Start, serve until told to end, end."""
        settings = self._settings
        probe_listeners(settings.listen)
        bound = bind_surfaces(settings, self._stack)
        names = await bind_names(settings)
        if names is not None:
            self._stack.callback(names.close)
        off = await effective_dataplane(settings)
        options = mesh_options(settings, self._launch.token)
        drain = self._stack.enter_context(trio.CancelScope())
        try:
            await self._with_mesh(bound, names, options, off, drain)
        except (HandshakeError, UsageError) as error:
            raise CommandError(name_source(str(error), settings.join_file)) from None

    async def _with_mesh(
        self,
        bound: Bound,
        names: DnsServer | None,
        options: dict[str, Any],
        off: str | None,
        drain: trio.CancelScope,
    ) -> None:
        settings = self._settings
        async with open_mesh(instrument=self._observer, **options) as mesh:
            daemon = Daemon(mesh=mesh, settings=settings, control=self._control)
            zone = Zone(settings.dns_domain, MeshNames(mesh))
            async with trio.open_nursery() as background:
                async with trio.open_nursery() as surfaces:
                    self._serve(surfaces, daemon, bound)
                    if names is not None:
                        daemon.dns_address = names.address
                        background.start_soon(names.run, zone)
                    background.start_soon(_log_notices, mesh)
                    try:
                        await self._until_stopping(
                            background, daemon, zone, off, options["underlay"]
                        )
                    finally:
                        drain.deadline = trio.current_time() + DRAIN_S_MAX
                await self._say_goodbye(daemon)
                background.cancel_scope.cancel()
            await self._clean_host(daemon)

    def _serve(self, surfaces: trio.Nursery, daemon: Daemon, bound: Bound) -> None:
        """Start the API's servers; they end by themselves, with their last answer sent."""
        app = make_app(daemon)
        for listener in bound.api:
            surfaces.start_soon(serve_api, app, listener, self._control.stopping)
        if bound.tcp is not None:
            address = shown_host_port(*bound.tcp.getsockname()[:2])
            guarded = Guard(app, token=bearer_token(self._settings.state_dir), address=address)
            surfaces.start_soon(serve_api, guarded, bound.tcp, self._control.stopping)

    async def _until_stopping(
        self,
        nursery: trio.Nursery,
        daemon: Daemon,
        zone: Zone,
        off: str | None,
        underlay: tuple[str, ...],
    ) -> None:
        daemon.dataplane_reason = off
        host = None if off else HostPlane(daemon, self._observer, underlay=underlay)
        _LOG.info("peer %s (%s): starting", daemon.mesh.peer, daemon.mesh.name)
        _LOG.info("%s", origins_line(self._settings))
        if not await until_ready(
            daemon.mesh, self._observer, self._control, source=self._settings.join_file
        ):
            return
        universes = daemon.mesh.universes
        same_ranges(self._settings, universes)
        default_subnet_inside(self._settings, universes)
        if host is not None:
            await host.start(nursery, zone)
        self._remember()
        self._say_ready(daemon)
        await self._control.stopping.wait()

    def _remember(self) -> None:
        """Remember what was given, now that nothing refuses it any more."""
        memory = memory_of(self._settings, self._launch.memory)
        if memory != self._launch.memory:
            save_memory(self._settings.state_dir, memory)
        self._launch.footprint.keep()

    def _say_ready(self, daemon: Daemon) -> None:
        mesh, settings, starter = daemon.mesh, self._settings, self._launch.starter
        _LOG.info("ready: cluster %s, API at %s", mesh.cluster, settings.api)
        if settings.insecure:
            starter.say([f"cluster {mesh.cluster}: no encryption (--insecure)"])
        elif starter.is_terminal:
            starter.say(
                [
                    f"cluster {mesh.cluster}: this token adds a host, for an hour:",
                    mesh.token(ttl_s=values.TOKEN_TTL_S),
                ]
            )
        else:
            starter.say(
                [
                    f"cluster {mesh.cluster}: 'meshcrdt token create --api {settings.api}' "
                    "makes a token that adds a host"
                ]
            )
        starter.ready()

    async def _say_goodbye(self, daemon: Daemon) -> None:
        """Tell the cluster that this node leaves it, where `reset` asks for it."""
        if not self._control.wipe:
            return
        try:
            with trio.move_on_after(LEAVE_S_MAX):
                await daemon.mesh.leave()
        except MeshError as error:
            _LOG.warning("the cluster was not told: %s", error)

    async def _clean_host(self, daemon: Daemon) -> None:
        """Remove what the dataplane set up, where `reset` asks for it.

        Only once nothing watches any more: the watch restores what somebody removes.
        """
        if self._control.wipe and daemon.workloads is not None:
            bridge = bridge_name(self._settings.state_dir)
            await bare_plane(self._settings.dataplane, bridge).reset()


async def _log_notices(mesh: Mesh) -> None:
    async with mesh.notices() as notices:
        async for notice in notices:
            match notice:
                case Lost(count):
                    _LOG.warning("%d notices were not shown", count)
                case Notice(level, text, peer):
                    _LOG.log(
                        logging.getLevelNamesMapping().get(level.upper(), logging.INFO),
                        "%s",
                        text,
                        extra={"peer": None if peer is None else str(peer)},
                    )
                case _:
                    assert_never(notice)
