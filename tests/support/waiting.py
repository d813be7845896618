"""Waiting for the world in system tests: patience where nothing is promised, and free ports."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POLL_S = 0.05
PORT_MIN, PORT_MAX = 10_000, 32_767
"""Where ports are drawn, unless the kernel gives these away by itself."""
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PATIENCE = float(os.environ.get("MESHCRDT_PATIENCE", "1"))
_dice = random.SystemRandom()


def patience(seconds: float) -> float:
    """Return how long to wait for what nobody promised a time for, on a machine like this.

    MESHCRDT_PATIENCE multiplies it where the machine is slow or busy. Bounds that an issue
    or a page of the documentation promises are not given to this function.
    """
    return seconds * _PATIENCE


def until(what: str, holds: Callable[[], Any], *, within_s: float) -> float:
    """Wait until `holds()` is true; returns the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, f"not within {within_s:g} s: {what}"
        time.sleep(POLL_S)
    return time.monotonic() - began


def at_rest(what: str, look: Callable[[], Any], *, within_s: float) -> Any:
    """Return what `look()` shows once it shows the same twice in a row."""
    seen = look()

    def same() -> bool:
        nonlocal seen
        before, seen = seen, look()
        return bool(seen == before)

    until(what, same, within_s=within_s)
    return seen


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on.

    The kernel lends ports of its own range to whoever connects or asks for any: one of
    those may be gone before the daemon binds it. So the port is drawn below that range.
    """
    ports = drawn_from()
    for _ in range(100):
        port = _dice.choice(ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no free port in {ports}")


def drawn_from() -> range:
    """Return the ports that tests take, beside those that the kernel gives away by itself."""
    if not EPHEMERAL.exists():
        return range(PORT_MIN, PORT_MAX + 1)
    low, high = map(int, EPHEMERAL.read_text().split())
    below, above = range(PORT_MIN, min(low, PORT_MAX + 1)), range(high + 1, 65_536)
    return max(below, above, key=len) or range(PORT_MIN, 65_536)
