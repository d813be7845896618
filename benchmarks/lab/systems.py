"""Which systems there are, which interpreter runs each, and why one cannot run here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]
VENV = Path(os.environ.get("MESHCRDT_BENCH_VENV", ROOT / ".venv-peers"))
"""Where the packages of other systems are, so that ours never meets them."""
REQUIREMENTS = ROOT / "benchmarks" / "requirements-peers.txt"
SETUP = "python -m benchmarks.setup"


@frozen
class System:
    """One system that stands in the tables."""

    name: str
    driver: str
    module: str = ""
    """The package of its virtual environment that must be there."""
    command: str = ""
    """The program of an operating system package that must be there."""
    nodes_max: int = 1_000
    """More of them do not come up on this kind of machine."""

    @property
    def python(self) -> str:
        return str(VENV / "bin" / "python") if self.module else sys.executable

    def missing(self, nodes: int = 0) -> str | None:
        """Return why it cannot run here with so many peers, or None."""
        if nodes > self.nodes_max:
            return f"more than {self.nodes_max} peers do not come up on two cores"
        if self.command and shutil.which(self.command) is None:
            return f"{self.command} is not installed ({SETUP} says which package has it)"
        if self.module and not _has(self.module):
            return f"the package {self.module} is not installed ({SETUP})"
        return None


@cache
def _has(module: str) -> bool:
    python = VENV / "bin" / "python"
    if not python.exists():
        return False
    done = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


SYSTEMS = {
    system.name: system
    for system in (
        System("meshcrdt", "benchmarks.peers.meshcrdt:Driver"),
        System("kinship", "benchmarks.peers.kinship:Driver", module="kinship"),
        System("serf", "benchmarks.peers.serf:Driver", command="serf", nodes_max=100),
        System("gossipsub", "benchmarks.peers.gossipsub:Driver", module="libp2p", nodes_max=20),
        System("pysyncobj", "benchmarks.peers.pysyncobj:Driver", module="pysyncobj"),
        System("etcd", "benchmarks.peers.etcd:Driver", module="grpc", command="etcd"),
    )
}
ENGINES = {
    system.name: system
    for system in (
        System("meshcrdt", "benchmarks.peers.meshcrdt_node:Driver"),
        System("values", "benchmarks.peers.meshcrdt_values:Driver"),
        System("pycrdt", "benchmarks.peers.pycrdt:Driver", module="pycrdt"),
        System("loro", "benchmarks.peers.loro:Driver", module="loro"),
    )
}
