"""Members gone bad and strangers in numbers: they cost a link, and nobody else anything."""

import itertools
import random
import resource
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import Limits
from meshcrdt.errors import LinkError
from meshcrdt.ipam.outcomes import Allocated
from meshcrdt.mesh.birth import Security
from meshcrdt.mesh.credentials import Credentials
from meshcrdt.mesh.links import SecureLink, exchange_verdicts, initiate
from meshcrdt.mesh.open import open_mesh
from meshcrdt.topology.links import Direction
from meshcrdt.transports.registry import transport_for
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import encode, encode_frame

SECRET = b"s" * 32
PATIENCE_S = 30
CODES = (*range(4), *range(16, 28), *range(32, 38), *range(64, 70), *range(80, 92), 1 << 40)
"""Those of every machine, some that nobody has, and one of a later version."""


@asynccontextmanager
async def two_nodes(url="mem://n1", **limits):
    """Two honest members; the first is the one that is attacked."""
    async with (
        open_mesh(name="n1", listen=[url], secret=SECRET, limits=Limits(**limits)) as n1,
        open_mesh(name="n2", peers=n1.listening, secret=SECRET) as n2,
    ):
        await n2.ready(timeout=PATIENCE_S)
        yield n1, n2


async def still_well(n1, n2):
    """The two talk as before, and nothing in either is broken."""
    with trio.fail_after(PATIENCE_S):
        await n1.channel("c").put("k", "ping")
        while n2.channel("c").get("k") != "ping":  # noqa: ASYNC110 - of another node
            await trio.sleep(0.02)
        await n2.channel("c").delete("k")
        while n1.channel("c").get("k") is not None:  # noqa: ASYNC110
            await trio.sleep(0.02)
        outcome = await n1.ipam.allocate("well", timeout=PATIENCE_S)
        assert isinstance(outcome, Allocated), outcome
    n1.check()
    n2.check()


async def member_link(mesh, *, instance=b"i" * 8):
    """Open a link as a member that holds the secret, with a handshake that is in order."""
    identity = Identity(b"h" * 32)
    link = await transport_for(mesh.listening[0]).dial(mesh.listening[0], frame_bytes_max=2**20)
    hello = Hello.of(
        identity,
        name="hostile",
        epoch=Epoch(1, instance),
        genesis=mesh.node.core.genesis.hash,
    )
    machine = Credentials(identity, Security.ENCRYPTED, SECRET).initiator(hello)
    established = await initiate(link, machine, hello_bytes_max=2_048)
    secure = SecureLink(
        link, established.session, established.hello, Direction.DIALLED, link.remote
    )
    await exchange_verdicts(secure, None)
    return secure


async def until_closed(link):
    async def read():
        while True:
            await link.receive()

    with trio.fail_after(PATIENCE_S), pytest.raises(LinkError):
        await read()


def hostile_trees(dice):
    """Yield arguments of messages: every kind in every place, and some monsters."""
    atoms = [None, True, 0, -1, 2**63 - 1, -(2**63), b"", b"x" * 16, b"y" * 32, "", "a", "\0", ()]
    for size in range(6):
        for _ in range(2):
            yield tuple(dice.choice(atoms) for _ in range(size))
    yield tuple(((),) * 1000 for _ in range(20))
    yield (b"z" * 100_000,) * 2
    yield tuple((dice.choice(atoms), (dice.choice(atoms), dice.choice(atoms))) for _ in range(5))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff" * 100,
        b"\x81\xa1a\x01",
        encode((2, (1,))),
        encode((1, ("text",))),
        encode((1, (-1,))),
        bytes(range(256)) * 1000,
    ],
    ids=["empty", "bytes", "map", "version", "code", "negative", "large"],
)
async def test_a_frame_that_is_none_ends_its_link_alone(frame, autojump_clock):
    async with two_nodes() as (n1, n2):
        hostile = await member_link(n1)
        await hostile.send(frame)
        await until_closed(hostile)
        await still_well(n1, n2)


@pytest.mark.parametrize("raw", [b"", b"x" * 1000], ids=["empty", "forged"])
async def test_a_forged_frame_ends_its_link_alone(raw, autojump_clock):
    async with two_nodes() as (n1, n2):
        hostile = await member_link(n1)
        await hostile.link.send(raw)
        await until_closed(hostile)
        await still_well(n1, n2)


@pytest.mark.parametrize("code", CODES)
async def test_no_message_of_a_hostile_member_gets_further_than_its_link(code, autojump_clock):
    dice = random.Random(code)
    async with two_nodes() as (n1, n2):
        numbers = itertools.count()
        for arguments in hostile_trees(dice):
            hostile = await member_link(n1, instance=next(numbers).to_bytes(8, "big"))
            try:
                await hostile.send(encode_frame([(code, *arguments)]))
                await hostile.send(encode_frame([(code, n1.peer, *arguments)]))
            except LinkError:
                pass  # it was closed after the first, which is as good
            await trio.sleep(0.01)
            await hostile.aclose()
        await still_well(n1, n2)


