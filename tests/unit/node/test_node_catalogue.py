"""Every type of the catalogue as a shared value: through records, partitions and restarts."""

from __future__ import annotations

import pytest
from crdt_models import CASES, rights

from meshcrdt.crdt import BoundedCounter, ORMap, ORSet
from meshcrdt.node import events, views
from meshcrdt.node.outcomes import Failed, FailureKind, Written
from meshcrdt.testing import Site

CHANNEL = "acme/shared"
OWN = [name for name, case in CASES.items() if case.expected is not rights]


def change(bench, name, request, case, mutator):
    node = bench.nodes[name]

    def mutate(value):
        dots = getattr(value, "context", value)
        seq = dots.next_dot(node.me, node.epoch).seq - 1 if hasattr(dots, "next_dot") else 0
        return mutator(value, Site(node.me, node.epoch, seq))

    return bench.give(name, events.Mutate(request, CHANNEL, case.kind, mutate))


def linked(bench):
    genesis = bench.genesis()
    nodes = bench.add("n1", genesis), bench.add("n2", genesis)
    bench.link("n1", "n2")
    return nodes


@pytest.mark.parametrize("name", OWN)
def test_a_shared_value_is_one_on_both_sides_of_a_partition_and_after_it(bench, name):
    case = CASES[name]
    one, two = linked(bench)
    number = 0
    for mutator in case.mutators.values():
        number += 1
        assert isinstance(change(bench, "n1", number, case, mutator), Written)
    assert one.value(CHANNEL, case.kind) == two.value(CHANNEL, case.kind)
    before = one.value(CHANNEL, case.kind)
    bench.unplug("n1", 1, "cut")
    for mutator in case.mutators.values():
        number += 1
        assert isinstance(change(bench, "n1", number, case, mutator), Written)
        assert isinstance(change(bench, "n2", number, case, mutator), Written)
    halves = one.value(CHANNEL, case.kind), two.value(CHANNEL, case.kind)
    assert before.leq(halves[0])
    assert before.leq(halves[1])
    bench.link("n1", "n2")
    bench.pass_time(10)
    assert (
        one.value(CHANNEL, case.kind) == two.value(CHANNEL, case.kind) == halves[0].join(halves[1])
    )


def spend(bench, name, request, by):
    me = bench.nodes[name].me
    return bench.give(
        name,
        events.Mutate(request, CHANNEL, BoundedCounter, lambda quota: quota.decrement(me, by)),
    )


def test_a_quota_is_moved_and_spent_in_a_partition_and_never_overspent(bench):
    one, two = linked(bench)
    give = events.Mutate(1, CHANNEL, BoundedCounter, lambda quota: quota.increment(one.me, 10))
    assert isinstance(bench.give("n1", give), Written)
    give = events.Mutate(2, CHANNEL, BoundedCounter, lambda q: q.transfer(one.me, two.me, 4))
    assert isinstance(bench.give("n1", give), Written)
    assert two.value(CHANNEL, BoundedCounter).quotas == {one.me: 6, two.me: 4}
    bench.unplug("n1", 1, "cut")

    spent = {"n1": 0, "n2": 0}
    for request in range(10, 20):
        for name in spent:
            outcome = spend(bench, name, request, 2)
            if isinstance(outcome, Written):
                spent[name] += 2
            else:
                assert isinstance(outcome, Failed)
                assert outcome.kind is FailureKind.CAPACITY
                assert "may spend 0, not 2" in outcome.reason
            assert one.value(CHANNEL, BoundedCounter).value >= 0
            assert two.value(CHANNEL, BoundedCounter).value >= 0
    assert spent == {"n1": 6, "n2": 4}

    bench.link("n1", "n2")
    bench.pass_time(10)
    for node in (one, two):
        assert node.value(CHANNEL, BoundedCounter).value == 0
        assert node.value(CHANNEL, BoundedCounter).quotas == {}


