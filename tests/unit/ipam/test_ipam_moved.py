"""The checks that pass over what was not written: they miss no write, and nothing it broke."""

from __future__ import annotations

import pytest

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError, UsageError
from meshcrdt.ipam.register import BOTTOM_STAMP
from meshcrdt.ipam.trie import Trie

SUBNETS = (None, "10.5.1.0/28", "10.5.2.0/30")


def state(ipam):
    """Everything that the checks look at, and how often it was written."""
    holdings = ipam._engine.holdings
    space, allocations = holdings.space, holdings.allocations
    held = (
        dict(holdings._blocks),
        dict(space._blocks),
        set(space._taken),
        {cidr: (list(view.spans), view.taken) for cidr, view in space._views.items()},
        dict(allocations._rows),
        {workload: dict(held) for workload, held in allocations._workloads.items()},
        dict(allocations._subnets),
        allocations._subnet_set,
        dict(allocations._cooling_until),
    )
    trie = None if ipam.shard is None else ipam.shard.trie
    return (
        (holdings.changes, held),
        (0, None) if trie is None else (trie.changes, dict(trie.registers)),
    )


def step(cluster, dice):
    n = dice.integer(0, len(cluster.ipams) - 1)
    workload = f"w{dice.integer(0, 3)}"
    match dice.integer(0, 7):
        case 0 | 1:
            cluster.allocate(n, workload, dice.choice(SUBNETS))
        case 2:
            address = f"10.5.{dice.integer(0, 3)}.{dice.integer(0, 39) + 1}"
            try:
                cluster.claim(n, workload, address)
            except UsageError:
                return
        case 3 | 4:
            cluster.release(n, workload)
        case 5:
            cluster.advance(dice.uniform(0.0, 3.0))
        case 6:
            cluster.gossip()
        case 7:
            if dice.integer(0, 5) == 0:
                cluster.run(n, cluster.ipams[n].distrust())
                cluster.restart(n)


@pytest.mark.parametrize("seed", range(6))
def test_ipam_no_write_goes_uncounted(make_cluster, seed):
    cluster = make_cluster("10.5.0.0/22", count=2, limits=Limits(reuse_cooldown_s=2.0))
    dice = Dice(bytes([seed]))
    written = 0
    for _ in range(120):
        before = [(ipam, state(ipam)) for ipam in cluster.ipams]
        step(cluster, dice)
        for ipam, parts in before:
            for (count, was), (count_now, now) in zip(parts, state(ipam), strict=True):
                assert count_now >= count
                assert count_now > count or now == was
                written += count_now - count
        for ipam in cluster.ipams:
            ipam.check_moved()
            ipam.check()
    assert written > 100


def test_ipam_what_a_write_broke_is_noticed_at_the_next_check(make_cluster, monkeypatch):
    cluster = make_cluster("10.5.0.0/24")
    (ipam,) = cluster.ipams
    cluster.allocate(0, "a")
    ipam.check()
    space = ipam._engine.holdings.space
    # A write that forgets the counts of the views.
    monkeypatch.setattr(space, "_count", lambda address, change: None)
    cluster.allocate(0, "b")
    for _ in range(2):
        with pytest.raises(InternalError, match="out of step"):
            ipam.check_moved()


def test_ipam_every_join_that_changes_a_trie_is_counted(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    (universe,) = cluster.genesis.ranges
    for register in cluster.ipams[0].shard.trie.registers.values():
        trie = Trie([universe])
        for count in (int(register.stamp > BOTTOM_STAMP), 0):
            before = trie.changes
            trie.join(register)
            assert trie.changes - before == count


def test_ipam_a_check_looks_also_where_nothing_was_written(make_cluster):
    cluster = make_cluster("10.5.0.0/24")
    (ipam,) = cluster.ipams
    cluster.allocate(0, "a")
    ipam.check()
    ipam.shard.trie._registers.popitem()
    ipam.check_moved()
    with pytest.raises(InternalError, match="nobody knows whose"):
        ipam.check()
