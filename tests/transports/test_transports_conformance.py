"""Every built-in transport keeps the rules of the conformance suite."""

import socket

import pytest

from meshcrdt.testing.transport_suite import TRANSPORT_CHECKS, TransportUnderTest
from meshcrdt.transports.mem import MemTransport
from meshcrdt.transports.tcp import TcpTransport
from meshcrdt.transports.unix import UnixTransport


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def subject(request, tmp_path):
    if request.param == "mem":
        return TransportUnderTest(MemTransport(), listen_url="mem://")
    if request.param == "tcp4":
        return TransportUnderTest(TcpTransport(), listen_url="tcp://127.0.0.1:0")
    if request.param == "tcp6":
        if not _has_ipv6():
            pytest.skip("this host has no IPv6 loopback")
        return TransportUnderTest(TcpTransport(), listen_url="tcp://[::1]:0")
    return TransportUnderTest(UnixTransport(), listen_url=f"unix://{tmp_path}/s.sock")


@pytest.mark.parametrize("subject", ["mem", "tcp4", "tcp6", "unix"], indirect=True)
@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check, subject):
    await check(subject)
