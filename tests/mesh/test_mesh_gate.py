"""Dialling and accepting with the real handshake, and a node that is only a Hello."""

import logging

import pytest
import trio

from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import Limits
from meshcrdt.errors import (
    ClosedError,
    MeshError,
    MissingExtra,
    PeerRefused,
    StoreError,
    UsageError,
)
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.mesh import admission, gatekeeper
from meshcrdt.mesh.admission import seek_admission
from meshcrdt.mesh.birth import Security
from meshcrdt.mesh.credentials import TOKENS_COUNTED_MAX, Credentials
from meshcrdt.mesh.gatekeeper import Gatekeeper
from meshcrdt.mesh.links import SecureLink, exchange_verdicts
from meshcrdt.mesh.refusals import REPEAT_PAUSE_S
from meshcrdt.node.events import DialFailed, FrameReceived, LinkClosed, LinkOpened
from meshcrdt.topology.links import Direction
from meshcrdt.transports.mem import MemTransport
from meshcrdt.transports.tcp import TcpTransport
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.token import TokenClaim, make_token

SECRET, OTHER = b"s" * 32, b"o" * 32
NOW_S = 1_000_000


class OnlyHello:
    """A node that says hello, admits whom the test says and has what it says to send."""

    def __init__(self, identity, genesis):
        self.identity = identity
        self.genesis = genesis
        self.refusal = None
        self.frames = []

    def next_frame(self, _link):
        return self.frames.pop() if self.frames else None

    def hello(self):
        return Hello.of(
            self.identity,
            name="x",
            epoch=Epoch(1, b"i" * 8),
            genesis=self.genesis and self.genesis.hash,
        )

    def admits(self, hello):
        return self.refusal


GENESIS = Genesis.make(Identity(b"g" * 32), nonce=b"n" * 16)
ELSEWHERE = Genesis.make(Identity(b"e" * 32), nonce=b"m" * 16)


class End:
    """One node's door: a gatekeeper, its inbox and its listener."""

    def __init__(self, nursery, seed, *, secret=SECRET, genesis=GENESIS, pinned=None, **limits):
        identity = Identity(seed * 32)
        security = Security.INSECURE if secret is None else Security.ENCRYPTED
        self.node = OnlyHello(identity, genesis)
        self.credentials = Credentials(identity, security, secret, wall_clock=lambda: NOW_S)
        put, self.events = trio.open_memory_channel(100)
        self.gate = Gatekeeper(
            self.node,
            self.credentials,
            limits=Limits(**limits),
            inbox=put,
            nursery=nursery,
            genesis=lambda: self.node.genesis,
            pinned=pinned,
        )
        self.nursery = nursery

    async def listen(self, transport=None, url="mem://"):
        listener = await (transport or MemTransport()).listen(url, frame_bytes_max=2**18)

        async def serve():
            try:
                await self.gate.serve(listener)
            finally:
                await listener.aclose()

        self.nursery.start_soon(serve)
        return listener.address

    async def event(self):
        with trio.fail_after(10):
            return await self.events.receive()


@pytest.mark.parametrize("secret", [SECRET, None])
@pytest.mark.parametrize("transport", [MemTransport(), TcpTransport()])
async def test_link_opens_at_both_ends_and_carries_frames(secret, transport):
    url = "mem://" if isinstance(transport, MemTransport) else "tcp://127.0.0.1:0"
    async with trio.open_nursery() as nursery:
        near, far = End(nursery, b"1", secret=secret), End(nursery, b"2", secret=secret)
        address = await far.listen(transport, url)
        near.gate.dial(address)
        dialled, accepted = await near.event(), await far.event()
        assert isinstance(dialled, LinkOpened)
        assert dialled.direction is Direction.DIALLED
        assert dialled.address == address
        assert dialled.hello == far.node.hello()
        assert dialled.encrypted is (secret is not None)
        assert accepted.direction is Direction.ACCEPTED
        assert accepted.hello == near.node.hello()
        large = b"x" * 200_000
        near.node.frames, far.node.frames = [large], [b"back"]
        near.gate.pumps[dialled.link].wake()
        far.gate.pumps[accepted.link].wake()
        assert await far.event() == FrameReceived(accepted.link, large)
        assert await near.event() == FrameReceived(dialled.link, b"back")
        await near.gate.close_links("enough")
        assert await near.event() == LinkClosed(dialled.link, "enough")
        assert isinstance(await far.event(), LinkClosed)
        await trio.testing.wait_all_tasks_blocked()
        assert near.gate.pumps == far.gate.pumps == {}
        nursery.cancel_scope.cancel()


