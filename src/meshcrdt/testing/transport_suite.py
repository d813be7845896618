"""The rules of a transport, as checks that anyone can run against their own.

Ten lines, with pytest-trio, prove a transport::

    @pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=lambda check: check.__name__)
    async def test_my_transport(check):
        await check(TransportUnderTest(MyTransport(), listen_url="my://127.0.0.1:0"))

A check raises AssertionError naming the rule that is broken. Each opens what it needs
and closes it; the first free address that `listen_url` means is used each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
import trio.testing
from attrs import frozen

from meshcrdt.abc import Link, Listener, Transport
from meshcrdt.errors import (
    ClosedError,
    DialError,
    LinkClosed,
    LinkError,
    ListenError,
    RemoteProtocolError,
    UsageError,
)

FRAME_BYTES_MAX = 64 * 1024
PATIENCE_S = 10.0
STALLED_S = 0.2
"""A send that takes longer counts as held back."""
BUFFERED_FRAMES_MAX = 4_096


@frozen
class TransportUnderTest:
    """A transport, and a URL to listen on that may be used again and again.

    `dead_url`, where given, is a valid URL at which nobody listens; otherwise the address
    of a listener that was just closed serves.
    """

    transport: Transport
    listen_url: str
    dead_url: str | None = None

    async def listen(self) -> Listener:
        """Open a listener with the suite's frame limit."""
        return await self.transport.listen(self.listen_url, frame_bytes_max=FRAME_BYTES_MAX)

    async def dial(self, url: str, *, frame_bytes_max: int = FRAME_BYTES_MAX) -> Link:
        """Connect with the suite's frame limit, or another one."""
        return await self.transport.dial(url, frame_bytes_max=frame_bytes_max)

    @asynccontextmanager
    async def pair(
        self, *, dialler_frame_bytes_max: int = FRAME_BYTES_MAX
    ) -> AsyncIterator[tuple[Link, Link]]:
        """Give the dialling and the accepting end of one link, within the suite's patience."""
        with trio.fail_after(PATIENCE_S):
            listener = await self.listen()
            try:
                dialler = await self.dial(listener.address, frame_bytes_max=dialler_frame_bytes_max)
                accepted = await listener.accept()
                try:
                    yield dialler, accepted
                finally:
                    await dialler.aclose()
                    await accepted.aclose()
            finally:
                await listener.aclose()


