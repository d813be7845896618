"""Two clusters that were made apart are pointed at each other: they refuse, and go on."""

from __future__ import annotations

import time
from typing import Any

import pytest
from acceptance_cluster import OPTIONS
from acceptance_hosts import figure, host_address
from waiting import patience, until

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]


@pytest.mark.parametrize("ways", ["one way", "both ways"])
def test_strangers_refuse_with_both_ids_and_keep_working(cluster: Any, ways: str) -> None:
    one, two = cluster.daemon_on(1), cluster.daemon_on(2)
    one.launch("--name", "h1", *OPTIONS, wait=False)
    two.launch("--name", "h2", *OPTIONS)
    one.until_ready()
    ids = [daemon.json("status")["cluster"] for daemon in (one, two)]
    assert ids[0] != ids[1]
    one.ok("connect", host_address(2))
    if ways == "both ways":
        two.ok("connect", host_address(1))

    def names_both(text: str) -> bool:
        return all(cluster_id in text for cluster_id in ids)

    for daemon in (one, two) if ways == "both ways" else (two,):
        until(
            f"the log of {daemon.name} names both",
            lambda: any(names_both(line) for line in daemon.log().splitlines()),  # noqa: B023
            within_s=patience(5.0),
        )
        refused = daemon.json("status")["refused"]
        assert len(refused) == 1
        assert names_both(refused[0]["reason"]), refused
        assert any(map(names_both, shown(daemon))), shown(daemon)
    # Who dialled knows that the other end stayed silent, and names its own id.
    until("1 says why", lambda: reasons(one, host_address(2)), within_s=patience(5.0))
    (reason,) = reasons(one, host_address(2))
    assert ids[0] in reason
    assert host_address(2) in reason
    for number, daemon in cluster.daemons.items():
        status = daemon.json("status")
        assert (status["state"], status["cluster"]) == ("ready", ids[number - 1])
        assert status["peers"] == []
        assert daemon.json("allocate", "job")["outcome"] == "allocated"
        cluster.attach(number, str(number))


def test_a_refusal_ends_a_launch_in_time_though_another_peer_is_a_black_hole(
    cluster: Any,
) -> None:
    member, joiner = cluster.daemon_on(1), cluster.daemon_on(2)
    cluster.site.host(3)
    cluster.site.no_path(2, 3)
    member.launch("--name", "h1", *OPTIONS)
    made_at = time.time()
    token = member.token("--ttl", "1")
    until("it expires", lambda: time.time() > made_at + 2.5, within_s=5.0)
    began = time.monotonic()
    options = ("--log-level", "error", host_address(3), host_address(1))
    joiner.launch(*options, token=token, wait=False)
    assert joiner.ended() == 1
    took_s = time.monotonic() - began
    assert took_s < 10.0
    assert str(joiner.token_path) in joiner.log()
    assert "expired" in joiner.log()
    figure(f"refused beside a black hole: the launch ends after {took_s:.1f} s")


def reasons(daemon: Any, address: str) -> list[str]:
    found = daemon.status()["connections"]
    return [c["reason"] for c in found if address in c["address"] and c["reason"]]


def shown(daemon: Any) -> list[str]:
    return list(daemon.ok("status").splitlines())
