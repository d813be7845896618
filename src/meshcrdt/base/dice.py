"""Seeded, forkable randomness: the only dice in the core.

A fork is named, so adding a roll in one machine never changes another machine's rolls;
that keeps seeds of the simulator meaningful across versions of the code. These dice are
for jitter and sampling. They never make keys: the shell hands entropy in for those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A deterministic source of rolls, made from a seed of any length."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._random = Random(int.from_bytes(hashlib.blake2b(seed).digest(), "big"))

    @property
    def seed(self) -> bytes:
        """Return what these dice were made from, so that a trace can be replayed."""
        return self._seed

    def fork(self, label: str) -> Dice:
        """Return independent dice, determined by this seed and the label alone."""
        return Dice(hashlib.blake2b(self._seed + b"/" + label.encode()).digest())

    def chance(self, probability: float) -> bool:
        """Return True with the given probability in [0, 1]."""
        return self._random.random() < probability

    def uniform(self, low: float, high: float) -> float:
        """Return a float in [low, high]."""
        return self._random.uniform(low, high)

    def integer(self, low: int, high: int) -> int:
        """Return an int in [low, high], both included."""
        return self._random.randint(low, high)

    def raw(self, size_bytes: int) -> bytes:
        """Return `size_bytes` bytes for ids that need no secrecy."""
        return self._random.randbytes(size_bytes)

    def choice(self, items: Sequence[T]) -> T:
        """Return one item of a non-empty sequence."""
        return self._random.choice(items)

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return `count` distinct items, or all of them in random order when there are fewer."""
        return self._random.sample(items, min(count, len(items)))
