"""A few machines that talk at once and whose disks never fail: for scenarios that read as prose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import Limits
from meshcrdt.ipam import Answer, BlockPolicy, Genesis, Ipam, Notice, Publish, Store, ToPeer
from meshcrdt.trust.identity import Identity


class Cluster:
    """`count` machines; the first is the guardian. `reachable` switches the wire off."""

    def __init__(
        self,
        universes: tuple[str, ...] | None,
        *,
        count: int,
        policy: BlockPolicy | None,
        limits: Limits,
    ) -> None:
        self.limits = limits
        self.now = 1000.0
        self.identities = [Identity(bytes([n + 1]) * 32) for n in range(count)]
        self.genesis = Genesis.make(self.identities[0], universes, nonce=b"n" * 16, policy=policy)
        self.rows: list[dict[bytes, bytes]] = [{} for _ in range(count)]
        self.stream: dict[bytes, bytes] = {}
        self.sent: list[tuple[int, ToPeer]] = []
        self.published: list[Publish] = []
        self.notices: list[Notice] = []
        self.outcomes: dict[int, object] = {}
        self.reachable = True
        self.hold_publish = False
        self.request = 0
        self.boots = [0] * count
        self.ipams: list[Ipam] = [self.boot(n) for n in range(count)]
        for n in range(count):
            self.run(n, self.ipams[n].ready(self.now))

    def boot(self, n: int) -> Ipam:
        """Make machine n anew from its rows and the guardian's stream, not yet ready."""
        self.boots[n] += 1
        ipam = Ipam(
            me=self.identities[n].peer,
            identity=self.identities[n],
            genesis=self.genesis,
            epoch=Epoch(self.boots[n], bytes([n, self.boots[n]]) * 4),
            limits=self.limits,
            dice=Dice(bytes([n])),
        )
        ipam.load(self.rows[n], self.now)
        for key, value in self.stream.items():
            ipam.register_changed(self.identities[0].peer, key, value, self.now)
        return ipam

    def restart(self, n: int) -> None:
        """Crash machine n and start it again."""
        self.ipams[n] = self.boot(n)
        self.run(n, self.ipams[n].ready(self.now))

    def run(self, n: int, outputs: list) -> None:
        """Perform outputs at once, in order, until nothing is left."""
        for output in outputs:
            if isinstance(output, Store):
                for key, value in output.rows:
                    if value is None:
                        self.rows[n].pop(key, None)
                    else:
                        self.rows[n][key] = value
            elif isinstance(output, Publish):
                self.published.append(output)
                if not self.hold_publish:
                    self.publish(n, output)
            elif isinstance(output, Answer):
                assert output.request not in self.outcomes
                self.outcomes[output.request] = output.outcome
            elif isinstance(output, Notice):
                self.notices.append(output)
            elif isinstance(output, ToPeer):
                self.sent.append((n, output))
                self.carry(n, output)

    def publish(self, n: int, output: Publish) -> None:
        for key, value in output.puts:
            self.stream[key] = value
        for key, value in output.puts:
            self.run(
                n, self.ipams[n].register_changed(self.identities[n].peer, key, value, self.now)
            )
        self.run(n, self.ipams[n].published(output.token, self.now))

    def carry(self, n: int, output: ToPeer) -> None:
        peers = [identity.peer for identity in self.identities]
        if self.reachable:
            dest = peers.index(output.dest)
            self.run(dest, self.ipams[dest].received(peers[n], output.payload, self.now))
        else:
            self.run(
                n, self.ipams[n].unicast_failed(output.dest, output.payload, "no route", self.now)
            )

    def gossip(self) -> None:
        """The guardian's stream reaches everyone."""
        for n, ipam in enumerate(self.ipams):
            for key, value in self.stream.items():
                self.run(n, ipam.register_changed(self.identities[0].peer, key, value, self.now))

    def allocate(self, n: int, workload: str, subnet: str | None = None) -> object:
        """Return the outcome, or None while the call waits."""
        self.request += 1
        number = self.request
        self.run(n, self.ipams[n].allocate(number, workload, subnet, self.now, self.now + 5.0))
        return self.outcomes.get(number)

    def claim(self, n: int, workload: str, address: str) -> object:
        self.request += 1
        number = self.request
        self.run(n, self.ipams[n].claim(number, workload, address, self.now, self.now + 5.0))
        return self.outcomes.get(number)

    def release(self, n: int, workload: str, address: str | None = None) -> object:
        self.request += 1
        number = self.request
        self.run(n, self.ipams[n].release(number, workload, address, self.now))
        return self.outcomes[number]

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [
                (time, n)
                for n, ipam in enumerate(self.ipams)
                if (time := ipam.next_deadline()) is not None and time <= end
            ]
            if not due:
                break
            self.now, n = min(due)
            self.run(n, self.ipams[n].handle_timeout(self.now))
        self.now = end

    def check(self) -> None:
        for ipam in self.ipams:
            ipam.check()


@pytest.fixture
def make_cluster() -> Callable[..., Cluster]:
    """Return a maker: universes, count=, policy=, limits=."""

    def make(
        *universes: str,
        count: int = 1,
        policy: BlockPolicy | None = None,
        limits: Limits | None = None,
    ) -> Cluster:
        return Cluster(universes or None, count=count, policy=policy, limits=limits or Limits())

    return make
