"""DNS on the wire: what dnspython reads back, sizes, truncation and garbage."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.daemon.dns.messages import respond
from meshcrdt.daemon.dns.zone import Zone


class Crowd:
    """One name with many addresses."""

    def __init__(self, count: int) -> None:
        self._addresses = tuple(f"10.32.{n // 250}.{n % 250}" for n in range(count))

    def lookup(self, name: str) -> tuple[str, ...]:
        return self._addresses if name == "web.mesh.internal" else ()

    def reverse(self, address: str) -> tuple[str, ...]:
        return ()

    def has_below(self, name: str) -> bool:
        return False

    def universes(self) -> tuple[str, ...]:
        return ("10.32.0.0/12",)


def ask(
    zone: Zone, name: str, kind: str = "A", *, over_tcp: bool = False, **edns: int
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **edns)
    data = respond(zone, query.to_wire(), over_tcp=over_tcp)
    assert data is not None
    response = dns.message.from_wire(data)
    assert query.is_response(response)
    return response


def test_an_authoritative_answer() -> None:
    response = ask(Zone("mesh.internal.", Crowd(2)), "WEB.mesh.internal.")
    assert response.rcode() == dns.rcode.NOERROR
    assert response.flags & dns.flags.AA
    assert not response.flags & dns.flags.RA
    assert response.answer[0].ttl == 1
    assert {r.address for r in response.answer[0]} == {"10.32.0.0", "10.32.0.1"}
    assert response.question[0].name.to_text() == "WEB.mesh.internal."


def test_absence_is_told_with_a_soa() -> None:
    response = ask(Zone("mesh.internal.", Crowd(2)), "gone.mesh.internal.")
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert response.authority[0].rdtype == dns.rdatatype.SOA
    assert response.authority[0][0].minimum == 1


def test_strange_names_are_refused_without_authority() -> None:
    response = ask(Zone("mesh.internal.", Crowd(2)), "example.com.")
    assert response.rcode() == dns.rcode.REFUSED
    assert not response.flags & dns.flags.AA


def test_what_does_not_fit_is_truncated_and_whole_over_tcp() -> None:
    zone = Zone("mesh.internal.", Crowd(200))
    plain = ask(zone, "web.mesh.internal.")
    assert plain.flags & dns.flags.TC
    assert len(plain.to_wire()) <= 512
    assert ask(zone, "web.mesh.internal.", use_edns=0, payload=4096).flags & dns.flags.TC
    whole = ask(zone, "web.mesh.internal.", over_tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 200


def test_edns_makes_room() -> None:
    zone = Zone("mesh.internal.", Crowd(50))
    response = ask(zone, "web.mesh.internal.", use_edns=0, payload=1232)
    assert not response.flags & dns.flags.TC
    assert response.edns == 0


def test_a_newer_edns_is_answered_with_badvers() -> None:
    query = dns.message.make_query("web.mesh.internal.", "A", use_edns=1)
    data = respond(Zone("mesh.internal.", Crowd(1)), query.to_wire(), over_tcp=False)
    assert data is not None
    assert dns.message.from_wire(data).rcode() == dns.rcode.BADVERS


def test_other_opcodes_are_not_implemented() -> None:
    query = dns.message.make_query("web.mesh.internal.", "SOA")
    query.set_opcode(4)
    data = respond(Zone("mesh.internal.", Crowd(1)), query.to_wire(), over_tcp=False)
    assert data is not None
    assert data[3] & 0x0F == dns.rcode.NOTIMP


def test_a_response_is_never_answered() -> None:
    response = dns.message.make_response(dns.message.make_query("a.", "A"))
    assert respond(Zone("m.", Crowd(1)), response.to_wire(), over_tcp=False) is None


@pytest.mark.parametrize("size", range(12))
def test_fragments_are_not_answered(size: int) -> None:
    assert respond(Zone("m.", Crowd(1)), bytes(size), over_tcp=False) is None


@given(st.binary(max_size=120), st.booleans())
def test_garbage_never_raises_and_is_never_amplified(data: bytes, over_tcp: bool) -> None:
    response = respond(Zone("mesh.internal.", Crowd(3)), data, over_tcp=over_tcp)
    if response is not None:
        assert len(response) <= 1232


@given(st.data())
def test_damaged_queries_never_raise(data: st.DataObject) -> None:
    wire = bytearray(dns.message.make_query("web.mesh.internal.", "A", use_edns=0).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    respond(Zone("mesh.internal.", Crowd(3)), bytes(wire), over_tcp=False)
