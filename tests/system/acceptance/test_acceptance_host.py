"""`stop` leaves traffic flowing; `reset` leaves the host as it was found."""

from __future__ import annotations

from typing import Any

import pytest
from acceptance_cluster import OPTIONS, Cluster
from acceptance_daemon import CLI, call
from acceptance_hosts import OUTSIDE
from waiting import patience, until

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]


def busy(cluster: Cluster) -> None:
    """Two hosts in use: workloads, a way outside, traffic."""
    cluster.form(1, 2)
    for number in (1, 2):
        cluster.attach(number, str(number))
    cluster.daemons[1].ok("expose")
    until("traffic flows", lambda: cluster.reaches("1", "2"), within_s=patience(5.0))
    assert cluster.site.pings(cluster.namespace("1"), OUTSIDE)


class Before:
    """Hosts as they were found: made first, compared last."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        for number in (1, 2):
            cluster.daemon_on(number)
        self.states = {n: cluster.site.state(cluster.host(n)) for n in (1, 2)}
        # The same hosts again, for `form`.
        cluster.daemon_on = lambda n, **_: cluster.daemons[n]  # type: ignore[method-assign]

    def check(self, number: int) -> None:
        found = self.cluster.site.state(self.cluster.host(number))
        assert found == self.states[number]


def inside(cluster: Cluster, workload: str) -> str:
    return cluster.site.inside(cluster.namespace(workload), "ip", "-br", "link")


def test_reset_leaves_the_host_as_it_was_found(cluster: Any) -> None:
    before = Before(cluster)
    busy(cluster)
    state_dir = cluster.daemons[1].state_dir
    for number, daemon in cluster.daemons.items():
        daemon.ok("reset", within_s=patience(15.0))
        assert daemon.ended() == 0
        before.check(number)
        assert "ethmc0" not in inside(cluster, str(number))
    assert not state_dir.exists()
    # A host that forgot everything begins anew.
    cluster.daemons[1].launch(*OPTIONS)
    assert cluster.daemons[1].status()["peers"] == []


def test_the_others_see_a_host_that_was_reset_leave(cluster: Any) -> None:
    cluster.form(1, 2)
    cluster.attach(2, "2")
    one, two = cluster.daemons[1], cluster.daemons[2]
    until("1 knows the name", lambda: one.run("dns-lookup", "w2").code == 0, within_s=patience(3.0))
    two.ok("reset", within_s=patience(15.0))
    left = lambda: [p["state"] for p in one.status()["peers"]] == ["left"]  # noqa: E731
    until("1 sees it leave", left, within_s=patience(3.0))
    assert one.run("dns-lookup", "w2").code == 1
    assert one.status()["minority"] is False


def test_reset_without_a_daemon_cleans_the_host_too(cluster: Any) -> None:
    before = Before(cluster)
    busy(cluster)
    daemon = cluster.daemons[1]
    daemon.kill()
    refused = daemon.run("reset")
    assert refused.code == 5
    assert "--force" in refused.line
    assert cluster.site.state(cluster.host(1)) != before.states[1]
    daemon.ok("reset", "--force", within_s=patience(15.0))
    before.check(1)
    assert not daemon.state_dir.exists()


def test_stop_leaves_traffic_flowing_and_a_launch_adopts_it(cluster: Any) -> None:
    before = Before(cluster)
    busy(cluster)
    site, daemon = cluster.site, cluster.daemons[1]
    talk = site.talk(cluster.namespace("1"), cluster.namespace("2"), cluster.addresses["2"])
    held = daemon.json("ps")
    daemon.ok("stop", within_s=12.0)
    assert daemon.ended() == 0
    assert daemon.run("status").code == 5
    assert cluster.reaches("2", "1")
    assert site.pings(cluster.namespace("1"), OUTSIDE), "the way outside stays open"
    links = site.inside(cluster.host(1), "ip", "-br", "link")
    daemon.launch(*OPTIONS)
    assert daemon.json("ps") == held
    until("it knows the others", cluster.is_whole, within_s=patience(5.0))
    assert site.inside(cluster.host(1), "ip", "-br", "link") == links
    heard = talk.end()
    assert (heard["in_order"], heard["tcp_lost"], heard["udp_lost"]) == (True, 0, 0)
    # What was attached before is detached as ever.
    cluster.detach(1, "1")
    assert "ethmc0" not in inside(cluster, "1")
    assert daemon.run("dns-lookup", "w1").code == 1
    # And a reset finds what another process made.
    daemon.ok("reset", within_s=patience(15.0))
    assert daemon.ended() == 0
    before.check(1)


def test_a_detached_launch_has_its_dataplane_when_it_returns(cluster: Any) -> None:
    daemon = cluster.daemon_on(1)
    before = cluster.site.state(cluster.host(1))
    command = [*daemon.prefix, *CLI, "launch", "--state-dir", str(daemon.state_dir), "--detach"]
    done = call([*command, *OPTIONS], within_s=patience(20.0))
    assert done.code == 0, done
    try:
        assert daemon.status()["state"] == "ready"
        assert daemon.status()["dataplane"]["reason"] is None
        cluster.attach(1, "1")
        assert cluster.site.pings(cluster.host(1), cluster.addresses["1"])
    finally:
        # It is nobody's child: it is ended by its own verb.
        done = daemon.run("reset", within_s=patience(15.0))
    assert done.code == 0, done
    assert cluster.site.state(cluster.host(1)) == before
