"""Traffic on the kernel path: full size both ways, no flood, trust, and the way outside."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]

UNIVERSE = "10.32.0.0/12"


def test_three_hosts_carry_full_size_traffic_both_ways(world: Any) -> None:
    world.build(3)
    for source in (1, 2, 3):
        for sink in (1, 2, 3):
            for address in world.addresses(sink):
                assert world.reaches(f"w{source}", address.partition("/")[0])
        assert world.reaches(f"w{source}", f"10.32.0.{source}"), "workload to its host"
        assert world.reaches(f"h{source}", f"10.32.0.{10 + source}"), "host to its workload"
        assert world.reaches(f"h{source}", f"10.32.0.{11 + source % 3}"), "host to a far one"
    # The full MTU passes in one piece, one byte more does not.
    assert world.reaches("w1", "10.32.0.12", "-M", "do", "-s", str(1450 - 28))
    assert not world.reaches("w1", "10.32.0.12", "-M", "do", "-s", str(1450 - 27))
    world.transfer(1, 2, family=0)
    world.transfer(3, 1, family=1)


def test_known_addresses_cost_no_flood_and_unknown_ones_no_frame(world: Any) -> None:
    host, _ = world.build(2)
    device = next(
        link["ifname"]
        for link in json.loads(host.run("ip", "-j", "link"))
        if link["ifname"].startswith("meshcrdt-vx")
    )

    def sent() -> int:
        stats = json.loads(host.run("ip", "-j", "-s", "link", "show", "dev", device))[0]["stats64"]
        return int(stats["tx"]["packets"])

    before = sent()
    assert world.reaches("w1", "10.32.0.12")
    assert sent() - before == 1, "the echo request alone: ARP was answered on this host"
    before = sent()
    assert not world.reaches("w1", "10.32.0.99")
    assert not world.reaches("w1", "fd32::99")
    assert sent() == before, "nobody is asked about an unknown address"
    assert world.reaches("w1", world.addresses(2)[1].partition("/")[0])
    assert sent() - before == 1, "neighbour discovery was answered on this host"


def test_nothing_but_the_wanted_frames_is_on_the_wire(world: Any) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("needs tcpdump")
    host, _ = world.build(2)
    command = ["tcpdump", "--immediate-mode", "-l", "-n", "-i", "eth0", "udp", "port", "6784"]
    sniffer = subprocess.Popen(
        ["ip", "netns", "exec", host.name, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    world.streams.append(sniffer)
    assert sniffer.stderr is not None
    while "listening on" not in sniffer.stderr.readline():
        assert sniffer.poll() is None, "tcpdump ended"
    assert not world.reaches("w1", "10.32.0.99")
    assert not world.reaches("w1", "fd32::99")
    assert not world.reaches("h1", "10.32.0.99")
    assert world.reaches("w1", "10.32.0.12")
    sniffer.terminate()
    out, _errors = sniffer.communicate(timeout=10)
    assert out.count("6784") == 2, f"one request and its answer, not: {out}"


def test_exposed_workloads_reach_the_outside(world: Any) -> None:
    world.build(1, exposure="outside")
    # 192.168.77.254 is no overlay host and knows no route back: masquerading is what answers.
    assert world.reaches("w1", "192.168.77.254")


def test_a_default_route_of_the_workloads_own_stays(world: Any) -> None:
    host = world.host(1).start()
    name = world.namespace("w1")
    world.run("ip", "-n", name, "link", "add", "mine", "type", "bridge")
    world.run("ip", "-n", name, "addr", "add", "172.20.0.1/24", "dev", "mine")
    world.run("ip", "-n", name, "link", "set", "mine", "up")
    world.run("ip", "-n", name, "route", "add", "default", "via", "172.20.0.254")
    before = world.run("ip", "-n", name, "route", "show", "default")
    want = world.desired(1, others=[], exposure="outside")
    assert host.ask({"desired": want})["errors"] == []
    assert world.run("ip", "-n", name, "route", "show", "default") == before
    assert world.reaches("w1", "10.32.0.1")


def test_no_path_without_trust_on_both_ends(world: Any) -> None:
    hosts = [world.host(1), world.host(2)]
    world.namespace("w1")
    world.namespace("w2")
    report = hosts[0].start().ask({"desired": world.desired(1, others=[2], trusted=["10.0.0.0/8"])})
    assert report["paths"]["p2"] == (
        "underlay address 192.168.77.1 of this host is outside the subnets that p2 trusts "
        "(10.0.0.0/8)"
    )
    hosts[1].start().ask({"desired": world.desired(2, others=[1])})
    assert not world.reaches("w2", "10.32.0.11")
    # Not even where the other end would send: frames from it are dropped here.
    assert not world.reaches("w1", "10.32.0.12")


def test_ipv6_underlay_takes_twenty_bytes_more(world: Any) -> None:
    hosts = [world.host(1), world.host(2)]
    for host in hosts:
        world.namespace(f"w{host.number}")
        other = 3 - host.number
        host.start(underlay=[f"fd77::{host.number}"])
        want = world.desired(host.number, others=[other], underlay=[f"fd77::{other}"])
        report = host.ask({"desired": want})
        assert report == {"paths": {f"p{other}": None}, "gone": [], "errors": [], "mtu": 1430}
    assert world.reaches("w1", "10.32.0.12", "-M", "do", "-s", str(1430 - 28))
    world.transfer(1, 2, family=0)


def test_check_names_the_overlapping_route(world: Any) -> None:
    host = world.host(1).start()
    assert host.ask({"check": [UNIVERSE]}) == {"reason": None}
    assert host.ask({"check": ["192.168.0.0/16"]}) == {
        "reason": "range 192.168.0.0/16 overlaps the host's route 192.168.77.0/24 on eth0"
    }