def test_a_quota_survives_a_restart_of_its_owner(bench):
    one, _ = linked(bench)
    give = events.Mutate(1, CHANNEL, BoundedCounter, lambda quota: quota.increment(one.me, 3))
    bench.give("n1", give)
    assert isinstance(spend(bench, "n1", 2, 2), Written)
    again = bench.add("n1", bench.genesis(), counter=2)
    assert again.value(CHANNEL, BoundedCounter).available(again.me) == 1
    assert isinstance(spend(bench, "n1", 3, 2), Failed)
    assert isinstance(spend(bench, "n1", 4, 1), Written)


def test_a_contribution_does_not_carry_what_others_removed(bench):
    one, two = linked(bench)

    def add(elements):
        def mutate(held):
            delta = ORSet()
            for element in elements:
                delta = delta.join(
                    held.join(delta).add(element, held.join(delta).next_dot(one.me, one.epoch))
                )
            return delta

        return mutate

    bench.give("n1", events.Mutate(1, CHANNEL, ORSet, add(range(1_000))))
    bench.give("n2", events.Mutate(1, CHANNEL, ORSet, lambda held: held.clear()))
    assert one.value(CHANNEL, ORSet).value == two.value(CHANNEL, ORSet).value == ()
    full = len(one.core.replica.own_value(CHANNEL, views.LATTICE_KEY))
    assert full > 3_000
    bench.give("n1", events.Mutate(2, CHANNEL, ORSet, add(["x"])))
    assert one.value(CHANNEL, ORSet).value == two.value(CHANNEL, ORSet).value == ("x",)
    assert len(one.core.replica.own_value(CHANNEL, views.LATTICE_KEY)) < 100


# --- several keys of a map at once -------------------------------------------------------


def test_a_write_of_many_keys_comes_as_one_change_to_every_node(bench):
    one, two = linked(bench)
    bench.give("n1", events.Put(1, CHANNEL, b"gone", b"1"))
    bench.changes.clear()
    many = events.PutMany(2, CHANNEL, ((b"a", b"1"), (b"b", b"2"), (b"gone", None), (b"a", b"3")))
    assert isinstance(bench.give("n1", many), Written)
    for node in (one, two):
        assert dict(node.items(CHANNEL)) == {b"a": b"3", b"b": b"2"}
    told = [(name, keys) for name, channel, keys in bench.changes if channel == CHANNEL]
    assert told == [("n1", (b"a", b"b", b"gone")), ("n2", (b"a", b"b", b"gone"))]


def test_a_write_of_many_keys_goes_over_what_its_writer_saw(bench):
    one, two = linked(bench)
    bench.give("n1", events.PutMany(1, CHANNEL, ((b"a", b"1"), (b"b", b"1"))))
    bench.give("n2", events.PutMany(2, CHANNEL, ((b"a", b"2"), (b"b", None))))
    for node in (one, two):
        assert dict(node.items(CHANNEL)) == {b"a": b"2"}


@pytest.mark.parametrize(
    "bad", [(b"", b"1"), (b"k" * 5_000, b"1"), (b"k", b"v" * 70_000)], ids=["empty", "key", "value"]
)
def test_a_write_of_many_keys_is_refused_whole(bench, bad):
    one, _ = linked(bench)
    outcome = bench.give("n1", events.PutMany(1, CHANNEL, ((b"a", b"1"), bad)))
    assert isinstance(outcome, Failed)
    assert dict(one.items(CHANNEL)) == {}
    assert isinstance(bench.give("n1", events.PutMany(2, CHANNEL, ())), Failed)


def test_a_map_of_lattices_is_no_map_of_values(bench):
    one, _ = linked(bench)
    nested = events.Mutate(
        1, CHANNEL, ORMap, lambda held: held.write("k", "v", held.next_dot(one.me, one.epoch))
    )
    assert isinstance(bench.give("n1", nested), Written)
    assert one.value(CHANNEL, ORMap).read("k") == ("v",)
    refused = bench.give("n1", events.PutMany(2, CHANNEL, ((b"k", b"v"),)))
    assert isinstance(refused, Failed)
    assert "holds ORMap" in refused.reason
