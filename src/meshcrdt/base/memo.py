"""Where pure functions may be remembered: by nobody on a real node, by the simulator for all.

A thousand simulated nodes in one process judge the same header, apply the same delta and
build the same tree a thousand times. One of them has to do it; the others may take the very
same immutable object, which costs neither time nor memory. A real node gets `NO_MEMO`,
which calls and forgets, so its code has no second path that only simulations run.
Whoever asks a memo promises that the function is pure and that nobody changes its result.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Memo(Protocol):
    """Calls functions, or knows already what they give."""

    @property
    def remembers(self) -> bool:
        """Whether anything is ever remembered: whether it pays to work out a key."""
        ...

    def of_equal(self, function: Callable[..., T], *arguments: Hashable) -> T:
        """Return what the function gives for arguments that are equal to these."""
        ...

    def of_same(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what the function gives for these very objects, which must be immutable."""
        ...

    def one(self, key: Hashable, made: T) -> T:
        """Return the first of the equal immutable objects that were made for a key."""
        ...

    def known(self, key: Hashable) -> object | None:
        """Return what `one` was given for a key, or None."""
        ...


class NoMemo:
    """Remembers nothing."""

    @property
    def remembers(self) -> bool:
        """False."""
        return False

    def of_equal(self, function: Callable[..., T], *arguments: Hashable) -> T:
        """Call the function."""
        return function(*arguments)

    def of_same(self, function: Callable[..., T], *arguments: object) -> T:
        """Call the function."""
        return function(*arguments)

    def one(self, key: Hashable, made: T) -> T:
        """Return what was made."""
        return made

    def known(self, key: Hashable) -> object | None:
        """Return None."""
        return None


NO_MEMO = NoMemo()
