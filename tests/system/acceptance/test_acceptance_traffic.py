"""Three hosts whose underlay routes: workloads exchange TCP at full size, and have names."""

from __future__ import annotations

import itertools
import shutil
import time
from ipaddress import ip_address
from typing import Any

import pytest
from acceptance_cluster import OPTIONS
from acceptance_hosts import OUTSIDE, figure
from untouched import settled
from waiting import at_rest, patience, until

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]

NAME_S = 1.0
"""A name that is attached on one host resolves on another within this."""


def test_all_pairs_exchange_tcp_both_ways_at_full_size(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    for source, sink in itertools.combinations("123", 2):
        until(
            f"{source} reaches {sink}",
            lambda: cluster.reaches(source, sink),  # noqa: B023
            within_s=patience(5.0),
        )
        cluster.exchange(source, sink)
    cluster.exchange("3", "1", family=6)
    for source, sink in itertools.permutations("123", 2):
        six = cluster.addresses6[sink]
        assert cluster.site.pings(cluster.namespace(source), six), f"{source} reaches {six}"
    for number, status in cluster.statuses().items():
        paths = status["dataplane"]["paths"]
        assert list(paths.values()) == [None, None], f"{number} is content with its paths: {paths}"


def test_all_links_are_sealed_and_found_from_one_peer_address(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    peers = {number: status["peer"] for number, status in cluster.statuses().items()}
    for number, daemon in cluster.daemons.items():
        links = [c for c in daemon.status()["connections"] if c["state"] == "established"]
        # 2 and 3 were told of 1 only: they found each other.
        assert {c["peer"] for c in links} == set(peers.values()) - {peers[number]}
        assert all(c["encrypted"] for c in links)


def test_the_full_mtu_passes_in_one_piece_and_no_byte_more(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    mtu = cluster.daemons[1].status()["dataplane"]["mtu"]
    assert mtu == 1450
    where, there = cluster.namespace("1"), cluster.addresses["3"]
    assert cluster.site.pings(where, there, "-M", "do", "-s", str(mtu - 28))
    assert not cluster.site.pings(where, there, "-M", "do", "-s", str(mtu - 27))


def test_dig_on_one_host_resolves_a_workload_on_another(trio_of_hosts: Any) -> None:
    if shutil.which("dig") is None:
        pytest.skip("needs dig (package dnsutils)")
    cluster = trio_of_hosts
    site, host = cluster.site, cluster.host(1)
    until(
        "names are served",
        lambda: cluster.daemons[1].status()["dns"]["listen"],
        within_s=patience(5.0),
    )
    server, _, port = cluster.daemons[1].status()["dns"]["listen"].rpartition(":")
    assert port == "53"
    attached = cluster.attach(3, "fresh")
    since = time.monotonic()
    try:
        address = cluster.addresses["fresh"]
        asked = ("wfresh.mesh.internal", "A")
        until(
            "dig resolves it", lambda: site.dig(host, server, *asked) == [address], within_s=NAME_S
        )
        figure(f"dig on 1 resolves a workload attached on 3 after {time.monotonic() - since:.2f} s")
        six = [a.partition("/")[0] for a in attached["addresses"] if ":" in a]
        assert site.dig(host, server, "wfresh.mesh.internal", "AAAA") == six
        for each in (address, *six):
            for where in (host, cluster.namespace("1")):
                assert site.dig(where, server, "-x", each) == ["wfresh.mesh.internal."]
        # A workload asks its host, and case is ignored.
        assert site.dig(cluster.namespace("1"), server, "WFRESH.mesh.internal") == [address]
        found = cluster.daemons[2].json("dns-lookup", "wfresh")
        assert sorted(found["addresses"]) == sorted([address, *six])
    finally:
        cluster.detach(3, "fresh")
    until("the name goes too", lambda: site.dig(host, server, *asked) == [], within_s=NAME_S)
    assert cluster.daemons[1].run("dns-lookup", "wfresh").code == 1
    assert attached["id"] not in cluster.daemons[3].json("ps")["entries"]
    assert not site.pings(cluster.namespace("1"), address)


def test_a_workload_reaches_its_host_and_with_expose_the_outside(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    site, daemon, where = cluster.site, cluster.daemons[2], cluster.namespace("2")
    own = [a.partition("/")[0] for a in daemon.status()["dataplane"]["host"]]
    assert [ip_address(address).version for address in own] == [4, 6]
    for address in own:
        assert site.pings(where, address)
    assert site.pings(cluster.host(2), cluster.addresses["2"]), "the host reaches its workload"
    assert not site.pings(where, OUTSIDE)
    daemon.ok("expose")
    # The outside knows no route back to the overlay: masquerading is what answers.
    assert site.pings(where, OUTSIDE)
    assert cluster.reaches("2", "3"), "the overlay still works"
    daemon.ok("hide")
    assert not site.pings(where, OUTSIDE)


def test_without_trusted_subnets_attach_says_why_and_changes_nothing(cluster: Any) -> None:
    daemon = cluster.daemon_on(1)
    daemon.launch("--name", "h1")
    target = cluster.site.namespace("wx")
    until(
        "the host has both its addresses",
        lambda: len(daemon.status()["dataplane"]["host"]) == 2,
        within_s=patience(5.0),
    )

    def everything() -> tuple[Any, ...]:
        seen = (daemon.json("ps"), daemon.json("dns-list"), settled(daemon.status()["digests"]))
        return (*seen, cluster.site.state(cluster.host(1)), cluster.site.state(target))

    # The daemon writes its own entries and sets its host up after it is ready.
    before = at_rest("nothing moves by itself", everything, within_s=patience(10.0))
    result = daemon.run("attach", f"netns:/run/netns/{target}", "--name", "web", "--json")
    assert result.code == 4
    assert "--trusted-subnets" in result.line
    assert "in the clear" in result.line
    assert result.out == ""
    assert everything() == before
    assert set(before[0]["entries"]) == {"meshcrdt:host"}
    assert "--trusted-subnets" in daemon.json("status")["dataplane"]["reason"]


def test_trust_on_one_end_only_opens_no_path_and_status_says_so(cluster: Any) -> None:
    one, two = cluster.daemon_on(1), cluster.daemon_on(2)
    one.launch("--name", "h1", *OPTIONS)
    two.launch("--name", "h2", "198.51.100.17", token=one.token())
    cluster.attach(1, "1")
    until("they know each other", cluster.is_whole, within_s=patience(10.0))
    peer = two.status()["peer"]
    until(
        "1 has judged 2", lambda: peer in one.status()["dataplane"]["paths"], within_s=patience(5.0)
    )
    assert "h2 declares no trusted subnets" in one.json("status")["dataplane"]["paths"][peer]
