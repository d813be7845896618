"""Whatever a user hands in ends that call at most, and never the mesh."""

import math

import pytest
import trio

from meshcrdt.crdt import GCounter
from meshcrdt.errors import CapacityError, UsageError
from meshcrdt.mesh.open import open_mesh
from meshcrdt.node.events import Targets

SECRET = b"s" * 32


async def receipt_of(mesh, **options):
    receipt = await mesh.channel("written").put("k", 1)
    await receipt.reached(**options)


async def watch_of(mesh, prefix):
    async with mesh.channel("watched").watch(prefix) as watch:
        await mesh.channel("watched").put("k", 1)
        await anext(watch)


async def token_of(mesh, ttl_s):
    mesh.token(ttl_s)


MISUSES = {
    "allocate for nan": lambda mesh: mesh.ipam.allocate("w", timeout=math.nan),
    "allocate for text": lambda mesh: mesh.ipam.allocate("w", timeout="5"),
    "allocate a number": lambda mesh: mesh.ipam.allocate(5),
    "allocate in a number": lambda mesh: mesh.ipam.allocate("w", subnet=5),
    "claim for nan": lambda mesh: mesh.ipam.claim("w", "10.32.0.1", timeout=math.nan),
    "claim a number": lambda mesh: mesh.ipam.claim("w", 5),
    "release a number": lambda mesh: mesh.ipam.release("w", 5),
    "name with a number": lambda mesh: mesh.names.set("a", [5]),
    "name with one text": lambda mesh: mesh.names.set("a", "10.32.0.1"),
    "name less a number": lambda mesh: mesh.names.remove("a", [5]),
    "workload 5": lambda mesh: mesh.workloads.set(5, ["10.32.0.1"]),
    "workload at a number": lambda mesh: mesh.workloads.set("w", [5]),
    "workload with mac 5": lambda mesh: mesh.workloads.set("w", ["10.32.0.1"], mac=5),
    "workload at no address": lambda mesh: mesh.workloads.set("w", ["junk"]),
    "workload at a zone": lambda mesh: mesh.workloads.set("w", ["fe80::1%eth0"]),
    "workload at a bad prefix": lambda mesh: mesh.workloads.set("w", ["10.32.0.1/33"]),
    "workload with junk mac": lambda mesh: mesh.workloads.set("w", ["10.32.0.1"], mac="zz"),
    "workload with a long mac": lambda mesh: mesh.workloads.set(
        "w", ["10.32.0.1"], mac="02:00:00:00:00:01:02"
    ),
    "no workload 5": lambda mesh: mesh.workloads.remove(5),
    "connect a number": lambda mesh: mesh.connect([5]),
    "connect a surrogate": lambda mesh: mesh.connect(["tcp://\ud800:1"]),
    "connect an escape": lambda mesh: mesh.connect(["mem://\x1b[2J"]),
    "forget a number": lambda mesh: mesh.forget([5]),
    "receipt for nan": lambda mesh: receipt_of(mesh, timeout=math.nan),
    "receipt of texts": lambda mesh: receipt_of(mesh, peers=["n2"]),
    "receipt of level text": lambda mesh: receipt_of(mesh, level="durable"),
    "receipt of nobody": lambda mesh: receipt_of(mesh, peers=[]),
    "receipt not of everyone": lambda mesh: receipt_of(mesh, everyone=False),
    "receipt of a word": lambda mesh: receipt_of(mesh, targets="live"),
    "receipt of everyone and some": lambda mesh: receipt_of(mesh, everyone=True, peers=[mesh.peer]),
    "receipt of everyone alive": lambda mesh: receipt_of(mesh, everyone=True, targets=Targets.LIVE),
    "receipt of the living and some": lambda mesh: receipt_of(
        mesh, targets=Targets.LIVE, peers=[mesh.peer]
    ),
    "ready in nan": lambda mesh: mesh.ready(math.nan),
    "ready in text": lambda mesh: mesh.ready("5"),
    "ready in the past": lambda mesh: mesh.ready(-1),
    "ready beyond all numbers": lambda mesh: mesh.ready(10**400),
    "members in the past": lambda mesh: mesh.members(at_least=1, timeout=-1),
    "watch of none": lambda mesh: watch_of(mesh, None),
    "watch of 5": lambda mesh: watch_of(mesh, 5),
    "watch of a surrogate": lambda mesh: watch_of(mesh, "\ud800"),
    "names of 5": lambda mesh: mesh.names.set("a", 5),
    "token for nan": lambda mesh: token_of(mesh, math.nan),
    "token for ever": lambda mesh: token_of(mesh, math.inf),
    "token beyond all bounds": lambda mesh: token_of(mesh, 1e300),
    "delta of another type": lambda mesh: mesh.channel("c", GCounter).update(lambda _: 5),
}


