"""Attach and detach as scripts use them: many at once, twice, with addresses, without a word."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from acceptance_hosts import figure
from waiting import patience, until

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]

AT_ONCE = 6


def target(cluster: Any, workload: str) -> str:
    return f"netns:/run/netns/{cluster.namespace(workload)}"


def test_many_attaches_at_once_on_all_hosts(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    jobs = [(number, f"m{number}{n}") for number in (1, 2, 3) for n in range(AT_ONCE)]
    for _, workload in jobs:
        cluster.site.namespace(f"w{workload}")

    def attach(job: tuple[int, str]) -> tuple[str, str, float]:
        number, workload = job
        verb = ("attach", target(cluster, workload), "--name", f"w{workload}", "--json")
        result = cluster.daemons[number].run(*verb, within_s=patience(20.0))
        assert result.code == 0, result
        address = json.loads(result.out)["addresses"][0].partition("/")[0]
        return workload, address, result.seconds

    with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
        found = list(pool.map(attach, jobs))
    addresses = {workload: address for workload, address, _ in found}
    assert len(set(addresses.values())) == len(jobs)
    cluster.addresses.update(addresses)
    slowest = max(seconds for *_, seconds in found)
    figure(f"{len(jobs)} attaches at once on three hosts: slowest {slowest:.2f} s")
    until("the same bytes everywhere", cluster.is_equal, within_s=5.0)
    known = cluster.daemons[1].json("dns-list")["entries"]
    assert {f"w{workload}.mesh.internal" for workload in addresses} <= known.keys()
    assert cluster.reaches("m10", f"m3{AT_ONCE - 1}")
    assert cluster.reaches("m31", "m20")
    assert cluster.held_twice() == set()


def test_attaching_twice_is_attaching_once(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    daemon = cluster.daemons[2]
    first = cluster.attach(2, "twice")
    assert set(first) >= {"id", "addresses", "names", "mac", "mtu"}
    assert first["mtu"] == daemon.status()["dataplane"]["mtu"] == 1450
    again = daemon.json("attach", target(cluster, "twice"), "--name", "another")
    assert again["addresses"] == first["addresses"]
    assert again["mac"] == first["mac"]
    assert again["names"] == ["wtwice", "another"]
    cluster.detach(2, "twice")
    for name in ("wtwice", "another"):
        assert daemon.run("dns-lookup", name).code == 1
    refused = daemon.run("detach", target(cluster, "twice"))
    assert refused.code == 1
    assert target(cluster, "twice") in refused.line


def test_an_address_that_another_host_holds_is_refused_and_nothing_changes(
    trio_of_hosts: Any,
) -> None:
    cluster = trio_of_hosts
    daemon, taken = cluster.daemons[3], cluster.addresses["1"]
    name = cluster.site.namespace("wthief")
    before = (daemon.json("ps"), daemon.json("dns-list"), cluster.site.state(name))
    links = cluster.site.inside(cluster.host(3), "ip", "-br", "link")
    result = daemon.run("attach", f"netns:/run/netns/{name}", taken, "--name", "thief")
    assert result.code == 1
    assert taken in result.line
    assert (daemon.json("ps"), daemon.json("dns-list"), cluster.site.state(name)) == before
    assert cluster.site.inside(cluster.host(3), "ip", "-br", "link") == links
    assert cluster.reaches("2", "1")


def test_what_allocate_gave_is_attached_and_kept_however_the_target_is_spelled(
    trio_of_hosts: Any,
) -> None:
    cluster = trio_of_hosts
    daemon, name = cluster.daemons[1], cluster.site.namespace("wplanned")
    before = daemon.json("ps")["entries"]
    taken = daemon.json("allocate", "other")["address"]
    line = daemon.run("attach", f"netns:{name}", "net:default", taken.partition("/")[0])
    assert line.code == 1
    assert "other" in line.line, "its holder here is named"
    assert daemon.json("ps")["entries"] == {**before, "other": [taken]}
    planned = daemon.json("allocate", f"netns:{name}")["address"]
    attached = daemon.json("attach", f"netns:{name}")
    assert attached["addresses"][0] == planned
    spelled = target(cluster, "planned")
    assert daemon.json("attach", spelled)["id"] == attached["id"], "one namespace, one workload"
    daemon.ok("detach", spelled)
    assert daemon.json("ps")["entries"] == {**before, "other": [taken], f"netns:{name}": [planned]}


def test_a_workload_that_ends_is_detached_everywhere(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    one, two = cluster.daemons[1], cluster.daemons[2]
    cluster.attach(2, "short")
    kept = two.json("allocate", "kept")["address"]
    until("1 knows it", lambda: one.run("dns-lookup", "wshort").code == 0, within_s=patience(3.0))
    cluster.site.inside(cluster.host(2), "ip", "netns", "del", cluster.namespace("short"))
    until(
        "its name goes", lambda: one.run("dns-lookup", "wshort").code == 1, within_s=patience(5.0)
    )
    assert two.run("dns-lookup", "wshort").code == 1
    held = two.json("ps")["entries"]
    assert target(cluster, "short") not in held
    assert held["kept"] == [kept]


@pytest.mark.parametrize(
    "kind", ["missing", "without a kind", "of the host itself", "not a namespace"]
)
def test_a_target_that_is_none_is_named(trio_of_hosts: Any, kind: str) -> None:
    cluster = trio_of_hosts
    daemon = cluster.daemons[1]
    wrong = {
        "missing": "netns:/run/netns/nowhere",
        "without a kind": "nowhere",
        "of the host itself": f"pid:{daemon.process.pid}",
        "not a namespace": "netns:/etc/hostname",
    }[kind]
    before = daemon.json("ps")
    result = daemon.run("attach", wrong, "--name", "x")
    assert result.code == 1
    assert (f"'{wrong}'" if kind == "without a kind" else wrong) in result.line
    assert ("does not exist" in result.line) == (kind == "missing")
    assert daemon.json("ps") == before
