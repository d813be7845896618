"""Unicast over random graphs that lose, repeat and delay: every send has one outcome."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

import networkx
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from unicast_line import peer_id, seals_of

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology.outputs import Acked, Delivered, Failed, ToPeer
from meshcrdt.topology.unicast import Unicast
from meshcrdt.topology.unicast_window import Seen, Window

LIMITS = Limits()


RUN = Epoch(1, bytes(8))
NUMBERS = {peer_id(number): number for number in range(8)}


class Net:
    """Unicast machines on a graph whose edges come and go; routes may be stale on purpose."""

    def __init__(self, size: int, random: Random, *, loss: float, repeat: float) -> None:
        self.random = random
        self.loss, self.repeat = loss, repeat
        self.graph = networkx.gnp_random_graph(size, 0.4, seed=random.randrange(1 << 30))
        self.believed = self.graph.copy()
        self.now = 0.0
        self.nodes = {
            n: Unicast(
                me=peer_id(n),
                epoch=RUN,
                limits=LIMITS,
                dice=Dice(bytes([n])),
                next_hop=self._router(n),
                seals=seals_of(n, RUN),
            )
            for n in range(size)
        }
        self.outcomes: Counter[tuple[int, int]] = Counter()
        self.acked: set[tuple[int, int]] = set()
        self.deliveries: Counter[tuple[int, object]] = Counter()
        self.outcome_at: dict[tuple[int, int], float] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def _router(self, here: int) -> Callable[[PeerId], PeerId | None]:
        def next_hop(dest: PeerId) -> PeerId | None:
            try:
                path = networkx.shortest_path(self.believed, here, NUMBERS[dest])
            except networkx.NetworkXNoPath:
                return None
            return peer_id(path[1])

        return next_hop

    def at(self, at: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, action))

    def flip(self, a: int, b: int, believed_after_s: float) -> None:
        """Cut or join an edge; the nodes' routes follow later."""
        for graph, wait_s in ((self.graph, 0.0), (self.believed, believed_after_s)):

            def change(graph: networkx.Graph = graph) -> None:
                if graph.has_edge(a, b):
                    graph.remove_edge(a, b)
                elif a != b:
                    graph.add_edge(a, b)

            self.at(self.now + wait_s, change)

    def send(self, source: int, dest: int, payload: int, deadline: float) -> None:
        message_id, outputs = self.nodes[source].send(
            peer_id(dest), (80, source, payload), self.now, deadline=deadline
        )
        self.outcomes[(source, message_id)] += 0
        self.do(source, outputs)

    def do(self, here: int, outputs: list) -> None:
        for output in outputs:
            match output:
                case ToPeer():
                    self._carry(here, NUMBERS[output.peer], output.message)
                case Delivered():
                    self.deliveries[(here, output.payload)] += 1
                case Acked() | Failed():
                    key = (here, output.message_id)
                    self.outcomes[key] += 1
                    self.outcome_at[key] = self.now
                    if isinstance(output, Acked):
                        self.acked.add(key)

    def _carry(self, here: int, there: int, message: tuple) -> None:
        if not self.graph.has_edge(here, there):
            return
        copies = 0 if self.random.random() < self.loss else 1
        copies += self.random.random() < self.repeat
        for _ in range(copies):
            at = self.now + self.random.uniform(0.0, 0.8)
            self.at(at, lambda: self._arrive(here, there, message))

    def _arrive(self, here: int, there: int, message: tuple) -> None:
        self.do(there, self.nodes[there].received(peer_id(here), message, self.now))

    def run(self, end: float) -> None:
        while True:
            timers = [(node.next_deadline(), n) for n, node in self.nodes.items()]
            at, number = min(((t, n) for t, n in timers if t is not None), default=(end + 1, 0))
            event_at = self._queue[0][0] if self._queue else end + 1
            if min(at, event_at) > end:
                return
            if event_at <= at:
                self.now, _, action = heapq.heappop(self._queue)
                action()
            else:
                self.now = max(self.now, at)
                self.do(number, self.nodes[number].handle_timeout(self.now))
            self.nodes[number].check()


sends = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0.0, 6.0)), min_size=1, max_size=12
)
flips = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0.0, 8.0), st.floats(0.0, 2.0)),
    max_size=8,
)


@given(
    sends=sends,
    flips=flips,
    loss=st.floats(0.0, 1.0),
    repeat=st.floats(0.0, 1.0),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=examples(60))
def test_every_send_has_one_outcome_and_is_delivered_at_most_once(
    sends, flips, loss, repeat, random
):
    net = Net(6, random, loss=loss, repeat=repeat)
    for a, b, at, later in flips:
        net.at(at, lambda a=a, b=b, later=later: net.flip(a, b, later))
    for payload, (source, dest, at) in enumerate(sends):
        net.at(
            at,
            lambda s=source, d=dest, p=payload: net.send(s, d, p, net.now + 5.0),
        )
    net.run(60.0)
    assert len(net.outcomes) == len(sends)
    assert set(net.outcomes.values()) == {1}
    assert all(count == 1 for count in net.deliveries.values())
    delivered = {payload[2] for _, payload in net.deliveries}
    assert len(net.acked) <= len(delivered), "what is acknowledged was delivered"
    assert max(net.outcome_at.values()) <= max(at for _, _, at in sends) + 5.0 + 1e-6
    assert all(node.statistics().pending == 0 for node in net.nodes.values())


@given(random=st.randoms(use_true_random=False), sends=sends)
@settings(max_examples=examples(30))
def test_in_a_connected_graph_that_loses_little_everything_arrives(random, sends):
    net = Net(6, random, loss=0.1, repeat=0.2)
    networkx.add_path(net.graph, range(6))
    net.believed = net.graph.copy()
    for payload, (source, dest, at) in enumerate(sends):
        net.at(at, lambda s=source, d=dest, p=payload: net.send(s, d, p, net.now + 30.0))
    net.run(60.0)
    assert len(net.acked) == len(sends)
    assert len(net.deliveries) == len(sends)


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(1, 64))
def test_the_window_is_exact_within_its_size(numbers, size):
    """Within the window a repeat is seen; of an id that fell out of it nothing is known."""
    window = Window(size)
    seen: set[int] = set()
    highest = -1
    for number in numbers:
        fell_out = highest - number >= size
        noted = window.note(number)
        assert (noted is Seen.TOO_OLD) is fell_out
        assert (noted is Seen.REPEATED) is (not fell_out and number in seen)
        seen.add(number)
        highest = max(highest, number)
