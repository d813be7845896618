"""The second half, as root: three hosts as network namespaces, and real packets.

Each host has an underlay address behind one switch; a workload on each is another network
namespace. Everything is made under names of this run, and removed at its end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from meshcrdt.daemon.demo.account import Account
from meshcrdt.daemon.demo.process import DaemonProcess, missing_tool
from meshcrdt.daemon.places import is_root

HOSTS = (1, 2, 3)
UNDERLAY = "198.51.100.0/24"
TRANSFER_BYTES = 8 * 1024 * 1024
SETTLE_TIMEOUT_S = 10.0
PORT = 7000

_RECEIVER = f"""
import hashlib, socket, sys
server = socket.create_server((sys.argv[1], {PORT}))
print("listening", flush=True)
stream, _ = server.accept()
digest, size = hashlib.sha256(), 0
while data := stream.recv(65536):
    digest.update(data)
    size += len(data)
print(size, digest.hexdigest(), flush=True)
"""
_SENDER = f"""
import hashlib, os, socket, sys, time
data = os.urandom({TRANSFER_BYTES})
begun = time.monotonic()
with socket.create_connection((sys.argv[1], {PORT}), timeout=10) as stream:
    stream.sendall(data)
print(len(data), hashlib.sha256(data).hexdigest(), f"{{time.monotonic() - begun:.3f}}")
"""
_RESOLVER = """
import sys, dns.message, dns.query
query = dns.message.make_query(sys.argv[2], "A")
response = dns.query.udp(query, sys.argv[1], timeout=2)
print(" ".join(sorted(r.address for s in response.answer for r in s)))
"""


def why_not() -> str | None:
    """Return why this half cannot run here, or None."""
    if not is_root():
        return "it needs root on Linux"
    tool = missing_tool("ip")
    if tool is not None:
        return f"the program {tool!r} is missing (package iproute2)"
    probe = f"mcprobe{os.getpid()}"
    try:
        _ip("netns", "add", probe)
        _ip("-n", probe, "link", "add", "probe0", "type", "bridge")
        _ip("-n", probe, "link", "add", "probe1", "type", "vxlan", "id", "1", "dstport", "1")
    except subprocess.CalledProcessError as error:
        return f"this kernel cannot: {error.stderr.decode(errors='replace').strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return None


class Hosts:
    """Three hosts and a workload on each, as network namespaces."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        """What every namespace's name begins with."""
        self._switch = f"{tag}-sw"
        self._made: list[str] = []

    def host(self, number: int) -> str:
        """Return the namespace of a host."""
        return f"{self.tag}-h{number}"

    def workload(self, number: int) -> str:
        """Return the namespace of the workload on a host."""
        return f"{self.tag}-w{number}"

    def inside(self, namespace: str) -> tuple[str, ...]:
        """Return what runs a command in a namespace."""
        return ("ip", "netns", "exec", namespace)

    def build(self) -> None:
        """Make the namespaces, the switch and the underlay."""
        self._add(self._switch)
        _ip("-n", self._switch, "link", "add", "sw", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "sw", "up")
        for number in HOSTS:
            name = self.host(number)
            self._add(name)
            port = f"p{number}"
            _ip(
                "-n",
                name,
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                port,
                "netns",
                self._switch,
            )
            _ip("-n", self._switch, "link", "set", port, "master", "sw", "up")
            _ip("-n", name, "addr", "add", f"198.51.100.{number}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            self._add(self.workload(number))

    def _add(self, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove every namespace that was made."""
        for name in reversed(self._made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextmanager
def hosts() -> Iterator[Hosts]:
    """Build three hosts, and remove them again however the block ends."""
    made = Hosts(f"mcdemo{os.getpid()}")
    try:
        made.build()
        yield made
    finally:
        made.remove()


async def play(directory: Path, account: Account) -> None:
    """Launch, attach, transfer both ways, resolve across hosts, and clean up."""
    account.chapter("As root: three hosts (network namespaces), a workload on each")
    with hosts() as made:
        async with trio.open_nursery() as nursery:
            daemons = await _launch(made, directory, account, nursery)
            addresses = {}
            for number, daemon in daemons.items():
                target = f"netns:{made.workload(number)}"
                attached = await daemon.json("attach", target, "--name", f"w{number}")
                addresses[number] = attached["addresses"][0].partition("/")[0]
                account.tell(
                    f"{daemon.name}  attached w{number}: {' '.join(attached['addresses'])}, "
                    f"mtu {attached['mtu']}"
                )
            for one, other in ((1, 3), (3, 1), (2, 3)):
                await _transfer(made, account, one, other, addresses)
            await _resolve(made, account, daemons, addresses)
            for daemon in daemons.values():
                await daemon.run("reset")
            left = [made.host(n) for n in HOSTS if _links(made.host(n)) - {"lo", "eth0"}]
            account.check("reset leaves the hosts as they were", f"{left}" if left else None)
            nursery.cancel_scope.cancel()


async def _launch(
    made: Hosts, directory: Path, account: Account, nursery: trio.Nursery
) -> dict[int, DaemonProcess]:
    daemons: dict[int, DaemonProcess] = {}
    token: str | None = None
    for number in HOSTS:
        name = f"h{number}"
        daemon = DaemonProcess(name, directory, made.inside(made.host(number)))
        peers = [] if number == HOSTS[0] else [f"198.51.100.{HOSTS[0]}"]
        await daemon.launch(nursery, "--trusted-subnets", UNDERLAY, *peers, token=token)
        if token is None:
            token = (await daemon.run("token", "create")).strip()
        daemons[number] = daemon
        account.tell(f"{name} is ready at 198.51.100.{number}")
    return daemons


async def _transfer(
    made: Hosts, account: Account, source: int, sink: int, addresses: dict[int, str]
) -> None:
    """Send bytes from one workload to another by TCP and compare hashes."""
    what = f"TCP w{source} -> w{sink}, {TRANSFER_BYTES >> 20} MiB arrive whole"
    receiver = [*made.inside(made.workload(sink)), sys.executable, "-c", _RECEIVER, addresses[sink]]
    sender = [*made.inside(made.workload(source)), sys.executable, "-c", _SENDER, addresses[sink]]
    try:
        with trio.fail_after(SETTLE_TIMEOUT_S):
            process = await trio.lowlevel.open_process(receiver, stdout=subprocess.PIPE)
            assert process.stdout is not None
            async with process.stdout:
                await process.stdout.receive_some(64)
                sent = await trio.run_process(sender, capture_stdout=True, capture_stderr=True)
                got = b""
                while chunk := await process.stdout.receive_some(4_096):
                    got += chunk
            await process.wait()
    except (trio.TooSlowError, subprocess.CalledProcessError) as error:
        process.kill()
        account.check(what, type(error).__name__)
        return
    size, digest, seconds = sent.stdout.decode().split()
    same = got.decode().split() == [size, digest]
    rate = TRANSFER_BYTES * 8 / float(seconds) / 1e9
    account.check(f"{what} ({rate:.1f} Gb/s)", None if same else "the bytes differ")


async def _resolve(
    made: Hosts, account: Account, daemons: dict[int, DaemonProcess], addresses: dict[int, str]
) -> None:
    """Ask the name server of host 1, from its workload, for the workload on host 3."""
    status = await daemons[1].json("status")
    server = str(status["dns"]["listen"]).rpartition(":")[0]
    name = f"w3.{status['dns']['domain']}"
    command = [*made.inside(made.workload(1)), sys.executable, "-c", _RESOLVER, server, name]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    answer = done.stdout.decode().strip()
    problem = None if answer == addresses[3] else (answer or done.stderr.decode()[-200:])
    account.check(f"w1 asks {server} for {name}: {addresses[3]}", problem)


def _links(namespace: str) -> set[str]:
    done = subprocess.run(
        ["ip", "-n", namespace, "-br", "link"], capture_output=True, text=True, check=True
    )
    return {line.split()[0].partition("@")[0] for line in done.stdout.splitlines()}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
