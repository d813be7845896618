"""Whom each host knows at its start, and whom it can never reach: the topology of a scenario."""

from __future__ import annotations

from collections.abc import Callable

from meshcrdt.sim.scenario import Scenario, Topology

SCHEME = "sim://"


class Seats:
    """The places of the hosts of one scenario; names are n1, n2, and so on."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.walls: list[Callable[[str, str], bool]] = []
        """What no healing takes down."""
        if scenario.topology is Topology.ISLANDS:
            self.walls.append(self._sea)

    def peers_of(self, name: str) -> tuple[str, ...]:
        """Return the addresses that a host is told to dial."""
        number = int(name.lstrip("n").partition("c")[0])
        match self._scenario.topology:
            case Topology.SEED:
                known = [1]
            case Topology.FULL:
                known = list(range(1, number))
            case Topology.LINE:
                known = [number - 1]
            case Topology.ISLANDS:
                known = [1] if self._is_harbour(number) else [self._island(number) + 1]
        return tuple(f"{SCHEME}n{other}" for other in known if 0 < other != number)

    def _island(self, number: int) -> int:
        return (number - 1) % max(1, self._scenario.islands)

    def _is_harbour(self, number: int) -> bool:
        return number <= max(1, self._scenario.islands)

    def _sea(self, source: str, target: str) -> bool:
        """Stand between two islands, except between their first hosts."""
        if not (source[1:].isdigit() and target[1:].isdigit()):
            return False  # no member, or a twin, which is wherever its original is
        a, b = int(source[1:]), int(target[1:])
        if self._is_harbour(a) and self._is_harbour(b):
            return False
        return self._island(a) != self._island(b)
