"""What goes in at the door: `effects = node.handle(event, now)`.

Two families. Events of the world come from the shell: links, frames, the disk. Commands
come from the user and carry a `request` number that the shell chose; each is answered by
exactly one `Reply(request, outcome)`, at the latest when its deadline has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, TypeAlias

from attrs import field, frozen

from meshcrdt.abc import Lattice
from meshcrdt.base.ids import PeerId
from meshcrdt.topology.links import Direction
from meshcrdt.trust.hello import Hello


class Durability(Enum):
    """How far a receipt asks."""

    MERGED = "merged"
    DURABLE = "durable"


class Targets(Enum):
    """Of whom a receipt or a read asks, when no peers are named; fixed at the call."""

    ALL = "all"
    """Every member of the directory, dead ones included: it holds for the whole cluster."""
    LIVE = "live"
    """The members that are alive: those that a partition hides do not hold it up."""


# --- the world -------------------------------------------------------------------------


@frozen
class LinkOpened:
    """A link finished its handshake; `hello` is what the peer proved and said there.

    `address` is the URL that was dialled, or where the accepted link came from.
    """

    link: int
    hello: Hello
    direction: Direction
    address: str
    transport: str
    encrypted: bool


@frozen
class LinkClosed:
    """A link ended, by either side or by the world."""

    link: int
    reason: str


@frozen
class DialFailed:
    """A Dial came to nothing. `refused` is True when the other end answered and said no."""

    address: str
    reason: str
    refused: bool = False


@frozen
class FrameReceived:
    """One frame came in on a link, already opened by the session."""

    link: int
    frame: bytes


@frozen
class Persisted:
    """Everything up to and including this watermark is on disk."""

    watermark: int


@frozen
class StoreFailed:
    """The store gave up: nothing more is acknowledged."""

    reason: str


@frozen
class Resumed:
    """The host stood still for `gap_s` seconds that no clock of this process counted.

    It was suspended, or is a snapshot that was resumed. `instance` was drawn just now, 8
    bytes: a copy of this process would draw the same from dice that it has the same.
    """

    gap_s: float
    instance: bytes


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


# --- commands --------------------------------------------------------------------------


@frozen
class Put:
    """Set a key of a map channel."""

    request: int
    channel: str
    key: bytes
    value: bytes


@frozen
class Delete:
    """Remove a key of a map channel; done also when it is absent."""

    request: int
    channel: str
    key: bytes


@frozen
class PutMany:
    """Set and remove keys of a map channel as one write: all of it is seen, or nothing.

    `changes` are (key, value); None removes the key.
    """

    request: int
    channel: str
    changes: tuple[tuple[bytes, bytes | None], ...]


@frozen
class Mutate:
    """Join what `mutator` returns into a lattice channel.

    `mutator` is given the current value, this node's staged writes included, and returns a
    delta or a whole new value; it runs inside the turn, so two increments never start from
    the same count.
    """

    request: int
    channel: str
    lattice: type[Lattice]
    mutator: Callable[[Any], Lattice]


@frozen
class Speak:
    """Say which schema versions this node reads of a channel, and which it is about to write.

    `reads` is sorted; none says that this node does not use the channel any more. `writes` is
    0 for a reader. Answered with Done once it is durable here.
    """

    request: int
    channel: str
    reads: tuple[int, ...]
    writes: int = 0


@frozen
class AwaitReceipt:
    """Ask who holds a write of ours; answered when enough targets do, or at the deadline."""

    request: int
    channel: str
    epoch_counter: int
    epoch_instance: bytes
    seq: int
    targets: tuple[PeerId, ...] | Targets
    level: Durability
    deadline: float
    fraction: float = 1.0
    """Share of the targets that are enough, above 0."""


@frozen
class AwaitFresh:
    """Ask who may have written to a channel; answered when all that they have is held here."""

    request: int
    channel: str
    targets: tuple[PeerId, ...] | Targets
    max_age_s: float
    deadline: float


@frozen
class Allocate:
    """Give a workload one address: from the first universe, or from `subnet` where given."""

    request: int
    workload: str
    subnet: str | None
    deadline: float


@frozen
class Claim:
    """Take one given address for a workload."""

    request: int
    workload: str
    address: str
    deadline: float


@frozen
class Release:
    """Give back one address of a workload, or all of them."""

    request: int
    workload: str
    address: str | None = None


@frozen
class SetName:
    """Set this node's addresses for a name; none removes it."""

    request: int
    name: str
    addresses: tuple[str, ...]


@frozen
class SetWorkload:
    """Publish (or with no addresses withdraw) where a workload's addresses live: on this host."""

    request: int
    workload: str
    addresses: tuple[str, ...]
    mac: str = ""


@frozen
class Connect:
    """Add addresses to dial; kept over restarts."""

    request: int
    addresses: tuple[str, ...] = field(converter=_texts)


@frozen
class Forget:
    """Stop dialling: addresses, or the peers that an id, prefix or name means."""

    request: int
    peers: tuple[str, ...] = field(converter=_texts)


class Force(Enum):
    """Whether something is done although it looks wrong."""

    NO = "no"
    YES = "yes"


@frozen
class Evict:
    """Let a member go for good: its names go, its shared records stay, its id is free again.

    `peer` is an id, a unique prefix, a name or an address. A member that is not dead and
    has not left goes only by force. Decided by the guardians of the cluster.
    """

    request: int
    peer: str
    force: Force
    deadline: float


@frozen
class Leave:
    """Say goodbye for good: names, adjacency and presence go; links are closed after."""

    request: int


@frozen
class Drain:
    """Stop accepting commands that change state; flush what is pending."""

    request: int


World: TypeAlias = (
    LinkOpened | LinkClosed | DialFailed | FrameReceived | Persisted | Resumed | StoreFailed
)
Command: TypeAlias = (
    Put
    | Delete
    | PutMany
    | Mutate
    | Speak
    | AwaitReceipt
    | AwaitFresh
    | Allocate
    | Claim
    | Release
    | SetName
    | SetWorkload
    | Connect
    | Forget
    | Evict
    | Leave
    | Drain
)
Event: TypeAlias = World | Command
