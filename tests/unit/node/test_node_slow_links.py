"""A link that takes nothing: it delays nobody, holds little, and catches up in one message."""

from hypothesis import given, settings
from hypothesis import strategies as st
from node_bench import Bench, link_of

from meshcrdt.gossip.messages import Code
from meshcrdt.node import events
from meshcrdt.node.effects import CloseLink, Writable
from meshcrdt.node.link_queue import PUSH_BYTES, Lane, LinkQueue, Noted
from meshcrdt.node.outcomes import Written
from meshcrdt.topology.outputs import ToLink
from meshcrdt.wire import decode_frame

CHANNEL = "acme/c"
WRITES = 150


def three(bench):
    """Return n1, linked to n2 and to n3, and its link to n2, which is jammed."""
    genesis = bench.genesis()
    nodes = [bench.add(name, genesis) for name in ("n1", "n2", "n3")]
    bench.link("n1", "n2")
    jammed = ("n1", link_of(bench, "n1"))
    bench.link("n1", "n3")
    bench.jammed.add(jammed)
    return *nodes, jammed


def write(bench, number, key=None):
    key = b"k%d" % (number % 5) if key is None else key
    written = bench.give("n1", events.Put(number, CHANNEL, key, b"%d" % number))
    assert isinstance(written, Written)


def frames_to_the_slow(bench, jammed):
    """Open the jam; return the messages that then leave n1 for n2, frame by frame."""
    bench.jammed.discard(jammed)
    before = len(bench.sent)
    bench.pull(*jammed)
    return [decode_frame(frame) for name, frame in bench.sent[before:] if name == "n1"]


def test_weave_3795_a_blocked_socket_delays_nobody_else(bench):
    n1, n2, n3, jammed = three(bench)
    for number in range(1, WRITES + 1):
        write(bench, number)
        assert n3.get(CHANNEL, b"k%d" % (number % 5)) == b"%d" % number
        waiting = n1.queues.queue(jammed[1]).waiting_bytes
        assert waiting <= 20 * PUSH_BYTES, "the backlog must not grow with what is written"
    assert n2.items(CHANNEL) == {}
    counts = n1.queues.queue(jammed[1]).statistics().delta
    assert counts.coalesced >= WRITES - 1, "all those flushes are one message"
    (frame,) = frames_to_the_slow(bench, jammed)
    assert sum(m[0] in (Code.DELTA, Code.HEADER) for m in frame) <= counts.waiting
    bench.run()
    assert n2.items(CHANNEL) == n1.items(CHANNEL)
    assert len(n2.items(CHANNEL)) == 5


def test_mesh_68_the_backlog_of_a_relay_is_bounded_for_channels_that_it_does_not_know(bench):
    genesis = bench.genesis()
    for name in ("n1", "n2", "n3"):
        bench.add(name, genesis)
    bench.link("n1", "n2")
    bench.link("n2", "n3")
    relay = bench.nodes["n2"]
    (to_n3,) = [end for end, other in bench.wires.items() if end[0] == "n2" and other[0] == "n3"]
    bench.jammed.add(to_n3)
    for number in range(1, 101):
        bench.give("n1", events.Put(number, "later/version", b"k%d" % number, b"x" * 500))
    waiting = relay.queues.queue(to_n3[1]).waiting_bytes
    assert waiting < 30 * PUSH_BYTES
    bench.jammed.clear()
    bench.pull(*to_n3)
    bench.run()
    assert bench.nodes["n3"].items("later/version") == bench.nodes["n1"].items("later/version")


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "jam", "open"]), st.integers(0, 3)),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=25)
def test_what_is_coalesced_ends_where_everything_sent_would(steps):
    bench = Bench()
    n1, n2, n3, jammed = three(bench)
    bench.jammed.clear()
    bench.pull(*jammed)
    bench.run()
    before = n2.core.replica.statistics().deltas_missed
    for number, (what, key) in enumerate(steps, 1):
        if what == "put":
            write(bench, number, b"k%d" % key)
        elif what == "jam":
            bench.jammed.add(jammed)
        else:
            frames_to_the_slow(bench, jammed)
            bench.run()
            assert n2.items(CHANNEL) == n3.items(CHANNEL)
    frames_to_the_slow(bench, jammed)
    bench.run()
    assert n2.items(CHANNEL) == n3.items(CHANNEL) == n1.items(CHANNEL)
    assert n2.core.replica.root == n3.core.replica.root
    missed = n2.core.replica.statistics().deltas_missed
    assert missed == before, "what was made of many is no delta on what n2 holds"


def test_a_backlog_that_forgets_where_it_began_is_caught(bench, monkeypatch):
    honest = LinkQueue.push

    def newest(self, stream, since):
        lane = self.lanes[Lane.DELTA]
        if lane.says_already(stream.origin, stream):
            lane.put(stream.origin, Noted(stream, since), PUSH_BYTES, name=stream)
        else:
            honest(self, stream, since)

    monkeypatch.setattr(LinkQueue, "push", newest)
    _, n2, _, jammed = three(bench)
    for number in range(1, 10):
        write(bench, number)
    before = n2.core.replica.statistics().deltas_missed
    frames_to_the_slow(bench, jammed)
    bench.run()
    assert n2.core.replica.statistics().deltas_missed > before


def test_a_link_that_does_not_even_take_liveness_is_closed_and_says_why(bench):
    n1, _, _, jammed = three(bench)
    size = n1.limits.link_liveness_bytes_max // 50
    closed = []
    for number in range(60):
        n1._wiring.run([ToLink(jammed[1], (9, number, bytes(size)))], bench.now)
        closed += [e for e in n1._finish(bench.now) if isinstance(e, CloseLink)]
    assert closed[0].link == jammed[1]
    assert closed[0].reason.startswith("stuck")


def test_the_shell_hears_of_a_link_once_and_pulls_until_nothing_is_left(bench):
    genesis = bench.genesis()
    node = bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    link = link_of(bench, "n1")
    told = []
    for _ in range(20):
        told += [e for e in node.handle_timeout(node.next_deadline()) if isinstance(e, Writable)]
    assert told == [Writable(link)]
    assert node.next_frame(link) is not None
    assert node.next_frame(link) is None
    assert node.next_frame(99) is None
    node.check()


def test_what_waits_can_still_be_pulled_after_the_node_closes_a_link(bench):
    n1, _, _, jammed = three(bench)
    write(bench, 1)
    n1.outbox.close(jammed[1], "why")
    n1._finish(bench.now)
    waiting = n1.queues.queue(jammed[1]).waiting
    assert waiting
    write(bench, 2)
    assert n1.queues.queue(jammed[1]).waiting == waiting
    assert n1.next_frame(jammed[1]) is not None