def deep(levels):
    tree = ()
    for _ in range(levels):
        tree = (tree,)
    return tree


async def test_no_payload_of_a_hostile_member_gets_further_than_its_link(autojump_clock):
    dice = random.Random(1)
    epoch = (1, b"i" * 8)
    me = Identity(b"h" * 32).peer
    async with two_nodes() as (n1, n2):
        await still_well(n1, n2)
        numbers = itertools.count(1)
        hostile = await member_link(n1)
        monsters = [deep(13), b"z" * 260_000, ((),) * 60_000]
        payloads = [
            (code, *arguments)
            for code in (*range(64, 70), *range(80, 86), 1 << 40)
            for arguments in hostile_trees(dice)
        ]
        for payload in [*monsters, *((80, monster) for monster in monsters[1:]), *payloads]:
            for source, dest in ((me, n1.peer), (me, n2.peer), (n2.peer, n1.peer), (me, b"?" * 16)):
                frame = (32, bytes(source), bytes(dest), epoch, next(numbers), 16, payload)
                try:
                    await hostile.send(encode_frame([frame]))
                except LinkError:
                    hostile = await member_link(n1, instance=next(numbers).to_bytes(8, "big"))
            await trio.sleep(0.01)
        await hostile.aclose()
        await still_well(n1, n2)


async def test_a_member_that_never_reads_is_cut_off(autojump_clock):
    async with two_nodes(send_timeout_s=3.0) as (n1, n2):
        hostile = await member_link(n1)
        ended = trio.Event()

        async def keep_alive():
            try:
                while True:
                    await hostile.send(encode_frame([(0, 1)]))
                    await trio.sleep(0.5)
            except LinkError:
                ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_alive)
            with trio.fail_after(120):
                for number in itertools.count():
                    if ended.is_set():
                        break
                    await n1.channel("bulk").put(f"k{number % 50}", "x" * 20_000 + str(number))
                    assert n1.activity().link_queued_bytes < 2 * 400_000
                    await trio.sleep(0.05)
        await still_well(n1, n2)


async def test_a_member_that_reconnects_for_ever_leaves_nothing_behind(autojump_clock):
    async with two_nodes() as (n1, n2):
        await still_well(n1, n2)
        tasks = trio.lowlevel.current_statistics().tasks_living
        for number in range(300):
            hostile = await member_link(n1, instance=number.to_bytes(8, "big"))
            await hostile.aclose()
        await trio.sleep(5)
        assert trio.lowlevel.current_statistics().tasks_living <= tasks
        assert n1.activity().links == 1
        assert len(n1.node.links) == 1
        await still_well(n1, n2)


STRANGERS = 2_000
JOINS_S = 5
"""A promise, not patience: a genuine peer gets in within this while strangers call."""
DESCRIPTORS_MIN, DESCRIPTORS_MAX = STRANGERS + 500, 8_192
"""One for every stranger, and for the ends of those whom the node has not pushed out yet."""


@pytest.fixture
def many_descriptors():
    """Let this process hold all strangers, as a shell with the usual 1,024 would not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if bound < DESCRIPTORS_MIN:
        pytest.skip(f"needs {DESCRIPTORS_MIN} descriptors, the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < bound:
        resource.setrlimit(resource.RLIMIT_NOFILE, (bound, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_two_thousand_strangers_keep_nobody_out(many_descriptors):
    async with two_nodes("tcp://127.0.0.1:0") as (n1, n2):
        host, port = n1.listening[0].removeprefix("tcp://").split(":")
        strangers = []
        try:
            for number in range(STRANGERS):
                stranger = await trio.open_tcp_stream(host, int(port))
                strangers.append(stranger)
                if number % 3:
                    await stranger.send_all(
                        b"\0\0\6\0" if number % 2 else b"GET / HTTP/1.1\r\n\r\n"
                    )
                activity = n1.activity()
                # The second member may be in its own handshake: it is no stranger.
                assert activity.half_open - activity.half_open_proved <= (
                    n1.node.limits.half_open_per_source_max
                )
            n1.check()
            with trio.fail_after(JOINS_S):
                genuine = await member_link(n1)
            await genuine.aclose()
            for stranger in strangers[::50]:
                with trio.move_on_after(0.001), suppress(trio.BrokenResourceError):
                    assert await stranger.receive_some(1) == b"", "a stranger got an answer"
            await still_well(n1, n2)
        finally:
            for stranger in strangers:
                await trio.aclose_forcefully(stranger)
