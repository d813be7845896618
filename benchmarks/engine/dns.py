"""dns: answers a second of one name server, asked by dnsperf (Debian package `dnsperf`).

    python -m benchmarks.engine.dns

The server is that of the daemon, in a process of its own; 8 sockets, 100 questions under way.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

import meshcrdt
from benchmarks.engine.single import main
from benchmarks.lab.cluster import WorkerFailed
from benchmarks.lab.ports import FIRST_CONTROL_PORT
from benchmarks.lab.row import Figures
from benchmarks.lab.systems import ROOT

PORT = FIRST_CONTROL_PORT + 900
SIZES = (100, 10_000)
SECONDS = 5
WAIT_S = 60
DOMAIN = "mesh.internal"


async def serve(count: int) -> None:
    """Open a mesh with names, and serve them until killed."""
    from meshcrdt.daemon.dns.server import open_dns
    from meshcrdt.daemon.dns.source import MeshNames
    from meshcrdt.daemon.dns.zone import Zone

    async with meshcrdt.open_mesh(name="n1", secret=bytes(32), domain=DOMAIN) as mesh:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(
                    mesh.names.set, _name(number), [f"10.32.{number >> 8}.{number & 255}"]
                )
        server = await open_dns("127.0.0.1", PORT)
        print("ready", flush=True)
        await server.run(Zone(DOMAIN, MeshNames(mesh)))


def _name(number: int) -> str:
    return f"n{number:05d}"


def measure(seconds: int = SECONDS) -> Figures:
    """Ask for random names at each size."""
    found = Figures("dns", "meshcrdt", 0, version=f"meshcrdt {meshcrdt.__version__}")
    if shutil.which("dnsperf") is None:
        raise WorkerFailed("dnsperf is not installed (python -m benchmarks.setup)")
    for count in SIZES:
        found.values[f"answers_per_s_{count}"] = _asked(count, seconds)
    return found


def _asked(count: int, seconds: int) -> float:
    command = [sys.executable, "-m", "benchmarks.engine.dns", "serve", str(count)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        if server.stdout.readline() != "ready\n":
            raise WorkerFailed("the name server did not start")
        with tempfile.TemporaryDirectory() as place:
            questions = Path(place, "questions")
            questions.write_text(
                "".join(f"{_name(n * 7_919 % count)}.{DOMAIN} A\n" for n in range(count))
            )
            dnsperf = ["dnsperf", "-s", "127.0.0.1", "-p", str(PORT), "-d", str(questions)]
            dnsperf += ["-c", "8", "-q", "100", "-l", str(seconds)]
            out = subprocess.run(dnsperf, capture_output=True, text=True, check=True).stdout
    finally:
        server.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(WAIT_S)
    answered = re.search(r"Queries per second:\s+([\d.]+)", out)
    good = re.search(r"NOERROR \d+ \(([\d.]+)%\)", out)
    if answered is None or good is None or float(good[1]) < 100:
        raise WorkerFailed(f"dnsperf did not get an address for every question: {out[-400:]}")
    time.sleep(0.2)
    return float(answered[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        trio.run(serve, int(sys.argv[2]))
    else:
        main("dns", {"meshcrdt": partial(measure)})
