"""Hosts of acceptance tests: network namespaces around a router, and a world beyond it.

Each host has a subnet of its own, so that the underlay routes and does not switch. What is
made is removed, also when a test fails; nothing leaves the namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from meshcrdt.daemon.demo.namespaces import why_not

HERE = Path(__file__).parent
EXCHANGE = HERE.parent / "dataplane" / "dataplane_stream.py"
TALK = HERE / "acceptance_talk.py"
TRUSTED = "198.51.100.0/24"
OUTSIDE = "203.0.113.2"
TRANSFER_BYTES = 4 * 1024 * 1024
FIGURES: list[str] = []
"""What was measured, for the summary at the end."""

_DEATH_SIGNAL = 1
_numbers = itertools.count(1)


def figure(text: str) -> None:
    FIGURES.append(text)


def run(*command: str, check: bool = True, stdin: str = "", timeout_s: float = 30.0) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def why_no_hosts() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables"), ("ping", "iputils-ping")):
        if shutil.which(tool) is None:
            return f"needs {tool} (package {package})"
    return why_not()


def die_with_parent() -> None:
    """Let the kernel end a child when this process is killed and cleans nothing up."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def sweep() -> None:
    """Remove the namespaces of runs that were killed before they could."""
    for name in run("ip", "netns", "list").split():
        run_of = re.fullmatch(r"mca(\d+)x\d+[\w-]+", name)
        if run_of is not None and not Path(f"/proc/{run_of[1]}").exists():
            run("ip", "netns", "del", name, check=False)


def host_address(number: int) -> str:
    return f"198.51.100.{16 * number + 1}"


class Site:
    """A router, hosts and workloads."""

    def __init__(self) -> None:
        self.prefix = f"mca{os.getpid()}x{next(_numbers)}"
        self.made: list[str] = []
        self.processes: list[subprocess.Popen[str]] = []
        self.router = self.prefix + "r"

    def open(self) -> None:
        self.namespace("r")
        run("ip", "netns", "exec", self.router, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.join("o", "203.0.113.1/24", f"{OUTSIDE}/24")

    def namespace(self, short: str) -> str:
        name = self.prefix + short
        run("ip", "netns", "add", name)
        self.made.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def join(self, short: str, gateway: str, address: str) -> str:
        """Make a namespace that the router connects."""
        name, port = self.namespace(short), f"to{short}"
        peer = ["peer", "name", port, "netns", self.router]
        run("ip", "-n", name, "link", "add", "eth0", "type", "veth", *peer)
        # No link-local address: it would appear while a test compares before with after.
        run("ip", "-n", name, "link", "set", "eth0", "addrgenmode", "none")
        run("ip", "-n", self.router, "addr", "add", gateway, "dev", port)
        run("ip", "-n", self.router, "link", "set", port, "up")
        run("ip", "-n", name, "addr", "add", address, "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "route", "add", "default", "via", gateway.partition("/")[0])
        return name

    def host(self, number: int) -> str:
        gateway = f"198.51.100.{16 * number + 14}/28"
        return self.join(f"h{number}", gateway, f"{host_address(number)}/28")

    def cut(self, name: str) -> None:
        """Make the underlay of a host a black hole, both ways."""
        hooks = "".join(
            f"chain {hook} {{ type filter hook {hook} priority -300; {word} eth0 drop; }}\n"
            for hook, word in (("input", "iifname"), ("output", "oifname"))
        )
        self.nft(name, f"table inet cut {{\n{hooks}}}\n")

    def heal(self, name: str) -> None:
        self.nft(name, "delete table inet cut\n")

    def unplug(self, number: int) -> None:
        """Pull the cable of a host: its link loses the carrier."""
        run("ip", "-n", self.router, "link", "set", f"toh{number}", "down")

    def plug(self, number: int) -> None:
        run("ip", "-n", self.router, "link", "set", f"toh{number}", "up")

    def no_path(self, one: int, other: int) -> None:
        """Let the router drop what two hosts send to each other."""
        pairs = ((one, other), (other, one))
        rules = "".join(
            f"ip saddr {host_address(a)} ip daddr {host_address(b)} drop\n" for a, b in pairs
        )
        head = "chain f {\ntype filter hook forward priority 0;\n"
        self.nft(self.router, "table inet line {\n" + head + rules + "}\n}\n")

    def nft(self, name: str, script: str) -> None:
        run("ip", "netns", "exec", name, "nft", "-f", "-", stdin=script)

    def inside(self, name: str, *command: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", name, *command, check=check)

    def state(self, name: str) -> str:
        """All that a daemon could leave behind on a host."""
        commands = (
            ("ip", "-d", "link"),
            ("ip", "addr"),
            ("ip", "route", "show", "table", "all"),
            ("ip", "-6", "route", "show", "table", "all"),
            ("ip", "neigh", "show", "nud", "permanent"),
            ("nft", "list", "ruleset"),
            ("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"),
        )
        found = "\n".join(self.inside(name, *command) for command in commands)
        return re.sub(r"_timer +[0-9.]+", "_timer", found)

    def start(self, name: str, script: Path, *arguments: str, awaited: str) -> Any:
        """Start a script in a namespace and wait for its first line."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no other thread runs
        )
        self.processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line == awaited, f"{script.name} in {name}: {line!r}"
        return process

    def exchange(self, source: str, sink: str, address: str) -> None:
        """TCP both ways at once at full size, every byte verified."""
        size = str(TRANSFER_BYTES)
        server = self.start(sink, EXCHANGE, "serve", address, "7000", size, awaited="listening")
        client = self.start(source, EXCHANGE, "send", address, "7000", size, awaited="connected")
        for process in (client, server):
            assert process.wait(60) == 0, process.stdout.read()

    def talk(self, source: str, sink: str, address: str) -> Talk:
        """Start a numbered conversation by TCP and UDP that goes on until it is ended."""
        self.start(sink, TALK, "echo", address, "7001", awaited="listening")
        return Talk(self.start(source, TALK, "talk", address, "7001", awaited="talking"))

    def pings(self, name: str, address: str, *extra: str) -> bool:
        command = ["ip", "netns", "exec", name, "ping", "-c1", "-W1", *extra, address]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def dig(self, name: str, server: str, *question: str) -> list[str]:
        command = ["dig", "+short", "+time=1", "+tries=1", f"@{server}", *question]
        return sorted(self.inside(name, *command, check=False).split())

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        for name in reversed(self.made):
            run("ip", "netns", "del", name, check=False)


class Talk:
    """A numbered conversation under way."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def end(self) -> dict[str, Any]:
        """Stop it; returns what was sent, lost, and the longest silence."""
        self._process.stdin.write("end\n")
        self._process.stdin.flush()
        assert self._process.wait(20) == 0
        heard: dict[str, Any] = json.loads(self._process.stdout.read())
        return heard
