"""The story of a scenario: what happens at which moment, as data.

`meshcrdt.sim.stage` performs it. Each class is one action; its fields are the keys that a
`[[step]]` of a scenario file may have beside `at` and `do`.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from attrs import field, frozen, validators

from meshcrdt.sim.fault_list import count, duration, seconds, share


class Shape(Enum):
    """How a partition divides the hosts."""

    SIDES = "sides"
    """Two sides; `share` of the hosts are on the smaller one."""
    THIRDS = "thirds"
    RING = "ring"
    """Each reaches its neighbours only."""
    ONE_WAY = "one-way"
    """Two sides, of which the smaller one hears the other and is not heard."""
    ALONE = "alone"
    """Nobody reaches anybody."""


class Who(Enum):
    """Which hosts an action is about."""

    ANY = "any"
    FIRST = "first"
    LAST = "last"


@frozen(kw_only=True)
class Partition:
    """Cut the network, for `lasts_s` or until a heal."""

    at_s: float = seconds()
    shape: Shape = Shape.SIDES
    share: float = share(0.5)
    lasts_s: float = seconds()


@frozen(kw_only=True)
class Heal:
    """Let everyone reach everyone again, and measure how long until all hold the same."""

    at_s: float = seconds()


@frozen(kw_only=True)
class Kill:
    """Kill processes; they come back `back_after_s` later, or never when that is zero."""

    at_s: float = seconds()
    share: float = share()
    count: int = count()
    who: Who = Who.ANY
    back_after_s: float = seconds()


@frozen(kw_only=True)
class Start:
    """Start hosts that were held back, all of them or the next `count`, or that were killed."""

    at_s: float = seconds()
    count: int = count()


@frozen(kw_only=True)
class Restart:
    """Kill a share of the hosts and start them at once."""

    at_s: float = seconds()
    share: float = share(1.0)


@frozen(kw_only=True)
class Churn:
    """Each minute, kill a share of the hosts one by one; each is back after `down_s`."""

    at_s: float = seconds()
    share: float = share(0.05)
    lasts_s: float = duration(60.0)
    down_s: float = duration(15.0)


@frozen(kw_only=True)
class Leave:
    """Hosts say goodbye for good."""

    at_s: float = seconds()
    count: int = field(default=1, validator=validators.gt(0))
    who: Who = Who.LAST


@frozen(kw_only=True)
class Write:
    """One host sets one key, and it is measured how long until everyone reads it."""

    at_s: float = seconds()
    key: str = "key"
    who: Who = Who.FIRST


@frozen(kw_only=True)
class Erase:
    """One host removes one key, and it is measured how long until nobody reads it."""

    at_s: float = seconds()
    key: str = "key"
    who: Who = Who.FIRST


@frozen(kw_only=True)
class Read:
    """It is measured how long until everyone reads a key, whoever wrote it."""

    at_s: float = seconds()
    key: str = "key"


@frozen(kw_only=True)
class Burst:
    """One host is given many writes at once."""

    at_s: float = seconds()
    writes: int = field(default=1_000, validator=validators.gt(0))
    who: Who = Who.ANY


@frozen(kw_only=True)
class Starve:
    """Hosts stand still for `busy_s`, run for `gap_s`, and so on while it lasts."""

    at_s: float = seconds()
    share: float = share(0.25)
    busy_s: float = duration(2.0)
    gap_s: float = duration(0.5)
    lasts_s: float = duration(60.0)


Step: TypeAlias = (
    Partition
    | Heal
    | Kill
    | Start
    | Restart
    | Churn
    | Leave
    | Write
    | Erase
    | Read
    | Burst
    | Starve
)

ACTIONS: dict[str, type[Step]] = {
    "partition": Partition,
    "heal": Heal,
    "kill": Kill,
    "start": Start,
    "restart": Restart,
    "churn": Churn,
    "leave": Leave,
    "write": Write,
    "erase": Erase,
    "read": Read,
    "burst": Burst,
    "starve": Starve,
}
"""What `do` may say in a scenario file."""
