"""A node whose disk went back in time asks for blocks again, and gets them."""

import copy

import pytest

from meshcrdt.ipam.ledger import REQUESTS_REMEMBERED_MAX
from meshcrdt.ipam.outcomes import Claimed
from meshcrdt.node import events

# Each claim is answered with a small block of its own.
LOST = [f"10.32.{number}.1" for number in range(REQUESTS_REMEMBERED_MAX + 2)]


@pytest.mark.parametrize("name", ["n1", "n2"], ids=["lone-guardian", "guardian-elsewhere"])
def test_a_rolled_back_node_that_was_given_much_grows_again_at_once(bench, name):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.pass_time(2)
    snapshot = copy.deepcopy(bench.disks[name])

    def restart(instance):
        for end, link in [wire for wire in bench.wires if wire[0] == "n1"]:
            bench.unplug(end, link)
        bench.run()
        bench.replies.clear()
        bench.add(name, genesis, counter=2, instance=instance)

    restart(b"\x02" * 8)
    bench.link("n1", "n2")
    for request, address in enumerate(LOST):
        bench.give(name, events.Claim(request, "lost", address, bench.now + 5))
        assert isinstance(bench.replies[name, request], Claimed)
    bench.pass_time(2)
    bench.disks[name] = snapshot
    restart(b"\x01" * 8)
    bench.link("n1", "n2")
    assert bench.nodes[name].rollbacks_seen
    bench.give(name, events.Claim(1000, "new", "10.32.60.1", bench.now + 5))
    bench.pass_time(5)
    assert isinstance(bench.replies[name, 1000], Claimed)
    assert bench.nodes[name].core.ipam.statistics().carves == 0
    taken = bench.give(name, events.Claim(1001, "new", LOST[0], bench.now + 5))
    assert not isinstance(taken, Claimed)