async def dial_failure(near, far):
    address = await far.listen()
    near.gate.dial(address)
    event = await near.event()
    assert isinstance(event, DialFailed)
    await trio.testing.wait_all_tasks_blocked()
    assert far.gate.pumps == near.gate.pumps == {}
    assert len(far.gate.half_open) == 0
    with pytest.raises(trio.WouldBlock):
        far.events.receive_nowait()
    near.nursery.cancel_scope.cancel()
    return event


@pytest.mark.parametrize("wrong", [OTHER, None])
async def test_wrong_secret_gets_silence(wrong):
    async with trio.open_nursery() as nursery:
        event = await dial_failure(End(nursery, b"1", secret=wrong), End(nursery, b"2"))
    assert event.refused
    assert "it holds another secret" in event.reason


async def test_wrong_cluster_names_both():
    async with trio.open_nursery() as nursery:
        event = await dial_failure(End(nursery, b"1"), End(nursery, b"2", genesis=ELSEWHERE))
    assert event.refused
    assert GENESIS.cluster in event.reason
    assert ELSEWHERE.cluster in event.reason


async def test_refusal_of_the_other_end_reaches_us():
    async with trio.open_nursery() as nursery:
        near, far = End(nursery, b"1"), End(nursery, b"2")
        far.node.refusal = "it has left"
        event = await dial_failure(near, far)
    assert event.refused
    assert "refused this node: it has left" in event.reason


async def test_our_own_refusal_opens_no_link_there():
    async with trio.open_nursery() as nursery:
        near, far = End(nursery, b"1"), End(nursery, b"2")
        near.node.refusal = "it is a copy"
        event = await dial_failure(near, far)
    assert "it is a copy" in event.reason


async def test_pinned_joiner_takes_no_other_genesis():
    async with trio.open_nursery() as nursery:
        near = End(nursery, b"1", genesis=None, pinned=GENESIS.hash)
        event = await dial_failure(near, End(nursery, b"2", genesis=ELSEWHERE))
    assert "not the one that the token names" in event.reason


async def test_one_link_too_many_is_told_why():
    async with trio.open_nursery() as nursery:
        near, far = End(nursery, b"1"), End(nursery, b"2", links_max=1)
        address = await far.listen()
        near.gate.dial(address)
        assert isinstance(await near.event(), LinkOpened)
        near.gate.dial(address)
        event = await near.event()
        assert isinstance(event, DialFailed)
        assert "links_max=1" in event.reason
        nursery.cancel_scope.cancel()


async def test_many_at_once_get_no_more_links_than_there_may_be(autojump_clock):
    async with trio.open_nursery() as nursery:
        far = End(nursery, b"2", links_max=3)
        address = await far.listen()
        for seed in range(100, 110):
            End(nursery, bytes([seed])).gate.dial(address)
        most = 0
        for _ in range(200):
            await trio.lowlevel.checkpoint()
            most = max(most, len(far.gate.pumps))
        assert most == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["mem://nobody", "tcp://127.0.0.1:1", "quic://x:1", "rubbish"])
async def test_dial_that_finds_nobody_is_an_event(address):
    async with trio.open_nursery() as nursery:
        near = End(nursery, b"1")
        near.gate.dial(address)
        event = await near.event()
        assert isinstance(event, DialFailed)
        assert not event.refused
        nursery.cancel_scope.cancel()


class Faulty:
    """A transport of somebody else, and its links, that raise what they like."""

    def __init__(self, step, error):
        self.step, self.error = step, error
        self.link = self

    def __call__(self, address):
        return self

    def __getattr__(self, name):
        return getattr(self.link, name)

    async def _at(self, step, call):
        if step == self.step:
            raise self.error
        return await call()

    async def dial(self, address, *, frame_bytes_max):
        async def dial():
            self.link = await MemTransport().dial(address, frame_bytes_max=frame_bytes_max)
            return self

        return await self._at("dial", dial)

    async def send(self, frame):
        await self._at("send", lambda: self.link.send(frame))

    async def receive(self):
        return await self._at("receive", self.link.receive)

    async def aclose(self):
        await self.link.aclose()
        if self.step == "aclose":
            raise self.error


