"""Install the other systems of the tables.

    python -m benchmarks.setup

Python packages go into a virtual environment of their own. Programs are named, with the
command that installs them, and installed where `--system` says so (root, Debian, Ubuntu).
A row whose system is missing says so and is not measured.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv

from benchmarks.lab.systems import REQUIREMENTS, VENV

PROGRAMS = {
    "serf": "serf",
    "etcd": "etcd-server",
    "dnsperf": "dnsperf",
    "nft": "nftables",
    "ip": "iproute2",
}
"""The Debian package of each program. That of etcd starts a server, which is not needed here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", action="store_true", help="install programs by apt-get too")
    given = parser.parse_args()
    if not (VENV / "bin" / "python").exists():
        venv.create(VENV, with_pip=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)]
    done = subprocess.run(pip, check=False)
    if done.returncode:
        print("some packages could not be installed: their rows will say so", file=sys.stderr)
    lacking = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if not lacking:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *lacking]
    if given.system:
        subprocess.run(command, check=True)
    else:
        print(f"not installed: {' '.join(lacking)}. As root: {' '.join(command)}")


if __name__ == "__main__":
    main()
