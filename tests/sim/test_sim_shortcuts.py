"""Work that a node spares itself changes no run: without each shortcut the trace is the same.

And the comparison can fail: a shortcut that is taken where it must not be is seen.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshcrdt.errors import InternalError
from meshcrdt.node.attendance import Attendance
from meshcrdt.sim import Scenario, World
from meshcrdt.sim.scenario import Faults
from meshcrdt.topology.liveness import Liveness
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.overlay_terms import OverlayOutput
from meshcrdt.topology.promise import Promise

Patch = pytest.MonkeyPatch


def judge_everybody_at_length(patch: Patch) -> None:
    patch.setattr(Liveness, "_stays_plain", lambda self, peer: False)


def ask_every_part_each_time(patch: Patch) -> None:
    due = Promise.due

    def anew(self: Promise) -> float | None:
        self._is_stale = True
        return due(self)

    patch.setattr(Promise, "due", anew)


def look_at_every_member(patch: Patch) -> None:
    watch = Attendance.watch

    def whole(self: Attendance, members: object, now: float) -> None:
        self._moved = None
        watch(self, members, now)  # type: ignore[arg-type]

    patch.setattr(Attendance, "watch", whole)


def conclude_twice(patch: Patch) -> None:
    act = Overlay.act

    class Something(list[OverlayOutput]):
        """What counts as something to do, also where it is empty."""

        def __bool__(self) -> bool:
            return True

    patch.setattr(Overlay, "act", lambda self, now: Something(act(self, now)))


LONG_WAYS = [
    judge_everybody_at_length,
    ask_every_part_each_time,
    look_at_every_member,
    conclude_twice,
]

PARTIAL = Scenario(
    seed=4, nodes=12, duration_s=45.0, faults=Faults(crash_every_s=6.0, down_for_s=12.0, loss=0.05)
)
"""More than a full mesh, so that most hosts learn from others who is dead."""


def trace_of(scenario: Scenario) -> str:
    report = World(scenario).run()
    assert not report.violations
    return report.trace_hash


@pytest.mark.parametrize("scenario", [Scenario.swarm(8, duration_s=60.0), PARTIAL])
@pytest.mark.parametrize("long_way", LONG_WAYS)
def test_a_shortcut_changes_no_run(
    scenario: Scenario, long_way: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    short = trace_of(scenario)
    long_way(monkeypatch)
    assert trace_of(scenario) == short


def test_who_takes_a_doubted_peer_for_plainly_alive_is_seen(monkeypatch: Patch) -> None:
    right = trace_of(PARTIAL)
    monkeypatch.setattr(Liveness, "_stays_plain", lambda self, peer: True)
    try:
        wrong = World(PARTIAL).run()
    except InternalError:
        return
    assert wrong.violations or wrong.trace_hash != right