@pytest.mark.parametrize("misuse", MISUSES)
async def test_misuse_is_refused_and_the_mesh_lives_on(misuse, autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        with pytest.raises(UsageError), trio.fail_after(10):
            await MISUSES[misuse](mesh)
        await mesh.channel("alive").put("k", 1)
        mesh.check()


@pytest.mark.parametrize("name", [5, None, "\ud800"])
async def test_channel_names_are_text(name, autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        with pytest.raises(UsageError, match="channel"):
            mesh.channel(name)


async def test_what_a_mutator_raises_comes_out_of_its_own_call(autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        counter = mesh.channel("c", GCounter)
        with pytest.raises(ZeroDivisionError):
            await counter.update(lambda _: 1 // 0)
        await counter.update(lambda value: value.increment(mesh.peer, 1))
        assert counter.value().value == 1


@pytest.mark.parametrize("name", ["two\nlines", "x" * 256, "\ud800", "\x1b[2J", 5])
async def test_names_that_no_peer_would_accept_are_refused_at_once(name):
    with pytest.raises(UsageError):
        async with open_mesh(name=name, secret=SECRET, store="mem://untouched"):
            raise AssertionError("opened")


async def test_more_addresses_than_a_directory_record_holds_are_refused():
    too_many = [f"tcp://192.0.2.{n}:1" for n in range(65)]
    with pytest.raises(UsageError, match="64"):
        async with open_mesh(name="n1", secret=SECRET, advertise=too_many):
            raise AssertionError("opened")


async def test_a_token_in_place_of_a_peer_is_refused_and_not_shown(autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        token = mesh.token()
        for attempt in (token, f"tcp://{token}", token.upper(), f"mem://{token}"):
            with pytest.raises(UsageError, match="token or a secret") as refused:
                await mesh.connect([attempt])
            assert token[5:25].lower() not in str(refused.value).lower()


@pytest.mark.parametrize(("count", "size"), [(4_097, 1), (2_000, 200)], ids=["many", "long"])
async def test_more_peers_than_can_be_kept_are_refused_and_the_store_stays_readable(
    count, size, autojump_clock
):
    too_many = [f"mem://{'x' * size}{number}" for number in range(count)]
    async with open_mesh(name="n1", secret=SECRET, store="mem://peers") as mesh:
        await mesh.connect(["mem://kept"])
        with pytest.raises(CapacityError):
            await mesh.connect(too_many)
        mesh.check()
    async with open_mesh(name="n1", secret=SECRET, store="mem://peers") as mesh:
        assert mesh.node.given == {"mem://kept"}
    with pytest.raises(CapacityError):
        async with open_mesh(name="n2", secret=SECRET, peers=too_many):
            raise AssertionError("opened")


MISUSED_OPTIONS = {
    "trusted": ["junk"],
    "trusted host": ["10.0.0.1/8"],
    "trusted text": "10.0.0.0/8",
    "underlay": ["junk"],
    "underlay zone": ["fe80::1%eth0"],
    "underlay range": ["10.0.0.0/8"],
    "underlay number": 5,
    "join_wait_s": math.nan,
    "join_wait_s past": -1,
    "join_wait_s text": "x",
    "peers text": "tcp://10.0.0.1:1",
}


@pytest.mark.parametrize("option", MISUSED_OPTIONS)
async def test_bad_options_are_refused_by_name_before_anything_opens(option, tmp_path):
    name = option.partition(" ")[0]
    options = {"name": "n1", "secret": SECRET, "store": f"sqlite:///{tmp_path}/store"}
    options[name] = MISUSED_OPTIONS[option]
    with pytest.raises(UsageError, match=name.removesuffix("s")):
        async with open_mesh(**options):
            raise AssertionError("opened")
    assert list(tmp_path.iterdir()) == []


async def test_what_others_put_into_their_kernels_is_told_in_one_way(autojump_clock):
    async with open_mesh(
        name="n1", secret=SECRET, trusted=["2001:DB8::/32"], underlay=["2001:DB8:0::1"]
    ) as mesh:
        assert mesh.node.config.trusted == ("2001:db8::/32",)
        assert mesh.node.config.underlay == ("2001:db8::1",)
        given = await mesh.ipam.allocate("w")
        await mesh.workloads.set("w", [given.address], mac="02:00:00:00:AB:01")
        (endpoint,) = mesh.workloads.endpoints()
        assert endpoint.address == given.address.partition("/")[0]
        assert endpoint.mac == "02:00:00:00:ab:01"


async def test_a_token_in_place_of_a_list_of_peers_is_not_shown(autojump_clock):
    async with open_mesh(name="n1", secret=SECRET) as mesh:
        token = mesh.token()
        with pytest.raises(UsageError) as refused:
            await mesh.connect(token)
        assert token[5:25].lower() not in str(refused.value).lower()
