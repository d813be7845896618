"""mem://NAME: rows that live as long as one `trio.run`, for tests and throw-away nodes.

A named store keeps its rows when it is closed and gives them back when it is opened
again, so that a restart can be tested without a disk. `mem://` is a new one each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio
from attrs import define, field

from meshcrdt.abc import Row
from meshcrdt.errors import ClosedError, StoreError, StoreInUse, UsageError

SCHEME = "mem"


@define
class _Shelf:
    """The rows of one name, and whether somebody has them open."""

    tables: dict[str, dict[bytes, bytes]] = field(factory=dict)
    taken: bool = False


_shelves: trio.lowlevel.RunVar[dict[str, _Shelf]] = trio.lowlevel.RunVar("meshcrdt.storage.memory")


async def open_memory(url: str) -> MemoryStore:
    """Open a store in memory; raises UsageError for a bad URL, StoreInUse when it is open."""
    scheme, separator, name = url.partition("://")
    if not separator or scheme.lower() != SCHEME:
        raise UsageError(f"{url!r} is not a mem store: mem://NAME is accepted")
    await trio.lowlevel.checkpoint()
    if not name:
        return MemoryStore(_Shelf(taken=True), url=url)
    try:
        shelves = _shelves.get()
    except LookupError:
        shelves = {}
        _shelves.set(shelves)
    shelf = shelves.setdefault(name, _Shelf())
    if shelf.taken:
        raise StoreInUse(f"store {url} is open already in this process")
    shelf.taken = True
    return MemoryStore(shelf, url=url)


class MemoryStore:
    """A `meshcrdt.abc.Store` in memory."""

    def __init__(self, shelf: _Shelf, *, url: str) -> None:
        self._shelf = shelf
        self._url = url
        self._closed = False
        self._failed: str | None = None

    async def load(self) -> Mapping[str, Mapping[bytes, bytes]]:
        """Return a copy of every table."""
        self._check_open()
        await trio.lowlevel.checkpoint()
        return {table: dict(rows) for table, rows in self._shelf.tables.items()}

    async def write(self, rows: Sequence[Row]) -> None:
        """Apply all rows; raises StoreError after `fail`."""
        self._check_open()
        await trio.lowlevel.checkpoint()
        if self._failed is not None:
            raise StoreError(f"store {self._url} failed: {self._failed}")
        for table, key, value in rows:
            if value is None:
                self._shelf.tables.get(table, {}).pop(key, None)
            else:
                self._shelf.tables.setdefault(table, {})[bytes(key)] = bytes(value)

    async def aclose(self) -> None:
        """Release the store; its rows stay for the next who opens the name."""
        if not self._closed:
            self._closed = True
            self._shelf.taken = False
        await trio.lowlevel.cancel_shielded_checkpoint()

    def fail(self, reason: str) -> None:
        """Refuse every later write, as a disk does that died; for tests."""
        self._failed = reason

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"store {self._url} is closed")
