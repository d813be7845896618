"""What a simulated run is made of, as data: size, network, faults, story, and what is expected.

A scenario is pure: two equal ones give equal traces. People write one as a TOML file that
reads as prose (`meshcrdt.sim.scenario_file`); code makes one here.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import evolve, field, frozen, validators

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.sim.clockwork import Trace
from meshcrdt.sim.expect import NOTHING_EXPECTED, Asserted, Bounds
from meshcrdt.sim.fault_list import NO_FAULTS, Draw, Faults, count, draw, duration, seconds, share
from meshcrdt.sim.steps import Step
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.heartbeats import Detection

__all__ = [
    "NODES_MAX",
    "NO_FAULTS",
    "SIM_LIMITS",
    "Draw",
    "Faults",
    "Pace",
    "Region",
    "RegionLoss",
    "Scenario",
    "Senders",
    "Topology",
    "Traffic",
]

NODES_MAX = 10_000
SMALL_UNIVERSE = ("10.32.0.0/20",)
LARGE_UNIVERSE = ("10.0.0.0/8",)
SMALL_NODES_MAX = 256

SIM_LIMITS = Limits(
    ping_interval_s=4.0,
    link_silence_s=10.0,
    dead_after_s=12.0,
    anti_entropy_blind_interval_s=6.0,
    dial_backoff_max_s=4.0,
)
"""Slower heartbeats than on a real network, so that ten minutes of five nodes cost seconds."""


class Pace(Enum):
    """How fast nodes look after each other."""

    SLOW = "slow"
    PUBLISHED = "published"
    """The limits that a real node has."""

    @property
    def limits(self) -> Limits:
        """The limits of a node."""
        return SIM_LIMITS if self is Pace.SLOW else DEFAULT_LIMITS


class Topology(Enum):
    """Whom each host is told to dial at its first start."""

    SEED = "seed"
    """All know the first."""
    FULL = "full"
    """Each knows all before it."""
    LINE = "line"
    """Each knows the one before it; with discovery off that is all there ever is."""
    ISLANDS = "islands"
    """Groups whose members reach each other only, and whose first members reach all firsts."""


@frozen(kw_only=True)
class Region:
    """A place on earth; a host is there with a likelihood proportional to `weight`."""

    name: str
    latitude: float = field(validator=[validators.ge(-90), validators.le(90)])
    longitude: float = field(validator=[validators.ge(-180), validators.le(180)])
    weight: float = field(default=1.0, validator=validators.gt(0))


@frozen(kw_only=True)
class RegionLoss:
    """What is lost between two regions, in place of the loss everywhere."""

    first: str
    second: str
    loss: float = share()


class Senders(Enum):
    """Who sends in a round of traffic."""

    ONE = "one"
    """The same host, drawn once."""
    MANY = "many"
    """A host drawn anew each time."""
    ALL = "all"
    """Every host, at the same moment."""


@frozen(kw_only=True)
class Traffic:
    """Messages whose way to everybody is measured: each is a fresh key of one map channel.

    A round is sent every `every_s`; with `every_s` zero the next follows when everyone has
    the one before, or after `timeout_s`.
    """

    senders: Senders = Senders.MANY
    every_s: float = seconds(1.0)
    rounds: int = count()
    """How many rounds; zero means until the run ends."""
    timeout_s: float = duration(5.0)
    over_s: float = seconds()
    """The messages of a round are sent at random moments within this time."""
    size_bytes: int = count(32)
    channel: str = "sim/traffic"
    keys: int = count()
    """How many keys a sender uses in turn; zero means a fresh key for each message."""


@frozen(kw_only=True)
class Scenario:
    """One run; equal scenarios give equal traces."""

    seed: int
    nodes: int = field(default=5, validator=validators.in_(range(1, NODES_MAX + 1)))
    duration_s: float = duration(600.0)
    settle_s: float = duration(120.0)
    """Virtual time after the last fault in which the cluster must become one again."""
    latency_s: float = duration(0.01)
    command_every_s: float = seconds(2.0)
    """The mean time between two random commands in the whole cluster; zero means none."""
    universes: tuple[str, ...] = ()
    faults: Faults = NO_FAULTS
    limits: Limits = field(default=SIM_LIMITS, repr=False)
    name: str = ""
    about: str = ""
    topology: Topology = Topology.SEED
    islands: int = count(2)
    discovery: Discovery = Discovery.ON
    detection: Detection = Detection.LINKS
    start_every_s: float = seconds(0.2)
    """The time between the starts of two hosts; zero starts all at once."""
    held_back: int = count()
    """How many hosts, the last ones, start by a step only."""
    warm_up_s: float = seconds()
    """Faults, traffic, commands and measuring begin after so long."""
    latency_max_s: float | None = field(
        default=None, validator=validators.optional(validators.gt(0))
    )
    """With it each pair of hosts has a delay of its own between `latency_s` and this."""
    latency_spread: float = share()
    """Each frame takes longer by a random part of its delay, up to this share."""
    regions: tuple[Region, ...] = ()
    """With them a delay follows from the distance."""
    region_losses: tuple[RegionLoss, ...] = ()
    bandwidth_bytes_s: float = field(default=0.0, validator=validators.ge(0))
    """What a link carries in each direction; zero means any amount."""
    traffic: Traffic | None = None
    steps: tuple[Step, ...] = ()
    expect: Bounds = NOTHING_EXPECTED
    asserted: tuple[Asserted, ...] = ()
    round_s: float = duration(1.0)
    """What a round is when time is counted in rounds: one probe of each node."""
    trace: Trace = Trace.HASH
    """Whether the report has a hash of everything that happened."""

    def __attrs_post_init__(self) -> None:
        """Choose a universe that has room for everyone, where none was given."""
        if not self.universes:
            chosen = SMALL_UNIVERSE if self.nodes <= SMALL_NODES_MAX else LARGE_UNIVERSE
            object.__setattr__(self, "universes", chosen)

    @classmethod
    def swarm(
        cls, seed: int, *, nodes: int = 5, duration_s: float = 600.0, which: Draw = Draw.CLASSIC
    ) -> Scenario:
        """Return a run with a random subset and intensity of the faults, from the seed alone."""
        faults = draw(Dice(f"swarm {seed}".encode()), which)
        return cls(seed=seed, nodes=nodes, duration_s=duration_s, faults=faults)

    def sized(self, *, seed: int | None = None, nodes: int | None = None) -> Scenario:
        """Return the same scenario under another seed or with another number of nodes."""
        changes: dict[str, Any] = {}
        if seed is not None:
            changes["seed"] = seed
        if nodes is not None:
            changes["nodes"] = nodes
            if self.universes in (SMALL_UNIVERSE, LARGE_UNIVERSE):
                changes["universes"] = ()
        return evolve(self, **changes)
