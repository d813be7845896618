"""A store that was rolled back: the node goes on, above everything that others saw of it."""

import copy

from meshcrdt.ipam.ledger import REQUESTS_REMEMBERED_MAX
from meshcrdt.ipam.outcomes import Allocated, Claimed
from meshcrdt.node import events


def test_a_rolled_back_node_asks_for_addresses_above_what_its_guardian_remembers(bench):
    genesis = bench.genesis(universe="10.32.0.0/12")
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    bench.pass_time(1)
    old = copy.deepcopy(bench.disks["n2"])

    def cut():
        (link,) = [link for name, link in bench.wires if name == "n1"]
        bench.unplug("n1", link)
        bench.run()

    # A later run asks its guardian for more blocks than the guardian remembers requests.
    cut()
    bench.add("n2", genesis, counter=7)
    bench.link("n1", "n2")
    for number in range(REQUESTS_REMEMBERED_MAX + 2):
        claim = events.Claim(number, "lost", f"10.40.{number}.1", bench.now + 5)
        assert isinstance(bench.give("n2", claim), Claimed)
    cut()
    bench.replies.clear()
    bench.disks["n2"] = old
    bench.add("n2", genesis, counter=2)
    bench.link("n1", "n2")
    bench.pass_time(1)
    assert bench.nodes["n2"].rollbacks_seen
    bench.give("n2", events.Claim(2, "claimed", "10.41.0.1", bench.now + 5))
    bench.pass_time(5)
    assert isinstance(bench.replies["n2", 2], Claimed)
    bench.give("n2", events.Allocate(3, "w", None, bench.now + 5))
    bench.pass_time(5)
    assert isinstance(bench.replies["n2", 3], Allocated)
