"""Routes against networkx, and liveness against the components that it finds."""

from __future__ import annotations

import networkx
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.base.ids import PeerId
from meshcrdt.topology.adjacency import AdjacencyGraph
from meshcrdt.topology.routes import first_hops

SIZE = 9
numbers = st.integers(0, SIZE - 1)
claims = st.lists(st.tuples(numbers, numbers), max_size=60)


def peer(number: int) -> PeerId:
    return PeerId(bytes([number]) * 16)


def build(advertised: list[tuple[int, int]]) -> tuple[AdjacencyGraph, networkx.Graph]:
    """Return our graph as node 0 sees it, and the same two-sided graph as an oracle."""
    directed = {(a, b) for a, b in advertised if a != b}
    graph = AdjacencyGraph(me=peer(0), members_max=100)
    oracle = networkx.Graph()
    oracle.add_nodes_from(range(SIZE))
    graph.set_own(frozenset(peer(b) for a, b in directed if a == 0))
    for number in range(1, SIZE):
        graph.advertise(peer(number), frozenset(peer(b) for a, b in directed if a == number))
    for a, b in directed:
        if (b, a) in directed or a == 0:
            oracle.add_edge(a, b)
    return graph, oracle


@given(claims)
@settings(max_examples=examples(300))
def test_first_hops_lie_on_shortest_paths_to_exactly_the_reachable(advertised):
    graph, oracle = build(advertised)
    hops = first_hops(peer(0), graph.neighbours)
    distances = networkx.single_source_shortest_path_length(oracle, 0)
    assert set(hops) == {peer(number) for number in distances if number}
    for dest, hop in hops.items():
        first = hop[0]
        assert oracle.has_edge(0, first)
        rest = networkx.shortest_path_length(oracle, first, dest[0])
        assert rest + 1 == distances[dest[0]]
    graph.check()


@given(claims, st.randoms(use_true_random=False))
def test_routes_do_not_depend_on_the_order_of_news(advertised, random):
    graph, _ = build(advertised)
    shuffled = list(advertised)
    random.shuffle(shuffled)
    again, _ = build(shuffled)
    assert first_hops(peer(0), graph.neighbours) == first_hops(peer(0), again.neighbours)


@given(claims, numbers, numbers)
def test_adjacent_is_symmetric_and_needs_both_words(advertised, a, b):
    graph, _ = build(advertised)
    assert graph.adjacent(peer(a), peer(b)) == graph.adjacent(peer(b), peer(a))
    assert graph.adjacent(peer(a), peer(b)) == ({(a, b), (b, a)} <= set(advertised) and a != b)
