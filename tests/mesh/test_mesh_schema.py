"""Versions of values: written is what all read, and what one cannot read is named."""

import pytest
from virtual import until

import meshcrdt
from meshcrdt import Schema, UsageError
from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.schema import stamped, version_of
from meshcrdt.node.events import Put

PATIENCE_S = 60
SECRET = b"s" * 32
NAME = "acme/routes"


def convert(value, old, new):
    """Version 1 is "host:port", version 2 is a record, version 3 has the host alone."""
    if old == 1:
        host, _, port = value.partition(":")
        value = {"host": host, "port": int(port)}
    if new == 1:
        return f"{value['host']}:{value['port']}"
    return {"host": value["host"]} if new == 3 else value


FIRST = Schema(1)
SECOND = Schema(2, reads=(1,), convert=convert)
ALONE = Schema(2)
WEB = {"host": "web", "port": 80}


def node(name, *peers, **more):
    return open_mesh(name=name, listen=[f"mem://{name}"], peers=peers, secret=SECRET, **more)


async def test_what_all_read_is_written_and_the_upgrade_comes_by_itself(autojump_clock):
    async with node("n1") as old, node("n2", "mem://n1") as new:
        await new.members(at_least=2, timeout=PATIENCE_S)
        v1, v2 = old.channel(NAME, schema=FIRST), new.channel(NAME, schema=SECOND)
        await v1.declare()
        await until(lambda: v2.agreement().held_back_by == (old.peer,))
        assert v2.agreement().version == 1
        await v2.put("web", WEB)
        assert v2.get("web") == WEB
        await until(lambda: v1.get("web") == "web:80")
        await v1.put("db", "db:1")
        await until(lambda: v2.get("db") == {"host": "db", "port": 1})
        assert v2.entries() == {"web": WEB, "db": {"host": "db", "port": 1}}
        await v1.retire()
        await until(lambda: v2.agreement().version == 2)
        assert v2.agreement().held_back_by == v2.agreement().apart == ()
        await v2.put("web", WEB)
        await until(lambda: "web" in v1.unreadable())
        assert v1.get("web") is None
        assert v1.unreadable() == {"web": "it is of schema version 2: this program reads 1"}
        assert v2.unreadable() == {}
        assert v1.entries() == {"db": "db:1"}


async def test_a_newcomer_waits_until_it_knows_who_else_there_is(autojump_clock):
    async with node("n1") as old:
        v1 = old.channel(NAME, schema=FIRST)
        await v1.declare()
        async with node("n2", "mem://n1") as new:
            await new.ready(timeout=PATIENCE_S)
            v2 = new.channel(NAME, schema=SECOND)
            await v2.put("web", WEB)
            await until(lambda: v1.get("web") == "web:80")
            await until(lambda: v2.agreement().is_settled)
            assert v2.agreement().version == 1


async def test_who_comes_later_takes_no_version_back(autojump_clock):
    async with node("n1") as new, node("n2", "mem://n1") as old:
        await old.members(at_least=2, timeout=PATIENCE_S)
        v2 = new.channel(NAME, schema=SECOND)
        await until(lambda: v2.agreement().is_settled)
        await v2.put("web", WEB)
        await old.channel(NAME, schema=FIRST).declare()
        await until(lambda: v2.agreement().held_back_by == (old.peer,))
        assert v2.agreement().version == 2


async def test_a_version_that_was_written_is_remembered_over_a_restart(tmp_path, autojump_clock):
    async with node("n1", store=f"sqlite://{tmp_path}/a.db") as new:
        await new.channel(NAME, schema=SECOND).put("web", WEB)
    async with (
        node("n1", store=f"sqlite://{tmp_path}/a.db") as new,
        node("n2", "mem://n1") as old,
    ):
        await old.channel(NAME, schema=FIRST).declare()
        v2 = new.channel(NAME, schema=SECOND)
        await until(lambda: v2.agreement().held_back_by == (old.peer,))
        assert v2.agreement().version == 2
        assert v2.get("web") == WEB


async def test_a_writer_that_declares_nothing_holds_the_version_back(autojump_clock):
    async with node("n1") as plain, node("n2", "mem://n1") as new:
        await new.members(at_least=2, timeout=PATIENCE_S)
        await plain.channel(NAME).put("web", "web:80")
        v2 = new.channel(NAME, schema=SECOND)
        await until(lambda: v2.get("web") == WEB)
        assert v2.agreement().version == 1
        assert v2.agreement().held_back_by == (plain.peer,)