async def check_frames_arrive_whole_and_in_order(subject: TransportUnderTest) -> None:
    """Frames keep their bounds and order, from empty to the largest, in both directions."""
    frames = [b"", b"x", b"y" * 1000, bytes(range(256)) * (FRAME_BYTES_MAX // 256), b"end"]
    async with subject.pair() as (dialler, accepted), trio.open_nursery() as nursery:
        for sender, receiver in ((dialler, accepted), (accepted, dialler)):
            nursery.start_soon(_send_all, sender, frames)
            for frame in frames:
                _expect(await receiver.receive() == frame, "a frame arrives as it was sent")


async def check_sent_bytes_are_copied(subject: TransportUnderTest) -> None:
    """Changing a buffer after `send` changes nothing that was sent."""
    async with subject.pair() as (dialler, accepted):
        buffer = bytearray(b"before")
        await dialler.send(bytes(buffer))
        buffer[:] = b"after!"
        received = await accepted.receive()
        _expect(received == b"before", "a sent frame is a copy")
        _expect(type(received) is bytes, "a received frame is bytes")


async def check_ends_name_each_other(subject: TransportUnderTest) -> None:
    """`remote` of the dialling end is the dialled URL, and both name the scheme."""
    async with subject.pair() as (dialler, accepted):
        scheme = subject.listen_url.partition("://")[0]
        for link in (dialler, accepted):
            _expect(link.transport == scheme, "`transport` is the scheme")
            _expect(link.remote.startswith(f"{scheme}://"), "`remote` is a URL of the scheme")


async def check_orderly_end(subject: TransportUnderTest) -> None:
    """What was sent before a close arrives, then LinkClosed; and again at the next call."""
    async with subject.pair() as (dialler, accepted):
        await dialler.send(b"last words")
        await dialler.aclose()
        _expect(await accepted.receive() == b"last words", "frames before a close arrive")
        for _ in range(2):
            await _expect_raises(LinkClosed, accepted.receive)


async def check_closed_end_says_so(subject: TransportUnderTest) -> None:
    """After aclose both calls raise ClosedError, and closing again does nothing."""
    async with subject.pair() as (dialler, _):
        await dialler.aclose()
        await dialler.aclose()
        await _expect_raises(ClosedError, dialler.receive)
        await _expect_raises(ClosedError, lambda: dialler.send(b"late"))


async def check_close_wakes_a_waiting_receive(subject: TransportUnderTest) -> None:
    """A receive that waits while its own end is closed raises ClosedError."""
    async with subject.pair() as (dialler, _), trio.open_nursery() as nursery:
        nursery.start_soon(_expect_raises, ClosedError, dialler.receive)
        await trio.testing.wait_all_tasks_blocked()
        await dialler.aclose()


async def check_send_to_a_gone_peer_fails(subject: TransportUnderTest) -> None:
    """Sending to an end that closed raises LinkError, at the latest after a few frames."""
    async with subject.pair() as (dialler, accepted):
        await accepted.aclose()

        async def keep_sending() -> None:
            while True:
                await dialler.send(b"z" * 4096)

        await _expect_raises(LinkError, keep_sending)


async def check_oversized_announcement_is_refused(subject: TransportUnderTest) -> None:
    """A frame above the receiver's limit raises RemoteProtocolError, and then LinkError."""
    limit = FRAME_BYTES_MAX * 2
    async with (
        subject.pair(dialler_frame_bytes_max=limit) as (dialler, accepted),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_send_and_ignore_the_end, dialler, b"x" * (FRAME_BYTES_MAX + 1))
        await _expect_raises(RemoteProtocolError, accepted.receive)
        await accepted.aclose()


async def check_cancelled_receive_loses_nothing(subject: TransportUnderTest) -> None:
    """A frame whose receive was cancelled, also midway, is given by the next receive."""
    frame = b"m" * FRAME_BYTES_MAX
    async with subject.pair() as (dialler, accepted):
        for _ in range(20):
            with trio.CancelScope() as scope:
                scope.cancel()
                await accepted.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dialler.send, frame)
            received: list[bytes] = []
            while not received:
                with trio.move_on_after(0.001):
                    received.append(await accepted.receive())
            _expect(received == [frame], "a cancelled receive loses nothing")


async def check_cancelled_send_breaks_no_framing(subject: TransportUnderTest) -> None:
    """After a cancelled send the peer sees whole frames and then an end, never a mixture."""
    frame = b"s" * FRAME_BYTES_MAX
    async with subject.pair() as (dialler, accepted):
        while True:
            with trio.move_on_after(0.05) as scope:
                await dialler.send(frame)
            if scope.cancelled_caught:
                break
        try:
            await dialler.send(b"after the cancelled one")
        except LinkError:
            await dialler.aclose()
        else:
            await dialler.aclose()
        try:
            while True:
                received = await accepted.receive()
                _expect(
                    received in (frame, b"after the cancelled one"),
                    "only frames that were sent arrive",
                )
        except LinkError:
            return


async def check_close_while_cancelled(subject: TransportUnderTest) -> None:
    """Closing works in a cancelled scope: the other end sees the end."""
    async with subject.pair() as (dialler, accepted):
        with trio.CancelScope() as scope:
            scope.cancel()
            await dialler.aclose()
        await _expect_raises(LinkError, accepted.receive)


async def check_slow_receiver_holds_the_sender(subject: TransportUnderTest) -> None:
    """A receiver that reads nothing stops the sender: buffers are bounded."""
    async with subject.pair() as (dialler, _):
        with trio.move_on_after(STALLED_S) as scope:
            for _ in range(BUFFERED_FRAMES_MAX):
                await dialler.send(b"p" * FRAME_BYTES_MAX)
                scope.deadline = trio.current_time() + STALLED_S
        _expect(scope.cancelled_caught, "buffers are bounded")


async def check_dead_address(subject: TransportUnderTest) -> None:
    """Dialling where nobody listens raises DialError that names the URL."""
    url = subject.dead_url
    if url is None:
        listener = await subject.listen()
        url = listener.address
        await listener.aclose()
    error = await _expect_raises(DialError, lambda: subject.dial(url))
    _expect(url in str(error), "DialError names the URL")


async def check_taken_address(subject: TransportUnderTest) -> None:
    """Listening twice on one address raises ListenError that names the URL."""
    listener = await subject.listen()
    try:
        error = await _expect_raises(
            ListenError,
            lambda: subject.transport.listen(listener.address, frame_bytes_max=FRAME_BYTES_MAX),
        )
        _expect(listener.address in str(error), "ListenError names the URL")
    finally:
        await listener.aclose()


async def check_address_is_free_after_close(subject: TransportUnderTest) -> None:
    """The address of a closed listener can be listened on at once."""
    first = await subject.listen()
    address = first.address
    link = await subject.dial(address)
    accepted = await first.accept()
    await first.aclose()
    second = await subject.transport.listen(address, frame_bytes_max=FRAME_BYTES_MAX)
    await second.aclose()
    await accepted.aclose()
    await link.aclose()


async def check_bad_urls(subject: TransportUnderTest) -> None:
    """A URL of another scheme, or of none, raises UsageError from both calls."""
    for url in ("", "no-url", "other-scheme://host:1", "://"):
        listen = partial(subject.transport.listen, url, frame_bytes_max=FRAME_BYTES_MAX)
        await _expect_raises(UsageError, partial(subject.dial, url))
        await _expect_raises(UsageError, listen)


async def check_listener_close(subject: TransportUnderTest) -> None:
    """Closing a listener wakes a waiting accept with ClosedError; later ones too; idempotent."""
    listener = await subject.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_raises, ClosedError, listener.accept)
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()
    await listener.aclose()
    await _expect_raises(ClosedError, listener.accept)


