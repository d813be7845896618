"""What a declared type of a channel may be: a liar's nonsense locks nobody out."""

import pytest

from meshcrdt.gossip.changes import Over
from meshcrdt.gossip.changes import Put as Record
from meshcrdt.node import events, views
from meshcrdt.node.outcomes import Written
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
