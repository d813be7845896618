"""Watches that go on where they ended, also after a restart of the node."""

from __future__ import annotations

import pytest
import trio

from meshcrdt.errors import UsageError
from meshcrdt.gossip.header import StreamKey
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.resume import TOKEN_CHARS_MAX, WRITERS_MAX, bookmark_of, token_of
from meshcrdt.mesh.watch import ABSENT, Change, Lost, Snapshot
from meshcrdt.trust.identity import Identity

PATIENCE_S = 30
SECRET = b"s" * 32


def found(name="n1", **options):
    return open_mesh(name=name, listen=[f"mem://{name}"], secret=SECRET, **options)


async def whole(watch):
    """Return the next event, or fail: a watch that tells nothing is as broken as a wrong one."""
    with trio.fail_after(PATIENCE_S):
        return await watch.whole()


async def told(watch, *keys):
    """Take events until each key was told."""
    wanted = set(keys)
    with trio.fail_after(PATIENCE_S):
        while wanted:
            wanted -= {change.key for change in await watch.whole()}


async def written(*writes):
    """Do the writes, or fail."""
    with trio.fail_after(PATIENCE_S):
        for write in writes:
            await write


async def seen(channel, resume=None):
    """Return the first event of a watch, and the token after it."""
    async with channel.watch(resume=resume) as watch:
        event = await whole(watch)
    return event, (event[-1] if isinstance(event, tuple) else event).token


async def is_silent(channel, resume):
    async with channel.watch(resume=resume) as watch:
        with trio.move_on_after(1) as scope:
            pytest.fail(f"unexpected {await watch.whole()}")
    return scope.cancelled_caught


async def test_a_watch_goes_on_with_what_changed_since(autojump_clock):
    async with found() as mesh:
        channel = mesh.channel("c")
        await channel.update_many({"stays": 1, "changes": 1, "goes": 1})
        event, token = await seen(channel)
        assert event == Snapshot({"stays": 1, "changes": 1, "goes": 1})
        assert await is_silent(channel, token)
        await channel.put("changes", 2)
        await channel.delete("goes")
        await channel.put("new", 1)
        event, token = await seen(channel, token)
        assert event == (Change("changes", 2), Change("goes", ABSENT), Change("new", 1))
        assert [each.more for each in event] == [2, 1, 0]
        assert await is_silent(channel, token)


async def test_each_moment_has_one_token_at_its_end(autojump_clock):
    async with found() as mesh:
        channel = mesh.channel("c")
        async with channel.watch() as watch:
            await whole(watch)
            await channel.update_many({"a": 1, "b": 1})
            first, last = await whole(watch)
            await channel.put("c", 1)
            assert await whole(watch) == (Change("c", 1),)
        assert first.token is None
        event, _ = await seen(channel, last.token)
        assert event == (Change("c", 1),)


async def test_a_watch_goes_on_after_a_restart(autojump_clock, tmp_path):
    async with found(store=f"sqlite://{tmp_path}/mesh.db") as mesh:
        channel = mesh.channel("c")
        await channel.update_many({"stays": 1, "goes": 1})
        _, token = await seen(channel)
    async with found(store=f"sqlite://{tmp_path}/mesh.db") as mesh:
        channel = mesh.channel("c")
        assert await is_silent(channel, token)
        await channel.delete("goes")
        event, token = await seen(channel, token)
        assert event == (Change("goes", ABSENT),)


async def test_who_was_behind_at_a_restart_is_told_that_it_lost(autojump_clock, tmp_path):
    async with found(store=f"sqlite://{tmp_path}/mesh.db") as mesh:
        channel = mesh.channel("c")
        await channel.put("a", 1)
        _, token = await seen(channel)
        await channel.delete("a")
        await channel.put("b", 1)
    async with (
        found(store=f"sqlite://{tmp_path}/mesh.db") as mesh,
        mesh.channel("c").watch(resume=token) as watch,
    ):
        assert await whole(watch) == Lost(1)
        assert await whole(watch) == Snapshot({"b": 1})


async def test_who_writes_first_after_the_token_is_told_whole(autojump_clock):
    async with found() as n1, found("n2", peers=["mem://n1"]) as n2:
        mine, theirs = n1.channel("c"), n2.channel("c")
        async with theirs.watch() as live:
            await whole(live)
            await written(mine.update_many({"stays": 1, "goes": 1}))
            await told(live, "stays", "goes")
        _, token = await seen(mine)
        assert set(bookmark_of("c", token)) == {n1.peer}
        async with mine.watch() as live:
            await whole(live)
            await written(theirs.put("late", 1), theirs.delete("goes"))
            await told(live, "late", "goes")
        event, token = await seen(mine, token)
        assert event == (Change("goes", ABSENT), Change("late", 1))
        assert await is_silent(mine, token)


async def test_a_token_stands_for_what_all_writers_wrote(autojump_clock):
    async with found() as n1, found("n2", peers=["mem://n1"]) as n2:
        mine, theirs = n1.channel("c"), n2.channel("c")
        async with mine.watch() as live:
            await whole(live)
            await written(mine.put("a", 1), theirs.put("b", 1), theirs.put("stays", 1))
            await told(live, "a", "b", "stays")
            _, token = await seen(mine)
            assert set(bookmark_of("c", token)) == {n1.peer, n2.peer}
            assert await is_silent(mine, token)
            await written(theirs.put("b", 2))
            await told(live, "b")
            event, middle = await seen(mine, token)
            assert event == (Change("b", 2),)
            await written(mine.put("a", 2), theirs.delete("b"))
            await told(live, "a", "b")
        assert (await seen(mine, middle))[0] == (Change("a", 2), Change("b", ABSENT))
        assert (await seen(mine, token))[0] == (Change("a", 2), Change("b", ABSENT))


async def test_what_a_forgotten_writer_wrote_is_not_lost_in_silence(autojump_clock):
    async with found() as n1:
        mine = n1.channel("c")
        async with found("n2", peers=["mem://n1"]) as n2, mine.watch() as live:
            await whole(live)
            await written(mine.put("a", 1), n2.channel("c").put("b", 1))
            await told(live, "a", "b")
        _, token = await seen(mine)
        n1.ipam._node.core.replica._adopter.forget(StreamKey("c", n2.peer))
        async with mine.watch(resume=token) as watch:
            assert await whole(watch) == Lost(1)
            snapshot = await whole(watch)
            assert snapshot == Snapshot({"a": 1})
        assert await is_silent(mine, snapshot.token)


async def test_no_other_text_is_a_token(autojump_clock):
    async with found() as mesh:
        _, token = await seen(mesh.channel("c"))
        for wrong in ("", "!", "AAAA", token[:-2], "A" * 10_000, 7):
            with pytest.raises(UsageError):
                mesh.channel("c")._hub.open_map("c", "", resume=wrong)
        with pytest.raises(UsageError, match="channel 'c', not of 'd'"):
            mesh.channel("d")._hub.open_map("d", "", resume=token)


def test_a_token_is_bounded():
    writers = {Identity(n.to_bytes(32, "big")).peer: bytes(8) for n in range(WRITERS_MAX)}
    token = token_of("c" * 128, writers)
    assert bookmark_of("c" * 128, token) == writers
    assert len(token) <= TOKEN_CHARS_MAX
    more = {**writers, Identity(b"m" * 32).peer: bytes(8)}
    assert token_of("c", more) is None
