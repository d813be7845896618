"""A disk that is honest about fsync and about nothing else.

Transactions finish in order after a latency. A crash loses what was not finished; a
transaction in flight may still have reached the platter although nobody was told. Beyond
that it may be told to fail, and to have lied: then a crash takes confirmed writes with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from attrs import define, field

from meshcrdt.abc import Row
from meshcrdt.base.dice import Dice
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.scenario import Faults

STALL_S = 3.0
UNSYNCED_MAX = 16
"""Transactions that a lying disk may have only pretended to write."""


class Moment(Enum):
    """When a process may be killed around a transaction."""

    STARTED = "started"
    DURABLE = "durable"
    """It is on the platter, and nobody was told yet."""


def _nobody(_: object) -> None:
    pass


@define
class Disk:
    """Durable tables of one host; they outlive its crashes."""

    clock: Clockwork
    dice: Dice
    faults: Faults
    tables: dict[str, dict[bytes, bytes]] = field(factory=dict)
    _in_flight: list[tuple[Row, ...]] = field(factory=list)
    _generation: int = 0
    _free_at: float = 0.0
    failing: str | None = None
    """Why every transaction fails now, or None."""
    on_write: Callable[[Disk, int, Moment], None] | None = None
    """Called with the number of each transaction, and may let the process die there."""
    writes: int = 0
    lost: int = 0
    """Confirmed transactions that the latest crash took along."""
    _undo: deque[tuple[Row, ...]] = field(factory=lambda: deque(maxlen=UNSYNCED_MAX))

    def write(
        self,
        rows: tuple[Row, ...],
        done: Callable[[], None],
        failed: Callable[[str], None] = _nobody,
    ) -> None:
        """Start a transaction; `done` is called when it is durable, unless a crash comes first.

        `failed` is called instead, with the reason, when the disk refuses it.
        """
        self.writes += 1
        if self.failing is not None:
            reason = self.failing
            self.clock.after(self.faults.disk_s, lambda: failed(reason))
            return
        delay = self.faults.disk_s * self.dice.uniform(0.5, 1.5)
        if self.dice.chance(self.faults.disk_stall_share):
            delay += STALL_S
        # One transaction after the other: a later one never overtakes.
        self._free_at = max(self._free_at, self.clock.now) + delay
        generation = self._generation
        self._in_flight.append(rows)
        number = self.writes

        def finish() -> None:
            if generation == self._generation:
                self._in_flight.remove(rows)
                self.apply(rows)
                self._reach(number, Moment.DURABLE)
                if generation == self._generation:
                    done()

        self.clock.at(self._free_at, finish)
        self._reach(number, Moment.STARTED)

    def _reach(self, number: int, moment: Moment) -> None:
        if self.on_write is not None:
            self.on_write(self, number, moment)

    def apply(self, rows: tuple[Row, ...]) -> None:
        """Put rows on the platter now."""
        if self.faults.lost_share:
            self._undo.append(
                tuple((table, key, self.tables.get(table, {}).get(key)) for table, key, _ in rows)
            )
        for table, key, value in rows:
            if value is None:
                self.tables.setdefault(table, {}).pop(key, None)
            else:
                self.tables.setdefault(table, {})[key] = value

    def crash(self) -> None:
        """Lose what was not finished, except perhaps the oldest transaction in flight."""
        self.lost = self._lie()
        if self._in_flight and self.dice.chance(self.faults.torn_share):
            self.apply(self._in_flight[0])
        self._in_flight.clear()
        self._generation += 1
        self._free_at = self.clock.now

    def _lie(self) -> int:
        """Take confirmed transactions back, newest first; returns how many."""
        if not self._undo or not self.dice.chance(self.faults.lost_share):
            return 0
        count = self.dice.integer(1, len(self._undo))
        for _ in range(count):
            # What it undoes is not itself to be undone: back to the platter, past `apply`.
            for table, key, value in reversed(self._undo.pop()):
                if value is None:
                    self.tables.setdefault(table, {}).pop(key, None)
                else:
                    self.tables.setdefault(table, {})[key] = value
        self._undo.clear()
        return count
