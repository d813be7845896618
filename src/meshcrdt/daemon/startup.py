"""What is bound and checked before the mesh opens: nothing has changed yet when it fails."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from attrs import define, field

from meshcrdt.base.hosts import split_host_port
from meshcrdt.daemon import places, underlay
from meshcrdt.daemon.config import Settings
from meshcrdt.daemon.dns.server import DnsServer, open_dns
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.http.server import bind_api, bind_tcp
from meshcrdt.daemon.workloads.plane import bare_plane, bridge_name
from meshcrdt.ipam.genesis import UNIVERSE_IPV4_DEFAULT
from meshcrdt.mesh.birth import Security
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.heartbeats import Detection

_LOG = logging.getLogger("meshcrdt.daemon")
DNS_PORT = 53


@define
class Bound:
    """The sockets of the surfaces."""

    api: list[socket.socket] = field(factory=list)
    tcp: socket.socket | None = None


def bind_surfaces(settings: Settings, stack: AsyncExitStack) -> Bound:
    """Open the API's sockets; a Unix socket's file goes when the stack unwinds."""
    bound = Bound()
    path = Path(settings.api.removeprefix("unix://"))
    is_new = settings.api.startswith("unix://") and not path.parent.exists()
    listener = bind_api(settings.api)
    if is_new:
        stack.callback(_remove_empty, path.parent)
    stack.callback(listener.close)
    if settings.api.startswith("unix://"):
        bound.api.append(listener)
        stack.callback(_remove_socket, path, path.stat().st_ino)
    else:
        bound.tcp = listener
    if settings.http_addr is not None:
        if bound.tcp is not None:
            raise CommandError(
                f"--api {settings.api} and --http-addr {settings.http_addr} both open TCP: "
                "give one of them"
            )
        bound.tcp = bind_tcp(*split_host_port(settings.http_addr, default_port=0))
        stack.callback(bound.tcp.close)
    return bound


def _remove_empty(directory: Path) -> None:
    """Remove a directory that was made for the socket, unless something else is in it now."""
    try:
        directory.rmdir()
    except OSError as error:
        _LOG.debug("%s stays: %s", directory, error.strerror)


def _remove_socket(path: Path, inode: int) -> None:
    """Remove our socket's file, unless another daemon has put its own there since."""
    try:
        if path.stat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        pass


def probe_listeners(urls: Sequence[str]) -> None:
    """Raise CommandError naming the first listener whose port is taken.

    The mesh opens its store before its listeners; a launch that fails here has changed
    nothing, and its state directory still belongs to no cluster.
    """
    for url in urls:
        scheme, _, rest = url.partition("://")
        host, port = split_host_port(rest, default_port=0) if scheme == "tcp" else ("", 0)
        if not port:
            continue
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # as the listener itself: IPv4 is another's
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                raise CommandError(f"cannot listen on {url}: {error.strerror or error}") from None


async def bind_names(settings: Settings) -> DnsServer | None:
    """Open the name server where `--dns-listen` says; one that cannot be opened is an error."""
    if settings.no_dns or settings.dns_listen is None:
        return None
    return await open_dns(*split_host_port(settings.dns_listen, default_port=0))


async def effective_dataplane(settings: Settings) -> str | None:
    """Return why no dataplane runs here, or None when one does.

    Raises CommandError when it was asked for and cannot run, or when a range that is known
    by now hides a network of this host.
    """
    plane = bare_plane(settings.dataplane, bridge_name(settings.state_dir))
    off = plane.why_off()
    if off is not None:
        return off
    reason = await plane.check(())
    if reason is not None:
        if settings.of("dataplane").given:
            raise CommandError(f"--dataplane {settings.dataplane} cannot run here: {reason}")
        _LOG.warning("no dataplane runs here: %s", reason)
        return f"the dataplane cannot run here: {reason}"
    await refuse_overlap(settings, ranges_known_before(settings))
    return None


def ranges_known_before(settings: Settings) -> tuple[str, ...]:
    """Return the ranges that are known before the mesh opens: those given, or the defaults."""
    if settings.ipalloc_range:
        given: tuple[str, ...] = settings.ipalloc_range
        return given
    is_new = not (settings.state_dir / places.STORE_NAME).exists()
    joins = bool(settings.peers or settings.join_file)
    return (UNIVERSE_IPV4_DEFAULT,) if is_new and not joins else ()


async def refuse_overlap(settings: Settings, ranges: tuple[str, ...]) -> None:
    """Raise CommandError naming the first range that overlaps a route of this host."""
    plane = bare_plane(settings.dataplane, bridge_name(settings.state_dir))
    reason = await plane.check(ranges)
    if reason is not None:
        raise CommandError(f"{reason}: --ipalloc-range names another for a new cluster")


def default_subnet_inside(settings: Settings, universes: tuple[str, ...]) -> None:
    """Raise CommandError when the default subnet lies in none of the cluster's ranges."""
    subnet = settings.ipalloc_default_subnet
    if subnet is None:
        return
    inner = ipaddress.ip_network(subnet)
    for text in universes:
        outer = ipaddress.ip_network(text)
        if inner.version == outer.version and inner.subnet_of(outer):  # type: ignore[arg-type]
            return
    raise CommandError(
        f"--ipalloc-default-subnet {subnet} is in none of the cluster's ranges: "
        f"{', '.join(universes)}"
    )


def same_ranges(settings: Settings, universes: tuple[str, ...]) -> None:
    """Raise CommandError when the ranges that were asked for are not the cluster's."""
    asked = settings.ipalloc_range
    if asked and set(asked) != set(universes):
        raise CommandError(
            f"{settings.of('ipalloc_range').origin} {', '.join(asked)} contradicts the cluster, "
            f"whose ranges are {', '.join(universes)}"
        )


def mesh_options(settings: Settings, token: str | None) -> dict[str, Any]:
    """Return what the mesh is opened with."""
    addresses = underlay.usable(
        underlay.host_addresses(),
        ranges=ranges_known_before(settings),
        own_bridge=bridge_name(settings.state_dir),
    )
    advertise = settings.advertise or underlay.default_advertise(settings.listen, addresses)
    return {
        "name": settings.name or socket.gethostname(),
        "listen": settings.listen,
        "peers": settings.peers,
        "token": token,
        "security": Security.INSECURE if settings.insecure else Security.ENCRYPTED,
        "store": f"sqlite://{settings.state_dir / places.STORE_NAME}",
        "advertise": advertise,
        "discovery": Discovery.OFF if settings.no_discovery else Discovery.ON,
        "detection": Detection(settings.detection),
        "universes": settings.ipalloc_range or None,
        "domain": settings.dns_domain,
        "trusted": settings.trusted_subnets,
        "underlay": underlay.tunnel_ends(addresses, settings.trusted_subnets),
        # The API serves a node that is still joining: nothing waits for the first contact.
        "join_wait_s": 0,
    }
