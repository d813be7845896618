"""Why a key reads as it does: who wrote what, how it came here, and which record wins."""

import pytest

from meshcrdt.crdt import GCounter
from meshcrdt.gossip.changes import Over
from meshcrdt.gossip.changes import Put as Record
from meshcrdt.node import events
from meshcrdt.node.explain import KeyStory, Verdict

CHANNEL = "acme/services"


@pytest.fixture
def apart(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    return bench


def verdicts(node, key=b"k", channel=CHANNEL):
    return {story.origin: story.verdict for story in node.explain(channel, key).records}


def test_of_concurrent_puts_both_nodes_tell_who_won_and_why(apart):
    n1, n2 = apart.nodes.values()
    apart.give("n1", events.Put(1, CHANNEL, b"k", b"one"))
    apart.give("n2", events.Put(1, CHANNEL, b"k", b"two"))
    apart.now += 50
    apart.link("n1", "n2")
    winner, loser = max(n1.me, n2.me), min(n1.me, n2.me)
    for node, other in ((n1, n2), (n2, n1)):
        assert verdicts(node) == {winner: Verdict.WINS, loser: Verdict.LOST}
        story = node.explain(CHANNEL, b"k")
        assert story.winner is not None
        assert (story.winner.origin, story.winner.value) == (winner, node.get(CHANNEL, b"k"))
        for record in story.records:
            assert record.counter == 1
            assert record.dot.origin == record.origin
            assert "counter 1" in record.reason
            assert str(winner) in record.reason
            assert record.from_peer == (None if record.origin == node.me else other.me)
        came = {record.origin: record.arrived_at for record in story.records}
        assert came[other.me] == came[node.me] + 50
        assert [record.age_s(came[other.me] + 9) for record in story.records] in ([9, 59], [59, 9])
        assert story.winner.age_s(0.0) >= 0


def test_a_superseded_record_names_who_superseded_it(apart):
    n1, n2 = apart.nodes.values()
    apart.link("n1", "n2")
    apart.give("n1", events.Put(1, CHANNEL, b"k", b"one"))
    apart.hold_disk.add("n1")  # its owner cannot drop the record that is superseded
    apart.give("n2", events.Put(1, CHANNEL, b"k", b"two"))
    assert verdicts(n2) == {n1.me: Verdict.SUPERSEDED, n2.me: Verdict.WINS}
    records = {record.origin: record for record in n2.explain(CHANNEL, b"k").records}
    assert records[n1.me].superseded_by == (n2.me,)
    assert str(n2.me) in records[n1.me].reason
    assert records[n2.me].counter == 2


def test_a_delete_of_anothers_record_is_a_cancel(apart):
    n1, n2 = apart.nodes.values()
    apart.link("n1", "n2")
    apart.give("n1", events.Put(1, CHANNEL, b"k", b"one"))
    apart.hold_disk.add("n1")
    apart.give("n2", events.Delete(1, CHANNEL, b"k"))
    assert verdicts(n2) == {n1.me: Verdict.SUPERSEDED, n2.me: Verdict.CANCEL}
    assert n2.explain(CHANNEL, b"k").winner is None


def test_records_of_other_types_are_joined_and_those_of_no_map_are_malformed(apart):
    n1 = apart.nodes["n1"]
    apart.give("n1", events.Mutate(1, "hits", GCounter, lambda c: c.increment(n1.me, 2)))
    story = n1.explain("hits", b"\0")
    assert story.type_name == "GCounter"
    assert [record.verdict for record in story.records] == [Verdict.JOINED]
    apart.give("n1", events.SetName(2, "web", ("10.1.1.1",)))
    key = n1.core.names.normalise("web")
    assert verdicts(n1, key, "names") == {n1.me: Verdict.JOINED}
    apart.give("n1", events.Put(3, CHANNEL, b"other", b"declares the type"))
    n1.core.replica.write(CHANNEL, [Record(b"k", b"no map", Over.OWN)])
    apart.give("n1", events.Put(4, CHANNEL, b"other", b"flushes"))
    assert verdicts(n1) == {n1.me: Verdict.MALFORMED}
    assert n1.explain(CHANNEL, b"k").records[0].value == b"no map"


def test_a_key_that_nobody_wrote_and_a_node_without_a_genesis_have_no_story(bench):
    assert bench.add("n1", bench.genesis()).explain(CHANNEL, b"k").records == ()
    assert bench.add("n2", None).explain(CHANNEL, b"k") == KeyStory(CHANNEL, b"k", None, ())
