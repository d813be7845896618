"""The interfaces that users may implement, and nothing else.

They are structural: no subclassing is asked of anyone. `meshcrdt.testing` has a suite for
some, so that an implementation proves itself in a few lines: laws for `Lattice`, conformance
for `Transport` with its `Listener` and `Link`, and for `Store`. `Dataplane` and `Instrument`
have none yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from meshcrdt.base.tree import Tree
    from meshcrdt.dataplane.model import Desired, Remote, Report

L = TypeVar("L", bound="Lattice")


@runtime_checkable
class Lattice(Protocol):
    """A join-semilattice value: immutable, with a canonical tree.

    Laws (checked by `meshcrdt.testing.laws`): join is commutative, associative and
    idempotent; `bottom()` is neutral; `leq(a, b)` means `join(a, b) == b`; the parts of
    `decompose` join to the value and none is redundant; `from_tree(to_tree(a)) == a`,
    and equal values have equal trees.
    """

    @classmethod
    def bottom(cls: type[L]) -> L:
        """Return the least value."""
        ...

    def join(self: L, other: L) -> L:
        """Return the least upper bound; never raises for two values of the type."""
        ...

    def leq(self: L, other: L) -> bool:
        """Return True when `other` already holds everything that `self` holds."""
        ...

    def decompose(self: L) -> Iterator[L]:
        """Yield irredundant, join-irreducible parts whose join is this value."""
        ...

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        ...

    @classmethod
    def from_tree(cls: type[L], tree: Tree) -> L:
        """Read a tree from outside; raises MalformedTree."""
        ...


class Link(Protocol):
    """An ordered, reliable, framed connection between two endpoints; unauthenticated."""

    @property
    def remote(self) -> str:
        """The URL of the other end as seen here, for people and for dialling back."""
        ...

    @property
    def transport(self) -> str:
        """The scheme, such as "tcp"."""
        ...

    async def send(self, frame: bytes) -> None:
        """Send one frame whole. Raises LinkError when the link is gone, ClosedError after aclose.

        One sender at a time. Cancelling it may break the link, never a later frame's framing.
        """
        ...

    async def receive(self) -> bytes:
        """Return the next frame. Raises LinkClosed at an orderly end, LinkError when it broke,
        RemoteProtocolError when the length prefix exceeds the limit. Cancelling loses nothing.
        """
        ...

    async def aclose(self) -> None:
        """Close at once, also while cancelled; idempotent."""
        ...


class Listener(Protocol):
    """Something that accepts links."""

    @property
    def address(self) -> str:
        """The bound URL, with the real port where port 0 was asked."""
        ...

    async def accept(self) -> Link:
        """Return the next incoming link; raises ClosedError after aclose, never for a bad peer."""
        ...

    async def aclose(self) -> None:
        """Stop listening; idempotent."""
        ...


class Transport(Protocol):
    """One URL scheme. Found by the entry point group `meshcrdt.transports`."""

    async def listen(self, url: str, *, frame_bytes_max: int) -> Listener:
        """Open a listener; raises ListenError naming URL and reason, UsageError for a bad URL."""
        ...

    async def dial(self, url: str, *, frame_bytes_max: int) -> Link:
        """Connect. Raises DialError naming the URL and the reason, UsageError for a bad URL."""
        ...


Row = tuple[str, bytes, "bytes | None"]
"""(table, key, value); value None deletes the row."""


class Store(Protocol):
    """Durable rows: (table, key) -> bytes, with atomic batches. It knows no meaning.

    Found by the entry point group `meshcrdt.stores`, keyed by URL scheme.
    """

    async def load(self) -> Mapping[str, Mapping[bytes, bytes]]:
        """Return every table. Raises CorruptStore, WrongStore or StoreError."""
        ...

    async def write(self, rows: Sequence[Row]) -> None:
        """Apply all rows or none, and return only when they are on disk. Raises StoreError.

        After a StoreError nothing more is acknowledged: the store refuses later writes.
        """
        ...

    async def aclose(self) -> None:
        """Release the store; idempotent."""
        ...


class Dataplane(Protocol):
    """What carries workload traffic; another tool may replace ours.

    Found by the entry point group `meshcrdt.dataplanes`, called with a `DataplaneConfig`.
    The records are those of `meshcrdt.dataplane.model`. What is not desired is removed, so
    nothing is handed in before the durable state is loaded.
    """

    def why_off(self) -> str | None:
        """Return one line that says why no workload is carried at all, or None.

        A daemon whose dataplane is off attaches nothing and takes no address for the host.
        """
        ...

    async def check(self, universes: Iterable[str]) -> str | None:
        """Return one line that says why it cannot carry these ranges on this host, or None."""
        ...

    def why_closed(self) -> str | None:
        """Return one line that says why no other host can be reached at all, or None."""
        ...

    def why_no_path(self, remotes: Iterable[Remote]) -> Mapping[str, str]:
        """Return peer -> one line, for each remote that workload traffic cannot go to."""
        ...

    async def apply(self, desired: Desired) -> Report:
        """Make it so, and keep it so while `run` is entered.

        What the kernel refuses is in the report; raises DataplaneOff where workloads are
        wanted and the dataplane is off.
        """
        ...

    async def reset(self) -> None:
        """Remove everything it made. Raises DataplaneError naming what is left."""
        ...

    def run(self) -> AbstractAsyncContextManager[AsyncIterable[Report]]:
        """Enter to restore what somebody removes; yields reports as they become others.

        Leaving stops watching, and leaves traffic flowing.
        """
        ...


class Instrument(Protocol):
    """Hooks of a node; all optional, called in the driver, never raising into it."""

    def before_handle(self, event: object, now: float) -> None:
        """Called with each event before the node sees it."""
        ...

    def after_handle(self, event: object, effects: Sequence[object], now: float) -> None:
        """Called with the effects that the event caused."""
        ...
