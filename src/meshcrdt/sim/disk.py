"""A disk that is honest about fsync and about nothing else.

Transactions finish in order after a latency. A crash loses what was not finished; a
transaction in flight may still have reached the platter although nobody was told.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from meshcrdt.abc import Row
from meshcrdt.base.dice import Dice
from meshcrdt.sim.clockwork import Clockwork
from meshcrdt.sim.scenario import Faults

STALL_S = 3.0


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

    def write(self, rows: tuple[Row, ...], done: Callable[[], None]) -> None:
        """Start a transaction; `done` is called when it is durable, unless a crash comes first."""
        delay = self.faults.disk_s * self.dice.uniform(0.5, 1.5)
        if self.dice.chance(self.faults.disk_stall_share):
            delay += STALL_S
        # One transaction after the other: a later one never overtakes.
        self._free_at = max(self._free_at, self.clock.now) + delay
        generation = self._generation
        self._in_flight.append(rows)

        def finish() -> None:
            if generation == self._generation:
                self._in_flight.remove(rows)
                self.apply(rows)
                done()

        self.clock.at(self._free_at, finish)

    def apply(self, rows: tuple[Row, ...]) -> None:
        """Put rows on the platter now."""
        for table, key, value in rows:
            if value is None:
                self.tables.setdefault(table, {}).pop(key, None)
            else:
                self.tables.setdefault(table, {})[key] = value

    def crash(self) -> None:
        """Lose what was not finished, except perhaps the oldest transaction in flight."""
        if self._in_flight and self.dice.chance(self.faults.torn_share):
            self.apply(self._in_flight[0])
        self._in_flight.clear()
        self._generation += 1
        self._free_at = self.clock.now
