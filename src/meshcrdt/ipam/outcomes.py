"""How an address call ends: exactly one of these, at the latest at its deadline.

`outcome` is the word of the contract (allocated, exhausted, ...). `reason` is one line
for a person and names the values that matter.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from attrs import frozen


@frozen
class Allocated:
    """The workload holds `address`, such as "10.32.0.1/12", until it is released."""

    address: str
    outcome: ClassVar[str] = "allocated"


@frozen
class Exhausted:
    """Nothing is free in the range, or this node holds all it may; `reason` names which."""

    reason: str
    outcome: ClassVar[str] = "exhausted"


@frozen
class Unreachable:
    """Own blocks are full and the guardian of the pool did not answer; `reason` names it."""

    reason: str
    outcome: ClassVar[str] = "unreachable"


@frozen
class Recovering:
    """The node, or the guardian that was asked, is still loading its state."""

    reason: str
    outcome: ClassVar[str] = "recovering"


@frozen
class Frozen:
    """Two conflicting records exist for the range: nobody allocates from it."""

    reason: str
    outcome: ClassVar[str] = "frozen"


@frozen
class Draining:
    """The node is stopping and takes no new addresses."""

    reason: str
    outcome: ClassVar[str] = "draining"


@frozen
class TimedOut:
    """The deadline passed, or the caller released the workload while it waited."""

    reason: str
    outcome: ClassVar[str] = "timeout"


@frozen
class Claimed:
    """The workload holds the address that it asked for."""

    address: str
    outcome: ClassVar[str] = "claimed"


@frozen
class Refused:
    """The address cannot be had; `holder` is a workload here or a peer id, where one holds it."""

    reason: str
    holder: str | None = None
    outcome: ClassVar[str] = "refused"


@frozen
class Released:
    """The addresses that the workload held and no longer holds; may be empty."""

    addresses: tuple[str, ...]
    outcome: ClassVar[str] = "released"


Outcome: TypeAlias = (
    Allocated
    | Exhausted
    | Unreachable
    | Recovering
    | Frozen
    | Draining
    | TimedOut
    | Claimed
    | Refused
    | Released
)
