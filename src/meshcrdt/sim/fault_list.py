"""Every fault that a simulated world knows, as intensities, and how a seed draws among them.

Swarm testing (Groce et al., ISSTA 2012): each run draws a random subset and intensity of
the faults, so that rare combinations are met; a run with all faults on hides more than it
shows. What each fault does is in `meshcrdt.sim.faults`; docs/simulator.md lists them for
people, with those that only a real host can show.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

from attrs import evolve, field, frozen, validators

from meshcrdt.base.dice import Dice

_share = validators.and_(validators.ge(0.0), validators.le(1.0))
_not_negative: Any = validators.ge(0)
_positive: Any = validators.gt(0)

_Roll: TypeAlias = "tuple[float, float] | list[float]"
"""A range to draw from, whole numbers when both its ends are; or some values to choose from."""


def share(default: float = 0.0) -> Any:
    """Declare a probability, or a part of a whole."""
    return field(default=default, validator=_share, metadata={"kind": "share"})


def seconds(default: float = 0.0) -> Any:
    """Declare a time that may be zero, which switches something off."""
    return field(default=default, validator=_not_negative, metadata={"kind": "seconds"})


def duration(default: float) -> Any:
    """Declare a time that may not be zero."""
    return field(default=default, validator=_positive, metadata={"kind": "seconds"})


def count(default: int = 0) -> Any:
    """Declare a whole number, zero or more."""
    return field(default=default, validator=[validators.instance_of(int), _not_negative])


class Draw(Enum):
    """From which list a swarm draws."""

    CLASSIC = "classic"
    """Loss, partitions, crashes, pauses and slow disks: what the named seeds were drawn from."""
    FULL = "full"
    """The classic draws, and then the rest of the list."""


@frozen(kw_only=True)
class Faults:
    """Intensities; zero switches a fault off. Shares are probabilities a frame.

    `*_every_s` is the mean time between two of a kind in the whole cluster, and `*_for_s`
    how long one lasts.
    """

    # the network
    loss: float = share()
    duplicate: float = share()
    reorder: float = share()
    jitter_s: float = seconds()
    spike: float = share()
    """The share of frames that take up to `spike_s` longer."""
    spike_s: float = duration(30.0)
    corrupt: float = share()
    """The share of frames that arrive changed: links are sealed, so each ends its link."""
    partition_every_s: float = seconds()
    partition_for_s: float = duration(40.0)
    one_way: float = share()
    """The share of partitions that cut one direction only."""
    minority_every_s: float = seconds()
    """Cuts a third of the hosts off, for `partition_for_s`, as rings and thirds are."""
    ring_every_s: float = seconds()
    """Each host reaches its two neighbours in a ring and nobody else."""
    thirds_every_s: float = seconds()
    """Three sides that do not reach each other."""
    flap_every_s: float = seconds()
    """One host is cut off and reached again, over and over, for `flap_for_s`."""
    flap_for_s: float = duration(20.0)
    flap_period_s: float = duration(2.0)
    clog_every_s: float = seconds()
    """Swizzle-clog: some hosts are cut off one by one and let in again in another order."""
    clog_for_s: float = duration(20.0)
    jam_every_s: float = seconds()
    """What goes to one host is held up, and comes all at once after `jam_for_s`."""
    jam_for_s: float = duration(8.0)
    link_reset_every_s: float = seconds()
    half_open_every_s: float = seconds()
    """One end of a link is gone, and the other is not told."""
    black_hole_every_s: float = seconds()
    """Frames of more than `black_hole_bytes` vanish on the links of one host."""
    black_hole_for_s: float = duration(20.0)
    black_hole_bytes: int = count(1_000)
    # processes
    crash_every_s: float = seconds()
    down_for_s: float = duration(15.0)
    torn_share: float = share()
    """At a crash: how likely a transaction in flight reached the disk although nobody was told."""
    kill_at_write: float = share()
    """The share of transactions at which the process dies: before, while or after it is durable."""
    kill_write_number: int = count()
    """Each process dies at its transaction of this number; zero spares all."""
    storm_every_s: float = seconds()
    """Half of the hosts, or more, start again at once."""
    pause_every_s: float = seconds()
    pause_for_s: float = duration(8.0)
    starved: float = share()
    """The share of hosts that stand still for `starve_for_s` and then run for `starve_gap_s`."""
    starve_for_s: float = duration(2.0)
    starve_gap_s: float = duration(0.5)
    clock_spread_s: float = seconds()
    """How far the clocks of hosts are apart at the start."""
    clock_jump_every_s: float = seconds()
    clock_jump_max_s: float = duration(262.0)
    # disks
    disk_s: float = seconds(0.002)
    disk_stall_share: float = share()
    disk_error_every_s: float = seconds()
    """EIO: a disk refuses everything until its host starts again, `down_for_s` later."""
    disk_full_every_s: float = seconds()
    """ENOSPC: the same, and starting again helps only after `disk_full_for_s`."""
    disk_full_for_s: float = duration(30.0)
    lost_share: float = share()
    """At a crash: how likely the disk loses transactions that it had confirmed."""
    rollback_every_s: float = seconds()
    """A host goes on from a snapshot of its disk, as a restored virtual machine does."""
    wipe_every_s: float = seconds()
    """A host loses its disk, and keeps its key."""
    clone_every_s: float = seconds()
    """A second host runs with a copy of another's key and disk, for `clone_for_s`."""
    clone_for_s: float = duration(20.0)
    # members that lie
    liars: float = share()
    """The share of hosts whose frames are tampered with after they left their node."""
    lies: float = share(0.05)
    """The share of a liar's frames that it drops, repeats, damages, forges or makes up."""
    # floods
    flood_every_s: float = seconds()
    """One host is given `flood_writes` writes at once."""
    flood_writes: int = count(2_000)
    strangers_every_s: float = seconds()
    """Links of `strangers` processes that are no members come to one host, and say nonsense."""
    strangers: int = count(50)


