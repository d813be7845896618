"""The rules of a store, as checks that anyone can run against their own.

Ten lines, with pytest-trio, prove a store::

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    async def test_my_store(check, tmp_path):
        await check(StoreUnderTest(open_my_store, url=f"my://{tmp_path}/store"))

A check raises AssertionError naming the rule that is broken. It expects the URL to name a
store that does not exist yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import trio
from attrs import frozen

from meshcrdt.abc import Row, Store
from meshcrdt.errors import ClosedError, StoreInUse, UsageError

Tables = Mapping[str, Mapping[bytes, bytes]]
PATIENCE_S = 30.0
BATCHES = 30


@frozen
class StoreUnderTest:
    """How to open the store at a URL that names a new one."""

    open: Callable[[str], Awaitable[Store]]
    url: str

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """Open the store and close it again, within the suite's patience."""
        with trio.fail_after(PATIENCE_S):
            store = await self.open(self.url)
            try:
                yield store
            finally:
                await store.aclose()

    async def content(self) -> Tables:
        """Open the store, load it, close it, and leave out empty tables."""
        async with self.opened() as store:
            return _without_empty(await store.load())


async def check_new_store_is_empty(subject: StoreUnderTest) -> None:
    """A store that did not exist loads as nothing."""
    _expect(await subject.content() == {}, "a new store is empty")


async def check_rows_survive_a_restart(subject: StoreUnderTest) -> None:
    """What was written is loaded, at once and after a restart, byte for byte."""
    rows: list[Row] = [
        ("alpha", b"", b""),
        ("alpha", b"\0\xff", bytes(range(256)) * 1024),
        ("beta with spaces; and -- more", b"key", b"value"),
    ]
    expected: dict[str, dict[bytes, bytes]] = {}
    for table, key, value in rows:
        expected.setdefault(table, {})[key] = value or b""
    async with subject.opened() as store:
        await store.write(rows)
        _expect(_without_empty(await store.load()) == expected, "a write is loaded at once")
    _expect(await subject.content() == expected, "a write survives a restart")


async def check_later_rows_win(subject: StoreUnderTest) -> None:
    """A later row replaces an earlier one, across batches and within one; None deletes."""
    async with subject.opened() as store:
        await store.write([("t", b"a", b"1"), ("t", b"b", b"1"), ("t", b"gone", b"1")])
        await store.write([("t", b"a", b"2"), ("t", b"gone", None), ("t", b"never", None)])
        await store.write([("t", b"b", b"2"), ("t", b"b", None), ("t", b"b", b"3")])
        await store.write([])
    _expect(await subject.content() == {"t": {b"a": b"2", b"b": b"3"}}, "the last row wins")


async def check_tables_are_apart(subject: StoreUnderTest) -> None:
    """The same key in two tables is two rows."""
    async with subject.opened() as store:
        await store.write([("t", b"k", b"1"), ("u", b"k", b"2")])
        await store.write([("t", b"k", None)])
    _expect(await subject.content() == {"u": {b"k": b"2"}}, "tables do not mix")


async def check_batches_are_whole(subject: StoreUnderTest) -> None:
    """A write that is cancelled at any point is there whole or not at all."""
    async with subject.opened() as store:
        for number in range(BATCHES):
            value = b"%d" % number
            with trio.move_on_after(0.0005 * (number % 5)):
                await store.write([("t", b"%d" % key, value) for key in range(50)])
        await store.write([("last", b"", b"")])
    table = (await subject.content()).get("t", {})
    _expect(len(set(table.values())) <= 1, "a batch is whole or not there")
    _expect(len(table) in (0, 50), "a batch is whole or not there")


async def check_concurrent_writes_all_land(subject: StoreUnderTest) -> None:
    """Writes from several tasks are all applied."""
    async with subject.opened() as store:

        async def write(number: int) -> None:
            await store.write([("t", b"%d" % number, b"x")])

        async with trio.open_nursery() as nursery:
            for number in range(BATCHES):
                nursery.start_soon(write, number)
    _expect(len((await subject.content())["t"]) == BATCHES, "every write lands")


async def check_one_holder_at_a_time(subject: StoreUnderTest) -> None:
    """A second open is refused with StoreInUse while the first is open, and works after."""
    async with subject.opened() as store:
        await store.write([("t", b"k", b"v")])
        try:
            second = await subject.open(subject.url)
        except StoreInUse:
            pass
        else:
            await second.aclose()
            raise AssertionError("broken rule: a store has one holder")
        await store.write([("t", b"k", b"w")])
    _expect(await subject.content() == {"t": {b"k": b"w"}}, "a refusal harms no holder")


async def check_closed_store_says_so(subject: StoreUnderTest) -> None:
    """After aclose, which may be repeated, both calls raise ClosedError."""
    async with subject.opened() as store:
        await store.aclose()
        await store.aclose()
        await _expect_closed(store.load)
        await _expect_closed(lambda: store.write([("t", b"k", b"v")]))


async def check_close_while_cancelled(subject: StoreUnderTest) -> None:
    """Closing in a cancelled scope releases the store all the same."""
    store = await subject.open(subject.url)
    await store.write([("t", b"k", b"v")])
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.aclose()
    _expect(await subject.content() == {"t": {b"k": b"v"}}, "a cancelled close closes")


async def check_bad_urls(subject: StoreUnderTest) -> None:
    """A URL of another scheme, or of none, raises UsageError."""
    for url in ("", "no-url", "other-scheme:///x"):
        try:
            store = await subject.open(url)
        except UsageError:
            continue
        await store.aclose()
        raise AssertionError(f"broken rule: {url!r} raises UsageError")


STORE_CHECKS: tuple[Callable[[StoreUnderTest], Awaitable[None]], ...] = (
    check_new_store_is_empty,
    check_rows_survive_a_restart,
    check_later_rows_win,
    check_tables_are_apart,
    check_batches_are_whole,
    check_concurrent_writes_all_land,
    check_one_holder_at_a_time,
    check_closed_store_says_so,
    check_close_while_cancelled,
    check_bad_urls,
)


def _without_empty(tables: Tables) -> Tables:
    return {table: dict(rows) for table, rows in tables.items() if rows}


def _expect(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(f"broken rule: {rule}")


async def _expect_closed(call: Callable[[], Awaitable[object]]) -> None:
    try:
        await call()
    except ClosedError:
        return
    raise AssertionError("broken rule: a closed store raises ClosedError")
