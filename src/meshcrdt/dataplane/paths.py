"""May workload traffic go to a host in the clear? The rule, pure, and its reasons.

With a secret set nothing of ours travels in the clear unless both ends declared the
underlay trusted (`docs/dataplane.md`). So: the remote's tunnel address lies in OUR trusted
subnets, and ours lies in THEIRS. The reason names what is missing, for `attach` and
`status` to show as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from attrs import frozen

from meshcrdt.dataplane.model import DataplaneConfig, Remote

_OVERHEAD_BYTES = {4: 50, 6: 70}
"""Inner Ethernet 14, VXLAN 8, UDP 8, and the outer IP header (RFC 7348, section 5)."""


@frozen
class ClearPath:
    """Both ends trust the underlay between them: (this host's address, the remote's)."""

    local: str
    host: str


@frozen
class NoPath:
    """No workload traffic goes there; `reason` is one line."""

    reason: str


Paths = Mapping[Remote, ClearPath | NoPath]
"""Another host -> the path to it, or why there is none."""


def overhead_bytes(address: str) -> int:
    """Return what the tunnel adds to each packet over an underlay of that address's family."""
    return _OVERHEAD_BYTES[ip_address(address).version]


def local_address(config: DataplaneConfig) -> str | None:
    """Return this host's end of every tunnel, or None when it has no underlay address.

    One device has one end: the first own address within the own trusted subnets, else the
    first, because a site may trust the subnets of other sites and not name its own.
    """
    if not config.trusted:
        return None
    for address in config.underlay:
        if _within(address, config.trusted):
            return address
    return config.underlay[0] if config.underlay else None


def path_to(config: DataplaneConfig, remote: Remote) -> ClearPath | NoPath:
    """Return the path to a remote host, or why there is none."""
    reason = why_no_trust(config)
    if reason is not None:
        return NoPath(reason)
    local = local_address(config)
    assert local is not None
    version = ip_address(local).version
    reachable = [text for text in remote.underlay if ip_address(text).version == version]
    shown = remote.shown
    if not reachable:
        have = ", ".join(remote.underlay) or "none"
        return NoPath(
            f"{shown} has no IPv{version} underlay address to match {local} (it has: {have})"
        )
    trusted = [text for text in reachable if _within(text, config.trusted)]
    if not trusted:
        return NoPath(
            f"underlay address {', '.join(reachable)} of {shown} is outside "
            f"the subnets trusted here ({', '.join(config.trusted)})"
        )
    if not remote.trusted:
        return NoPath(f"{shown} declares no trusted subnets; it would have to trust {local}")
    if not _within(local, remote.trusted):
        return NoPath(
            f"underlay address {local} of this host is outside "
            f"the subnets that {shown} trusts ({', '.join(remote.trusted)})"
        )
    return ClearPath(local, trusted[0])


def why_no_trust(config: DataplaneConfig) -> str | None:
    """Return why this host has no path to any other host, or None when it may have one."""
    if not config.trusted:
        return (
            "no trusted subnets are declared here and workload traffic would travel in the "
            "clear: --trusted-subnets CIDR on both ends opens the path"
        )
    if not config.underlay:
        return "this host has no underlay address that a tunnel could end at"
    return None


def paths_to(config: DataplaneConfig, remotes: Iterable[Remote]) -> Paths:
    """Return the path to each host, or why there is none."""
    return {remote: path_to(config, remote) for remote in remotes}


def reasons(paths: Paths) -> dict[str, str]:
    """Return peer -> one line, for every remote that has no path."""
    found = paths.items()
    return {remote.peer: path.reason for remote, path in found if isinstance(path, NoPath)}


def why_no_path(config: DataplaneConfig, remotes: Iterable[Remote]) -> dict[str, str]:
    """Return peer -> one line, for every remote that has no path."""
    return reasons(paths_to(config, remotes))


def tunnel_sources(
    config: DataplaneConfig, remotes: Iterable[Remote], paths: Paths
) -> tuple[str, ...]:
    """Return every address that tunnel packets may come from, sorted."""
    sources: set[IPv4Address | IPv6Address] = set()
    for remote in remotes:
        if isinstance(paths[remote], ClearPath):
            sources.update(
                ip_address(text) for text in remote.underlay if _within(text, config.trusted)
            )
    return tuple(str(address) for address in sorted(sources, key=lambda a: (a.version, int(a))))


def _within(address: str, subnets: Iterable[str]) -> bool:
    parsed = ip_address(address)
    return any(parsed in ip_network(subnet) for subnet in subnets)
