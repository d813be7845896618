"""Any history of cuts, restarts, dials and waiting ends, once healed, in one link per pair."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.outputs import Dial, PeerState

from .conftest import World, peer_id, record

NODES = (1, 2, 3)
nodes = st.sampled_from(NODES)
HEAL_S = 5.0
"""A link that a healed network still carries may have to fall silent first: 2.5 s, then 2.5 s."""
STRANGERS_S = 16.0 + HEAL_S
"""Two that never met in this run, while a third reaches both, try each other more rarely."""


class TopologyHistory(RuleBasedStateMachine):
    """Three nodes; with discovery each knows the others' addresses, without only some do."""

    @initialize(
        discovery=st.sampled_from(Discovery),
        delay_ms=st.sampled_from([1, 20, 150]),
        edges=st.sets(st.tuples(nodes, nodes).filter(lambda e: e[0] != e[1]), min_size=1),
    )
    def begin(self, discovery: Discovery, delay_ms: int, edges: set[tuple[int, int]]) -> None:
        self.world = World(delay_s=delay_ms / 1000)
        self.discovery = discovery
        self.configured = edges
        self.cuts: set[frozenset[int]] = set()
        self.met: set[frozenset[int]] = set()
        """Pairs that had a link since the later of the two started."""
        self.world.cut = lambda a, b: frozenset((a, b)) in self.cuts
        for number in NODES:
            self.world.add(number, discovery=discovery)
        for number in NODES:
            self._tell(number)

    def _tell(self, here: int) -> None:
        """Give a node its configured addresses, and with discovery the directory."""
        world = self.world
        world.connect(here, *(f"mem://{there}" for a, there in self.configured if a == here))
        if self.discovery is Discovery.ON:
            for there in NODES:
                world.do(here, world.nodes[here].member_changed(
                    peer_id(there), record(there), world.now
                ))  # fmt: skip

    @rule(a=nodes, b=nodes)
    def cut(self, a: int, b: int) -> None:
        self.cuts.add(frozenset((a, b)))

    @rule(a=nodes, b=nodes)
    def join(self, a: int, b: int) -> None:
        self.cuts.discard(frozenset((a, b)))

    @rule(number=nodes)
    def restart(self, number: int) -> None:
        self.met = {pair for pair in self.met if number not in pair}
        self.world.restart(number, discovery=self.discovery)
        self._tell(number)

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 2.6, 6.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(number=nodes)
    def nudge(self, number: int) -> None:
        world = self.world
        world.do(number, world.nodes[number].nudge(world.now))

    @invariant()
    def machines_are_sound(self) -> None:
        for node in self.world.nodes.values():
            node.check()
            assert node.statistics().dialer.in_flight <= 8
        pairs = [frozenset((a, b)) for a in NODES for b in NODES if a < b]
        self.met.update(pair for pair in pairs if self.world.linked(*sorted(pair)))

    def teardown(self) -> None:
        world = self.world
        self.cuts.clear()
        world.run(HEAL_S)
        wanted = {frozenset(edge) for edge in self.configured}
        if self.discovery is Discovery.ON:
            wanted = {frozenset((a, b)) for a in NODES for b in NODES if a != b}
        for a, b in (sorted(pair) for pair in wanted):
            if frozenset((a, b)) in self.met:
                assert world.linked(a, b), f"{a} and {b} are not linked {HEAL_S} s after the heal"
            assert world.nodes[a].state(peer_id(b)) is PeerState.ALIVE
        world.run(STRANGERS_S - HEAL_S)
        for a, b in (sorted(pair) for pair in wanted):
            assert world.linked(a, b), f"{a} and {b} never met"
        world.run(10.0)
        settled_at = world.now
        world.run(20.0)
        assert not world.outputs(Dial, since=settled_at + 0.001)
        for a in NODES:
            for b in NODES:
                if a < b:
                    expected = 1 if frozenset((a, b)) in wanted else 0
                    assert world.links_between(a, b) == (expected, expected)


TestTopologyHistory = TopologyHistory.TestCase
TestTopologyHistory.settings = settings(max_examples=60, stateful_step_count=25)
