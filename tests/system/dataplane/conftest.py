"""Hosts and workloads of dataplane tests: network namespaces, made and removed by each test.

Nothing leaves them, and they go also when a test fails.
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
        # A half-made one may be left: the name exists before the mount is tried.
        run("ip", "netns", "del", name, check=False)
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


def workload_addresses(number: int) -> list[str]:
    return [f"10.32.0.{10 + number}/12", f"fd32::{10 + number}/48"]


def endpoints(number: int) -> list[dict[str, Any]]:
    mac = mac_of(workload_addresses(number)[0])
    found = [
        {"address": text.partition("/")[0], "mac": mac, "peer": f"p{number}"}
        for text in workload_addresses(number)
    ]
    own = f"10.32.0.{number}"
    return [*found, {"address": own, "mac": mac_of(own), "peer": f"p{number}"}]


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
        self.underlay = ""

    def open(self) -> None:
        self.underlay = self.namespace("u")
        run("ip", "-n", self.underlay, "link", "add", "wire", "type", "bridge")
        run("ip", "-n", self.underlay, "link", "set", "wire", "up")
        run("ip", "-n", self.underlay, "addr", "add", "192.168.77.254/24", "dev", "wire")

    def run(self, *command: str, check: bool = True) -> str:
        return run(*command, check=check)

    def addresses(self, number: int) -> list[str]:
        return workload_addresses(number)

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
        # No link-local address: it would appear while a test compares before with after.
        run("ip", "-n", host.name, "link", "set", "eth0", "addrgenmode", "none")
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

    def port(self, number: int) -> dict[str, Any]:
        path = f"/run/netns/{self.prefix}w{number}"
        return {
            "workload": f"w{number}",
            "namespace": path,
            "addresses": workload_addresses(number),
        }

    def desired(
        self, number: int, *, others: list[int], exposure: str = "host", **remote: Any
    ) -> dict[str, Any]:
        return {
            "ports": [self.port(number)],
            "remotes": [
                {"peer": f"p{n}", "underlay": [f"192.168.77.{n}"], "trusted": TRUSTED, **remote}
                for n in others
            ],
            "endpoints": [entry for n in others for entry in endpoints(n)],
            "gateway": {"addresses": [f"10.32.0.{number}/12"], "exposure": exposure},
        }

    def build(self, count: int, *, mtu: int = 1500, **options: Any) -> list[Host]:
        """Start `count` hosts with a workload each, all knowing all."""
        numbers = range(1, count + 1)
        hosts = [self.host(number, mtu=mtu) for number in numbers]
        for number in numbers:
            self.namespace(f"w{number}")
        for host in hosts:
            others = [number for number in numbers if number != host.number]
            report = host.start().ask(
                {"desired": self.desired(host.number, others=others, **options)}
            )
            assert report["errors"] == []
            assert report["gone"] == []
            assert report["paths"] == {f"p{number}": None for number in others}
        return hosts

    def reaches(self, where: str, address: str, *extra: str) -> bool:
        command = ["ip", "netns", "exec", f"{self.prefix}{where}", "ping", "-c1", "-W1", *extra]
        return subprocess.run([*command, address], capture_output=True, check=False).returncode == 0

    def transfer(self, source: int, sink: int, *, family: int) -> None:
        address = workload_addresses(sink)[family].partition("/")[0]
        size = str(TRANSFER_BYTES)
        where = f"{self.prefix}w"
        server = self.stream(f"{where}{sink}", "serve", address, "7000", size, awaited="listening")
        client = self.stream(f"{where}{source}", "send", address, "7000", size, awaited="connected")
        for process in (client, server):
            assert process.wait(60) == 0, process.stdout and process.stdout.read()

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

    def eventually(self, true: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def able() -> None:
    reason = why_not_here()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def world(able: None) -> Iterator[World]:
    made = World()
    try:
        made.open()
        yield made
    finally:
        made.close()
