"""Each rule of the registers taken away must be noticed by the world's oracle.

Every test runs the same schedules twice: with the rule none of them breaks anything,
without it one of the first does.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable

import pytest
from consensus_world import World

from meshcrdt.base.dice import Dice
from meshcrdt.consensus import proofs, proposer
from meshcrdt.consensus.acceptor import Acceptor
from meshcrdt.consensus.attempts import Attempt
from meshcrdt.consensus.proposer import Proposer

Patch = pytest.MonkeyPatch
Shape = tuple[int, tuple[int, ...], tuple[tuple[int, ...], ...]]

THREE: Shape = (3, (0, 1, 2), ())
REPLACE: Shape = (5, (0, 1, 2), ((0, 1, 3), (0, 3, 4), (0, 1, 2)))
SEEDS = range(60)


def first_break(shape: Shape, *, losses: bool = False) -> str | None:
    members, guardians, changes = shape
    for seed in SEEDS:
        world = World(Dice(b"%d" % seed), members=members, guardians=guardians)
        for _ in range(250):
            world.step(changes=changes, losses=losses)
            if world.broken:
                return world.broken[0]
        world.settle()
        if world.broken:
            return world.broken[0]
    return None


def without(patch: Patch, cls: type, method: str, rule: str, instead: str) -> None:
    """Replace a piece of a method's source, which must be there."""
    source = textwrap.dedent(inspect.getsource(getattr(cls, method)))
    assert rule in source, f"{cls.__name__}.{method} has no {rule!r}: mend this test"
    made: dict[str, object] = {}
    names = vars(sys.modules[cls.__module__])
    exec(compile(source.replace(rule, instead), method, "exec"), names, made)
    patch.setattr(cls, method, made[method])


def guarded(shape: Shape, mutate: Callable[[], None], *, losses: bool = False) -> str:
    assert first_break(shape, losses=losses) is None
    mutate()
    broken = first_break(shape, losses=losses)
    assert broken is not None, "the mutation was not noticed"
    return broken


def test_promises_survive_a_crash(monkeypatch: Patch) -> None:
    """C5: a guardian that forgets what it promised and accepted."""
    broken = guarded(THREE, lambda: monkeypatch.setattr(Acceptor, "load", lambda *_: None))
    assert "I12" in broken


def test_what_may_be_chosen_is_finished_first(monkeypatch: Patch) -> None:
    """C1: a proposer that does not look at what its promises tell of."""
    broken = guarded(THREE, lambda: monkeypatch.setattr(Attempt, "best", lambda *_: None))
    assert "I12" in broken


def test_nothing_is_accepted_below_a_promise(monkeypatch: Patch) -> None:
    def mutate() -> None:
        without(monkeypatch, Acceptor, "accept", "ballot < self._promised", "False")

    assert "I12" in guarded(THREE, mutate)


def test_a_change_needs_the_old_guardians_too(monkeypatch: Patch) -> None:
    """C6: a new set that elects itself."""

    def mutate() -> None:
        for module in (proofs, proposer):
            monkeypatch.setattr(module, "electors", lambda _before, entry: (entry.guardians,))

    assert "I12" in guarded(REPLACE, mutate)


def test_a_guardian_is_its_store(monkeypatch: Patch) -> None:
    """Rule 4: votes and promises of a store that was lost in between count for nothing."""

    def mutate() -> None:
        without(
            monkeypatch,
            Attempt,
            "has_promises",
            " and promises[member.peer].nonce == member.nonce",
            "",
        )
        for module in (proofs, proposer):
            monkeypatch.setattr(module, "is_vote", lambda *_args, **_kwargs: True)

    assert "I12" in guarded(REPLACE, mutate, losses=True)


def test_a_proposal_is_applied_once(monkeypatch: Patch) -> None:
    """I5: an entry that comes back as unfinished is recognised."""

    def mutate() -> None:
        without(monkeypatch, Proposer, "_draft", "proposal.drafts.add(entry.hash)", "pass")

    assert "I5" in guarded(THREE, mutate)
