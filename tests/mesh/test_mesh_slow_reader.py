"""One peer stops reading for a while: what waits for it stays small, and nobody else waits."""

import pytest
import trio

from meshcrdt.base.limits import Limits
from meshcrdt.mesh.links import SecureLink
from meshcrdt.mesh.open import open_mesh
from meshcrdt.topology.topology import Discovery
from meshcrdt.transports.mem import WRITES_IN_FLIGHT_MAX

SECRET = b"s" * 32
WRITES = 300
PATIENCE_S = 30


class Gate:
    """Stands before the reader of every link that was dialled at the slow address."""

    def __init__(self):
        self.open = trio.Event()
        self.open.set()
        self.frames = 0

    def close(self):
        self.open = trio.Event()
        self.frames = 0


@pytest.fixture
def gate(monkeypatch):
    gate = Gate()
    receive = SecureLink.receive

    async def held_back(self):
        if self.address != "mem://slow":
            return await receive(self)
        await gate.open.wait()
        frame = await receive(self)
        await gate.open.wait()
        gate.frames += 1
        return frame

    monkeypatch.setattr(SecureLink, "receive", held_back)
    return gate


async def has(mesh, key, value):
    with trio.fail_after(PATIENCE_S):
        while mesh.channel("c").get(key) != value:  # noqa: ASYNC110 - of another node
            await trio.sleep(0.01)


async def test_weave_3795_a_peer_that_reads_nothing_delays_nobody_and_catches_up_at_once(
    gate, autojump_clock
):
    limits = Limits(link_silence_s=60.0, send_timeout_s=60.0)
    options = {"secret": SECRET, "limits": limits, "discovery": Discovery.OFF}
    async with (
        open_mesh(name="n1", listen=["mem://fast", "mem://slow"], **options) as n1,
        open_mesh(name="n2", peers=["mem://slow"], **options) as n2,
        open_mesh(name="n3", peers=["mem://fast"], **options) as n3,
    ):
        await n1.members(at_least=3, timeout=PATIENCE_S)
        await n1.channel("c").put("first", 0)
        await has(n2, "first", 0)
        await has(n3, "first", 0)
        gate.close()
        before = n1.activity()
        for number in range(WRITES):
            await n1.channel("c").put(f"k{number % 3}", number)
            await has(n3, f"k{number % 3}", number)
            assert n1.activity().link_queued_bytes < 16 * 1024
        assert n2.channel("c").get("k0") is None
        after = n1.activity()
        assert after.messages_coalesced - before.messages_coalesced > WRITES // 2
        assert after.messages_dropped == 0
        gate.open.set()
        for key in range(3):
            await has(n2, f"k{key}", WRITES - 3 + key)
        assert gate.frames <= 2 * WRITES_IN_FLIGHT_MAX
        assert n1.activity().links == 2, "nobody was cut off"
        n1.check()


async def test_a_link_that_takes_no_frame_in_time_is_closed_and_dialled_again(gate, autojump_clock):
    limits = Limits(link_silence_s=60.0, send_timeout_s=3.0)
    async with (
        open_mesh(name="n1", listen=["mem://slow"], secret=SECRET, limits=limits) as n1,
        open_mesh(name="n2", peers=["mem://slow"], secret=SECRET, limits=limits) as n2,
    ):
        await n1.members(at_least=2, timeout=PATIENCE_S)
        (first,) = n1.node.links
        gate.close()
        for number in range(200):
            await n1.channel("c").put(f"k{number}", "x" * 30_000)
            await trio.sleep(0.05)
        assert first not in n1.node.links, "a frame took longer than send_timeout_s"
        gate.open.set()
        await has(n2, "k199", "x" * 30_000)
