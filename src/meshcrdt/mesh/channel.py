"""Typed handles of channels: maps of JSON values, and lattices of any type.

The core sees keys and values as bytes; here a key is text in UTF-8 and a value is JSON
in UTF-8. Reads are local and do not wait; writes return when they are durable here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from meshcrdt.abc import Lattice
from meshcrdt.base.ids import PeerId
from meshcrdt.errors import UsageError
from meshcrdt.mesh.arguments import text
from meshcrdt.mesh.freshness import READ_TIMEOUT_S, Access, Freshness
from meshcrdt.mesh.receipt import Receipt
from meshcrdt.mesh.requests import Requests
from meshcrdt.mesh.schema import Values, VersionedValues
from meshcrdt.mesh.values import encode_value
from meshcrdt.mesh.watch import ABSENT, ValueWatch, Watch, WatchHub
from meshcrdt.node.events import Delete, Mutate, Put, PutMany, Targets
from meshcrdt.node.outcomes import Written
from meshcrdt.node.schemas import Agreement

L = TypeVar("L", bound=Lattice)


_PLAIN = Values()
decode_change = _PLAIN.change
"""A change as users without a schema see it; None for a key that is not text.

A value that is not JSON came from another program: for users of JSON it is absent.
"""
decode_value = _PLAIN.decode
"""The value of JSON bytes, or ABSENT when they are none."""


class MapChannel:
    """A shared map: any node may put or delete any key; see ADR 20.

    Of a put and a concurrent delete the put wins; of two concurrent puts one wins, the
    same on every node.
    """

    def __init__(
        self,
        name: str,
        *,
        requests: Requests,
        hub: WatchHub,
        get: Callable[[str, bytes], bytes | None],
        items: Callable[[str], Mapping[bytes, bytes]],
        access: Access,
        values: Values,
    ) -> None:
        self.name = text(name, "channel")
        self._values = values
        self._requests = requests
        self._hub = hub
        self._get = get
        self._items = items
        self._access = access

    async def put(self, key: str, value: Any) -> Receipt:
        """Set a key to a JSON value; returns when it is durable here.

        Never waits for the network. Raises UsageError or CapacityError with nothing
        changed, NotReady while the node starts or drains, StoreError when the disk failed,
        InMinority when the handle was made with Minority.REFUSE.
        """
        name = _key(key)
        self._access.check()
        (raw,) = await self._values.write((value,))
        written: Written = await self._requests.ask(
            lambda request: Put(request, self.name, name, raw)
        )
        return Receipt(self._requests, written)

    async def delete(self, key: str) -> Receipt:
        """Remove a key, also when it is absent; raises like `put`."""
        self._access.check()
        written: Written = await self._requests.ask(
            lambda request: Delete(request, self.name, _key(key))
        )
        return Receipt(self._requests, written)

    async def update_many(self, changes: Mapping[str, Any]) -> Receipt:
        """Set keys to JSON values, and remove those whose value is ABSENT, as one write.

        Every node sees all of it or nothing, and so do watchers (see `Watch.whole`). At most
        limits.flush_records_max keys; raises like `put`, with nothing changed.
        """
        keys = [(_key(key), value is ABSENT) for key, value in changes.items()]
        self._access.check()
        written_as = iter(
            await self._values.write([value for value in changes.values() if value is not ABSENT])
        )
        raw = tuple((key, None if is_gone else next(written_as)) for key, is_gone in keys)
        written: Written = await self._requests.ask(
            lambda request: PutMany(request, self.name, raw)
        )
        return Receipt(self._requests, written)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Collect puts and deletes, and write them as one when the block ends.

        When the block raises, nothing is written. It does not lock: what others write
        meanwhile is not seen as a conflict, as with any put.
        """
        staged = Transaction(self)
        yield staged
        if staged.changes:
            staged.receipt = await self.update_many(staged.changes)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key as this node knows it, or `default` when absent.

        ABSENT as the default tells an absent key from JSON null. Raises InMinority when the
        handle was made with Minority.REFUSE.
        """
        self._access.check()
        raw = self._get(self.name, _key(key))
        value = self._values.decode(raw)
        return default if value is ABSENT else value

    async def read(
        self,
        key: str,
        default: Any = None,
        *,
        max_age: float = 0.0,
        targets: Targets = Targets.ALL,
        peers: Iterable[PeerId] | None = None,
        timeout: float = READ_TIMEOUT_S,
    ) -> Any:
        """Return the value of a key with all that was acknowledged `max_age` seconds ago.

        Asks `peers` where given, else the `targets`: every member, or those that are alive. Who
        was asked within `max_age` seconds is not asked again. Raises NotFresh, naming who
        did not answer or whose writes did not come, when `timeout` seconds have passed.
        """
        _key(key)
        await self._values.declare()
        await self._access.wait(max_age=max_age, targets=targets, peers=peers, timeout=timeout)
        return self.get(key, default)

    def freshness(self) -> Freshness:
        """Return an estimate of how much may be missing here; it costs nothing."""
        return self._access.freshness()

    def entries(self) -> dict[str, Any]:
        """Return everything this node knows of the channel; raises like `get`."""
        self._access.check()
        return self._hub.entries(self.name, decode=self._values.change)

    @asynccontextmanager
    async def watch(self, prefix: str = "", *, resume: str | None = None) -> AsyncIterator[Watch]:
        """Give an async iterator: a Snapshot, then each Change of keys with the prefix.

        Changes that were written at once come one after the other, and `Change.more` says how
        many are still to come; `await watch.whole()` gives them together.
        A watcher that falls more than limits.watch_queue_max changes behind gets Lost(n)
        and a new Snapshot.

        `resume` is the `token` of the last event that was seen, by this process or an earlier
        one on the same state: instead of the first Snapshot come the keys that moved since,
        each with its present value, as the changes of one moment. Where that is not
        remembered, Lost(n) and a Snapshot come. Raises UsageError for another text.
        """
        wanted = text(prefix, "prefix")
        await self._values.declare()
        watch = self._hub.open_map(self.name, wanted, self._values.change, resume=resume)
        try:
            yield watch
        finally:
            self._hub.shut(self.name, watch)

    async def declare(self) -> None:
        """Let all members know which versions this program reads; see `Schema`.

        The first put, read or watch does it too. Returns when it is durable here, and raises
        like `put`.
        """
        await self._versioned().declare()

    async def retire(self) -> None:
        """Say that this node does not use the channel any more: nobody waits for it."""
        await self._versioned().retire()

    def agreement(self) -> Agreement:
        """Return which version is written now, and which members hold it back."""
        return self._versioned().agreement()

    def unreadable(self) -> dict[str, str]:
        """Return why the values of keys are not shown to this program, by key."""
        return {
            key.decode(errors="replace"): reason
            for key, raw in self._items(self.name).items()
            if (reason := self._values.why_unreadable(raw)) is not None
        }

    def _versioned(self) -> VersionedValues:
        if not isinstance(self._values, VersionedValues):
            raise UsageError(f"channel {self.name!r} was opened without a schema")
        return self._values


class Transaction:
    """Puts and deletes of one map channel that become one write; see `MapChannel.transaction`."""

    def __init__(self, channel: MapChannel) -> None:
        self._channel = channel
        self.changes: dict[str, Any] = {}
        """What is staged: by key the value, or ABSENT for a delete."""
        self.receipt: Receipt | None = None
        """Of the write, once the block has ended; None when nothing was staged."""

    def put(self, key: str, value: Any) -> None:
        """Stage a put; raises UsageError for what is no key or no JSON value."""
        encode_value(value)
        self.changes[text(key, "key")] = value

    def delete(self, key: str) -> None:
        """Stage a delete."""
        self.changes[text(key, "key")] = ABSENT

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key as it is after what is staged, or `default` when absent."""
        if key not in self.changes:
            return self._channel.get(key, default)
        value = self.changes[key]
        return default if value is ABSENT else value


