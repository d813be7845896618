"""Watches: a snapshot, then changes, or Lost(n) and a new snapshot; bounded always."""

import pytest
import trio

from meshcrdt.errors import ClosedError
from meshcrdt.gossip.bookmarks import Moved
from meshcrdt.mesh.channel import decode_change, encode_value
from meshcrdt.mesh.notices import NoticeBoard
from meshcrdt.mesh.watch import ABSENT, Change, Lost, Snapshot, WatchHub
from meshcrdt.node.effects import Notice

QUEUE_MAX = 5
PATIENCE_S = 30


class Board:
    """A map channel in memory that tells the hub what it changed."""

    def __init__(self):
        self.rows = {}
        self.hub = WatchHub(
            get=lambda _channel, key: self.rows.get(key),
            items=lambda _channel: dict(self.rows),
            decode=decode_change,
            queue_max=QUEUE_MAX,
            bookmark=lambda _channel: {},
            moved_since=lambda _channel, _at: Moved(frozenset(), 0),
        )

    def put(self, key, value):
        self.rows[key.encode()] = encode_value(value)
        self.hub.changed("c", (key.encode(),))

    def put_all(self, **values):
        for key, value in values.items():
            self.rows[key.encode()] = encode_value(value)
        self.hub.changed("c", tuple(sorted(key.encode() for key in values)))

    def delete(self, key):
        self.rows.pop(key.encode(), None)
        self.hub.changed("c", (key.encode(),))


async def take(watch):
    with trio.fail_after(PATIENCE_S):
        return await watch.__anext__()


async def expect_nothing(watch):
    with trio.move_on_after(1) as scope:
        pytest.fail(f"unexpected {await watch.__anext__()}")
    assert scope.cancelled_caught


async def test_snapshot_then_changes():
    board = Board()
    board.put("a", 1)
    watch = board.hub.open_map("c", "")
    assert await take(watch) == Snapshot({"a": 1})
    board.put("b", None)
    board.delete("a")
    assert await take(watch) == Change("b", None)
    assert await take(watch) == Change("a", ABSENT)


async def test_prefix_limits_both():
    board = Board()
    board.put("web/1", 1)
    board.put("db", 1)
    watch = board.hub.open_map("c", "web")
    assert await take(watch) == Snapshot({"web/1": 1})
    board.put("db", 2)
    board.put("web/2", 2)
    assert await take(watch) == Change("web/2", 2)


async def test_a_prefix_decodes_nothing_beside_it():
    board, decoded = Board(), []

    def decode(key, value):
        decoded.append(key)
        return decode_change(key, value)

    board.hub = WatchHub(
        get=lambda _channel, key: board.rows.get(key),
        items=lambda _channel: dict(board.rows),
        decode=decode,
        queue_max=QUEUE_MAX,
        bookmark=lambda _channel: {},
        moved_since=lambda _channel, _at: Moved(frozenset(), 0),
    )
    board.put("web/é", 1)
    board.put("db", 1)
    watch = board.hub.open_map("c", "web/é")
    assert await take(watch) == Snapshot({"web/é": 1})
    board.put("db", 2)
    board.put("web/éa", 2)
    assert await take(watch) == Change("web/éa", 2)
    assert set(decoded) == {"web/é".encode(), "web/éa".encode()}


async def test_changes_before_the_snapshot_are_in_it():
    board = Board()
    watch = board.hub.open_map("c", "")
    board.put("a", 1)
    assert await take(watch) == Snapshot({"a": 1})
    board.put("b", 2)
    assert await take(watch) == Change("b", 2)


async def test_slow_watcher_is_told_how_much_it_lost_and_resynchronised():
    board = Board()
    watch = board.hub.open_map("c", "")
    await take(watch)
    for number in range(QUEUE_MAX + 3):
        board.put("a", number)
    assert await take(watch) == Lost(QUEUE_MAX + 3)
    assert await take(watch) == Snapshot({"a": QUEUE_MAX + 2})
    board.put("a", "next")
    assert await take(watch) == Change("a", "next")


async def test_queue_holds_exactly_its_bound():
    board = Board()
    watch = board.hub.open_map("c", "")
    await take(watch)
    for number in range(QUEUE_MAX):
        board.put("a", number)
    assert [await take(watch) for _ in range(QUEUE_MAX)] == [
        Change("a", number) for number in range(QUEUE_MAX)
    ]


async def test_record_that_changes_nothing_visible_is_not_told(autojump_clock):
    board = Board()
    board.put("a", 1)
    watch = board.hub.open_map("c", "")
    await take(watch)
    board.hub.changed("c", (b"a", b"never there"))
    await expect_nothing(watch)
    board.delete("a")
    board.delete("a")
    assert await take(watch) == Change("a", ABSENT)
    await expect_nothing(watch)


