"""Figures of systems that do not run here, QUOTED from an earlier run on one 2-core machine.

Weave's mesh (weaveworks/mesh 58dbcc3), its address allocator and name server, and memberlist
0.2.2 need a Go toolchain with their sources. They were measured once with the methods of this
bench: N peers in one process on loopback addresses of a private namespace, bytes of all
packets there, CPU of the process, medians of three runs where not said otherwise. Bytes and
CPU-seconds carry over between machines, wall times do not: a ratio against a quoted time says
as much about the machine as about the code, and the report marks it.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Quoted:
    """One figure; `is_wall` when it is a time on a clock, which depends on the machine."""

    system: str
    row: str
    metric: str
    nodes: int
    value: float
    is_wall: bool = False


FIGURES = (
    Quoted("weave", "idle", "bytes_per_s_peer", 10, 749),
    Quoted("weave", "idle", "bytes_per_s_peer", 30, 8_395),
    Quoted("weave", "idle", "bytes_per_s_peer", 50, 28_010),
    Quoted("weave", "idle", "cpu_ms_per_s_peer", 50, 1.77),
    Quoted("memberlist", "idle", "bytes_per_s_peer", 10, 145),
    Quoted("memberlist", "idle", "bytes_per_s_peer", 30, 153),
    Quoted("memberlist", "idle", "bytes_per_s_peer", 100, 143),
    Quoted("memberlist", "idle", "bytes_per_s_peer", 200, 146),
    Quoted("weave", "join", "converged_s", 50, 22.5, is_wall=True),
    Quoted("weave", "join", "bytes_converged", 50, 309e6),
    Quoted("weave", "join", "cpu_s_converged", 50, 27.4),
    # The 4-link ring is Weave's best case: discovery off, each peer linked to four others.
    Quoted("weave ring", "join", "converged_s", 200, 33.3, is_wall=True),
    Quoted("weave ring", "join", "bytes_converged", 200, 76e6),
    Quoted("weave", "update", "p50_ms", 10, 1.06, is_wall=True),
    Quoted("weave", "update", "p50_ms", 50, 5.2, is_wall=True),
    Quoted("weave", "update", "p99_ms", 50, 22, is_wall=True),
    Quoted("weave", "update", "bytes_peer", 10, 235),
    Quoted("weave", "update", "bytes_peer", 50, 271),
    Quoted("weave", "update", "cpu_ms", 50, 10.8),
    Quoted("memberlist", "update", "p50_ms", 100, 745, is_wall=True),
    Quoted("weave", "heal", "data_s", 50, 1.8, is_wall=True),
    Quoted("weave", "heal", "bytes", 50, 330e6),
    Quoted("weave", "heal", "cpu_s", 50, 27),
    Quoted("memberlist", "heal", "data_s", 100, 112, is_wall=True),
    Quoted("weave", "black hole", "noticed_s", 10, 57, is_wall=True),
    Quoted("memberlist", "black hole", "noticed_s", 100, 12, is_wall=True),
    Quoted("weave", "allocate", "one_caller_per_s", 0, 727, is_wall=True),
    Quoted("weave", "ranges", "one_range_bytes", 0, 253e3),
    Quoted("weave", "ranges", "one_range_ms", 0, 3.853, is_wall=True),
    Quoted("weave", "names", "lookups_per_s", 0, 2_088, is_wall=True),
    Quoted("weave", "names", "updates_per_s", 0, 941, is_wall=True),
    Quoted("weave", "names", "merge_ms", 0, 620, is_wall=True),
    Quoted("weave", "dns", "answers_per_s_100", 0, 37e3, is_wall=True),
    Quoted("weave", "dns", "answers_per_s_10000", 0, 4_100, is_wall=True),
)