FAULTS = [
    ("dial", RuntimeError("at dialling")),
    ("dial", MissingExtra("linux", "no such")),
    ("send", KeyError("sending")),
    ("receive", ZeroDivisionError("receiving")),
]


@pytest.mark.parametrize(("step", "error"), FAULTS)
async def test_what_a_transport_raises_at_dialling_is_one_event_and_told_whole(
    step, error, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG, "meshcrdt.mesh")
    async with trio.open_nursery() as nursery:
        address = await End(nursery, b"2").listen()
        monkeypatch.setattr(gatekeeper, "transport_for", Faulty(step, error))
        near = End(nursery, b"1")
        near.gate.dial(address)
        assert isinstance(await near.event(), DialFailed)
        nursery.cancel_scope.cancel()
    whole = [record for record in caplog.records if record.exc_info]
    assert any(record.exc_info[1] is error for record in whole) is not isinstance(error, MeshError)


async def test_a_transport_that_raises_at_closing_ends_no_mesh(monkeypatch):
    async with trio.open_nursery() as nursery:
        address = await End(nursery, b"2").listen()
        monkeypatch.setattr(gatekeeper, "transport_for", Faulty("aclose", RuntimeError("closing")))
        near = End(nursery, b"1")
        near.gate.dial(address)
        opened = await near.event()
        near.gate.pumps[opened.link].close("enough")
        while not isinstance(await near.event(), LinkClosed):
            pass
        nursery.cancel_scope.cancel()


async def test_a_listener_whose_links_raise_ends_no_mesh_and_fills_no_log(caplog, autojump_clock):
    class Broken:
        remote, transport = "tcp://192.0.2.7:1", "tcp"

        async def send(self, frame):
            raise KeyError("sending")

        async def receive(self):
            raise KeyError("receiving")

        async def aclose(self):
            raise KeyError("closing")

    class Door:
        def __init__(self):
            self.calls = 20

        async def accept(self):
            if not self.calls:
                raise ClosedError("no more")
            self.calls -= 1
            return Broken()

    caplog.set_level(logging.INFO, "meshcrdt.mesh")
    async with trio.open_nursery() as nursery:
        await End(nursery, b"1").gate.serve(Door())
    (told,) = caplog.records
    assert "receiving" in told.getMessage()


async def test_mute_listener_costs_the_handshake_timeout(autojump_clock):
    async with trio.open_nursery() as nursery:
        near = End(nursery, b"1", handshake_timeout_s=4.0)
        mute = await MemTransport().listen("mem://mute", frame_bytes_max=1000)
        start = trio.current_time()
        near.gate.dial(mute.address)
        event = await near.event()
        assert event.reason == "mem://mute has not finished the handshake in time"
        assert trio.current_time() - start == pytest.approx(4.0)
        nursery.cancel_scope.cancel()


async def test_mute_and_rude_callers_harm_nobody(autojump_clock):
    async with trio.open_nursery() as nursery:
        near = End(nursery, b"1", handshake_timeout_s=4.0)
        far = End(nursery, b"2", handshake_timeout_s=4.0, half_open_per_source_max=3)
        address = await far.listen()
        callers = [await MemTransport().dial(address, frame_bytes_max=2**20) for _ in range(9)]
        await callers[-1].send(b"x" * 100_000)
        await callers[-2].send(b"GET / HTTP/1.1")
        await trio.testing.wait_all_tasks_blocked()
        assert len(far.gate.half_open) <= 3
        near.gate.dial(address)
        assert isinstance(await near.event(), LinkOpened)
        assert isinstance(await far.event(), LinkOpened)
        await trio.sleep(5)
        assert len(far.gate.half_open) == 0
        nursery.cancel_scope.cancel()


