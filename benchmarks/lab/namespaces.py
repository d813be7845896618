"""Private network namespaces, so that bytes are those of the peers alone and cuts are real.

One namespace for a cluster on loopback; two, joined by a veth pair, where half of the
cluster has to vanish from the other. Bytes are counted at the output hook, once a packet,
and only for the ports on which peers listen: what the bench itself says to a peer (RPC of an
agent, HTTP) is not in them. 14 bytes a packet are added for Ethernet, so that figures stand
beside those taken from an interface's counter.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attrs import define, frozen

from benchmarks.lab.ports import FIRST_PEER_PORT, LAST_PEER_PORT

PEER_PORTS = f"{FIRST_PEER_PORT}-{LAST_PEER_PORT}"
ETHERNET_BYTES = 14
PREFIX = "mcbench-"
NETNS = Path("/run/netns")

_COUNT = f"""
table inet bench {{
  counter peers {{ }}
  chain out {{
    type filter hook output priority 0; policy accept;
    meta l4proto {{ tcp, udp }} th sport {PEER_PORTS} counter name peers accept
    meta l4proto {{ tcp, udp }} th dport {PEER_PORTS} counter name peers accept
  }}
}}
"""
_CUT = """
table inet cut {
  chain in { type filter hook input priority 0; policy accept; iifname "bench" drop; }
}
"""


def missing() -> str | None:
    """Return why namespaces cannot be had here, or None."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root for a private network namespace"
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            return f"needs {tool} (Debian: iproute2, nftables)"
    return None


@frozen
class Count:
    """What peers sent."""

    size_bytes: int
    packets: int

    def since(self, before: Count) -> Count:
        return Count(self.size_bytes - before.size_bytes, self.packets - before.packets)


@define
class Namespace:
    """One network namespace; `host` is the address on which its peers listen."""

    name: str
    host: str

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that runs another one inside."""
        return ("ip", "netns", "exec", self.name)

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(
            [*self.enter, *command], input=text, text=True, capture_output=True, check=True
        )
        return done.stdout

    def count(self) -> Count:
        listed = json.loads(self.run("nft", "-j", "list", "counter", "inet", "bench", "peers"))
        (counter,) = (each["counter"] for each in listed["nftables"] if "counter" in each)
        return Count(counter["bytes"] + ETHERNET_BYTES * counter["packets"], counter["packets"])

    def cut(self) -> None:
        """Drop, without a word, all that arrives from the other namespace."""
        self.run("nft", "-f", "-", text=_CUT)

    def mend(self) -> None:
        self.run("nft", "delete", "table", "inet", "cut")


def _make(name: str, host: str) -> Namespace:
    subprocess.run(["ip", "netns", "add", name], check=True)
    space = Namespace(name, host)
    space.run("ip", "link", "set", "lo", "up")
    # Neither end of a connection may be an ephemeral port among those of the peers.
    space.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 65000")
    space.run("nft", "-f", "-", text=_COUNT)
    return space


def _sweep() -> None:
    """Delete what benches left that were killed."""
    if NETNS.is_dir():
        for path in NETNS.glob(f"{PREFIX}*"):
            owner = path.name.removeprefix(PREFIX).split("-")[0]
            if not Path("/proc", owner).exists():
                subprocess.run(["ip", "netns", "del", path.name], check=False)


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Give one namespace, or two that see each other; they are gone afterwards."""
    _sweep()
    name = f"{PREFIX}{os.getpid()}"
    made: list[Namespace] = []
    try:
        for index in range(count):
            host = "127.0.0.1" if count == 1 else f"10.203.0.{index + 1}"
            made.append(_make(f"{name}-{index}", host))
        if count == 2:
            a, b = made
            link = ["ip", "link", "add", "bench", "netns", a.name, "type", "veth"]
            subprocess.run([*link, "peer", "name", "bench", "netns", b.name], check=True)
            for space in made:
                space.run("ip", "addr", "add", f"{space.host}/24", "dev", "bench")
                space.run("ip", "link", "set", "bench", "up")
        yield made
    finally:
        for space in made:
            subprocess.run(["ip", "netns", "del", space.name], check=False)
