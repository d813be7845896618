"""Unicast machines in a line, with a relay between that a test can corrupt."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology.outputs import ToPeer
from meshcrdt.topology.unicast import Unicast
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.sealing import Seals, Vault

EPOCH = Epoch(1, b"\x01" * 8)


@lru_cache
def identity_of(number: int) -> Identity:
    return Identity(bytes([number]) * 32)


def peer_id(number: int) -> PeerId:
    return identity_of(number).peer


def seals_of(number: int, run: Epoch = EPOCH, start: int = 0) -> Seals:
    vault = Vault(Dice(b"vault %d %d" % (number, start)).raw)
    return Seals(identity_of(number), run, vault)


class Line:
    """Nodes 1 to `count`, each linked with the next; `relay` may change what passes a node."""

    def __init__(self, count: int = 3, **limits: int) -> None:
        self.count = count
        self.limits = Limits(**limits)
        self.now = 0.0
        self.nodes: dict[int, Unicast] = {}
        for number in range(1, count + 1):
            self.start(number)
        self.got: list[tuple[int, object]] = []
        self.passed: list[tuple[int, tuple]] = []
        """(node, message) of all that a node was given to carry on."""
        self.relay: Callable[[int, tuple], list[tuple]] = lambda number, message: [message]

    def start(self, number: int, counter: int = 1) -> None:
        run = Epoch(counter, b"\x01" * 8)
        self.nodes[number] = Unicast(
            me=peer_id(number),
            epoch=run,
            limits=self.limits,
            dice=Dice(b"line %d" % number),
            next_hop=lambda dest, here=number: self.hop(here, dest),
            seals=seals_of(number, run, counter),
        )

    def hop(self, here: int, dest: PeerId) -> PeerId | None:
        there = next((n for n in range(1, self.count + 1) if peer_id(n) == dest), None)
        if there is None or there == here:
            return None
        return peer_id(here + 1 if there > here else here - 1)

    def send(self, source: int, dest: int, payload: object, wait_s: float = 5.0) -> int:
        number, outputs = self.nodes[source].send(
            peer_id(dest), payload, self.now, deadline=self.now + wait_s
        )
        self.do(source, outputs)
        return number

    def do(self, here: int, outputs: list) -> None:
        for output in outputs:
            if not isinstance(output, ToPeer):
                self.got.append((here, output))
                continue
            there = next(n for n in range(1, self.count + 1) if peer_id(n) == output.peer)
            self.arrive(here, there, output.message)
        self.nodes[here].check()

    def arrive(self, here: int, there: int, message: tuple) -> None:
        if message[2] != bytes(peer_id(there)):
            self.passed.append((there, message))
            for each in self.relay(there, message):
                self.do(there, self.nodes[there].received(peer_id(here), each, self.now))
        else:
            self.do(there, self.nodes[there].received(peer_id(here), message, self.now))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        for number, node in self.nodes.items():
            self.do(number, node.handle_timeout(self.now))
