"""Facts about a small cluster, told to one failure detector in any order, and what follows.

Node 0 is the detector's own. It is linked with some peers; everything else it knows from
directory records and adverts, of which each origin's come in the order in which they were
made (gossip shows only newer headers of a stream), and different origins' in any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import networkx
from attrs import field, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology.adverts import Accusation, Advert
from meshcrdt.topology.detector import Detector, Parting
from meshcrdt.topology.directory import DOMAIN_ROLE, MemberRecord, Standing
from meshcrdt.topology.links import Links
from meshcrdt.topology.outputs import PeerState


def peer(number: int) -> PeerId:
    return PeerId(bytes([number]) * 16)


def epoch(counter: int) -> Epoch:
    return Epoch(counter, b"\x01" * 8)


def record(
    number: int, *, counter: int = 1, standing: Standing = Standing.IN, domain: str = ""
) -> MemberRecord:
    return MemberRecord(
        peer=peer(number),
        public=bytes(32),
        name=f"host{number}",
        epoch=epoch(counter),
        standing=standing,
        roles=(DOMAIN_ROLE + domain,) if domain else (),
    )


def accusation(subject: int, counter: int = 1, incarnation: int = 0) -> Accusation:
    return Accusation(peer(subject), epoch(counter), incarnation)


@frozen
class Said:
    """An advert of an origin in one of its epochs."""

    origin: int
    counter: int = 1
    incarnation: int = 0
    neighbours: frozenset[int] = field(default=frozenset(), converter=frozenset)
    accuses: tuple[Accusation, ...] = ()

    @property
    def advert(self) -> Advert:
        return Advert(self.incarnation, frozenset(map(peer, self.neighbours)), self.accuses)


Fact: TypeAlias = MemberRecord | Said


class Witness:
    """One detector that is told facts; time passes only where it is said."""

    def __init__(self, links: Iterable[int] = (), *, me: int = 0) -> None:
        self.me = me
        self.now = 100.0
        self.members: dict[PeerId, MemberRecord] = {}
        self.log: list[object] = []
        self.detector = Detector(
            me=peer(me),
            epoch=epoch(1),
            limits=Limits(),
            dice=Dice(b"witness"),
            links=Links(me=peer(me), limits=Limits(), dice=Dice(b"links")),
            members=self.members,
        )
        self.linked: frozenset[PeerId] = frozenset()
        for number in links:
            self.link(number)

    def link(self, number: int) -> None:
        self.detector.linked(peer(number), epoch(1))
        self._links(self.linked | {peer(number)})

    def lose(self, number: int) -> None:
        self.detector.unlinked(peer(number), "lost", self.now, Parting.LOST)
        self._links(self.linked - {peer(number)})

    def _links(self, linked: frozenset[PeerId]) -> None:
        self.linked = linked
        self.detector.neighbours_changed(linked, linked, self.now)
        self._conclude()

    def tell(self, *facts: Fact) -> None:
        for fact in facts:
            if isinstance(fact, Said):
                self.detector.advertised(
                    peer(fact.origin), epoch(fact.counter), fact.advert, self.now
                )
            else:
                old = self.members.get(fact.peer)
                self.members[fact.peer] = fact
                self.detector.member(fact.peer, old, fact)
            self._conclude()

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.detector.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self._conclude()
        self.now = end
        self._conclude()

    def state(self, number: int) -> PeerState | None:
        return self.detector.liveness.state(peer(number))

    def states(self, numbers: Iterable[int]) -> dict[int, PeerState | None]:
        return {number: self.state(number) for number in numbers}

    def outputs(self, kind: type) -> list:
        return [output for output in self.log if isinstance(output, kind)]

    def _conclude(self) -> None:
        self.log.extend(self.detector.conclude(self.now))
        self.detector.check()


def newest(facts: Iterable[Fact]) -> dict[tuple[type, int], Fact]:
    """Return what is held in the end: the last fact of each kind and origin."""
    held: dict[tuple[type, int], Fact] = {}
    for fact in facts:
        number = fact.origin if isinstance(fact, Said) else fact.peer[0]
        held[type(fact), number] = fact
    return held


def expected(facts: Iterable[Fact], links: Iterable[int], numbers: Iterable[int]) -> dict:
    """Return the states that follow from the facts alone, long after the last of them."""
    facts = list(facts)
    held = newest(facts)
    adverts = {n: f for (kind, n), f in held.items() if kind is Said and isinstance(f, Said)}
    records = {n: f for (_, n), f in held.items() if isinstance(f, MemberRecord)}
    left = {
        f.peer[0]: f.epoch.counter
        for f in facts
        if isinstance(f, MemberRecord) and f.standing is Standing.LEFT
    }

    def word(number: int) -> tuple[int, int]:
        said = adverts.get(number)
        counter = max(
            records[number].epoch.counter if number in records else 0,
            said.counter if said else 0,
            1 if number in links else 0,
        )
        return counter, said.incarnation if said and said.counter == counter else 0

    present = {n for n, r in records.items() if r.standing is Standing.IN}
    domains = {records[n].failure_domain for n in present}
    accusers: dict[int, set[int]] = {}
    for number, said in adverts.items():
        for accused in said.accuses:
            subject = accused.subject[0]
            same = (accused.epoch.counter, accused.incarnation) == word(subject)
            if same and number in present and number != subject:
                accusers.setdefault(subject, set()).add(number)

    def enough(number: int) -> bool:
        by = accusers.get(number, set())
        needed = {records[n].failure_domain for n in by} if len(domains) > 1 else by
        return len(needed) > 1

    graph = networkx.Graph()
    graph.add_node(0)
    graph.add_edges_from((0, n) for n in links)
    for one, said in adverts.items():
        for other in said.neighbours:
            if one in getattr(adverts.get(other), "neighbours", ()) and one != other:
                graph.add_edge(one, other)
    graph.remove_nodes_from([n for n in list(graph) if n not in (0, *links) and enough(n)])
    near = networkx.node_connected_component(graph, 0)

    def state(number: int) -> PeerState:
        if number in left and left[number] >= word(number)[0]:
            return PeerState.LEFT
        if number in links:
            return PeerState.ALIVE
        if enough(number) or number not in near:
            return PeerState.DEAD
        return PeerState.SUSPECT if accusers.get(number) else PeerState.ALIVE

    return {number: state(number) for number in numbers if number in records}