async def test_a_slow_genuine_peer_is_not_pushed_out_by_strangers(autojump_clock):
    async with trio.open_nursery() as nursery:
        near = End(nursery, b"1", handshake_timeout_s=4.0)
        far = End(nursery, b"2", handshake_timeout_s=4.0, half_open_per_source_max=3)
        address = await far.listen()
        slow = await MemTransport().dial(address, frame_bytes_max=2**18)
        machine = near.credentials.initiator(near.node.hello())
        await slow.send(machine.start())
        answer = await slow.receive()
        for _ in range(20):
            await MemTransport().dial(address, frame_bytes_max=2**18)
        await trio.sleep(3)
        step = machine.receive(answer)
        await slow.send(step.reply)
        link = SecureLink(
            slow, step.outcome.session, step.outcome.hello, Direction.DIALLED, address
        )
        await exchange_verdicts(link, None)
        assert isinstance(await far.event(), LinkOpened)
        nursery.cancel_scope.cancel()


async def test_strangers_fill_no_log(autojump_clock, caplog):
    caplog.set_level("INFO", "meshcrdt.mesh")
    async with trio.open_nursery() as nursery:
        far = End(nursery, b"2")
        address = await far.listen()
        for _ in range(50):
            stranger = await MemTransport().dial(address, frame_bytes_max=2**18)
            await stranger.send(b"GET / HTTP/1.1")
            await trio.sleep(0.1)
        (refused,) = far.gate.refusals.latest()
        assert refused.count == 50
        lines = [each for each in caplog.records if "turned away" in each.getMessage()]
        assert len(lines) == 1
        await trio.sleep(REPEAT_PAUSE_S)
        stranger = await MemTransport().dial(address, frame_bytes_max=2**18)
        await stranger.send(b"GET / HTTP/1.1")
        await trio.sleep(0.1)
        last = caplog.records[-1].getMessage()
        assert "turned away" in last
        assert "and 49 times more" in last
        nursery.cancel_scope.cancel()


# --- admission -------------------------------------------------------------------------


def a_token(*, uses=1, expiry_s=NOW_S + 60, secret=SECRET, genesis=GENESIS):
    return make_token(secret, token_id=b"t" * 8, uses=uses, expiry_s=expiry_s, genesis=genesis.hash)


async def seek(seed, token, addresses):
    kept = []

    async def keep(secret):
        kept.append(secret)

    identity = Identity(seed * 32)
    node = OnlyHello(identity, None)
    secret = await seek_admission(
        token,
        addresses,
        Credentials(identity, Security.ENCRYPTED),
        hello=node.hello(),
        limits=Limits(),
        keep=keep,
    )
    assert kept == [secret]
    return secret


async def test_token_admits_as_often_as_it_says(autojump_clock):
    async with trio.open_nursery() as nursery:
        far = End(nursery, b"2")
        address = await far.listen()
        token = a_token(uses=2)
        assert await seek(b"7", token, ["mem://nobody", address]) == SECRET
        assert await seek(b"8", token, [address]) == SECRET
        with pytest.raises(PeerRefused, match="was used 2 times"):
            await seek(b"9", token, [address])
        assert far.gate.pumps == {}
        with pytest.raises(trio.WouldBlock):
            far.events.receive_nowait()
        nursery.cancel_scope.cancel()


async def test_a_token_used_by_several_at_once_admits_no_more_than_it_says(autojump_clock):
    async with trio.open_nursery() as nursery:
        far = End(nursery, b"2")
        address = await far.listen()
        ends = []

        async def join(seed):
            try:
                ends.append(await seek(seed, a_token(uses=2), [address]))
            except PeerRefused as refused:
                ends.append(str(refused))

        async with trio.open_nursery() as joiners:
            for seed in (b"6", b"7", b"8", b"9"):
                joiners.start_soon(join, seed)
        assert ends.count(SECRET) == 2
        assert all("was used 2 times" in end for end in ends if end != SECRET)
        nursery.cancel_scope.cancel()


def test_uses_are_counted_for_a_bounded_number_of_tokens_and_while_they_matter():
    credentials = Credentials(Identity(b"1" * 32), Security.ENCRYPTED, SECRET, lambda: NOW_S)
    claims = [
        TokenClaim(id=n.to_bytes(8, "big"), uses=1, expiry_s=NOW_S + 1 + n)
        for n in range(TOKENS_COUNTED_MAX + 1)
    ]
    for claim in reversed(claims):
        with credentials.admitting(claim):
            pass
    forgotten = [claim for claim in claims if credentials.judge_token(claim) is None]
    assert forgotten == [claims[1]]  # when the last came, it was the one to expire first
    with pytest.raises(PeerRefused, match="was used"), credentials.admitting(claims[0]):
        pass


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (a_token(expiry_s=NOW_S - 20), "expired 20 s ago"),
        (a_token(secret=OTHER), "without an answer"),
        (a_token(genesis=ELSEWHERE), ELSEWHERE.cluster),
    ],
)
async def test_bad_token_is_refused_for_good_within_ten_seconds(token, reason, autojump_clock):
    async with trio.open_nursery() as nursery:
        address = await End(nursery, b"2").listen()
        start = trio.current_time()
        with pytest.raises(PeerRefused, match=reason):
            await seek(b"7", token, [address, "mem://nobody"])
        assert admission.REFUSAL_GRACE_S <= trio.current_time() - start < 10
        nursery.cancel_scope.cancel()


