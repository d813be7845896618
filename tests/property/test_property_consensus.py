"""Guardian registers under random schedules: one decision a stamp, whatever happens.

Messages come late, twice, in any order or never; processes fall between any two steps and
come back with what their disk has; stores are lost; guardians change.
"""

from __future__ import annotations

import pytest
from consensus_world import REGISTER, World
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from meshcrdt.base.dice import Dice

Sets = tuple[tuple[int, ...], ...]

SHAPES: dict[str, tuple[int, tuple[int, ...], Sets]] = {
    "three": (3, (0, 1, 2), ()),
    "replace": (5, (0, 1, 2), ((0, 1, 3), (0, 3, 4), (0, 1, 2))),
    "grow": (4, (0,), ((0, 1, 2), (1, 2, 3), (0,))),
    "five": (5, (0, 1, 2), ((0, 1, 2, 3, 4), (0, 1, 2), (2, 3, 4))),
}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=examples(40))
@given(seed=st.binary(min_size=4, max_size=8), steps=st.integers(20, 300))
def test_one_decision_a_stamp(shape: str, seed: bytes, steps: int) -> None:
    members, guardians, changes = SHAPES[shape]
    world = World(Dice(seed), members=members, guardians=guardians)
    for _ in range(steps):
        world.step(changes=changes)
        assert not world.broken, world.broken
    world.settle()
    assert not world.broken, world.broken
    # Calm again: every proposal has its one answer, and all know the same.
    assert not any(member.registers.statistics().proposals for member in world.members)
    logs = [member.registers.log(REGISTER) for member in world.members]
    assert len({log.tip for log in logs if log is not None}) == 1


@settings(max_examples=examples(60))
@given(seed=st.binary(min_size=4, max_size=8))
def test_a_lost_store_is_another_guardian(seed: bytes) -> None:
    """Rule 4: what a lost store promised is gone, and so is the word of its guardian."""
    world = World(Dice(seed), members=5, guardians=(0, 1, 2))
    for _ in range(250):
        world.step(changes=((0, 1, 3), (0, 1, 2), (2, 3, 4)), losses=True)
        assert not world.broken, world.broken