async def check_one_bad_peer_harms_no_other(subject: TransportUnderTest) -> None:
    """Callers that vanish at once do not keep the next caller from being accepted."""
    with trio.fail_after(PATIENCE_S):
        listener = await subject.listen()
        try:
            for _ in range(5):
                await (await subject.dial(listener.address)).aclose()
            good = await subject.dial(listener.address)
            await good.send(b"good")
            while True:
                link = await listener.accept()
                try:
                    frame = await link.receive()
                except LinkError:
                    continue
                finally:
                    await link.aclose()
                _expect(frame == b"good", "the good caller is served")
                break
            await good.aclose()
        finally:
            await listener.aclose()


TRANSPORT_CHECKS: tuple[Callable[[TransportUnderTest], Awaitable[None]], ...] = (
    check_frames_arrive_whole_and_in_order,
    check_sent_bytes_are_copied,
    check_ends_name_each_other,
    check_orderly_end,
    check_closed_end_says_so,
    check_close_wakes_a_waiting_receive,
    check_send_to_a_gone_peer_fails,
    check_oversized_announcement_is_refused,
    check_cancelled_receive_loses_nothing,
    check_cancelled_send_breaks_no_framing,
    check_close_while_cancelled,
    check_slow_receiver_holds_the_sender,
    check_dead_address,
    check_taken_address,
    check_address_is_free_after_close,
    check_bad_urls,
    check_listener_close,
    check_one_bad_peer_harms_no_other,
)


def _expect(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(f"broken rule: {rule}")


async def _expect_raises(kind: type[Exception], call: Callable[[], Awaitable[object]]) -> Exception:
    with trio.fail_after(PATIENCE_S):
        try:
            await call()
        except kind as error:
            return error
    raise AssertionError(f"broken rule: {kind.__name__} is raised")


async def _send_all(link: Link, frames: list[bytes]) -> None:
    for frame in frames:
        await link.send(frame)


async def _send_and_ignore_the_end(link: Link, frame: bytes) -> None:
    try:
        await link.send(frame)
    except LinkError:
        return