async def test_values_of_other_programs_are_invisible(autojump_clock):
    board = Board()
    board.rows[b"\xff"] = b"1"
    board.rows[b"bad"] = b"{not json"
    watch = board.hub.open_map("c", "")
    assert await take(watch) == Snapshot({})
    board.rows[b"\xfe"] = b"2"
    board.hub.changed("c", (b"\xfe",))
    await expect_nothing(watch)
    board.put("good", 1)
    board.rows[b"good"] = b"now it is spoiled"
    board.hub.changed("c", (b"good",))
    assert await take(watch) == Change("good", 1)
    assert await take(watch) == Change("good", ABSENT)


async def test_shut_watch_ends_and_is_forgotten():
    board = Board()
    watch, other = board.hub.open_map("c", ""), board.hub.open_map("c", "")
    board.hub.shut("c", watch)
    with pytest.raises(ClosedError):
        await take(watch)
    board.put("a", 1)
    assert await take(other) == Snapshot({"a": 1})
    board.hub.check()
    board.hub.shut("c", other)
    board.hub.check()
    assert board.hub._maps == board.hub._shown == {}


async def test_close_wakes_everyone():
    board = Board()
    watch, value = board.hub.open_map("c", ""), board.hub.open_value("c", lambda: 1)
    await take(watch)
    assert await take(value) == 1

    async def until_closed(each):
        with pytest.raises(ClosedError):
            await each.__anext__()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_closed, watch)
        nursery.start_soon(until_closed, value)
        await trio.testing.wait_all_tasks_blocked()
        board.hub.close()
    with pytest.raises(ClosedError):
        board.hub.open_map("c", "")


async def test_value_watch_gives_the_latest_and_never_the_same_twice(autojump_clock):
    board = Board()
    state = [0]
    watch = board.hub.open_value("c", lambda: state[0])
    assert await take(watch) == 0
    for state[0] in (1, 2, 3):
        board.hub.changed("c", (b"",))
    assert await take(watch) == 3
    board.hub.changed("c", (b"",))
    await expect_nothing(watch)


async def test_notices_keep_the_latest_and_count_the_rest():
    notices = NoticeBoard(3)
    for number in range(NoticeBoard.KEPT_MAX + 5):
        notices.post(Notice("info", str(number)))
    assert len(notices.latest) == NoticeBoard.KEPT_MAX
    watch = notices.open()
    assert await take(watch) == Lost(NoticeBoard.KEPT_MAX - 3)
    assert (await take(watch)).text == str(NoticeBoard.KEPT_MAX + 2)
    notices.close()
    assert len([notice async for notice in watch]) == 2


# --- what was written at once ------------------------------------------------------------


async def test_changes_of_one_moment_say_how_many_are_to_come():
    board = Board()
    watch = board.hub.open_map("c", "")
    await take(watch)
    board.put_all(a=1, b=2, c=3)
    board.put("d", 4)
    taken = [await take(watch) for _ in range(4)]
    assert [(each.key, each.more) for each in taken] == [("a", 2), ("b", 1), ("c", 0), ("d", 0)]


async def test_changes_of_one_moment_are_taken_whole():
    board = Board()
    watch = board.hub.open_map("c", "")
    assert await watch.whole() == Snapshot({})
    board.put_all(a=1, b=2)
    board.put_all(a=3)
    assert await watch.whole() == (Change("a", 1), Change("b", 2))
    assert await watch.whole() == (Change("a", 3),)


async def test_a_prefix_counts_what_it_tells():
    board = Board()
    watch = board.hub.open_map("c", "web")
    await take(watch)
    board.put_all(db=1, web1=1, web2=2, zoo=3)
    taken = await watch.whole()
    assert [(each.key, each.more) for each in taken] == [("web1", 1), ("web2", 0)]


async def test_a_watcher_that_falls_behind_still_gets_the_rest_of_what_it_began():
    board = Board()
    watch = board.hub.open_map("c", "")
    await take(watch)
    board.put_all(a=1, b=1, c=1)
    assert (await take(watch)).more == 2
    for number in range(QUEUE_MAX + 1):
        board.put("d", number)
    rest = [await take(watch), await take(watch)]
    assert [(each.key, each.more) for each in rest] == [("b", 1), ("c", 0)]
    assert await take(watch) == Lost(QUEUE_MAX + 1)
    assert await take(watch) == Snapshot({"a": 1, "b": 1, "c": 1, "d": QUEUE_MAX})


async def test_what_is_lost_is_lost_whole():
    board = Board()
    watch = board.hub.open_map("c", "")
    await take(watch)
    board.put_all(a=1, b=1, c=1)
    board.put_all(a=2, b=2, c=2)
    assert await watch.whole() == Lost(6)
    board.put("a", 3)
    assert await watch.whole() == Snapshot({"a": 3, "b": 2, "c": 2})
