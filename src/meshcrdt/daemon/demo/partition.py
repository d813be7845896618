"""The first half: five daemons on loopback, split two against three, healed again.

Every pair talks through a relay of its own, so that the split cuts exactly the pairs that
lie across it. The daemons run with `--no-discovery`, else they would find each other past
the relays.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from meshcrdt.daemon.demo.account import Account
from meshcrdt.daemon.demo.process import DaemonProcess
from meshcrdt.daemon.demo.relay import Relay

NAMES = ("n1", "n2", "n3", "n4", "n5")
SMALL_SIDE, LARGE_SIDE = NAMES[:2], NAMES[2:]
CHANNEL = "demo/services"
POLL_S = 0.15


class Loopback:
    """Five daemons and the relays between them."""

    def __init__(self, directory: Path, account: Account) -> None:
        self._account = account
        self.hosts = {name: DaemonProcess(name, directory) for name in NAMES}
        self._relays: dict[tuple[str, str], Relay] = {}
        self._front: Relay | None = None
        self.given: dict[str, list[str]] = {name: [] for name in NAMES}
        self.named: dict[str, str] = {}
        self.written: dict[str, Any] = {}

    async def form(self, nursery: trio.Nursery) -> None:
        """Start the daemons: the first founds the cluster, the others join by a token."""
        ports = {name: _free_port() for name in NAMES}
        for index, name in enumerate(NAMES):
            for other in NAMES[:index]:
                self._relays[name, other] = await Relay.start(nursery, ports[other])
        # A token names the addresses of its maker. They serve the joining only: an address
        # for everyone would lead around the relays of the pairs.
        self._front = await Relay.start(nursery, ports[NAMES[0]])
        founder = self.hosts[NAMES[0]]
        await founder.launch(nursery, *self._options(NAMES[0], ports))
        status = await founder.json("status")
        self._account.tell(f"{NAMES[0]} founded cluster {status['cluster']}")
        token = (await founder.run("token", "create")).strip()
        async with trio.open_nursery() as joining:
            for name in NAMES[1:]:
                joining.start_soon(self._join, nursery, name, ports, token)
        self._front.cut()
        waited = await self.until(
            "everyone is alive everywhere",
            lambda seen: all(_alive(status) == len(NAMES) - 1 for status in seen.values()),
        )
        self._account.tell(f"all five see all five, after {waited:.1f} s")

    async def _join(
        self, nursery: trio.Nursery, name: str, ports: Mapping[str, int], token: str
    ) -> None:
        host = self.hosts[name]
        peers = [self._relays[name, other].url for other in NAMES[: NAMES.index(name)]]
        await host.launch(nursery, *self._options(name, ports), *peers, token=token)
        status = await host.json("status")
        self._account.tell(f"{name} joined by token, as {status['peer'][:12]}…")

    def _options(self, name: str, ports: Mapping[str, int]) -> list[str]:
        listen = f"tcp://127.0.0.1:{ports[name]}"
        relay = self._front if name == NAMES[0] else self._relays.get((NAMES[-1], name))
        advertise = relay.url if relay is not None else listen
        return [
            *("--listen", listen, "--advertise", advertise, "--no-discovery"),
            *("--dataplane", "none", "--log-level", "info"),
        ]

    async def work(self, names: Sequence[str], tag: str) -> None:
        """On each of these nodes: allocate an address, name it, and write to a channel."""
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._work_on, name, tag)

    async def _work_on(self, name: str, tag: str) -> None:
        host, workload = self.hosts[name], f"{tag}-{name}"
        address = (await host.json("allocate", workload))["address"]
        self.given[name].append(address)
        await host.run("dns-add", workload, address)
        self.named[workload] = address.partition("/")[0]
        await host.run("put", CHANNEL, workload, f'{{"on": "{name}", "phase": "{tag}"}}')
        self.written[workload] = {"on": name, "phase": tag}
        self._account.tell(f"{name}  {workload} has {address}, its name and its entry")

    def split(self) -> None:
        """Cut every pair across the two sides."""
        for (one, other), relay in self._relays.items():
            if (one in SMALL_SIDE) != (other in SMALL_SIDE):
                relay.cut()

    def heal(self) -> None:
        """Let every pair talk again."""
        for relay in self._relays.values():
            relay.heal()

    async def statuses(self) -> Mapping[str, Any]:
        """Return what each node says of itself."""
        found: dict[str, Any] = {}

        async def ask(name: str) -> None:
            found[name] = await self.hosts[name].json("status")

        async with trio.open_nursery() as nursery:
            for name in NAMES:
                nursery.start_soon(ask, name)
        return {name: found[name] for name in NAMES}

    async def until(
        self, what: str, holds: Callable[[Mapping[str, Any]], bool], *, timeout_s: float = 15.0
    ) -> float:
        """Wait until all statuses together satisfy something; returns the seconds waited."""
        begun = trio.current_time()
        while not holds(await self.statuses()):
            if trio.current_time() - begun > timeout_s:
                self._account.check(what, f"not within {timeout_s:g} s")
                break
            await trio.sleep(POLL_S)
        return trio.current_time() - begun


async def play(directory: Path, account: Account) -> None:
    """Form, work, split, work on both sides, heal, and check that nothing was lost."""
    async with trio.open_nursery() as nursery:
        cluster = Loopback(directory, account)
        account.chapter("Five daemons form a cluster on loopback, without root")
        await cluster.form(nursery)
        account.chapter("Everyone allocates, names and writes")
        await cluster.work(NAMES, "before")
        account.chapter(f"The network splits: {'+'.join(SMALL_SIDE)} | {'+'.join(LARGE_SIDE)}")
        cluster.split()
        waited = await cluster.until("both sides notice", _both_sides_noticed)
        account.tell(f"each side sees the other is gone, after {waited:.1f} s")
        _tell_minority(account, await cluster.statuses())
        await cluster.work(NAMES, "during")
        for name, colour in ((SMALL_SIDE[0], "red"), (LARGE_SIDE[0], "blue")):
            await cluster.hosts[name].run("put", CHANNEL, "colour", colour)
            account.tell(f'{name}  puts colour = "{colour}": the same key on both sides')
        account.chapter("The network heals")
        cluster.heal()
        waited = await cluster.until("digests become equal", _converged)
        account.tell(f"the same bytes everywhere, {waited:.1f} s after the cable was back")
        await _check(cluster, account)
        nursery.cancel_scope.cancel()


async def _check(cluster: Loopback, account: Account) -> None:
    account.chapter("The invariants")
    statuses = await cluster.statuses()
    account.check("equal digests on all five", None if _converged(statuses) else "they differ")
    held = await _everywhere(cluster, lambda host: host.json("ps"))
    account.check("no address is held twice", _held_twice(held))
    account.check("every node still holds what it was given", _missing(cluster, held))
    names = await _everywhere(cluster, lambda host: host.json("dns-list"))
    account.check("every name resolves everywhere", _unresolved(cluster, names))
    entries = await _everywhere(cluster, lambda host: host.json("get", CHANNEL))
    account.check("every entry is everywhere", _lost(cluster, entries))
    colours = {found["entries"].get("colour") for found in entries.values()}
    problem = None if len(colours) == 1 and colours <= {"red", "blue"} else f"{colours}"
    account.check("the key written on both sides has one value everywhere", problem)
    rows = [
        (
            name,
            status["state"],
            f"{_alive(status)} of {len(NAMES) - 1}",
            ", ".join(sorted(a.partition("/")[0] for a in cluster.given[name])),
            str(status["dns"]["names"]),
            status["digests"]["ipam"][:8],
            status["digests"]["names"][:8],
        )
        for name, status in statuses.items()
    ]
    headers = ("node", "state", "alive", "addresses", "names", "ipam", "names")
    account.table("After the partition", headers, rows)


async def _everywhere(
    cluster: Loopback, ask: Callable[[DaemonProcess], Awaitable[Any]]
) -> dict[str, Any]:
    return {name: await ask(host) for name, host in cluster.hosts.items()}


def _held_twice(held: Mapping[str, Any]) -> str | None:
    seen: dict[str, str] = {}
    for name, listing in held.items():
        for workload, addresses in listing["entries"].items():
            for address in addresses:
                if address in seen:
                    return f"{address} by {seen[address]} and {workload} on {name}"
                seen[address] = f"{workload} on {name}"
    return None


def _missing(cluster: Loopback, held: Mapping[str, Any]) -> str | None:
    for name, addresses in cluster.given.items():
        found = {a for listed in held[name]["entries"].values() for a in listed}
        if not set(addresses) <= found:
            return f"{name} lost {sorted(set(addresses) - found)}"
    return None


def _unresolved(cluster: Loopback, names: Mapping[str, Any]) -> str | None:
    for name, listing in names.items():
        short = {shown.partition(".")[0]: found for shown, found in listing["entries"].items()}
        for workload, address in cluster.named.items():
            if address not in short.get(workload, ()):
                return f"{workload} has {short.get(workload)} on {name}, not {address}"
    return None


def _lost(cluster: Loopback, entries: Mapping[str, Any]) -> str | None:
    for name, listing in entries.items():
        for key, value in cluster.written.items():
            if listing["entries"].get(key) != value:
                return f"{key} is {listing['entries'].get(key)} on {name}"
    return None


def _alive(status: Any) -> int:
    return sum(peer["state"] == "alive" for peer in status["peers"])


def _converged(statuses: Mapping[str, Any]) -> bool:
    digests = [status["digests"] for status in statuses.values()]
    everyone = all(_alive(status) == len(NAMES) - 1 for status in statuses.values())
    return everyone and all(digest == digests[0] for digest in digests)


def _both_sides_noticed(statuses: Mapping[str, Any]) -> bool:
    sides = (SMALL_SIDE, LARGE_SIDE)
    return all(_alive(statuses[name]) == len(side) - 1 for side in sides for name in side)


def _tell_minority(account: Account, statuses: Mapping[str, Any]) -> None:
    minority = [name for name, status in statuses.items() if status["minority"]]
    account.tell(f"in a minority by their own account: {', '.join(minority) or 'nobody'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
