"""The name server on real loopback sockets: UDP, TCP, pipelining, and a port in use."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import dns.message
import dns.rcode
import pytest
import trio

from meshcrdt.daemon.dns.server import DnsServer, open_dns
from meshcrdt.daemon.dns.zone import Zone
from meshcrdt.daemon.exits import CommandError


class One:
    """A source with one name."""

    def lookup(self, name: str) -> tuple[str, ...]:
        return ("10.32.0.1",) if name == "web.mesh.internal" else ()

    def reverse(self, address: str) -> tuple[str, ...]:
        return ()

    def has_below(self, name: str) -> bool:
        return False

    def universes(self) -> tuple[str, ...]:
        return ("10.32.0.0/12",)


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    opened = await open_dns("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.run, Zone("mesh.internal", One()))
        yield opened
        nursery.cancel_scope.cancel()


async def test_the_server_tells_its_own_address(server: DnsServer) -> None:
    with trio.socket.socket(type=socket.SOCK_DGRAM) as asker:
        await asker.connect(("127.0.0.1", port_of(server)))
        await asker.send(query("ns.mesh.internal.").to_wire())
        with trio.fail_after(5):
            response = dns.message.from_wire(await asker.recv(4096))
    assert response.answer[0][0].address == "127.0.0.1"


def port_of(server: DnsServer) -> int:
    return int(server.address.rpartition(":")[2])


def query(name: str = "web.mesh.internal.") -> dns.message.Message:
    return dns.message.make_query(name, "A")


async def test_an_answer_over_udp(server: DnsServer) -> None:
    asked = query()
    with trio.socket.socket(type=socket.SOCK_DGRAM) as asker:
        await asker.connect(("127.0.0.1", port_of(server)))
        await asker.send(b"too short")
        await asker.send(asked.to_wire())
        with trio.fail_after(5):
            response = dns.message.from_wire(await asker.recv(4096))
    assert asked.is_response(response)
    assert response.answer[0][0].address == "10.32.0.1"


async def test_several_queries_over_one_tcp_connection(server: DnsServer) -> None:
    asked = [query(), query("gone.mesh.internal.")]
    wires = [message.to_wire() for message in asked]
    stream = await trio.open_tcp_stream("127.0.0.1", port_of(server))
    async with stream:
        with trio.fail_after(5):
            await stream.send_all(b"".join(len(w).to_bytes(2, "big") + w for w in wires))
            data = b""
            answers: list[dns.message.Message] = []
            while len(answers) < 2:
                data += await stream.receive_some(4096)
                while len(data) > 2 and len(data) >= 2 + int.from_bytes(data[:2], "big"):
                    size = int.from_bytes(data[:2], "big")
                    answers.append(dns.message.from_wire(data[2 : 2 + size]))
                    data = data[2 + size :]
    assert [a.rcode() for a in answers] == [dns.rcode.NOERROR, dns.rcode.NXDOMAIN]


async def test_who_sends_nonsense_over_tcp_is_closed(server: DnsServer) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port_of(server))
    async with stream:
        with trio.fail_after(5):
            await stream.send_all(b"\x00\x05hello")
            assert await stream.receive_some(64) == b""


async def test_a_port_in_use_is_named(server: DnsServer) -> None:
    with pytest.raises(CommandError, match=rf"127\.0\.0\.1:{port_of(server)} .*in use"):
        await open_dns("127.0.0.1", port_of(server))
