"""What a simulated run is made of, as data: size, duration, workload and faults.

Swarm testing (Groce et al., ISSTA 2012): each run draws a random subset and intensity of
the faults, so that rare combinations are met; a run with all faults on hides more than it
shows.
"""

from __future__ import annotations

from attrs import evolve, field, frozen, validators

from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import Limits

_share = validators.and_(validators.ge(0.0), validators.le(1.0))

SIM_LIMITS = Limits(
    ping_interval_s=4.0,
    link_silence_s=10.0,
    dead_after_s=12.0,
    anti_entropy_blind_interval_s=6.0,
    dial_backoff_max_s=4.0,
)
"""Slower heartbeats than on a real network, so that ten minutes of five nodes cost seconds."""


@frozen(kw_only=True)
class Faults:
    """Intensities; zero switches a fault off. Shares are probabilities a frame."""

    loss: float = field(default=0.0, validator=_share)
    duplicate: float = field(default=0.0, validator=_share)
    reorder: float = field(default=0.0, validator=_share)
    jitter_s: float = field(default=0.0, validator=validators.ge(0))
    partition_every_s: float = field(default=0.0, validator=validators.ge(0))
    partition_for_s: float = field(default=40.0, validator=validators.gt(0))
    one_way: float = field(default=0.0, validator=_share)
    """The share of partitions that cut one direction only."""
    link_reset_every_s: float = field(default=0.0, validator=validators.ge(0))
    crash_every_s: float = field(default=0.0, validator=validators.ge(0))
    down_for_s: float = field(default=15.0, validator=validators.gt(0))
    torn_share: float = field(default=0.0, validator=_share)
    """At a crash: how likely a transaction in flight reached the disk although nobody was told."""
    disk_s: float = field(default=0.002, validator=validators.ge(0))
    disk_stall_share: float = field(default=0.0, validator=_share)
    pause_every_s: float = field(default=0.0, validator=validators.ge(0))
    pause_for_s: float = field(default=8.0, validator=validators.gt(0))


NO_FAULTS = Faults()


@frozen(kw_only=True)
class Scenario:
    """One run; equal scenarios give equal traces."""

    seed: int
    nodes: int = field(default=5, validator=validators.in_(range(1, 257)))
    duration_s: float = field(default=600.0, validator=validators.gt(0))
    settle_s: float = field(default=120.0, validator=validators.gt(0))
    """Virtual time after the last fault in which the cluster must become one again."""
    latency_s: float = field(default=0.01, validator=validators.gt(0))
    command_every_s: float = field(default=2.0, validator=validators.gt(0))
    universes: tuple[str, ...] = ("10.32.0.0/20",)
    faults: Faults = NO_FAULTS
    limits: Limits = field(default=SIM_LIMITS, repr=False)

    @classmethod
    def swarm(cls, seed: int, *, nodes: int = 5, duration_s: float = 600.0) -> Scenario:
        """Return a run with a random subset and intensity of the faults, from the seed alone."""
        dice = Dice(f"swarm {seed}".encode())
        faults = NO_FAULTS
        if dice.chance(0.5):
            faults = evolve(faults, loss=dice.uniform(0.0, 0.2))
        if dice.chance(0.4):
            faults = evolve(faults, duplicate=dice.uniform(0.0, 0.2))
        if dice.chance(0.4):
            faults = evolve(faults, reorder=dice.uniform(0.0, 0.3))
        if dice.chance(0.5):
            faults = evolve(faults, jitter_s=dice.uniform(0.0, 0.5))
        if dice.chance(0.6):
            faults = evolve(
                faults,
                partition_every_s=dice.uniform(40.0, 150.0),
                partition_for_s=dice.uniform(5.0, 100.0),
                one_way=dice.choice([0.0, 0.3, 1.0]),
            )
        if dice.chance(0.4):
            faults = evolve(faults, link_reset_every_s=dice.uniform(5.0, 60.0))
        if dice.chance(0.6):
            faults = evolve(
                faults,
                crash_every_s=dice.uniform(30.0, 150.0),
                down_for_s=dice.uniform(0.1, 60.0),
                torn_share=dice.choice([0.0, 0.5, 1.0]),
            )
        if dice.chance(0.4):
            faults = evolve(
                faults,
                disk_s=dice.uniform(0.001, 0.2),
                disk_stall_share=dice.uniform(0.0, 0.05),
            )
        if dice.chance(0.3):
            faults = evolve(
                faults,
                pause_every_s=dice.uniform(60.0, 200.0),
                pause_for_s=dice.uniform(1.0, 30.0),
            )
        return cls(seed=seed, nodes=nodes, duration_s=duration_s, faults=faults)
