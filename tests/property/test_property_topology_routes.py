"""Routes and reach against networkx, whatever order the news came in."""

from __future__ import annotations

import networkx
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meshcrdt.base.ids import BOTTOM_EPOCH, PeerId
from meshcrdt.topology.adjacency import AdjacencyGraph
from meshcrdt.topology.adverts import Advert
from meshcrdt.topology.reach import Reach
from meshcrdt.topology.routes import Routes, first_hop

SIZE = 9
numbers = st.integers(0, SIZE - 1)
claims = st.lists(st.tuples(numbers, numbers), max_size=60)


def peer(number: int) -> PeerId:
    return PeerId(bytes([number]) * 16)


def peers(those: set[int]) -> frozenset[PeerId]:
    return frozenset(map(peer, those))


def build(advertised: list[tuple[int, int]]) -> tuple[AdjacencyGraph, networkx.Graph]:
    """Return our graph as node 0 sees it, and the same two-sided graph as an oracle."""
    directed = {(a, b) for a, b in advertised if a != b}
    graph = AdjacencyGraph(me=peer(0), members_max=100)
    oracle = networkx.Graph()
    oracle.add_nodes_from(range(SIZE))
    graph.set_own(peers({b for a, b in directed if a == 0}))
    for number in range(1, SIZE):
        told = Advert(neighbours=peers({b for a, b in directed if a == number}))
        graph.advertise(peer(number), BOTTOM_EPOCH, told)
    for a, b in directed:
        if ((b, a) in directed and 0 not in (a, b)) or a == 0:
            oracle.add_edge(a, b)
    return graph, oracle


@given(claims, numbers)
@settings(max_examples=examples(300))
def test_a_first_hop_lies_on_a_shortest_path_and_exists_exactly_for_the_reachable(advertised, to):
    graph, oracle = build(advertised)
    hop = first_hop(peer(0), peer(to), graph.neighbours)
    if to == 0 or not networkx.has_path(oracle, 0, to):
        assert hop is None
        return
    assert hop is not None
    assert oracle.has_edge(0, hop[0])
    whole = networkx.shortest_path_length(oracle, 0, to)
    assert networkx.shortest_path_length(oracle, hop[0], to) + 1 == whole
    graph.check()


@given(claims, numbers, st.randoms(use_true_random=False))
def test_routes_do_not_depend_on_the_order_of_news(advertised, to, random):
    graph, _ = build(advertised)
    shuffled = list(advertised)
    random.shuffle(shuffled)
    again, _ = build(shuffled)
    hops = [first_hop(peer(0), peer(to), each.neighbours) for each in (graph, again)]
    assert hops[0] == hops[1]


@given(claims, numbers, numbers)
def test_adjacent_is_symmetric_and_needs_both_words(advertised, a, b):
    graph, _ = build(advertised)
    assert graph.adjacent(peer(a), peer(b)) == graph.adjacent(peer(b), peer(a))
    assert graph.adjacent(peer(a), peer(b)) == ({(a, b), (b, a)} <= set(advertised) and a != b)


class ReachHistory(RuleBasedStateMachine):
    """Links, adverts and barred peers change; reach and routes are those of networkx."""

    @initialize()
    def begin(self) -> None:
        self.graph = AdjacencyGraph(me=peer(0), members_max=100)
        self.reach = Reach(me=peer(0), graph=self.graph)
        self.routes = Routes(
            me=peer(0),
            neighbours_of=self.reach.neighbours,
            version=lambda: self.reach.version,
        )
        self.claims: dict[int, set[int]] = {number: set() for number in range(SIZE)}
        self.barred: set[int] = set()
        self.near = {0}
        """Who was told to be near, by what the calls returned."""

    @rule(origin=numbers, named=st.sets(numbers, max_size=4))
    def advertise(self, origin: int, named: set[int]) -> None:
        named = named - {origin}
        self.claims[origin] = named
        if origin == 0:
            changes = self.graph.set_own(peers(named))
        else:
            told = Advert(neighbours=peers(named))
            changes = self.graph.advertise(peer(origin), BOTTOM_EPOCH, told)
        for other in changes.gained:
            self.near |= {came[0] for came in self.reach.joined(peer(origin), other)}
        for other in changes.lost:
            self.reach.parted(peer(origin), other)

    @rule(number=numbers.filter(bool))
    def bar(self, number: int) -> None:
        self.barred.add(number)
        self.reach.bar(peer(number))
        self.near.discard(number)

    @rule(number=numbers)
    def unbar(self, number: int) -> None:
        self.barred.discard(number)
        self.near |= {came[0] for came in self.reach.unbar(peer(number))}

    @rule()
    def settle(self) -> None:
        self.near -= {lost[0] for lost in self.reach.settle()}
        assert not self.reach.doubtful
        assert self.near == networkx.node_connected_component(self.oracle(), 0)

    def oracle(self) -> networkx.Graph:
        graph = networkx.Graph()
        graph.add_node(0)
        for one, named in self.claims.items():
            for other in named:
                edge = (one in self.claims[other] and 0 not in (one, other)) or one == 0
                if edge and not {one, other} & self.barred:
                    graph.add_edge(one, other)
        return graph

    @invariant()
    def nothing_reachable_is_missing(self) -> None:
        component = networkx.node_connected_component(self.oracle(), 0)
        assert component <= self.near, "what comes near is near at once"
        assert self.near == {n for n in range(SIZE) if self.reach.near(peer(n))}
        for number in range(1, SIZE):
            reached = self.routes.next_hop(peer(number)) is not None
            assert reached == (number in component)
        self.graph.check()
        self.reach.check()


TestReachHistory = ReachHistory.TestCase
TestReachHistory.settings = settings(max_examples=examples(150), stateful_step_count=40)