class LatticeChannel(Generic[L]):
    """A shared value of a lattice type: each node joins its own part into it."""

    def __init__(
        self,
        name: str,
        lattice: type[L],
        *,
        requests: Requests,
        hub: WatchHub,
        read: Callable[[str, type[Lattice]], Any],
        access: Access,
    ) -> None:
        self._access = access
        self.name = text(name, "channel")
        self.lattice = lattice
        self._requests = requests
        self._hub = hub
        self._read = read

    def value(self) -> L:
        """Return the join of what all nodes contributed, as this node knows it.

        Raises InMinority when the handle was made with Minority.REFUSE.
        """
        self._access.check()
        value: L = self._read(self.name, self.lattice)
        return value

    async def read(
        self,
        *,
        max_age: float = 0.0,
        targets: Targets = Targets.ALL,
        peers: Iterable[PeerId] | None = None,
        timeout: float = READ_TIMEOUT_S,
    ) -> L:
        """Return the value with all that was acknowledged `max_age` seconds ago.

        The arguments are those of `MapChannel.read`, and it raises like that.
        """
        await self._access.wait(max_age=max_age, targets=targets, peers=peers, timeout=timeout)
        return self.value()

    def freshness(self) -> Freshness:
        """Return an estimate of how much may be missing here; it costs nothing."""
        return self._access.freshness()

    async def update(self, delta: L | Callable[[L], L]) -> Receipt:
        """Join a delta into the value; returns when it is durable here.

        A function is given the present value, inside the turn that writes, and returns the
        delta: `counter.update(lambda value: value.increment(mesh.peer, 1))` never loses a
        count to another task. Raises like `MapChannel.put`, or what the function raised.
        """

        if not isinstance(delta, self.lattice) and not callable(delta):
            raise UsageError(
                f"{type(delta).__name__} is no delta of {self.lattice.__name__} and no function"
            )
        self._access.check()
        mutator = _Mutator(self.lattice, delta)
        try:
            written: Written = await self._requests.ask(
                lambda request: Mutate(request, self.name, self.lattice, mutator)
            )
        except UsageError:
            if mutator.failure is not None:
                raise mutator.failure from None
            raise
        return Receipt(self._requests, written)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[ValueWatch[L]]:
        """Give an async iterator of the value: the present one, then each later one seen."""
        watch = self._hub.open_value(self.name, self.value)
        try:
            yield watch
        finally:
            self._hub.shut(self.name, watch)


def _key(key: str) -> bytes:
    return text(key, "key").encode()


class _Mutator:
    """A user's function as the node may call it: it ends that user's call and nothing else.

    The function runs in the turn that writes, in the node's own task, where an exception
    would end the mesh. It is kept here and raised again where the user waits.
    """

    def __init__(self, lattice: type[Lattice], delta: Any) -> None:
        self._lattice = lattice
        self._delta = delta
        self.failure: Exception | None = None
        self.returned: Lattice | None = None
        """What it gave the node, for a trace."""
        self.refused: str | None = None
        """Or why it gave nothing."""

    def __call__(self, value: Any) -> Any:
        if isinstance(self._delta, self._lattice):
            self.returned = self._delta
            return self._delta
        try:
            delta = self._delta(value)
        except Exception as error:
            self.failure = error
            self.refused = f"the function that makes the delta raised: {error!r}"
            raise UsageError(self.refused) from None
        if not isinstance(delta, self._lattice):
            made = type(delta).__name__
            self.refused = f"the function made a {made}: {self._lattice.__name__} is accepted"
            raise UsageError(self.refused)
        self.returned = delta
        return delta
