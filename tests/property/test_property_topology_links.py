"""Two ends, any number of crossing dials, any delays: one and the same link survives.

The link machines run on a schedule that Hypothesis draws. Two mutants of the rule are run
on the same schedules to show that the property sees the mistakes it is there for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest
from attrs import frozen
from depth import examples
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology.links import Direction, LinkEntry, Links
from meshcrdt.topology.outputs import CloseLink, ToLink

LOWER, HIGHER = PeerId(b"\x01" * 16), PeerId(b"\x02" * 16)
SETTLING_S = 20.0


@frozen
class Crossing:
    """One dial: which end dialled, when it opens at either end, and how slow it is each way."""

    by_lower: bool
    opens_at_s: float
    accepted_after_s: float
    delays_s: tuple[float, float]


seconds = st.integers(0, 40).map(lambda tenths: tenths / 10)
delays = st.integers(0, 5).map(lambda tenths: tenths / 10)
crossings = st.lists(
    st.builds(
        Crossing,
        by_lower=st.booleans(),
        opens_at_s=seconds,
        accepted_after_s=delays,
        delays_s=st.tuples(delays, delays),
    ),
    min_size=1,
    max_size=4,
)


class Duel:
    """Both ends of some links in virtual time. Link numbers are indexes into the schedule."""

    def __init__(self, schedule: list[Crossing], machine: type[Links]) -> None:
        self.schedule = schedule
        self.ends = [
            machine(me=me, limits=Limits(), dice=Dice(bytes(me))) for me in (LOWER, HIGHER)
        ]
        self.now = 0.0
        self.alone: list[float] = []
        self.lost: list[tuple[int, int]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._arrives_at: dict[tuple[int, int], float] = {}
        self._opened: set[tuple[int, int]] = set()
        for link, crossing in enumerate(schedule):
            dialler = 0 if crossing.by_lower else 1
            opens_at = crossing.opens_at_s
            self._at(opens_at, self._opening(link, dialler, Direction.DIALLED))
            accepted_at = opens_at + crossing.accepted_after_s
            self._at(accepted_at, self._opening(link, 1 - dialler, Direction.ACCEPTED))

    def run(self) -> None:
        end = SETTLING_S
        while True:
            deadlines = [(e.next_deadline(), i) for i, e in enumerate(self.ends)]
            at, index = min(((d, i) for d, i in deadlines if d is not None), default=(end + 1, 0))
            event_at = self._queue[0][0] if self._queue else end + 1
            if min(at, event_at) > end:
                return
            if event_at <= at:
                self.now, _, action = heapq.heappop(self._queue)
                action()
            else:
                self.now = max(self.now, at)
                silence, outputs = self.ends[index].handle_timeout(self.now)
                self.lost.extend((index, entry.link) for entry in silence.lost)
                self._do(index, outputs)
            for end_of_link in self.ends:
                end_of_link.check()

    def survivors(self) -> list[set[int]]:
        return [{entry.link for entry in end.entries()} for end in self.ends]

    def settled(self) -> bool:
        lower, higher = self.survivors()
        return lower == higher and len(lower) == 1 and not self.alone and not self.lost

    def _at(self, at: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, action))

    def _opening(self, link: int, index: int, direction: Direction) -> Callable[[], None]:
        def action() -> None:
            self._opened.add((index, link))
            outputs = self.ends[index].opened(
                link,
                (HIGHER, LOWER)[index],
                direction=direction,
                address="mem://x",
                transport="mem",
                encrypted=True,
                now=self.now,
            )
            self._do(index, outputs)

        return action

    def _do(self, index: int, outputs: list) -> None:
        for output in outputs:
            if isinstance(output, ToLink):
                self._carry(index, output.link, output.message)
            elif isinstance(output, CloseLink):
                self._carry(index, output.link, None)
                if not self.ends[index].peers():
                    self.alone.append(self.now)

    def _carry(self, index: int, link: int, message: tuple | None) -> None:
        """Deliver in order after the delay of this link and way; None is the close."""
        at = max(
            self.now + self.schedule[link].delays_s[index], self._arrives_at.get((index, link), 0)
        )
        self._arrives_at[(index, link)] = at

        def arrive() -> None:
            other = self.ends[1 - index]
            if (1 - index, link) not in self._opened:
                self._at(self.now + 0.05, arrive)  # the handshake is not over there yet
            elif message is None:
                other.closed(link)
                if not other.peers():
                    self.alone.append(self.now)
            else:
                self._do(1 - index, other.received(link, message, self.now)[1])

        self._at(at, arrive)


def settles(schedule: list[Crossing], machine: type[Links]) -> bool:
    duel = Duel(schedule, machine)
    duel.run()
    return duel.settled()


@given(crossings)
@settings(max_examples=examples(300))
def test_crossing_dials_settle_on_the_same_single_link(schedule: list[Crossing]):
    duel = Duel(schedule, Links)
    duel.run()
    lower, higher = duel.survivors()
    assert lower == higher
    assert len(lower) == 1
    assert not duel.alone, "at no time did an end close its only link"
    assert not duel.lost
    if any(crossing.by_lower for crossing in schedule):
        assert schedule[lower.pop()].by_lower


class NewestAlways(Links):
    """Mutant: each end keeps what it saw opening last."""

    def _beats(self, winner: LinkEntry, loser: LinkEntry) -> bool:
        return winner.opened_step > loser.opened_step


class TwoJudges(Links):
    """Mutant: among links of one dialler both ends judge which is the newest."""

    def _beats(self, winner: LinkEntry, loser: LinkEntry) -> bool:
        if self._rank(winner) != self._rank(loser):
            return self._rank(winner) > self._rank(loser)
        return winner.opened_step > loser.opened_step


@pytest.mark.parametrize("mutant", [NewestAlways, TwoJudges])
def test_the_property_catches_wrong_rules(mutant: type[Links]):
    schedule = find(
        crossings,
        lambda drawn: not settles(drawn, mutant),
        settings=settings(max_examples=5000, database=None, phases=[Phase.generate]),
    )
    assert settles(schedule, Links)
