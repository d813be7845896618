"""Scenarios drawn by Hypothesis, so that a failing run shrinks to a small one.

A swarm draws from a seed, which cannot shrink; here each fault is drawn by itself, and
Hypothesis takes away what a failure does not need.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from meshcrdt.errors import MissingExtra, UsageError
from meshcrdt.sim.fault_list import Faults
from meshcrdt.sim.scenario import Scenario

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise MissingExtra("testing", "hypothesis") from error

FAULTS: dict[str, dict[str, tuple[float, float]]] = {
    "loss": {"loss": (0.0, 0.3)},
    "duplicate": {"duplicate": (0.0, 0.3)},
    "reorder": {"reorder": (0.0, 0.3)},
    "jitter": {"jitter_s": (0.0, 0.5)},
    "spikes": {"spike": (0.0, 0.05), "spike_s": (1.0, 30.0)},
    "partitions": {"partition_every_s": (10.0, 60.0), "partition_for_s": (1.0, 40.0)},
    "rings": {"ring_every_s": (10.0, 60.0)},
    "flaps": {"flap_every_s": (10.0, 60.0), "flap_period_s": (0.1, 10.0)},
    "clogs": {"clog_every_s": (10.0, 60.0), "clog_for_s": (1.0, 40.0)},
    "jams": {"jam_every_s": (5.0, 60.0), "jam_for_s": (1.0, 30.0)},
    "resets": {"link_reset_every_s": (1.0, 60.0)},
    "half-open": {"half_open_every_s": (2.0, 60.0)},
    "crashes": {"crash_every_s": (3.0, 60.0), "down_for_s": (0.1, 30.0), "torn_share": (0.0, 1.0)},
    "kills at writes": {"kill_at_write": (0.0, 0.05)},
    "pauses": {"pause_every_s": (5.0, 60.0), "pause_for_s": (1.0, 30.0)},
    "clocks": {"clock_spread_s": (0.0, 1e6), "clock_jump_every_s": (5.0, 60.0)},
    "slow disks": {"disk_s": (0.001, 1.0), "disk_stall_share": (0.0, 0.1)},
    "disk errors": {"disk_error_every_s": (10.0, 60.0)},
    "liars": {"liars": (0.1, 0.4), "lies": (0.005, 0.1)},
    "strangers": {"strangers_every_s": (5.0, 60.0)},
}
"""Groups of intensities that are drawn together, by the name to give for `kinds`."""

SEED_MAX = 2**32 - 1


@st.composite
def scenarios(
    draw: st.DrawFn,
    /,
    *,
    nodes_max: int = 5,
    duration_s: float = 60.0,
    kinds: Collection[str] | None = None,
    **fixed: Any,
) -> Scenario:
    """Draw a scenario: a seed, a number of nodes, and some of the faults.

    Args:
        draw: given by Hypothesis.
        nodes_max: the greatest number of nodes; drawn from 1.
        duration_s: virtual seconds before the world heals.
        kinds: names of `FAULTS` to draw from; all by default.
        fixed: fields of `Scenario` that are not drawn.

    Raises UsageError for a kind that is not known.
    """
    known = sorted(FAULTS)
    for kind in kinds or ():
        if kind not in FAULTS:
            raise UsageError(f"fault {kind!r} is not known: {', '.join(known)} are accepted")
    chosen = draw(st.lists(st.sampled_from(sorted(kinds or known)), unique=True, max_size=4))
    intensities: dict[str, Any] = {
        name: draw(st.floats(low, high, allow_nan=False))
        for kind in chosen
        for name, (low, high) in FAULTS[kind].items()
    }
    values: dict[str, Any] = {
        "seed": draw(st.integers(0, SEED_MAX)),
        "nodes": draw(st.integers(1, nodes_max)),
        "duration_s": duration_s,
        "faults": Faults(**intensities),
        **fixed,
    }
    return Scenario(**values)
