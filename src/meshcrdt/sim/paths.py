"""How long a frame takes between two hosts, how likely it is lost, and how wide the way is.

A path is fixed by the seed and the two names alone, so that a host keeps its place over
restarts and a run with one host more changes nobody else's paths.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache

from meshcrdt.base.dice import Dice
from meshcrdt.sim.scenario import Region, Scenario

EARTH_RADIUS_KM = 6_371.0
ROUTING_FLOOR_S = 0.004
KM_PER_RTT_S = 75_000.0
"""RTT = 4 ms + km / 75 ms, which is what a public cloud of nineteen regions measured."""
SAME_REGION_RTT_S = 0.001


def distance_km(a: Region, b: Region) -> float:
    """Return the great-circle distance of two regions (haversine)."""
    first, second = math.radians(a.latitude), math.radians(b.latitude)
    across = math.radians(b.longitude - a.longitude)
    half = (
        math.sin((second - first) / 2) ** 2
        + math.cos(first) * math.cos(second) * math.sin(across / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(half))


def round_trip_s(a: Region, b: Region) -> float:
    """Return the round trip time between two regions in seconds."""
    if a.name == b.name:
        return SAME_REGION_RTT_S
    return ROUTING_FLOOR_S + distance_km(a, b) / KM_PER_RTT_S


def place_hosts(scenario: Scenario) -> dict[str, Region]:
    """Return the region of every host: as many in each as its weight says, at random."""
    if not scenario.regions:
        return {}
    dice = Dice(f"regions {scenario.seed}".encode())
    total = sum(region.weight for region in scenario.regions)
    placed = {}
    for index in range(scenario.nodes):
        roll = dice.uniform(0.0, total)
        for region in scenario.regions:
            roll -= region.weight
            if roll <= 0:
                break
        placed[f"n{index + 1}"] = region
    return placed


class Paths:
    """The ways between the hosts of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.regions = place_hosts(scenario)
        self._losses = {
            frozenset((each.first, each.second)): each.loss for each in scenario.region_losses
        }
        self.slow: dict[tuple[str, str], float] = {}
        """Bytes a second of directions that differ from what the scenario says."""
        self._latency = cache(self._find_latency)

    def latency_s(self, source: str, target: str) -> float:
        """Return the one-way delay in seconds, without jitter."""
        scenario = self._scenario
        if scenario.latency_max_s is None and not self.regions:
            return scenario.latency_s
        return self._latency(*sorted((source, target)))

    def _find_latency(self, a: str, b: str) -> float:
        scenario = self._scenario
        first, second = self.regions.get(a), self.regions.get(b)
        if first is not None and second is not None:
            return round_trip_s(first, second) / 2
        if scenario.latency_max_s is None:
            return scenario.latency_s
        seed = f"path {scenario.seed} {a} {b}".encode()
        at = int.from_bytes(hashlib.blake2b(seed, digest_size=4).digest(), "big") / 2**32
        return scenario.latency_s + at * (scenario.latency_max_s - scenario.latency_s)

    def loss(self, source: str, target: str) -> float:
        """Return how likely a frame is lost."""
        if not self._losses:
            return self._scenario.faults.loss
        first, second = self.regions.get(source), self.regions.get(target)
        if first is None or second is None:
            return self._scenario.faults.loss
        pair = frozenset((first.name, second.name))
        return self._losses.get(pair, self._scenario.faults.loss)

    def busy_s(self, source: str, target: str, size_bytes: int) -> float:
        """Return how long one frame occupies the link, which carries no other meanwhile."""
        rate = self.slow.get((source, target), self._scenario.bandwidth_bytes_s)
        return size_bytes / rate if rate else 0.0
