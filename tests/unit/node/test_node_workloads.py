"""Endpoints: the writer refuses what no reader takes, and readers see them in one form."""

import pytest

from meshcrdt.gossip.changes import Over
from meshcrdt.gossip.changes import Put as Record
from meshcrdt.node import events, views
from meshcrdt.node.outcomes import Failed, FailureKind, Written
from meshcrdt.node.workloads import Endpoints
from meshcrdt.wire import encode

MAC = "02:00:00:00:00:0a"


@pytest.fixture
def pair(bench):
    genesis = bench.genesis()
    bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    return bench


@pytest.mark.parametrize(
    ("workload", "address", "mac"),
    [
        ("w", "10.32.0.1", "02:00:00:00:00:0a-" * 2),
        ("w", "10.32.0.1", "02:00:00:00:00"),
        ("w" * 257, "10.32.0.1", MAC),
        ("w", "no address", MAC),
        ("w", "10.32.0.1/24", MAC),
        ("w", "FD00::1", MAC),
    ],
)
def test_an_endpoint_that_no_reader_takes_is_refused_and_changes_nothing(
    pair, workload, address, mac
):
    good = events.SetWorkload(1, "good", ("10.32.0.9",), MAC)
    assert isinstance(pair.give("n1", good), Written)
    refused = pair.give("n1", events.SetWorkload(2, workload, (address,), mac))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.USAGE
    assert [e.workload for e in pair.nodes["n2"].endpoints()] == ["good"]


def test_a_mac_in_capitals_is_read_as_kernels_write_it(pair):
    pair.give("n1", events.SetWorkload(1, "w", ("10.32.0.1",), MAC.upper()))
    (endpoint,) = pair.nodes["n2"].endpoints()
    assert endpoint.mac == MAC


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"no address", encode(("w", MAC))),
        (b"\xff\xfe", encode(("w", MAC))),
        (b"10.32.0.01", encode(("w", MAC))),
        (b"fd00::%eth0", encode(("w", MAC))),
        (b"10.32.0.1", encode(("w", "no mac"))),
        (b"10.32.0.1", encode(("w", MAC.replace(":", "-")))),
        (b"10.32.0.1", encode(("w" * 257, MAC))),
        (b"10.32.0.1", b"no tree"),
    ],
)
def test_what_is_no_endpoint_is_left_out_and_counted_once(pair, key, value):
    n1, n2 = pair.nodes["n1"], pair.nodes["n2"]
    n2.core.replica.write(views.ENDPOINTS, [Record(key, value, Over.OWN)])
    pair.give("n2", events.Put(1, "acme/any", b"k", b"flushes"))
    assert n1.endpoints() == ()
    assert n1.statistics().malformed_records == 1


def test_a_withdrawal_of_what_is_no_endpoint_is_nothing_malformed(pair):
    endpoints = Endpoints()
    peer = pair.nodes["n1"].me
    endpoints.update(peer, b"10.32.0.1", encode(("w", MAC)))
    endpoints.update(peer, b"no address", None)
    endpoints.update(peer, b"10.32.0.1", None)
    assert (endpoints.all(), endpoints.malformed) == ((), 0)


def test_a_malformed_member_record_is_counted_and_its_member_goes_on_without_it(pair):
    n1, n2 = pair.nodes["n1"], pair.nodes["n2"]
    n2.core.replica.write(views.DIRECTORY, [Record(bytes(n2.me), b"no member", Over.OWN)])
    pair.give("n2", events.Put(1, "acme/any", b"k", b"flushes"))
    assert n1.statistics().malformed_records == 1
    assert n2.me not in n1.topology.members()
