"""CPU and memory of processes, from /proc: the same reading for every system."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_s(pids: Iterable[int]) -> float:
    """Return the seconds that processes and their threads have computed, user and system."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


def rss_bytes(pids: Iterable[int]) -> int:
    """Return the memory that processes hold, shared pages counted in each."""
    return sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) * _PAGE_BYTES for p in pids)


@cache
def commit() -> str:
    """Return the commit that is measured, with "+" when the sources differ; "" outside of git."""
    git = ["git", "-C", str(Path(__file__).parent), "--no-optional-locks"]
    asked = [["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain", "--", ":/src"]]
    try:
        head, changed = (
            subprocess.run([*git, *each], capture_output=True, text=True, check=True).stdout.strip()
            for each in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def machine() -> str:
    """Return one line about this machine."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES >> 30
    cores = os.cpu_count()
    return f"{model}, {cores} cores, {memory} GiB, Linux {platform.release()}, load {load}"


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share lies, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))
