"""Ranges and range sets against sets of integers and the standard library."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.errors import InternalError, UsageError
from meshcrdt.ranges import IPV4, IPV6, AddressRange, Cidr, RangeSet

TOP = 40
"""Numbers in tests stay below this, so that sets of integers can be the oracle."""

Model = set[tuple[int, int]]


@st.composite
def spans(draw: st.DrawFn) -> AddressRange:
    family = draw(st.sampled_from((IPV4, IPV6)))
    start = draw(st.integers(0, TOP - 1))
    return AddressRange(family, start, draw(st.integers(start + 1, TOP)))


def model(items: list[AddressRange]) -> Model:
    return {(item.family, number) for item in items for number in range(item.start, item.end)}


def numbers(ranges: RangeSet) -> Model:
    ranges.check()
    return model(list(ranges))


@given(st.lists(spans(), max_size=8), st.lists(spans(), max_size=8))
def test_set_arithmetic_is_that_of_integers(
    one: list[AddressRange], two: list[AddressRange]
) -> None:
    a, b = RangeSet(one), RangeSet(two)
    mine, theirs = model(one), model(two)
    assert numbers(a) == mine
    assert numbers(a | b) == mine | theirs
    assert numbers(a & b) == mine & theirs
    assert numbers(a - b) == mine - theirs
    assert a.leq(b) == (mine <= theirs)
    assert (a == b) == (mine == theirs)
    assert a.size == len(mine)
    assert bool(a) == bool(mine)
    assert a.union(b) == RangeSet([*two, *one])
    assert hash(a | b) == hash(b | a)


@given(st.lists(spans(), max_size=8), spans())
def test_contains_and_gaps_are_those_of_integers(
    items: list[AddressRange], probe: AddressRange
) -> None:
    ranges = RangeSet(items)
    held = model(items)
    wanted = model([probe])
    assert ranges.contains(probe) == (probe in ranges) == (wanted <= held)
    for family, number in wanted:
        assert ranges.contains_address(family, number) == ((family, number) in held)
    gaps = list(RangeSet([probe]) - ranges)
    assert model(gaps) == wanted - held
    assert gaps == sorted(gaps)
    assert len(gaps) == len(RangeSet(gaps))


@given(st.lists(spans(), max_size=8))
def test_ranges_are_sorted_disjoint_and_not_adjacent(items: list[AddressRange]) -> None:
    listed = list(RangeSet(items))
    assert len(listed) == len(RangeSet(items))
    for one, two in pairwise(listed):
        assert one.family < two.family or one.end < two.start


@given(st.lists(spans(), max_size=6))
def test_cover_is_exact_and_minimal(items: list[AddressRange]) -> None:
    cover = tuple(RangeSet(items).cidrs())
    assert numbers(RangeSet(cover)) == model(items)
    for family, kind in ((IPV4, ipaddress.IPv4Network), (IPV6, ipaddress.IPv6Network)):
        ours = [kind(cidr.text) for cidr in cover if cidr.family == family]
        singles = [kind((number, 32 if family == IPV4 else 128))
                   for f, number in model(items) if f == family]  # fmt: skip
        assert ours == list(ipaddress.collapse_addresses(singles))


@given(st.data())
def test_cover_of_wide_ranges_agrees_with_the_standard_library(data: st.DataObject) -> None:
    kind, family, bits = data.draw(
        st.sampled_from(((ipaddress.IPv4Address, IPV4, 32), (ipaddress.IPv6Address, IPV6, 128)))
    )
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, (1 << bits) - 1)] * 2)))
    ours = [cidr.text for cidr in AddressRange(family, first, last + 1).cidrs()]
    theirs = ipaddress.summarize_address_range(kind(first), kind(last))  # type: ignore[arg-type]
    assert [ipaddress.ip_network(text) for text in ours] == list(theirs)


@given(spans(), spans())
def test_range_relations_are_those_of_integers(one: AddressRange, two: AddressRange) -> None:
    shared = model([one]) & model([two])
    assert one.overlaps(two) == bool(shared)
    assert one.contains(two) == (model([two]) <= model([one]))
    assert one.size == len(model([one]))
    assert one.contains_address(two.family, two.start) == ((two.family, two.start) in model([one]))


def test_whole_families_fit() -> None:
    for text in ("0.0.0.0/0", "::/0"):
        whole = Cidr.parse(text)
        assert [cidr.text for cidr in AddressRange.of_cidr(whole).cidrs()] == [text]
        assert RangeSet([whole]).size == whole.size
        assert not RangeSet([whole]) - RangeSet([AddressRange.of_cidr(whole)])


def test_range_text_names_both_ends() -> None:
    span = AddressRange(IPV4, 0x0A0000FA, 0x0A000103)
    assert span.size == 9
    assert str(span) == "10.0.0.250-10.0.1.2"
    assert [cidr.text for cidr in span.cidrs()] == ["10.0.0.250/31", "10.0.0.252/30",
                                                    "10.0.1.0/31", "10.0.1.2/32"]  # fmt: skip
    assert AddressRange.of_cidr(Cidr.parse("fd00::/64")).size == 1 << 64
    assert repr(RangeSet([span])) == "RangeSet(10.0.0.250-10.0.1.2)"


@pytest.mark.parametrize("bounds", [(0, 0), (2, 1), (-1, 1), (0, (1 << 32) + 1)])
def test_empty_or_outlying_range_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="is not an IPv4 range"):
        AddressRange(IPV4, *bounds)


@pytest.mark.parametrize(
    "bounds", [{4: (5, 1)}, {4: (1,)}, {4: ()}, {4: (0, 1 << 33)}, {4: (1, 1)}]
)
def test_check_finds_a_broken_set(bounds: dict[int, tuple[int, ...]]) -> None:
    with pytest.raises(InternalError):
        RangeSet._make(bounds).check()


def test_sets_are_not_equal_to_other_things() -> None:
    assert RangeSet() != ()
    assert not RangeSet()
    assert RangeSet().size == 0
