"""What a declared type of a channel may be: a liar's nonsense locks nobody out."""

import pytest
from attrs import evolve

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.crdt import GCounter
from meshcrdt.gossip.changes import Over
from meshcrdt.gossip.changes import Put as Record
from meshcrdt.node import events, views
from meshcrdt.node.outcomes import Failed, Written
from meshcrdt.wire import encode

CHANNEL = "acme/services"


@pytest.mark.parametrize("name", ["", "\n", "a\x00b", ("ormap-lww",), 7])
def test_what_no_type_can_be_called_declares_nothing(bench, name):
    genesis = bench.genesis()
    liar = bench.add("n1", genesis)
    honest = bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.give("n1", events.Put(1, CHANNEL, b"k", b"v"))
    assert views.declared_type(honest.core.replica, CHANNEL) == views.MAP_TYPE
    lie = Record(CHANNEL.encode(), encode(name), Over.OWN)
    liar.core.replica.write(views.CHANNELS, [lie])
    bench.give("n1", events.Put(2, CHANNEL, b"other", b"v"))
    assert views.declared_type(honest.core.replica, CHANNEL) is None
    assert isinstance(bench.give("n2", events.Put(1, CHANNEL, b"k", b"new")), Written)
    assert honest.get(CHANNEL, b"k") == b"new"


def test_a_write_whose_declaration_is_refused_is_answered_once(bench):
    # The channel's name is a key too: of the channel that holds the types.
    bench.add("n1", bench.genesis(), limits=evolve(DEFAULT_LIMITS, key_bytes_max=20))
    channel = "acme/services-of-the-house"
    for command in (
        events.Put(1, channel, b"k", b"v"),
        events.Mutate(2, channel, GCounter, lambda count: count),
    ):
        assert isinstance(bench.give("n1", command), Failed)
    assert channel not in bench.nodes["n1"].statistics().digests


def test_a_write_that_is_refused_settles_no_type(bench):
    bench.add("n1", bench.genesis())
    me = bench.nodes["n1"].me
    refused = bench.give("n1", events.Put(1, CHANNEL, b"k" * 5_000, b"v"))
    assert isinstance(refused, Failed)
    counted = events.Mutate(2, CHANNEL, GCounter, lambda count: count.increment(me, 1))
    assert isinstance(bench.give("n1", counted), Written)