async def test_a_member_that_shares_no_version_is_named_and_not_waited_for(autojump_clock):
    async with node("n1") as old, node("n2", "mem://n1") as new:
        await new.members(at_least=2, timeout=PATIENCE_S)
        await old.channel(NAME, schema=FIRST).declare()
        v2 = new.channel(NAME, schema=ALONE)
        await until(lambda: v2.agreement().apart == (old.peer,))
        assert v2.agreement().version == 2


async def test_watches_show_each_handle_its_own_version(autojump_clock):
    async with node("n1") as mesh:
        v2, plain = mesh.channel(NAME, schema=SECOND), mesh.channel(NAME)
        async with v2.watch() as theirs, plain.watch() as bare:
            assert (await anext(theirs)).entries == (await anext(bare)).entries == {}
            await v2.put("web", WEB)
            assert (await anext(theirs)).value == WEB
            assert (await anext(bare)).value is meshcrdt.ABSENT
            await plain.put("web", "web:1")
            assert (await anext(theirs)).value == {"host": "web", "port": 1}
            assert (await anext(bare)).value == "web:1"
        assert await v2.read("web") == {"host": "web", "port": 1}


async def test_a_transaction_is_of_one_version(autojump_clock):
    async with node("n1") as mesh:
        v2 = mesh.channel(NAME, schema=SECOND)
        async with v2.transaction() as staged:
            staged.put("a", WEB)
            staged.put("b", WEB)
        assert v2.entries() == {"a": WEB, "b": WEB}
        assert mesh.channel(NAME).unreadable().keys() == {"a", "b"}


async def test_a_convert_that_raises_costs_its_value_or_its_caller(autojump_clock):
    async with node("n1") as mesh:
        v2 = mesh.channel(NAME, schema=SECOND)
        async with v2.watch() as watch:
            await anext(watch)
            await mesh.channel(NAME).put("web", {"no": "text"})
            assert (await anext(watch)).value is meshcrdt.ABSENT
        assert "convert raised AttributeError" in v2.unreadable()["web"]
        raises = mesh.channel("acme/other", schema=Schema(2, reads=[1], convert=lambda *_: 1 / 0))
        await raises.put("fine", 1)
        assert raises.get("fine") == 1


async def test_what_a_peer_makes_up_is_read_by_nobody(autojump_clock):
    async with node("n1") as mesh:
        v2 = mesh.channel(NAME, schema=SECOND)
        for number, raw in enumerate((b"\0", b"\0\0", b"\0\0\2", b"\0\0\2{", b"\0\xff\xff1")):
            key = str(number)
            await mesh._requests.ask(lambda n, k=key, r=raw: Put(n, NAME, k.encode(), r))
            assert v2.get(key) is None
            assert v2.unreadable()[key]


async def test_misuse_is_named_and_changes_nothing(autojump_clock):
    for wrong in (0, -1, 65_536, "2", True, None):
        with pytest.raises(UsageError, match="schema version"):
            Schema(wrong)
    with pytest.raises(UsageError, match="convert"):
        Schema(2, reads=(1,))
    with pytest.raises(UsageError, match="16 are accepted"):
        Schema(20, reads=range(1, 20), convert=convert)
    with pytest.raises(UsageError, match="reads is 5"):
        Schema(2, reads=5)
    async with node("n1") as mesh:
        mesh.channel(NAME, schema=FIRST)
        with pytest.raises(UsageError, match=r"version=1.*version=2"):
            mesh.channel(NAME, schema=SECOND)
        with pytest.raises(UsageError, match="ORMap"):
            mesh.channel(NAME, meshcrdt.GCounter, schema=FIRST)
        with pytest.raises(UsageError, match="without a schema"):
            mesh.channel(NAME).agreement()
        with pytest.raises(UsageError, match="the node's own"):
            await mesh.channel("directory", schema=FIRST).declare()


def test_a_value_of_version_one_is_what_it_always_was():
    assert stamped({"a": 1}, 1) == b'{"a":1}'
    assert stamped({"a": 1}, 2) == b'\0\0\2{"a":1}'
    assert version_of(stamped(1, 65_535)) == (65_535, b"1")


@pytest.mark.parametrize(("key", "value"), [(7, 1), ("k", object())])
async def test_a_write_that_is_refused_says_nothing_of_what_is_read(key, value, autojump_clock):
    async with node("n1") as mesh:
        channel = mesh.channel(NAME, schema=FIRST)
        with pytest.raises(UsageError):
            await channel.put(key, value)
        with pytest.raises(UsageError):
            await channel.update_many({key: value})
        assert not mesh.node.has_spoken(NAME, FIRST.reads, 0)
        await channel.declare()
        assert mesh.node.has_spoken(NAME, FIRST.reads, 0)
