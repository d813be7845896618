"""Random histories: states of a lattice that replicas could really reach.

Laws checked on made-up states prove too little and fail on states that cannot be; so a
history runs a few replicas through changes, merges, late and repeated deltas and
restarts, and hands back what came of it. Hypothesis draws it and shrinks it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import define, frozen

from meshcrdt.abc import Lattice
from meshcrdt.base.ids import INSTANCE_BYTES, PEER_ID_BYTES, Dot, Epoch, PeerId
from meshcrdt.errors import MissingExtra

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise MissingExtra("testing", "hypothesis") from error

L = TypeVar("L", bound=Lattice)

REPLICAS = 3
STEPS_MAX = 12


class LawBroken(AssertionError):
    """A lattice breaks a law; the message names the law and shows the values."""

    def __init__(self, law: str, *values: object) -> None:
        super().__init__(f"{law}: " + " | ".join(map(repr, values)))
        self.law = law


@define
class Site:
    """Where a change happens: one replica's identity, its epoch, and its dots in order."""

    origin: PeerId
    epoch: Epoch
    seq: int = 0

    @classmethod
    def number(cls, place: int) -> Site:
        """Return the site of replica `place`, from 0."""
        origin = PeerId(bytes([place + 1]) * PEER_ID_BYTES)
        return cls(origin, Epoch(1, bytes([place + 1]) * INSTANCE_BYTES))

    def dot(self) -> Dot:
        """Return a dot that was never used."""
        self.seq += 1
        return Dot(self.origin, self.epoch, self.seq)

    def restart(self) -> None:
        """Begin the next epoch; dots count from 1 again."""
        self.epoch = Epoch(self.epoch.counter + 1, self.epoch.instance)
        self.seq = 0


@frozen
class History(Generic[L]):
    """What a run left: each replica's last state, and every delta in the order it was made.

    `deltas` is empty when the states were drawn one by one, without a common past.
    """

    states: tuple[L, ...]
    deltas: tuple[L, ...] = ()


def joined(a: Any, b: Any) -> Any:
    """Return `a.join(b)`; raises LawBroken when that raises or leaves the type."""
    try:
        value = a.join(b)
    except Exception as error:
        raise LawBroken("join never raises", a, b) from error
    if type(value) is not type(a):
        raise LawBroken("join stays in its type", a, b, value)
    return value


Operation: TypeAlias = Callable[[st.DrawFn, L, Site], L]
"""Draw a change to a state at a site, and return its delta (or the whole new state)."""


class _Step(Enum):
    CHANGE = auto()
    CHANGE_AGAIN = auto()  # changes are drawn twice as often as the rest
    MERGE = auto()
    DELIVER = auto()
    RESTART = auto()


@st.composite
def histories(
    draw: st.DrawFn,
    kind: type[L],
    operation: Operation[L],
    *,
    steps_max: int = STEPS_MAX,
) -> History[L]:
    """Draw a history of three replicas of `kind`, changed by `operation`.

    Each step is a change, a merge of one replica into another, a late delivery of any
    delta ever made, or a restart.
    """
    sites = [Site.number(place) for place in range(REPLICAS)]
    states = [kind.bottom() for _ in sites]
    deltas: list[L] = []
    places = st.integers(0, REPLICAS - 1)
    for step in draw(st.lists(st.sampled_from(_Step), max_size=steps_max)):
        place = draw(places)
        match step:
            case _Step.CHANGE | _Step.CHANGE_AGAIN:
                delta = operation(draw, states[place], sites[place])
                deltas.append(delta)
                states[place] = joined(states[place], delta)
            case _Step.MERGE:
                states[place] = joined(states[place], states[draw(places)])
            case _Step.DELIVER if deltas:
                states[place] = joined(states[place], draw(st.sampled_from(deltas)))
            case _Step.RESTART:
                sites[place].restart()
    return History(tuple(states), tuple(deltas))
