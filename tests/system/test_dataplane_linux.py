"""The Linux dataplane on real devices: hosts and workloads are network namespaces.

Everything happens inside namespaces that a test makes and removes, also when it fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshcrdt.dataplane.mac import mac_of
from meshcrdt.dataplane.namespaces import resolve_target

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.timeout(120)]

HERE = Path(__file__).parent
UNIVERSE = "10.32.0.0/12"
TRUSTED = ["192.168.77.0/24", "fd77::/64"]
TRANSFER_BYTES = 8 * 1024 * 1024
PATIENCE_S = 8.0


def run(*command: str, check: bool = True, timeout: float = 30.0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def why_not_here() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("ip", "nft", "ping", "bridge"):
        if shutil.which(tool) is None:
            return f"needs {tool}"
    name = f"mcs{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
    except AssertionError as error:
        return f"no network namespaces: {error}"
    try:
        for kind in (["bridge"], ["vxlan", "id", "1", "dstport", "1"], ["veth"]):
            run("ip", "-n", name, "link", "add", "probe", "type", *kind)
            run("ip", "-n", name, "link", "del", "probe")
    except AssertionError as error:
        return f"the kernel lacks a feature: {error}"
    finally:
        run("ip", "netns", "del", name)
    return None


class Host:
    """A host: its namespace, and the dataplane process in it."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.name = world.namespace(f"h{number}")
        self.process: subprocess.Popen[str] | None = None
        self.watched: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {
            "universes": [UNIVERSE, "fd32::/48"],
            "vni": 42,
            "trusted": TRUSTED,
            "underlay": [f"192.168.77.{number}"],
        }

    def start(self, **config: Any) -> Host:
        command = ["ip", "netns", "exec", self.name, sys.executable, "-W", "error"]
        self.process = subprocess.Popen(
            [*command, str(HERE / "dataplane_host.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.ask({"config": {**self.config, **config}}) == {"ready": True}
        return self

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            assert line, f"the dataplane of {self.name} ended"
            answer: dict[str, Any] = json.loads(line)
            if "watched" not in answer:
                return answer
            self.watched.append(answer["watched"])

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            self.process = None

    def run(self, *command: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.name, *command, check=check)

    def state(self) -> str:
        """All that a dataplane could leave behind, without counters and timers."""
        links = json.loads(self.run("ip", "-j", "link"))
        return "\n".join(
            [
                json.dumps(sorted(link["ifname"] for link in links)),
                self.run("ip", "-o", "route", "show", "table", "all"),
                self.run("ip", "neigh", "show", "nud", "permanent"),
                self.run("bridge", "fdb"),
                self.run("nft", "list", "ruleset"),
                self.run("cat", "/proc/sys/net/ipv4/ip_forward"),
            ]
        )


class World:
    """Namespaces joined by an underlay; gone at the end, whatever happened."""

    def __init__(self) -> None:
        self.prefix = f"mct{os.getpid()}"
        self.made: list[str] = []
        self.hosts: list[Host] = []
        self.streams: list[subprocess.Popen[Any]] = []
        self.underlay = self.namespace("u")
        run("ip", "-n", self.underlay, "link", "add", "wire", "type", "bridge")
        run("ip", "-n", self.underlay, "link", "set", "wire", "up")
        run("ip", "-n", self.underlay, "addr", "add", "192.168.77.254/24", "dev", "wire")

    def namespace(self, short: str) -> str:
        name = f"{self.prefix}{short}"
        run("ip", "netns", "add", name)
        self.made.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def host(self, number: int, *, mtu: int = 1500) -> Host:
        host = Host(self, number)
        peer = ["peer", "name", f"to{number}", "netns", self.underlay]
        run("ip", "-n", host.name, "link", "add", "eth0", "type", "veth", *peer)
        run("ip", "-n", self.underlay, "link", "set", f"to{number}", "master", "wire", "up")
        run("ip", "-n", host.name, "addr", "add", f"192.168.77.{number}/24", "dev", "eth0")
        address = f"fd77::{number}/64"
        run("ip", "-n", host.name, "addr", "add", address, "dev", "eth0", "nodad")
        run("ip", "-n", host.name, "link", "set", "eth0", "mtu", str(mtu), "up")
        self.hosts.append(host)
        return host

    def stream(self, where: str, *arguments: str, awaited: str) -> subprocess.Popen[str]:
        script = str(HERE / "dataplane_stream.py")
        process = subprocess.Popen(
            ["ip", "netns", "exec", where, sys.executable, script, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.streams.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == awaited
        return process

    def close(self) -> None:
        for host in self.hosts:
            host.kill()
        for process in self.streams:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for name in reversed(self.made):
            run("ip", "netns", "del", name, check=False)


@pytest.fixture(scope="module")
def able() -> None:
    reason = why_not_here()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def world(able: None) -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


def workload_addresses(number: int) -> list[str]:
    return [f"10.32.0.{10 + number}/12", f"fd32::{10 + number}/48"]


def port(world: World, number: int) -> dict[str, Any]:
    path = f"/run/netns/{world.prefix}w{number}"
    return {"workload": f"w{number}", "namespace": path, "addresses": workload_addresses(number)}


def endpoints(number: int) -> list[dict[str, Any]]:
    mac = mac_of(workload_addresses(number)[0])
    found = [
        {"address": text.partition("/")[0], "mac": mac, "peer": f"p{number}"}
        for text in workload_addresses(number)
    ]
    own = f"10.32.0.{number}"
    return [*found, {"address": own, "mac": mac_of(own), "peer": f"p{number}"}]


def desired(
    world: World, number: int, *, others: list[int], exposure: str = "host", **remote: Any
) -> dict[str, Any]:
    return {
        "ports": [port(world, number)],
        "remotes": [
            {"peer": f"p{n}", "underlay": [f"192.168.77.{n}"], "trusted": TRUSTED, **remote}
            for n in others
        ],
        "endpoints": [entry for n in others for entry in endpoints(n)],
        "gateway": {"addresses": [f"10.32.0.{number}/12"], "exposure": exposure},
    }


def build(world: World, count: int, **options: Any) -> list[Host]:
    """Start `count` hosts with a workload each, all knowing all."""
    numbers = range(1, count + 1)
    hosts = [world.host(number) for number in numbers]
    for number in numbers:
        world.namespace(f"w{number}")
    for host in hosts:
        others = [number for number in numbers if number != host.number]
        report = host.start().ask(
            {"desired": desired(world, host.number, others=others, **options)}
        )
        assert report["errors"] == []
        assert report["gone"] == []
        assert report["paths"] == {f"p{number}": None for number in others}
    return hosts


def reaches(world: World, where: str, address: str, *extra: str) -> bool:
    command = ["ip", "netns", "exec", f"{world.prefix}{where}", "ping", "-c1", "-W1", *extra]
    return subprocess.run([*command, address], capture_output=True, check=False).returncode == 0


def eventually(true: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.05)


def transfer(world: World, source: int, sink: int, *, family: int) -> None:
    address = workload_addresses(sink)[family].partition("/")[0]
    size = str(TRANSFER_BYTES)
    where = f"{world.prefix}w"
    server = world.stream(f"{where}{sink}", "serve", address, "7000", size, awaited="listening")
    client = world.stream(f"{where}{source}", "send", address, "7000", size, awaited="connected")
    for process in (client, server):
        assert process.wait(60) == 0, process.stdout and process.stdout.read()


def test_three_hosts_carry_full_size_traffic_both_ways(world: World) -> None:
    build(world, 3)
    for source in (1, 2, 3):
        for sink in (1, 2, 3):
            for address in workload_addresses(sink):
                assert reaches(world, f"w{source}", address.partition("/")[0])
        assert reaches(world, f"w{source}", f"10.32.0.{source}"), "workload to its host"
        assert reaches(world, f"h{source}", f"10.32.0.{10 + source}"), "host to its workload"
        assert reaches(world, f"h{source}", f"10.32.0.{11 + source % 3}"), "host to a far one"
    # The full MTU passes in one piece, one byte more does not.
    assert reaches(world, "w1", "10.32.0.12", "-M", "do", "-s", str(1450 - 28))
    assert not reaches(world, "w1", "10.32.0.12", "-M", "do", "-s", str(1450 - 27))
    transfer(world, 1, 2, family=0)
    transfer(world, 3, 1, family=1)


def test_known_addresses_cost_no_flood_and_unknown_ones_no_frame(world: World) -> None:
    host, _ = build(world, 2)
    device = next(
        link["ifname"]
        for link in json.loads(host.run("ip", "-j", "link"))
        if link["ifname"].startswith("meshcrdt-vx")
    )

    def sent() -> int:
        stats = json.loads(host.run("ip", "-j", "-s", "link", "show", "dev", device))[0]["stats64"]
        return int(stats["tx"]["packets"])

    before = sent()
    assert reaches(world, "w1", "10.32.0.12")
    assert sent() - before == 1, "the echo request alone: ARP was answered on this host"
    before = sent()
    assert not reaches(world, "w1", "10.32.0.99")
    assert not reaches(world, "w1", "fd32::99")
    assert sent() == before, "nobody is asked about an unknown address"
    assert reaches(world, "w1", workload_addresses(2)[1].partition("/")[0])
    assert sent() - before == 1, "neighbour discovery was answered on this host"


def test_nothing_but_the_wanted_frames_is_on_the_wire(world: World) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("needs tcpdump")
    host, _ = build(world, 2)
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
    assert not reaches(world, "w1", "10.32.0.99")
    assert not reaches(world, "w1", "fd32::99")
    assert not reaches(world, "h1", "10.32.0.99")
    assert reaches(world, "w1", "10.32.0.12")
    sniffer.terminate()
    out, _errors = sniffer.communicate(timeout=10)
    assert out.count("6784") == 2, f"one request and its answer, not: {out}"


def test_a_process_is_a_target_and_its_end_is_noticed(world: World) -> None:
    host = world.host(1).start()
    holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
    world.streams.append(holder)
    own = os.stat("/proc/self/ns/net").st_ino
    path = f"/proc/{holder.pid}/ns/net"
    eventually(lambda: os.stat(path).st_ino != own, "the process has its own namespace")
    target = resolve_target(f"pid:{holder.pid}")
    want = desired(world, 1, others=[])
    want["ports"][0] |= {"namespace": target.path, "identity": target.identity}
    report = host.ask({"desired": want})
    assert (report["errors"], report["gone"]) == ([], [])
    assert reaches(world, "h1", "10.32.0.11")
    holder.kill()
    holder.wait()
    eventually(lambda: host.ask({"desired": want})["gone"] == ["w1"], "w1 is gone")


def test_what_somebody_removes_comes_back(world: World) -> None:
    host, _ = build(world, 2, exposure="outside")
    want = desired(world, 1, others=[2], exposure="outside")
    names = [link["ifname"] for link in json.loads(host.run("ip", "-j", "link"))]
    vxlan = next(name for name in names if name.startswith("meshcrdt-vx"))
    outside = next(
        name for name in names if name.startswith("mc") and "-" not in name and name != "meshcrdt"
    )
    inside = ["ip", "-n", f"{world.prefix}w1"]
    mac = mac_of("10.32.0.12")
    damages = [
        ["ip", "-n", host.name, "link", "del", "meshcrdt"],
        ["ip", "-n", host.name, "link", "del", vxlan],
        ["ip", "-n", host.name, "link", "del", outside],
        ["ip", "-n", host.name, "link", "set", "meshcrdt", "down"],
        ["ip", "-n", host.name, "link", "set", vxlan, "nomaster"],
        ["ip", "-n", host.name, "addr", "flush", "dev", "meshcrdt"],
        ["ip", "-n", host.name, "neigh", "flush", "dev", "meshcrdt", "nud", "permanent"],
        ["bridge", "-n", host.name, "fdb", "del", mac, "dev", vxlan, "self"],
        ["bridge", "-n", host.name, "fdb", "del", mac, "dev", vxlan, "master"],
        ["bridge", "-n", host.name, "link", "set", "dev", vxlan, "neigh_suppress", "off"],
        ["ip", "netns", "exec", host.name, "nft", "flush", "ruleset"],
        [*inside, "link", "del", "ethmc0"],
        [*inside, "link", "set", "ethmc0", "down"],
        [*inside, "addr", "flush", "dev", "ethmc0", "scope", "global"],
        [*inside, "route", "del", "default"],
    ]
    for damage in damages:
        run(*damage)
        eventually(lambda: host.ask({"plan": want})["plan"] in ([], ["SetRules"]), str(damage))
        assert reaches(world, "w1", "10.32.0.12"), damage
    assert host.run("nft", "list", "ruleset").count("masquerade") == 4


def test_reset_leaves_the_host_as_it_was(world: World) -> None:
    host = world.host(1)
    world.namespace("w1")
    before = host.state()
    host.start()
    host.ask({"desired": desired(world, 1, others=[2], exposure="outside")})
    assert host.state() != before
    # Also when somebody removed the note of what to put back.
    host.run("nft", "flush", "ruleset")
    assert host.ask({"reset": True}) == {"reset": True}
    assert host.state() == before
    assert "ethmc0" not in run("ip", "-n", f"{world.prefix}w1", "link")


def test_hidden_again_puts_forwarding_back(world: World) -> None:
    host = world.host(1)
    world.namespace("w1")
    host.start()
    host.ask({"desired": desired(world, 1, others=[], exposure="outside")})
    assert host.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    host.kill()
    host.start()
    report = host.ask({"desired": desired(world, 1, others=[], exposure="host")})
    assert report["errors"] == []
    assert host.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "0"
    assert "masquerade" not in host.run("nft", "list", "ruleset")
    assert run("ip", "-n", f"{world.prefix}w1", "route", "show", "default") == ""


def test_exposed_workloads_reach_the_outside(world: World) -> None:
    build(world, 1, exposure="outside")
    # 192.168.77.254 is no overlay host and knows no route back: masquerading is what answers.
    assert reaches(world, "w1", "192.168.77.254")


def test_a_default_route_of_the_workloads_own_stays(world: World) -> None:
    host = world.host(1).start()
    name = world.namespace("w1")
    run("ip", "-n", name, "link", "add", "mine", "type", "bridge")
    run("ip", "-n", name, "addr", "add", "172.20.0.1/24", "dev", "mine")
    run("ip", "-n", name, "link", "set", "mine", "up")
    run("ip", "-n", name, "route", "add", "default", "via", "172.20.0.254")
    before = run("ip", "-n", name, "route", "show", "default")
    want = desired(world, 1, others=[], exposure="outside")
    assert host.ask({"desired": want})["errors"] == []
    assert run("ip", "-n", name, "route", "show", "default") == before
    assert reaches(world, "w1", "10.32.0.1")


def test_a_killed_dataplane_keeps_traffic_and_a_new_one_touches_nothing(world: World) -> None:
    host, _ = build(world, 2)
    where = f"{world.prefix}w"
    size = str(4 * 1024 * 1024)
    server = world.stream(f"{where}2", "serve", "10.32.0.12", "7000", size, awaited="listening")
    # 64 pauses of 30 ms: the transfer lasts over the kill and the restart.
    client = world.stream(
        f"{where}1", "send", "10.32.0.12", "7000", size, "0.03", awaited="connected"
    )
    host.kill()
    host.start()
    want = desired(world, 1, others=[2])
    assert host.ask({"plan": want})["plan"] == ["SetRules"], "rules alone are set anew"
    assert host.ask({"desired": want})["errors"] == []
    assert client.wait(30) == 0
    assert server.wait(30) == 0


def test_no_path_without_trust_on_both_ends(world: World) -> None:
    hosts = [world.host(1), world.host(2)]
    world.namespace("w1")
    world.namespace("w2")
    report = (
        hosts[0].start().ask({"desired": desired(world, 1, others=[2], trusted=["10.0.0.0/8"])})
    )
    assert report["paths"]["p2"] == (
        "underlay address 192.168.77.1 of this host is outside the subnets that p2 trusts "
        "(10.0.0.0/8)"
    )
    hosts[1].start().ask({"desired": desired(world, 2, others=[1])})
    assert not reaches(world, "w2", "10.32.0.11")
    # Not even where the other end would send: frames from it are dropped here.
    assert not reaches(world, "w1", "10.32.0.12")


def test_a_vanished_namespace_is_reported_gone(world: World) -> None:
    host, _ = build(world, 2)
    run("ip", "netns", "del", f"{world.prefix}w1")
    want = desired(world, 1, others=[2])
    eventually(
        lambda: (
            host.ask({"plan": want})["plan"] is not None
            and any(report["gone"] == ["w1"] for report in host.watched)
        ),
        "the watch says that w1 is gone",
    )
    assert host.ask({"desired": want})["gone"] == ["w1"]
    report = host.ask({"desired": {**want, "ports": []}})
    assert (report["gone"], report["errors"]) == ([], [])


def test_two_dataplanes_on_one_host_do_not_disturb_each_other(world: World) -> None:
    host, _ = build(world, 2)
    other = Host.__new__(Host)
    other.__dict__.update(vars(host), process=None, watched=[])
    world.hosts.append(other)
    world.namespace("w3")
    other.start(bridge="second", vni=43, universes=["10.64.0.0/16"])
    third = {
        "workload": "w1",
        "namespace": f"/run/netns/{world.prefix}w3",
        "addresses": ["10.64.0.1/16"],
    }
    want = {"ports": [third], "gateway": {"addresses": ["10.64.0.254/16"]}}
    assert other.ask({"desired": want})["errors"] == []
    assert reaches(world, "w3", "10.64.0.254")
    assert reaches(world, "w1", "10.32.0.12")
    assert other.ask({"reset": True}) == {"reset": True}
    assert reaches(world, "w1", "10.32.0.12")
    assert host.ask({"plan": desired(world, 1, others=[2])})["plan"] == ["SetRules"]


def test_ipv6_underlay_takes_twenty_bytes_more(world: World) -> None:
    hosts = [world.host(1), world.host(2)]
    for host in hosts:
        world.namespace(f"w{host.number}")
        other = 3 - host.number
        host.start(underlay=[f"fd77::{host.number}"])
        want = desired(world, host.number, others=[other], underlay=[f"fd77::{other}"])
        report = host.ask({"desired": want})
        assert report == {"paths": {f"p{other}": None}, "gone": [], "errors": [], "mtu": 1430}
    assert reaches(world, "w1", "10.32.0.12", "-M", "do", "-s", str(1430 - 28))
    transfer(world, 1, 2, family=0)


def test_check_names_the_overlapping_route(world: World) -> None:
    host = world.host(1).start()
    assert host.ask({"check": [UNIVERSE]}) == {"reason": None}
    assert host.ask({"check": ["192.168.0.0/16"]}) == {
        "reason": "range 192.168.0.0/16 overlaps the host's route 192.168.77.0/24 on eth0"
    }


def test_a_taken_interface_name_is_named(world: World) -> None:
    host = world.host(1).start()
    name = world.namespace("w1")
    run("ip", "-n", name, "link", "add", "ethmc0", "type", "bridge")
    report = host.ask({"desired": desired(world, 1, others=[])})
    assert report["errors"][0] == f"namespace /run/netns/{name} already has an interface ethmc0"