async def test_an_address_that_swallows_everything_keeps_nobody_from_hearing_others(
    autojump_clock,
):
    async with trio.open_nursery() as nursery:
        hole = await MemTransport().listen("mem://hole", frame_bytes_max=4_096)
        address = await End(nursery, b"2").listen()
        start = trio.current_time()
        assert await seek(b"7", a_token(), ["mem://hole", address]) == SECRET
        assert trio.current_time() - start < 1
        start = trio.current_time()
        with pytest.raises(PeerRefused, match="expired"):
            await seek(b"8", a_token(expiry_s=NOW_S - 20), ["mem://hole", address])
        # Every address had one whole attempt, and no refusal waited for a second one.
        took_s = trio.current_time() - start
        assert admission.ATTEMPT_TIMEOUT_S <= took_s < 2 * admission.ATTEMPT_TIMEOUT_S
        await hole.aclose()
        nursery.cancel_scope.cancel()


async def test_a_token_without_an_address_is_refused_at_once():
    with pytest.raises(UsageError, match="nobody can be asked"):
        await seek(b"7", a_token(), [])


async def test_joiner_waits_for_a_member_that_comes_late(autojump_clock):
    async with trio.open_nursery() as nursery:
        far = End(nursery, b"2")

        async def come_late():
            await trio.sleep(100)
            await far.listen(url="mem://late")

        nursery.start_soon(come_late)
        assert await seek(b"7", a_token(), ["mem://late"]) == SECRET
        assert trio.current_time() >= 100
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("step", "error"), [*FAULTS, ("aclose", RuntimeError("closing"))])
async def test_a_transport_that_raises_keeps_no_joiner_from_hearing_others(
    step, error, monkeypatch, autojump_clock
):
    faulty = Faulty(step, error)
    async with trio.open_nursery() as nursery:
        address = await End(nursery, b"2").listen()
        await End(nursery, b"3").listen(url="mem://faulty")
        monkeypatch.setattr(
            admission,
            "transport_for",
            lambda asked: faulty if asked == "mem://faulty" else MemTransport(),
        )
        asked = ["mem://faulty"] if step == "aclose" else ["mem://faulty", address]
        assert await seek(b"7", a_token(), asked) == SECRET
        nursery.cancel_scope.cancel()


async def test_joiner_whose_disk_fails_says_so_at_once(autojump_clock):
    async def full_disk(_secret):
        raise StoreError("disk full")

    identity = Identity(b"7" * 32)
    async with trio.open_nursery() as nursery:
        address = await End(nursery, b"2").listen()
        with pytest.raises(BaseExceptionGroup) as failed:
            await seek_admission(
                a_token(),
                [address],
                Credentials(identity, Security.ENCRYPTED),
                hello=OnlyHello(identity, None).hello(),
                limits=Limits(),
                keep=full_disk,
            )
        assert failed.group_contains(StoreError, match="disk full")
        nursery.cancel_scope.cancel()


async def test_joiner_that_could_not_keep_the_secret_uses_up_no_token():
    async with trio.open_nursery() as nursery:
        far = End(nursery, b"2")
        address = await far.listen()
        identity = Identity(b"7" * 32)

        async def broken_disk(_secret):
            raise RuntimeError("disk")

        with pytest.raises(BaseExceptionGroup, match="nursery"):
            await seek_admission(
                a_token(),
                [address],
                Credentials(identity, Security.ENCRYPTED),
                hello=OnlyHello(identity, None).hello(),
                limits=Limits(),
                keep=broken_disk,
            )
        assert await seek(b"8", a_token(), [address]) == SECRET
        nursery.cancel_scope.cancel()
