"""`kill -9` of any daemon: workloads do not notice, and it comes back as it was."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from acceptance_cluster import OPTIONS
from acceptance_hosts import figure
from waiting import patience, until

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]

ANSWERS_S = 3.0
SILENCE_S = 1.0
"""A machine under load delays a record by so much without anything being wrong."""


@pytest.mark.parametrize("victim", [1, 2, 3])
def test_established_traffic_goes_on_and_the_daemon_comes_back(
    trio_of_hosts: Any, victim: int
) -> None:
    cluster = trio_of_hosts
    daemon, other = cluster.daemons[victim], victim % 3 + 1
    daemon.ok("allocate", "kept")
    daemon.ok("dns-add", f"kept{victim}", "192.0.2.7")
    until("the mesh is whole", cluster.is_equal, within_s=patience(10.0))
    before = said(daemon)
    where = [cluster.namespace(str(n)) for n in (victim, other)]
    until("traffic flows", lambda: cluster.reaches(str(victim), str(other)), within_s=patience(5.0))
    talk = cluster.site.talk(*where, cluster.addresses[str(other)])
    daemon.kill()
    dead = cluster.daemons[other].status
    until("the others notice", lambda: f"h{victim}" not in alive_names(dead()), within_s=5.0)
    # The state directory knows the cluster and the trust: no PEER, token, range or subnet.
    took_s = daemon.launch("--name", f"h{victim}")
    assert took_s < ANSWERS_S
    assert said(daemon) == before
    until("the mesh is whole", cluster.is_equal, within_s=patience(10.0))
    heard = talk.end()
    figure(f"kill -9 of daemon {victim}: ready again after {took_s:.2f} s; workloads: {heard}")
    assert heard["sent"] > 100
    assert heard["in_order"]
    assert (heard["tcp_lost"], heard["udp_lost"]) == (0, 0)
    assert heard["tcp_silence_s"] < SILENCE_S
    assert daemon.json("allocate", "kept")["address"] in before["held"]["kept"]
    again = daemon.json("attach", f"netns:/run/netns/{where[0]}")
    assert sorted(a.partition("/")[0] for a in again["addresses"]) == before["held"][again["id"]]
    assert cluster.held_twice() == set()


def test_what_went_while_the_daemon_was_dead_is_put_right(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    site, daemon, host = cluster.site, cluster.daemons[2], cluster.host(2)
    cluster.attach(2, "mortal")
    mortal = f"netns:/run/netns/{cluster.namespace('mortal')}"
    one = cluster.daemons[1]
    until("1 knows it", lambda: one.run("dns-lookup", "wmortal").code == 0, within_s=patience(3.0))
    daemon.kill()
    # A workload ends, and somebody tidies the host up.
    site.inside(host, "ip", "netns", "del", cluster.namespace("mortal"))
    for link in json.loads(site.inside(host, "ip", "-j", "link")):
        if link["ifname"].startswith("mcrdt-"):
            site.inside(host, "ip", "link", "del", link["ifname"])
    assert not cluster.reaches("1", "2")
    daemon.launch("--name", "h2", *OPTIONS)
    until("traffic flows again", lambda: cluster.reaches("1", "2"), within_s=patience(5.0))
    until(
        "the name goes", lambda: one.run("dns-lookup", "wmortal").code == 1, within_s=patience(5.0)
    )
    assert mortal not in daemon.json("ps")["entries"]


def test_a_state_directory_is_all_that_a_restart_needs(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    daemon = cluster.daemons[3]
    before = said(daemon)
    daemon.kill()
    began = time.monotonic()
    daemon.launch()
    answered_s = time.monotonic() - began
    assert answered_s < ANSWERS_S
    assert said(daemon) == before
    figure(f"restart by state directory alone: ready after {answered_s:.2f} s")
    assert daemon.status()["dataplane"]["reason"] is None
    until("traffic flows", lambda: cluster.reaches("1", "3"), within_s=patience(5.0))
    cluster.exchange("1", "3")


def alive_names(status: dict[str, Any]) -> set[str]:
    return {peer["name"] for peer in status["peers"] if peer["state"] == "alive"}


def said(daemon: Any) -> dict[str, Any]:
    """Identity, addresses and names of a daemon."""
    status = daemon.json("status")
    return {
        "peer": status["peer"],
        "cluster": status["cluster"],
        "host": status["dataplane"]["host"],
        "held": {
            key: sorted(a.partition("/")[0] for a in held) if key != "kept" else sorted(held)
            for key, held in daemon.json("ps")["entries"].items()
        },
        "names": daemon.json("dns-list")["entries"],
    }
