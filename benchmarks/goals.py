"""What each row has to reach, as data: a ratio against a peer, or a bound of its own.

Ratios below one against a peer are wanted where less is better (bytes, times), ratios above
one where more is (rates). A goal is judged for the size, the switches and the peer that it
names; a figure that was not measured in this run leaves it open.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Goal:
    """One cell of the tables. `least` for rates, `most` for everything else."""

    row: str
    metric: str
    nodes: int = 0
    against: str = ""
    """A system, measured in this run or quoted; empty for a bound of its own."""
    most: float | None = None
    least: float | None = None
    system: str = "meshcrdt"
    switches: str = ""
    against_metric: str = ""
    against_nodes: int | None = None
    """Where the peer's figure is of another size."""

    @property
    def text(self) -> str:
        """The goal as people write it."""
        bound = self.most if self.most is not None else self.least
        assert bound is not None
        sign = "<=" if self.most is not None else ">="
        if not self.against:
            return f"{sign} {bound:,.6g}"
        return f"{sign} 1/{1 / bound:.4g}" if 0 < bound < 0.5 else f"{sign} {bound:.4g}x"


LASTS = tuple(f"lasts {seconds} s" for seconds in (45, 120, 300))

GOALS = (
    Goal("idle", "bytes_per_s_peer", 50, "weave", most=1 / 40),
    Goal("idle", "bytes_per_s_peer", 200, "meshcrdt", most=1.2, against_nodes=10),
    Goal("idle", "bytes_per_s_peer", 50, "serf", most=1.1, switches="detection=probe"),
    Goal(
        "idle",
        "bytes_per_s_peer",
        50,
        "memberlist",
        most=1.1,
        switches="detection=probe",
        against_nodes=100,
    ),
    Goal("join", "converged_s", 50, "weave", most=1 / 5),
    Goal("join", "bytes_converged", 50, "weave", most=1 / 100),
    Goal("join", "cpu_s_converged", 50, "weave", most=1 / 20),
    Goal("join", "converged_s", 200, most=15),
    Goal("join", "bytes_converged", 200, "weave ring", most=1 / 4),
    Goal("update", "p50_ms", 50, "weave", most=2.0),
    Goal("update", "p99_ms", 50, "weave", most=2.0),
    Goal("update", "bytes_peer", 50, "weave", most=2.0),
    Goal("update", "p50_ms", 50, "serf", most=1 / 20),
    Goal("update", "p50_ms", 50, "kinship", most=1 / 20),
    Goal("update", "p50_ms", 100, "memberlist", most=1 / 20),
    Goal("heal", "data_s", 50, "weave", most=1 / 5),
    Goal("heal", "bytes", 50, "weave", most=1 / 50),
    Goal("heal", "cpu_s", 50, "weave", most=1 / 50),
    Goal("heal", "data_s", 50, "memberlist", most=1 / 100, against_nodes=100),
    Goal("black hole", "noticed_s", 10, most=3, switches=LASTS[0]),
    Goal("black hole", "noticed_s", 10, most=9, switches=f"{LASTS[0]}, detection=probe"),
    *(Goal("black hole", "healed_s", 10, most=2, switches=lasts) for lasts in LASTS),
    Goal("starved", "healthy_declared_dead", 16, most=0),
    Goal("minority", "accepted_of_10", 3, least=10),
    Goal("minority", "addresses_given_twice", 3, most=0),
    *(
        goal
        for system in ("meshcrdt", "values")
        for goal in (
            Goal("map", "sets_per_s", 0, "pycrdt", least=1.5, system=system),
            Goal("map", "merges_per_s", 0, "pycrdt", least=1.0, system=system),
            Goal("map", "one_by_one_per_s", 0, "pycrdt", least=3.0, system=system),
            Goal("map", "merges_per_s", least=300e3, system=system),
            Goal("bytes", "update_bytes", most=88, system=system),
            Goal("bytes", "entry_bytes", most=80, system=system),
            Goal(
                "bytes",
                "rewritten_bytes",
                0,
                system,
                most=1.01,
                system=system,
                against_metric="full_bytes",
            ),
            Goal("bytes", "deleted_bytes", most=1_000, system=system),
            Goal("memory", "memory_bytes", most=500, system=system),
        )
    ),
    Goal("scale", "delivery", 1_000, least=1, switches="deliver, loss 0.2"),
    Goal("scale", "redundancy", 1_000, most=0.1, switches="deliver, loss 0.2"),
    Goal("scale", "delivery", 1_000, least=1, switches="churn-1000"),
    Goal("scale", "cpu_s", 1_000, most=900, switches="churn-1000"),
    Goal("scale", "rss_mib", 1_000, most=2_048, switches="churn-1000"),
    Goal("scale", "connected_rounds", 1_000, most=20, switches="kill-80-percent"),
    Goal("scale", "joined_seconds", 1_000, most=60, switches="cold-start-1000"),
    Goal("in sync", "in_sync_bytes", most=48),
    Goal("in sync", "one_key_bytes", most=250),
    Goal("allocate", "one_caller_per_s", 0, "weave", least=3),
    Goal("allocate", "one_caller_per_s", 0, "etcd", least=1),
    Goal(
        "allocate", "fifty_callers_per_s", 0, "weave", least=50, against_metric="one_caller_per_s"
    ),
    Goal("ranges", "one_range_bytes", most=200),
    Goal("ranges", "one_range_ms", 0, "weave", most=1 / 50),
    Goal("names", "lookups_per_s", 0, "weave", least=50),
    Goal("names", "updates_per_s", 0, "weave", least=20),
    Goal("names", "merge_ms", 0, "weave", most=1 / 20),
    Goal("dns", "answers_per_s_100", 0, "weave", least=1),
    Goal("dns", "answers_per_s_10000", 0, "weave", least=8),
    Goal(
        "dns", "answers_per_s_10000", 0, "meshcrdt", least=0.8, against_metric="answers_per_s_100"
    ),
)