NO_FAULTS = Faults()


def draw(dice: Dice, which: Draw) -> Faults:
    """Return a random subset and intensity of the faults.

    The classic draws come first and from the same dice as ever, so a seed keeps its
    meaning; the rest of the list rolls dice of its own.
    """
    faults = _classic(dice)
    return _rest(dice.fork("rest"), faults) if which is Draw.FULL else faults


def _classic(dice: Dice) -> Faults:
    """Draw from what is classic, from one dice: what is drawn depends on everything before it."""
    faults = NO_FAULTS
    for chance, rolls in _CLASSIC:
        if dice.chance(chance):
            faults = _drawn(dice, faults, rolls)
    return faults


def _rest(dice: Dice, faults: Faults) -> Faults:
    """Draw from what is not classic; each with its own dice, so that one more changes no other."""
    for name, chance, rolls in _REST:
        own = dice.fork(name)
        if own.chance(chance):
            faults = _drawn(own, faults, rolls)
    return faults


def _drawn(dice: Dice, faults: Faults, rolls: Mapping[str, _Roll]) -> Faults:
    drawn: dict[str, Any] = {name: _roll(dice, roll) for name, roll in rolls.items()}
    return evolve(faults, **drawn)


def _roll(dice: Dice, roll: _Roll) -> float | int:
    if isinstance(roll, list):
        return dice.choice(roll)
    low, high = roll
    if isinstance(low, int) and isinstance(high, int):
        return dice.integer(low, high)
    return dice.uniform(low, high)


_CLASSIC: tuple[tuple[float, Mapping[str, _Roll]], ...] = (
    (0.5, {"loss": (0.0, 0.2)}),
    (0.4, {"duplicate": (0.0, 0.2)}),
    (0.4, {"reorder": (0.0, 0.3)}),
    (0.5, {"jitter_s": (0.0, 0.5)}),
    (
        0.6,
        {
            "partition_every_s": (40.0, 150.0),
            "partition_for_s": (5.0, 100.0),
            "one_way": [0.0, 0.3, 1.0],
        },
    ),
    (0.4, {"link_reset_every_s": (5.0, 60.0)}),
    (
        0.6,
        {
            "crash_every_s": (30.0, 150.0),
            "down_for_s": (0.1, 60.0),
            "torn_share": [0.0, 0.5, 1.0],
        },
    ),
    (0.4, {"disk_s": (0.001, 0.2), "disk_stall_share": (0.0, 0.05)}),
    (0.3, {"pause_every_s": (60.0, 200.0), "pause_for_s": (1.0, 30.0)}),
)
"""How often it is drawn, and the rolls of each intensity, in the order in which they are rolled."""

_REST: tuple[tuple[str, float, Mapping[str, _Roll]], ...] = (
    ("spikes", 0.2, {"spike": (0.0, 0.02), "spike_s": (1.0, 30.0)}),
    ("corrupt", 0.15, {"corrupt": (0.0, 0.002)}),
    ("minority", 0.15, {"minority_every_s": (60.0, 200.0)}),
    ("ring", 0.15, {"ring_every_s": (60.0, 200.0)}),
    ("thirds", 0.15, {"thirds_every_s": (60.0, 200.0)}),
    (
        "flaps",
        0.2,
        {"flap_every_s": (40.0, 150.0), "flap_for_s": (5.0, 40.0), "flap_period_s": (0.1, 10.0)},
    ),
    ("clogs", 0.2, {"clog_every_s": (60.0, 200.0), "clog_for_s": (5.0, 60.0)}),
    ("jams", 0.2, {"jam_every_s": (30.0, 120.0), "jam_for_s": (1.0, 30.0)}),
    ("half-open", 0.2, {"half_open_every_s": (20.0, 90.0)}),
    (
        "black holes",
        0.15,
        {
            "black_hole_every_s": (60.0, 200.0),
            "black_hole_for_s": (5.0, 60.0),
            "black_hole_bytes": (200, 4_000),
        },
    ),
    ("kills at writes", 0.2, {"kill_at_write": (0.0, 0.01)}),
    ("restart storms", 0.1, {"storm_every_s": (100.0, 300.0)}),
    (
        "starved",
        0.15,
        {"starved": (0.1, 0.4), "starve_for_s": (0.5, 4.0), "starve_gap_s": (0.1, 1.0)},
    ),
    (
        "clocks",
        0.25,
        {
            "clock_spread_s": (0.0, 1e6),
            "clock_jump_every_s": (40.0, 150.0),
            "clock_jump_max_s": (0.004, 262.0),
        },
    ),
    ("disk errors", 0.15, {"disk_error_every_s": (60.0, 250.0)}),
    ("full disks", 0.1, {"disk_full_every_s": (80.0, 250.0), "disk_full_for_s": (5.0, 60.0)}),
    ("rollbacks", 0.1, {"rollback_every_s": (150.0, 300.0)}),
    ("wiped disks", 0.1, {"wipe_every_s": (150.0, 300.0)}),
    ("liars", 0.15, {"liars": (0.1, 0.4), "lies": (0.005, 0.1)}),
    ("floods", 0.15, {"flood_every_s": (60.0, 200.0), "flood_writes": (200, 2_000)}),
    ("strangers", 0.15, {"strangers_every_s": (30.0, 120.0), "strangers": (5, 100)}),
)
"""Name, how often it is drawn, and the range of each intensity. Lying disks and clones are left
to scenarios of their own: they void promises at every crash, and a run would show little else."""
