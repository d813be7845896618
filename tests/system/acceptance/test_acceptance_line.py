"""Three hosts in a line, 1-2-3 with no path between 1 and 3: one cluster all the same."""

from __future__ import annotations

from typing import Any

import pytest
from acceptance_cluster import alive
from acceptance_hosts import figure
from waiting import patience, until

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]


def test_all_three_are_one_cluster_through_the_middle(cluster: Any) -> None:
    cluster.site.no_path(1, 3)
    # Discovery is on: 1 and 3 know each other's addresses and try them in vain.
    cluster.form(1, 2, 3, peers={3: 2})
    one, _, three = (cluster.daemons[n] for n in (1, 2, 3))
    assert not cluster.site.pings(cluster.host(1), "198.51.100.49")
    assert alive(one.json("status")) == {"h2", "h3"}
    assert alive(three.json("status")) == {"h1", "h2"}
    linked = {c["peer"] for c in one.json("status")["connections"] if c["state"] == "established"}
    assert linked == {cluster.daemons[2].status()["peer"]}
    slowest = 0.0
    for number, daemon in cluster.daemons.items():
        outcome = daemon.run("allocate", "job", "--json")
        assert outcome.code == 0, f"{number}: {outcome}"
        slowest = max(slowest, outcome.seconds)
        daemon.ok("dns-add", f"name{number}", f"192.0.2.{number}")
        daemon.ok("put", "acme/line", f"key{number}", f'{{"from": {number}}}')
    figure(f"allocate in a line, slowest of three: {slowest:.2f} s")
    assert cluster.held_twice() == set()
    took_s = until("the same bytes everywhere", cluster.is_equal, within_s=5.0)
    figure(f"digests equal in a line {took_s:.2f} s after the last write")
    for daemon in cluster.daemons.values():
        for number in (1, 2, 3):
            found = daemon.json("dns-lookup", f"name{number}")
            assert found["addresses"] == [f"192.0.2.{number}"]
            assert daemon.json("get", "acme/line", f"key{number}") == {"value": {"from": number}}
    one.ok("delete", "acme/line", "key3")
    gone = lambda: three.run("get", "acme/line", "key3").code == 1  # noqa: E731
    until("a delete on 1 arrives on 3", gone, within_s=patience(3.0))
