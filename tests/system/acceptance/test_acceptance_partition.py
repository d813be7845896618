"""A host is cut off, both sides go on, and nothing is lost when it returns."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from acceptance_cluster import OPTIONS, alive, names_in
from acceptance_daemon import Result
from acceptance_hosts import figure, host_address
from waiting import patience, until

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(280)]

NOTICED_S = 5.0
RETURN_S = 5.0
"""Digests are equal within this of the return."""
LOCAL_S = 3.0
"""A verb that needs nobody else answers within this, the start of its process included."""
FOUNDER_SIDE, CUT_OFF = (1, 2), 3


@pytest.mark.parametrize(
    "cut_s", [pytest.param(15.0), pytest.param(90.0, marks=pytest.mark.full)], ids="{:g}s".format
)
def test_both_sides_go_on_and_come_together(trio_of_hosts: Any, cut_s: float) -> None:
    story = Story(trio_of_hosts, f"{cut_s:g}")
    began = time.monotonic()
    trio_of_hosts.site.cut(trio_of_hosts.host(CUT_OFF))
    try:
        story.everyone_notices(began)
        story.work_on_all_sides()
        rounds = story.allocate_until(began + cut_s)
    finally:
        trio_of_hosts.site.heal(trio_of_hosts.host(CUT_OFF))
    story.come_together()
    figure(
        f"cut of {cut_s:g} s: {rounds} further allocations on each side; slowest verb "
        f"{story.slowest.seconds:.2f} s ({story.slowest_verb})"
    )


class Story:
    """What happens to three hosts of which one is cut off."""

    def __init__(self, cluster: Any, tag: str) -> None:
        self.cluster = cluster
        self.tag = tag
        self.names: dict[str, str] = {}
        self.whole_names: dict[str, list[str]] = {}
        """Names of which all addresses are known, and no others may be shown."""
        self.slowest: Result | None = None
        self.slowest_verb = ""
        for number in cluster.daemons:
            self.names[f"w{number}"] = cluster.addresses[str(number)]
            for workload in (f"o{tag}-{number}", f"again{tag}-{number}"):
                cluster.attach(number, workload)
        until("everyone knows all", cluster.is_equal, within_s=patience(5.0))

    def verb(self, number: int, *verb: str, within_s: float = LOCAL_S) -> Any:
        """Run a verb that must succeed, and soon."""
        return self.cluster.daemons[number].json(*verb, within_s=within_s)

    def everyone_notices(self, began: float) -> None:
        """Look and do nothing else, so that the time is that of noticing alone."""
        statuses = self.cluster.statuses
        wait_until_far(self.cluster, began)
        figure(f"status says who is unreachable {time.monotonic() - began:.1f} s after the cut")
        seen = statuses()
        assert [seen[n]["minority"] for n in (1, 2, 3)] == [False, False, True]
        assert alive(seen[1]) == {"h2"}
        assert alive(seen[3]) == set()
        shown = self.cluster.daemons[1].ok("status")
        assert "h3" in shown
        assert "dead" in shown or "suspect" in shown

    def work_on_all_sides(self) -> None:
        cluster = self.cluster
        for number in (1, 2, 3):
            workload = f"d{self.tag}-{number}"
            began = time.monotonic()
            cluster.attach(number, workload)
            took_s = time.monotonic() - began
            assert took_s < LOCAL_S, f"attach on {number} took {took_s:.1f} s"
            address = cluster.addresses[workload]
            self.names[f"w{workload}"] = address
            assert cluster.reaches(str(number), workload), "two workloads of one host"
            assert address in self.verb(number, "dns-lookup", f"w{workload}")["addresses"]
            listen = cluster.daemons[number].status()["dns"]["listen"].rpartition(":")[0]
            question = f"w{workload}.mesh.internal"
            assert cluster.site.dig(cluster.host(number), listen, question) == [address]
            passing = f"p{self.tag}-{number}"
            cluster.attach(number, passing)
            cluster.detach(number, passing)
            # One that came during the cut goes, and one that everybody knows.
            cluster.detach(number, f"o{self.tag}-{number}")
            for gone in (passing, f"o{self.tag}-{number}"):
                assert cluster.daemons[number].run("dns-lookup", f"w{gone}").code == 1
            plain = f"plain{self.tag}-{number}"
            self.verb(number, "dns-add", plain, f"192.0.2.{number}")
            assert self.verb(number, "dns-lookup", plain)["addresses"] == [f"192.0.2.{number}"]
            self.attach_again(number, f"again{self.tag}-{number}")
            self.names[plain] = f"192.0.2.{number}"
            self.verb(number, "put", "acme/services", f"{self.tag}-{number}", str(number))
            self.verb(number, "ps")
            self.verb(number, "status")
            self.verb(number, "dns-list")
        self.what_needs_the_other_side()

    def attach_again(self, number: int, workload: str) -> None:
        """Detach a workload that everybody knows, and attach it with whatever it gets now."""
        daemon, where = self.cluster.daemons[number], self.cluster.namespace(workload)
        daemon.ok("detach", f"netns:/run/netns/{where}", within_s=LOCAL_S)
        verb = ("attach", f"netns:/run/netns/{where}", "--name", f"w{workload}")
        found = [a.partition("/")[0] for a in self.verb(number, *verb)["addresses"]]
        self.cluster.addresses[workload] = found[0]
        self.whole_names[f"w{workload}"] = sorted(found)

    def what_needs_the_other_side(self) -> None:
        """Refused or answered in time, never waited for without end."""
        cluster = self.cluster
        for number, far in ((CUT_OFF, 1), (1, CUT_OFF)):
            daemon = cluster.daemons[number]
            claimed = daemon.run("claim", f"far{self.tag}", cluster.addresses[str(far)], "--json")
            assert claimed.code == 1
            assert cluster.addresses[str(far)] in claimed.line or "unreachable" in claimed.line
            # Names of the other side are known here, for a while at least.
            daemon.run("dns-lookup", f"w{far}", within_s=LOCAL_S)
            self.verb(number, "connect", host_address(far))
            assert daemon.run("token", "create", within_s=LOCAL_S).code == 0

    def allocate_until(self, end: float) -> int:
        rounds = 0
        # A machine under load spends the whole cut on what came before.
        while time.monotonic() < end or rounds < 2:
            for number in (1, 3):
                outcome = self.verb(number, "allocate", f"r{self.tag}-{rounds}")
                assert outcome["outcome"] == "allocated", outcome
            rounds += 1
        return rounds

    def come_together(self) -> None:
        cluster = self.cluster
        returned = time.monotonic()
        took_s = until("digests are equal", cluster.is_equal, within_s=RETURN_S)
        figure(f"digests equal on all three {took_s:.2f} s after the return")
        flows_s = until("traffic flows", self.flows, within_s=RETURN_S)
        figure(f"traffic flows {time.monotonic() - returned:.2f} s after the return")
        assert flows_s < RETURN_S
        cluster.exchange("1", "3")
        # Workloads that were attached on the two sides of the cut.
        cluster.exchange(f"d{self.tag}-3", f"d{self.tag}-2")
        for number, daemon in cluster.daemons.items():
            known = daemon.json("dns-list")["entries"]
            short = {name.partition(".")[0]: found for name, found in known.items()}
            for name, address in self.names.items():
                assert address in short.get(name, ()), f"{name} on {number}: {short.get(name)}"
                assert address in daemon.json("dns-lookup", name)["addresses"]
            for name, addresses in self.whole_names.items():
                assert sorted(daemon.json("dns-lookup", name)["addresses"]) == addresses
            assert not any(name.startswith((f"wo{self.tag}-", f"wp{self.tag}-")) for name in short)
            entries = daemon.json("get", "acme/services")["entries"]
            assert {f"{self.tag}-{n}": n for n in (1, 2, 3)}.items() <= entries.items()
            if daemon.slowest is not None:
                self.note(daemon.slowest, daemon.slowest_verb)
        assert cluster.held_twice() == set()
        assert not any(status["alarms"] for status in cluster.statuses().values())

    def flows(self) -> bool:
        again = {number: f"again{self.tag}-{number}" for number in (1, 2, 3)}
        pairs = (("1", "3"), ("3", "2"), ("2", "1"), ("1", again[3]), ("3", again[2]))
        return all(self.cluster.reaches(*pair) for pair in pairs)

    def note(self, result: Result, verb: str) -> None:
        if self.slowest is None or result.seconds > self.slowest.seconds:
            self.slowest, self.slowest_verb = result, verb


def wait_until_far(cluster: Any, began: float) -> None:
    """Wait until both sides say who is unreachable, in the time that is promised for it."""

    def far() -> bool:
        seen = cluster.statuses()
        gone = {n: names_in(seen[n], "suspect", "dead") for n in seen}
        return gone == {1: {"h3"}, 2: {"h3"}, 3: {"h1", "h2"}}

    until("status says who is unreachable", far, within_s=NOTICED_S + began - time.monotonic())


def test_a_host_that_is_cut_off_can_be_stopped_and_launched(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    daemon, host = cluster.daemons[CUT_OFF], cluster.host(CUT_OFF)
    until("the mesh is whole", cluster.is_equal, within_s=patience(10.0))
    cluster.site.cut(host)
    try:
        # Nobody has noticed yet; nothing waits for that.
        for number in (CUT_OFF, *FOUNDER_SIDE):
            verb = ("allocate", f"early-{number}")
            early = cluster.daemons[number].json(*verb, within_s=LOCAL_S)
            assert early["outcome"] == "allocated"
        held = daemon.json("ps")
        began = time.monotonic()
        daemon.ok("stop", within_s=12.0)
        stopped_s = time.monotonic() - began
        assert stopped_s < 10.0
        # Ready waits for no peer.
        ready_s = daemon.launch("--name", "h3", *OPTIONS)
        assert ready_s < 3.0
        assert daemon.json("ps") == held
        assert daemon.json("allocate", "alone", within_s=LOCAL_S)["outcome"] == "allocated"
        cluster.attach(CUT_OFF, "alone")
        assert cluster.reaches("3", "alone")
    finally:
        cluster.site.heal(host)
    took_s = until("digests are equal", cluster.is_equal, within_s=RETURN_S)
    figure(
        f"cut off: stop {stopped_s:.2f} s, launch {ready_s:.2f} s, "
        f"digests equal {took_s:.2f} s after the return"
    )
    until("traffic flows", lambda: cluster.reaches("1", "alone"), within_s=RETURN_S)
    assert cluster.held_twice() == set()


def test_a_host_without_a_carrier_is_noticed_and_comes_back(trio_of_hosts: Any) -> None:
    cluster = trio_of_hosts
    until("the mesh is whole", cluster.is_equal, within_s=patience(10.0))
    began = time.monotonic()
    cluster.site.unplug(CUT_OFF)
    try:
        wait_until_far(cluster, began)
        figure(f"without a carrier: noticed {time.monotonic() - began:.1f} s after the cable went")
        assert cluster.daemons[CUT_OFF].json("status")["minority"] is True
        outcomes = [d.json("allocate", "unplugged") for d in cluster.daemons.values()]
        assert {outcome["outcome"] for outcome in outcomes} == {"allocated"}
        assert len({outcome["address"] for outcome in outcomes}) == len(outcomes)
    finally:
        cluster.site.plug(CUT_OFF)
    took_s = until("digests are equal", cluster.is_equal, within_s=RETURN_S)
    figure(f"without a carrier: digests equal {took_s:.2f} s after the cable was back")
    until("traffic flows", lambda: cluster.reaches("1", "3"), within_s=RETURN_S)
    assert cluster.held_twice() == set()


def test_a_block_that_is_used_up_during_a_cut_is_unreachable_in_time(cluster: Any) -> None:
    """The one outcome that needs the founder says so by the caller's deadline."""
    one, two = cluster.daemon_on(1), cluster.daemon_on(2)
    one.launch("--name", "h1", *OPTIONS, "--ipalloc-range", "10.60.0.0/28")
    two.launch("--name", "h2", *OPTIONS, host_address(1), token=one.token())
    until("they know each other", cluster.is_whole, within_s=patience(10.0))
    cluster.site.cut(cluster.host(2))
    given = 0
    while True:
        result = two.run("allocate", f"job{given}", "--timeout", "1", "--json")
        outcome = json.loads(result.out)
        if outcome["outcome"] != "allocated":
            break
        given += 1
    assert result.code == 1
    assert outcome["outcome"] == "unreachable", outcome
    assert outcome["reason"] in result.line
    assert result.seconds < 1.0 + LOCAL_S
    figure(f"a used-up block is unreachable after {result.seconds:.2f} s of --timeout 1")
    cluster.site.heal(cluster.host(2))
    more = lambda: two.run("allocate", "more", "--timeout", "2").code == 0  # noqa: E731
    until("allocating goes on", more, within_s=patience(10.0))
    assert cluster.held_twice() == set()
