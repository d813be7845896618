"""A call that is made again costs nothing, and still waits for the row of the first."""

import pytest

from meshcrdt.ipam.outcomes import Allocated, Claimed
from meshcrdt.node import events
from meshcrdt.node.effects import Persist


def allocate(request, deadline):
    return events.Allocate(request, "w", None, deadline)


def claim(request, deadline):
    return events.Claim(request, "w", "10.32.0.7", deadline)


@pytest.mark.parametrize(("call", "good"), [(allocate, Allocated), (claim, Claimed)])
def test_a_repeated_address_call_writes_nothing_and_waits_for_the_row_of_the_first(
    bench, call, good
):
    bench.add("n1", bench.genesis())
    bench.give("n1", events.Claim(1, "other", "10.32.0.6", bench.now + 9))
    bench.hold_disk.add("n1")
    assert bench.give("n1", call(2, bench.now + 9)) is None
    written = len(bench.held["n1"])
    assert written
    assert bench.give("n1", call(3, bench.now + 9)) is None
    assert len(bench.held["n1"]) == written
    bench.release_disk("n1")
    assert isinstance(bench.replies["n1", 2], good)
    assert bench.replies["n1", 2] == bench.replies["n1", 3]
    effects = bench.nodes["n1"].handle(call(4, bench.now + 9), bench.now)
    assert not any(isinstance(effect, Persist) for effect in effects)
