"""Whom `forget` means, and what it says where that is nobody, several, or nothing to forget."""

import pytest
from attrs import evolve

from meshcrdt.node import events
from meshcrdt.node.outcomes import Failed, FailureKind


@pytest.fixture
def trio_of_hosts(bench):
    """n1 knows n2, which names an address, and n3, which dialled in and names none."""
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis, advertise=("mem://n2",))
    bench.add("n3", genesis)
    bench.link("n2", "n1")
    bench.link("n3", "n1")
    return bench


def test_a_known_peer_to_which_no_address_leads_is_not_called_unknown(trio_of_hosts):
    bench = trio_of_hosts
    refused = bench.give("n1", events.Forget(1, ["n3"]))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.UNKNOWN
    assert refused.reason == (f"'n3' means {bench.nodes['n3'].me}, to which no known address leads")


def test_an_ambiguous_name_is_told_with_all_whom_it_means(trio_of_hosts):
    bench = trio_of_hosts
    n1, n2, n3 = (bench.nodes[name] for name in ("n1", "n2", "n3"))
    same_name = evolve(n1.topology.members()[n3.me], name="n2")
    n1.topology.member_changed(n3.me, same_name, bench.now)
    refused = bench.give("n1", events.Forget(1, ["n2"]))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.USAGE
    assert "'n2' is ambiguous" in refused.reason
    assert str(n2.me) in refused.reason
    assert str(n3.me) in refused.reason


def test_nobody_is_told_with_what_is_accepted(trio_of_hosts):
    refused = trio_of_hosts.give("n1", events.Forget(1, ["nobody"]))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.UNKNOWN
    assert "'nobody' is no known peer" in refused.reason
    assert "6 or more digits" in refused.reason
