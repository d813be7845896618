"""What the zone answers; NXDOMAIN and NODATA are told apart."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.daemon.dns.zone import Verdict, Zone, address_of_reverse


class Table:
    """A source of names from a dictionary; names in lower case without the final dot."""

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names

    def lookup(self, name: str) -> tuple[str, ...]:
        return self._names.get(name.lower(), ())

    def reverse(self, address: str) -> tuple[str, ...]:
        return tuple(name for name, held in self._names.items() if address in held)

    def has_below(self, name: str) -> bool:
        return any(other.endswith("." + name) for other in self._names)

    def universes(self) -> tuple[str, ...]:
        return ("10.32.0.0/12", "fd00:1::/48")


@pytest.fixture
def zone() -> Zone:
    return Zone(
        "Mesh.Internal",
        Table(
            {
                "web.mesh.internal": ("10.32.0.1", "10.32.0.2", "fd00:1::1"),
                "v4.mesh.internal": ("10.32.0.3",),
                "a.deep.mesh.internal": ("10.32.0.4",),
                "other.example": ("10.32.0.5",),
            }
        ),
    )


def test_addresses_by_family_with_the_case_as_asked(zone: Zone) -> None:
    answer = zone.query("WeB.mesh.INTERNAL.", "A")
    assert answer.verdict is Verdict.ANSWER
    assert [(r.owner, r.kind, r.text, r.ttl_s) for r in answer.answers] == [
        ("WeB.mesh.INTERNAL.", "A", "10.32.0.1", 1),
        ("WeB.mesh.INTERNAL.", "A", "10.32.0.2", 1),
    ]
    assert [r.text for r in zone.query("web.mesh.internal.", "AAAA").answers] == ["fd00:1::1"]
    assert len(zone.query("web.mesh.internal.", "ANY").answers) == 3


def test_rotation_turns_the_order(zone: Zone) -> None:
    first = [r.text for r in zone.query("web.mesh.internal.", "A", rotation=1).answers]
    assert first == ["10.32.0.2", "10.32.0.1"]


@pytest.mark.parametrize(
    ("name", "kind", "verdict"),
    [
        ("v4.mesh.internal.", "AAAA", Verdict.NODATA),
        ("v4.mesh.internal.", "MX", Verdict.NODATA),
        ("deep.mesh.internal.", "A", Verdict.NODATA),
        ("none.mesh.internal.", "A", Verdict.NXDOMAIN),
        ("mesh.internal.", "A", Verdict.NODATA),
        ("mesh.internal.", "SOA", Verdict.ANSWER),
        ("mesh.internal.", "NS", Verdict.ANSWER),
        ("other.example.", "A", Verdict.ANSWER),
        ("example.com.", "A", Verdict.REFUSED),
        ("notmesh.internal.", "A", Verdict.REFUSED),
        (".", "NS", Verdict.REFUSED),
    ],
)
def test_verdicts(zone: Zone, name: str, kind: str, verdict: Verdict) -> None:
    answer = zone.query(name, kind)
    assert answer.verdict is verdict
    if verdict in (Verdict.NODATA, Verdict.NXDOMAIN):
        assert [r.kind for r in answer.authority] == ["SOA"]
        assert answer.answers == ()


@pytest.mark.parametrize(
    ("address", "kind", "texts"),
    [
        ("10.32.0.9", "A", ["10.32.0.9"]),
        ("10.32.0.9", "ANY", ["10.32.0.9"]),
        ("10.32.0.9", "AAAA", []),
        ("fd00:1::9", "AAAA", ["fd00:1::9"]),
        ("fe80::9%eth0", "AAAA", ["fe80::9"]),
        ("0.0.0.0", "A", []),
        ("::", "AAAA", []),
        (None, "A", []),
    ],
)
def test_the_zones_own_server_is_where_it_listens(
    zone: Zone, address: str | None, kind: str, texts: list[str]
) -> None:
    served = zone if address is None else zone.served_at(address)
    assert served.query("mesh.internal.", "NS").answers[0].text == "ns.mesh.internal."
    answer = served.query("NS.mesh.internal.", kind)
    assert answer.verdict is (Verdict.ANSWER if texts else Verdict.NODATA)
    assert [(r.owner, r.text) for r in answer.answers] == [("NS.mesh.internal.", t) for t in texts]


def test_a_workload_that_is_called_ns_keeps_its_name() -> None:
    zone = Zone("mesh.internal", Table({"ns.mesh.internal": ("10.32.0.7",)}))
    answer = zone.served_at("10.32.0.9").query("ns.mesh.internal.", "A")
    assert [record.text for record in answer.answers] == ["10.32.0.7"]


@pytest.mark.parametrize(
    ("name", "kind", "verdict", "texts"),
    [
        ("1.0.32.10.in-addr.arpa.", "PTR", Verdict.ANSWER, ["web.mesh.internal."]),
        ("1.0.32.10.IN-ADDR.arpa.", "PTR", Verdict.ANSWER, ["web.mesh.internal."]),
        ("1.0.32.10.in-addr.arpa.", "A", Verdict.NODATA, []),
        ("9.0.32.10.in-addr.arpa.", "PTR", Verdict.NXDOMAIN, []),
        ("32.10.in-addr.arpa.", "PTR", Verdict.NODATA, []),
        ("33.10.in-addr.arpa.", "PTR", Verdict.NODATA, []),
        ("64.10.in-addr.arpa.", "PTR", Verdict.REFUSED, []),
        ("x.10.in-addr.arpa.", "PTR", Verdict.REFUSED, []),
        ("d.f.ip6.arpa.", "PTR", Verdict.NODATA, []),
        ("c.f.ip6.arpa.", "PTR", Verdict.REFUSED, []),
        ("10.in-addr.arpa.", "PTR", Verdict.NODATA, []),
        ("1.1.168.192.in-addr.arpa.", "PTR", Verdict.REFUSED, []),
        ("999.0.32.10.in-addr.arpa.", "PTR", Verdict.REFUSED, []),
    ],
)
def test_reverse(zone: Zone, name: str, kind: str, verdict: Verdict, texts: list[str]) -> None:
    answer = zone.query(name, kind)
    assert answer.verdict is verdict
    assert [r.text for r in answer.answers] == texts


@given(st.ip_addresses())
def test_reverse_names_are_read_back(address: object) -> None:
    assert address_of_reverse(f"{address.reverse_pointer}.") == str(address)  # type: ignore[attr-defined]
