"""What is particular to one transport, the registry, and the bound before authentication."""

import errno
import os
import re
import socket
import stat

import pytest
import trio

from meshcrdt.errors import DialError, LinkError, ListenError, RemoteProtocolError, UsageError
from meshcrdt.testing.transport_suite import TransportUnderTest
from meshcrdt.transports import tcp, unix
from meshcrdt.transports.mem import BACKLOG, MemTransport
from meshcrdt.transports.registry import transport_for
from meshcrdt.transports.tcp import TcpTransport
from meshcrdt.transports.unix import UnixTransport

FRAME = 4096


def test_registry_finds_the_built_in_transports():
    assert isinstance(transport_for("tcp://127.0.0.1:1"), TcpTransport)
    assert isinstance(transport_for("mem://a"), MemTransport)
    assert isinstance(transport_for("UNIX:///x"), UnixTransport)
    assert transport_for("mem://a") is transport_for("mem://b")


def test_registry_names_the_known_schemes():
    with pytest.raises(UsageError, match=r"'quic'.*mem, tcp, unix"):
        transport_for("quic://somewhere:1")
    with pytest.raises(UsageError, match="'nothing' is not a URL"):
        transport_for("nothing")


@pytest.mark.parametrize(
    "url", ["tcp://", "tcp://host", "tcp://host:x", "tcp://host:70000", "tcp://:5", "mem://a"]
)
async def test_tcp_refuses_bad_urls(url):
    with pytest.raises(UsageError):
        await TcpTransport().dial(url, frame_bytes_max=FRAME)
    with pytest.raises(UsageError):
        tcp.parse("tcp://10.0.0.1:0", port_min=1)


class NoSuchName(trio.abc.HostnameResolver):
    """Knows no name at all, and says so as the system does."""

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, sockaddr, flags):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_tcp_errors_carry_the_reason():
    with pytest.raises(DialError, match=r"tcp://127\.0\.0\.1:1: .*[Rr]efused"):
        await TcpTransport().dial("tcp://127.0.0.1:1", frame_bytes_max=FRAME)
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        await TcpTransport().listen("tcp://192.0.2.1:0", frame_bytes_max=FRAME)
    trio.socket.set_custom_hostname_resolver(NoSuchName())  # no resolver of the machine is asked
    with pytest.raises(DialError, match=r"no-such-host.*Name or service not known"):
        await TcpTransport().dial("tcp://no-such-host.invalid:1", frame_bytes_max=FRAME)


async def test_tcp_shows_the_real_port_and_sets_nodelay():
    async with TransportUnderTest(TcpTransport(), "tcp://127.0.0.1:0").pair() as (near, far):
        assert re.fullmatch(r"tcp://127\.0\.0\.1:[1-9]\d*", far.remote)
        for link in (near, far):
            raw = link._stream.socket
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_unix_replaces_a_stale_socket_and_keeps_a_live_one(tmp_path):
    path = tmp_path / "s.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    url = f"unix://{path}"
    listener = await UnixTransport().listen(url, frame_bytes_max=FRAME)
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o007 == 0
    with pytest.raises(ListenError, match="another process is listening"):
        await UnixTransport().listen(url, frame_bytes_max=FRAME)
    assert path.exists()
    await listener.aclose()
    assert not path.exists()


async def test_unix_touches_nothing_that_is_not_its_own(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="not a socket"):
        await UnixTransport().listen(f"unix://{path}", frame_bytes_max=FRAME)
    assert path.read_text() == "data"

    mine = tmp_path / "s.sock"
    listener = await UnixTransport().listen(f"unix://{mine}", frame_bytes_max=FRAME)
    mine.unlink()
    mine.write_text("someone else's now")
    await listener.aclose()
    assert mine.read_text() == "someone else's now"


@pytest.mark.parametrize("url", ["unix://relative", "unix://", f"unix:///{'x' * 120}"])
def test_unix_refuses_bad_urls(url):
    with pytest.raises(UsageError):
        unix.parse(url)


async def test_unix_listener_closes_although_its_file_cannot_be_removed(tmp_path, monkeypatch):
    url = f"unix://{tmp_path}/s"
    listener = await UnixTransport().listen(url, frame_bytes_max=FRAME)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        await listener.aclose()
    with pytest.raises(DialError, match="refused"):
        await UnixTransport().dial(url, frame_bytes_max=FRAME)
    again = await UnixTransport().listen(url, frame_bytes_max=FRAME)
    await again.aclose()
    assert not (tmp_path / "s").exists()


async def test_unix_missing_directory_is_a_listen_error(tmp_path):
    with pytest.raises(ListenError, match="No such file"):
        await UnixTransport().listen(f"unix://{tmp_path}/no/s.sock", frame_bytes_max=FRAME)


def test_mem_names_end_with_the_run():
    async def listen():
        return await MemTransport().listen("mem://left-open", frame_bytes_max=FRAME)

    async def once():
        listener = await listen()
        assert listener.address == "mem://left-open"
        with pytest.raises(ListenError, match="the name is taken"):
            await listen()

    trio.run(once)
    trio.run(once)  # the first listener was never closed: its name went with its run


async def test_mem_queue_of_callers_is_bounded():
    listener = await MemTransport().listen("mem://", frame_bytes_max=FRAME)
    links = [
        await MemTransport().dial(listener.address, frame_bytes_max=FRAME) for _ in range(BACKLOG)
    ]
    with pytest.raises(DialError, match="queue of callers is full"):
        await MemTransport().dial(listener.address, frame_bytes_max=FRAME)
    await listener.aclose()
    with pytest.raises(LinkError):
        await links[0].receive()


async def test_stranger_cannot_make_us_keep_a_large_frame():
    async with TransportUnderTest(TcpTransport(), "tcp://127.0.0.1:0").pair() as (near, far):
        far.bound_receive(100)
        await near.send(b"a" * 100)
        assert len(await far.receive()) == 100
        await near.send(b"b" * 1000)
        with pytest.raises(RemoteProtocolError, match="above 100 bytes"):
            await far.receive()
        with pytest.raises(LinkError):
            await far.receive()


async def test_bound_is_lifted_after_authentication():
    async with TransportUnderTest(MemTransport(), "mem://").pair() as (near, far):
        far.bound_receive(100)
        far.bound_receive(None)
        await near.send(b"b" * 60_000)
        assert len(await far.receive()) == 60_000


async def test_half_a_frame_is_not_an_orderly_end():
    listener = await TcpTransport().listen("tcp://127.0.0.1:0", frame_bytes_max=FRAME)
    host, _, port = listener.address.removeprefix("tcp://").rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    link = await listener.accept()
    await stream.send_all(b"\0\0\0\x08half")
    await stream.aclose()
    with pytest.raises(LinkError, match="middle of a frame") as caught:
        await link.receive()
    assert type(caught.value) is LinkError
    await link.aclose()
    await listener.aclose()


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "two..dots", "\udc80"])
async def test_a_host_that_dns_cannot_spell_is_an_expected_failure(host):
    with pytest.raises(DialError, match="cannot connect"):
        await TcpTransport().dial(f"tcp://{host}:1", frame_bytes_max=1000)
    with pytest.raises(ListenError, match="cannot listen"):
        await TcpTransport().listen(f"tcp://{host}:1", frame_bytes_max=1000)
