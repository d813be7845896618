"""Three hosts as network namespaces, real daemons on each, real packets between workloads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshcrdt.daemon.demo.namespaces import UNDERLAY, Hosts, why_not

pytestmark = [pytest.mark.system, pytest.mark.root]
REASON = why_not()
if REASON is not None:
    pytest.skip(REASON, allow_module_level=True)

CUT_S = 15.0
"""How long host 3 is cut off here; MESHCRDT_CUT_S=90 is the full length."""

Wait = Callable[..., float]

_TRAFFIC = """
import socket, sys, time
if sys.argv[1] == "serve":
    server = socket.create_server((sys.argv[2], 7001))
    print("listening", flush=True)
    stream, _ = server.accept()
    while data := stream.recv(65536):
        stream.sendall(data)
else:
    # Both ends are started at once: the other one may not listen yet.
    deadline = time.monotonic() + 10
    while True:
        try:
            stream = socket.create_connection((sys.argv[2], 7001), timeout=10)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    while True:
        begun = time.monotonic()
        stream.sendall(b"x" * 1000)
        left = 1000
        while left:
            left -= len(stream.recv(left))
        print(f"{time.monotonic() - begun:.3f}", flush=True)
        time.sleep(0.02)
"""


class World:
    """The namespaces, and a daemon on each host."""

    def __init__(self, spaces: Hosts, make_host: Callable[..., Any]) -> None:
        self.spaces = spaces
        self.hosts = {n: make_host(f"h{n}", spaces.inside(spaces.host(n))) for n in (1, 2, 3)}

    def launch(self, *options: str, trusted: bool = True) -> None:
        token: str | None = None
        for number, host in self.hosts.items():
            peers = ["198.51.100.1"] if number > 1 else []
            given = ["--trusted-subnets", UNDERLAY] if trusted else []
            host.ready(*LINUX, *given, *options, *peers, token=token)
            token = token or host.token()

    def attach(self, number: int, *arguments: str) -> dict[str, Any]:
        attached: dict[str, Any] = self.hosts[number].json(
            "attach", f"netns:{self.spaces.workload(number)}", *arguments
        )
        return attached

    def inside(self, number: int, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.spaces.inside(self.spaces.workload(number)), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    def pings(self, number: int, address: str) -> bool:
        return self.inside(number, "ping", "-c", "1", "-W", "1", address).returncode == 0

    def cut(self, number: int, *, up: bool) -> None:
        port = f"p{number}"
        subprocess.run(
            ["ip", "-n", f"{self.spaces.tag}-sw", "link", "set", port, "up" if up else "down"],
            check=True,
        )


LINUX = ("--dataplane", "linux", "--listen", "0.0.0.0:6783")


@pytest.fixture
def world(make_host: Callable[..., Any]) -> Iterator[World]:
    spaces = Hosts(f"mcd{os.getpid()}")
    try:
        spaces.build()
        yield World(spaces, make_host)
    finally:
        spaces.remove()


def bare(address: str) -> str:
    return address.partition("/")[0]


def test_workloads_reach_each_other_their_hosts_and_the_names(
    world: World, wait_until: Wait
) -> None:
    world.launch()
    attached = {n: world.attach(n, "--name", f"w{n}") for n in (1, 2, 3)}
    for one, other in ((1, 3), (3, 1), (2, 1)):
        for address in attached[other]["addresses"]:
            wait_until(
                lambda one=one, a=address: world.pings(one, bare(a)), f"{one} reaches {address}"
            )
    assert set(attached[1]) >= {"id", "addresses", "names", "mac", "mtu"}
    assert attached[1]["mtu"] == 1450
    big = world.inside(
        1, "ping", "-M", "do", "-s", "1422", "-c", "1", bare(attached[3]["addresses"][0])
    )
    assert big.returncode == 0, "a packet of the full size passes"
    status = world.hosts[1].json("status")
    server, port = status["dns"]["listen"].rsplit(":", 1)
    assert port == "53"
    assert world.pings(1, server), "a workload reaches its host"
    begun = time.monotonic()
    answer = world.inside(1, "dig", "+short", f"@{server}", "w3.mesh.internal", "A")
    assert answer.stdout.split() == [bare(attached[3]["addresses"][0])]
    assert time.monotonic() - begun < 1
    pointer = world.inside(1, "dig", "+short", f"@{server}", "-x", answer.stdout.strip())
    assert pointer.stdout.strip() == "w3.mesh.internal."
    assert all(reason is None for reason in status["dataplane"]["paths"].values())
    world.hosts[3].ok("detach", f"netns:{world.spaces.workload(3)}")
    wait_until(lambda: world.hosts[1].run("dns-lookup", "w3").returncode == 1, "the name goes")
    assert attached[3]["id"] not in world.hosts[3].json("ps")["entries"]
    assert not world.pings(1, bare(attached[3]["addresses"][0]))


def test_without_trusted_subnets_attach_exits_4_and_says_why(world: World) -> None:
    world.launch(trusted=False)
    line = world.hosts[1].refused("attach", f"netns:{world.spaces.workload(1)}", code=4)
    assert "--trusted-subnets" in line
    status = world.hosts[1].json("status")["dataplane"]
    assert "--trusted-subnets" in status["reason"]
    assert world.hosts[1].json("ps")["entries"].keys() <= {"meshcrdt:host"}


def test_a_killed_daemon_does_not_stop_traffic_and_comes_back(
    world: World, wait_until: Wait
) -> None:
    world.launch()
    attached = {n: world.attach(n, "--name", f"w{n}") for n in (1, 3)}
    sink = bare(attached[3]["addresses"][0])
    wait_until(lambda: world.pings(1, sink), "there is a path")
    serve = [*world.spaces.inside(world.spaces.workload(3)), sys.executable, "-c", _TRAFFIC]
    talk = [*world.spaces.inside(world.spaces.workload(1)), sys.executable, "-c", _TRAFFIC]
    with (
        subprocess.Popen([*serve, "serve", sink], stdout=subprocess.PIPE) as server,
        subprocess.Popen([*talk, "talk", sink], stdout=subprocess.PIPE, text=True) as talker,
    ):
        try:
            assert server.stdout is not None
            assert talker.stdout is not None
            server.stdout.readline()
            talker.stdout.readline()
            before = world.hosts[1].json("status")["peer"]
            world.hosts[1].kill()
            for _ in range(20):
                assert float(talker.stdout.readline()) < 1.0
            begun = time.monotonic()
            world.hosts[1].ready(*LINUX)  # what was trusted is remembered
            assert world.hosts[1].json("status")["peer"] == before
            assert time.monotonic() - begun < 10, "3 s on a quiet machine"
            for _ in range(20):
                assert float(talker.stdout.readline()) < 1.0
        finally:
            talker.kill()
            server.kill()
    held = world.hosts[1].json("ps")["entries"]
    assert held[attached[1]["id"]] == attached[1]["addresses"]
    assert world.hosts[1].json("dns-lookup", "w1")["addresses"]
    assert world.attach(1)["addresses"] == attached[1]["addresses"]


def test_a_workload_that_vanishes_is_released(world: World, wait_until: Wait) -> None:
    world.hosts[1].ready(*LINUX, "--trusted-subnets", UNDERLAY)
    attached = world.attach(1, "--name", "w1")
    kept = world.hosts[1].json("allocate", "kept")["address"]
    subprocess.run(["ip", "netns", "del", world.spaces.workload(1)], check=True)
    wait_until(lambda: attached["id"] not in world.hosts[1].json("ps")["entries"], "addresses go")
    assert world.hosts[1].run("dns-lookup", "w1").returncode == 1
    assert world.hosts[1].json("ps")["entries"]["kept"] == [kept]


def test_given_addresses_stay_and_a_failed_attach_takes_nothing(world: World) -> None:
    host = world.hosts[1].ready(*LINUX, "--trusted-subnets", UNDERLAY)
    target = f"netns:{world.spaces.workload(1)}"
    before = host.json("ps")["entries"]
    taken = host.json("allocate", "other")["address"]
    line = host.refused("attach", target, "net:default", bare(taken))
    assert "other" in line
    assert host.json("ps")["entries"] == {**before, "other": [taken]}
    assert "does not exist" in host.refused("attach", "netns:/run/netns/mcd-nowhere")
    assert "'mcd-nowhere'" in host.refused("attach", "mcd-nowhere")
    claimed = host.json("allocate", target)["address"]
    attached = host.json("attach", target)
    assert attached["addresses"][0] == claimed
    spelled = f"netns:/run/netns/{world.spaces.workload(1)}"
    assert host.json("attach", spelled)["id"] == attached["id"], "one namespace, one workload"
    host.ok("detach", spelled)
    assert host.json("ps")["entries"][target] == [claimed], "what allocate gave is kept"


def test_a_range_that_hides_a_host_network_is_refused(world: World) -> None:
    host = world.hosts[1]
    for given in ("198.51.100.0/25", "198.51.0.0/16"):
        done = host.launch(*LINUX, "--ipalloc-range", given)
        assert done.returncode == 1
        assert given in done.stderr
        assert "198.51.100.0/24" in done.stderr
        assert not host.state_dir.exists()
    host.ready(*LINUX, "--ipalloc-range", "10.90.0.0/16")


def test_stop_leaves_traffic_and_reset_leaves_nothing(world: World, wait_until: Wait) -> None:
    world.launch()
    attached = {n: world.attach(n) for n in (1, 2)}
    other = bare(attached[2]["addresses"][0])
    wait_until(lambda: world.pings(1, other), "there is a path")
    world.hosts[1].ok("stop")
    assert world.pings(1, other)
    world.hosts[1].ready(*LINUX, "--trusted-subnets", UNDERLAY)
    world.hosts[1].ok("reset")
    links = json.loads(
        subprocess.run(
            ["ip", "-n", world.spaces.host(1), "-j", "link"], capture_output=True, check=True
        ).stdout
    )
    assert {link["ifname"] for link in links} == {"lo", "eth0"}
    tables = subprocess.run(
        [*world.spaces.inside(world.spaces.host(1)), "nft", "list", "tables"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "meshcrdt" not in tables.stdout


def test_workloads_reach_the_outside_only_when_exposed(world: World, wait_until: Wait) -> None:
    world.launch()
    world.attach(1)
    outside = "198.51.100.2"
    assert not world.pings(1, outside)
    world.hosts[1].ok("expose")
    wait_until(lambda: world.pings(1, outside), "exposed")
    world.hosts[1].ok("hide")
    wait_until(lambda: not world.pings(1, outside), "hidden again")


def test_a_host_that_is_cut_off_goes_on_and_comes_back(
    world: World, wait_until: Wait, tmp_path: Path
) -> None:
    cut_s = float(os.environ.get("MESHCRDT_CUT_S", CUT_S))
    world.launch()
    attached = {n: world.attach(n, "--name", f"w{n}") for n in (1, 2, 3)}
    hosts = world.hosts
    wait_until(lambda: world.pings(1, bare(attached[3]["addresses"][0])), "there is a path")
    world.cut(3, up=False)
    begun = time.monotonic()

    def states(number: int) -> dict[str, str]:
        return {p["name"]: p["state"] for p in hosts[number].json("status")["peers"]}

    wait_until(lambda: states(1)["h3"] != "alive", "1 misses 3")
    wait_until(lambda: "alive" not in states(3).values(), "3 misses all")
    assert hosts[3].json("status")["minority"] is True
    assert hosts[1].json("status")["minority"] is False
    given: dict[str, str] = {}
    for number, host in hosts.items():
        for index in range(3):
            given[f"c{number}-{index}"] = host.json("allocate", f"c{number}-{index}")["address"]
        host.ok("dns-add", f"during{number}", given[f"c{number}-0"])
        host.ok("detach", f"netns:{world.spaces.workload(number)}")
        attached[number] = world.attach(number, "--name", f"w{number}")
        assert host.json("dns-lookup", f"during{number}")["addresses"]
    assert len(set(given.values())) == len(given), "no address twice, cut or not"
    wait_until(lambda: time.monotonic() - begun >= cut_s, "the cut is over", timeout_s=cut_s + 5)
    world.cut(3, up=True)
    wait_until(
        lambda: (
            len({json.dumps(h.json("status")["digests"]) for h in hosts.values()}) == 1
            and all("alive" in states(n).values() for n in hosts)
        ),
        "equal digests",
        timeout_s=15,
    )
    for host in hosts.values():
        for number in (1, 2, 3):
            expected = sorted(bare(a) for a in attached[number]["addresses"])
            assert sorted(host.json("dns-lookup", f"w{number}")["addresses"]) == expected
            assert host.json("dns-lookup", f"during{number}")["addresses"]
    held = [a for h in hosts.values() for e in h.json("ps")["entries"].values() for a in e]
    assert len(held) == len(set(held))
    wait_until(lambda: world.pings(1, bare(attached[3]["addresses"][0])), "traffic flows again")
    wait_until(lambda: world.pings(3, bare(attached[2]["addresses"][0])), "and the other way")
