"""Does an overlay range collide with what the host already routes? Pure.

A universe that hides a host's own network would cut the host off, so `launch` refuses
it. The default route does not count, and neither does what is on our own bridge.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_interface, ip_network

from attrs import frozen


@frozen(kw_only=True)
class HostRoute:
    """One route or address of the host: a prefix and the device it is on."""

    prefix: str
    device: str


def why_overlapping(
    universes: Iterable[str], routes: Iterable[HostRoute], *, own_devices: Iterable[str]
) -> str | None:
    """Return one line that names the first range and the host's route that overlap, or None."""
    own = frozenset(own_devices)
    parsed = [
        (ip_interface(route.prefix).network, route) for route in routes if route.device not in own
    ]
    for text in universes:
        universe = ip_network(text)
        for network, route in parsed:
            if network.prefixlen == 0 or network.version != universe.version:
                continue
            if network.overlaps(universe):
                on = f" on {route.device}" if route.device else ""
                return f"range {text} overlaps the host's route {network}{on}"
    return None
