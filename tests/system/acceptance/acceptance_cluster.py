"""A cluster of daemons on hosts of a site, with a workload on each, as operators make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acceptance_daemon import Daemon
from acceptance_hosts import TRUSTED, Site, host_address
from waiting import patience, until

OPTIONS = ("--trusted-subnets", TRUSTED)


class Cluster:
    """Daemons by the number of their host; the first founds, the others join by token."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site = site
        self.directory = directory
        self.daemons: dict[int, Daemon] = {}
        self.addresses: dict[str, str] = {}
        """Workload -> its IPv4 address, without the prefix length."""
        self.addresses6: dict[str, str] = {}

    def daemon_on(self, number: int, *, name: str | None = None) -> Daemon:
        """Make a host and (not started yet) its daemon."""
        namespace = self.site.host(number)
        prefix = ("ip", "netns", "exec", namespace)
        self.daemons[number] = Daemon(name or f"h{number}", self.directory, prefix=prefix)
        return self.daemons[number]

    def form(self, *numbers: int, peers: dict[int, int] | None = None) -> None:
        """Launch the first, and the others with one peer address each and its token."""
        for number in numbers:
            self.daemon_on(number)
        first, *others = numbers
        self.daemons[first].launch("--name", f"h{first}", *OPTIONS)
        token = self.daemons[first].token()
        for number in others:
            peer = host_address((peers or {}).get(number, first))
            options = ("--name", f"h{number}", *OPTIONS, peer)
            self.daemons[number].launch(*options, token=token, wait=False)
        for number in others:
            self.daemons[number].until_ready()
        until("everyone sees everyone", self.is_whole, within_s=patience(15.0))

    def host(self, number: int) -> str:
        return f"{self.site.prefix}h{number}"

    def namespace(self, workload: str) -> str:
        return f"{self.site.prefix}w{workload}"

    def attach(self, number: int, workload: str, *, named: bool = True) -> dict[str, Any]:
        """Make a workload's namespace and attach it."""
        target = f"netns:/run/netns/{self.site.namespace(f'w{workload}')}"
        name = ("--name", f"w{workload}") if named else ()
        attached: dict[str, Any] = self.daemons[number].json("attach", target, *name)
        four, six = (address.partition("/")[0] for address in attached["addresses"])
        self.addresses[workload], self.addresses6[workload] = four, six
        return attached

    def detach(self, number: int, workload: str) -> None:
        self.daemons[number].ok("detach", f"netns:/run/netns/{self.namespace(workload)}")
        del self.addresses[workload]

    def exchange(self, source: str, sink: str, *, family: int = 4) -> None:
        address = (self.addresses if family == 4 else self.addresses6)[sink]
        self.site.exchange(self.namespace(source), self.namespace(sink), address)

    def reaches(self, source: str, sink: str) -> bool:
        return self.site.pings(self.namespace(source), self.addresses[sink])

    # --- what all say ----------------------------------------------------------------------

    def statuses(self) -> dict[int, dict[str, Any]]:
        return {number: daemon.status() for number, daemon in self.daemons.items()}

    def is_whole(self) -> bool:
        """Everyone is alive everywhere."""
        count = len(self.daemons) - 1
        return all(len(alive(status)) == count for status in self.statuses().values())

    def is_equal(self) -> bool:
        """Everyone is alive everywhere, and holds the same bytes."""
        digests = [status["digests"] for status in self.statuses().values()]
        return self.is_whole() and all(digest == digests[0] for digest in digests)

    def held_twice(self) -> set[str]:
        """Addresses that two workloads hold, of all nodes together."""
        seen: set[str] = set()
        twice: set[str] = set()
        for daemon in self.daemons.values():
            for held in daemon.json("ps")["entries"].values():
                for address in held:
                    (twice if address in seen else seen).add(address)
        return twice

    def close(self) -> None:
        for daemon in self.daemons.values():
            daemon.close()


def alive(status: dict[str, Any]) -> set[str]:
    return names_in(status, "alive")


def names_in(status: dict[str, Any], *states: str) -> set[str]:
    return {peer["name"] for peer in status["peers"] if peer["state"] in states}
