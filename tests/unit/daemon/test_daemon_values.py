"""What values are accepted; every refusal names the value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.daemon import places, values
from meshcrdt.daemon.exits import one_line
from meshcrdt.daemon.options import BY_NAME
from meshcrdt.node import views


@pytest.mark.parametrize("text", ["web", "web.mesh.internal.", "a-b", "_srv._tcp.x", "x" * 63])
def test_names_that_are_accepted(text: str) -> None:
    assert values.dns_name(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\tb",
        "a\x00",
        "a b",
        "x" * 64,
        "a..b",
        ".",
        "é\x85",
        "é",
        "a*b",
        "-a",
        "a-.b",
        "ab" * 127,
    ],
)
def test_names_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        values.dns_name(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12))
def test_printable_text_is_plain(text: str) -> None:
    assert values.plain(text, "id", bytes_max=64) == text


@given(st.text(max_size=8), st.characters(categories=["Cc"]), st.text(max_size=8))
def test_control_characters_are_refused_and_never_echoed(
    before: str, control: str, after: str
) -> None:
    with pytest.raises(ValueError, match="control characters") as caught:
        values.plain(before + control + after, "id", bytes_max=64)
    assert control not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.0.0.1", "10.0.0.1"), ("10.0.0.1/8", "10.0.0.1"), ("FD00::1", "fd00::1")],
)
def test_addresses_lose_their_prefix(text: str, expected: str) -> None:
    assert values.address(text) == expected


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.256", "x", "", "10.0.0.1/33", "fe80::1%eth0"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        values.address(text)


def test_a_range_with_host_bits_is_refused_by_the_range_that_is_meant() -> None:
    assert values.cidr("10.32.0.0/12") == "10.32.0.0/12"
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8 is accepted"):
        values.cidr("10.1.2.3/8")
    with pytest.raises(ValueError, match="a CIDR such as"):
        values.cidr("10.0.0.0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5.0), ("0.5", 0.5), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("1d", 86400.0)],
)
def test_durations(text: str, expected: float) -> None:
    assert values.duration(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "5x", "s", "1e3"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        values.duration(text)


@pytest.mark.parametrize("text", ["pid:0", "pid:x", "netns:", "a\nb", ""])
def test_bad_targets(text: str) -> None:
    with pytest.raises(ValueError, match="target"):
        values.target(text)


def test_attach_addresses() -> None:
    assert values.attach_address("net:default") == "net:default"
    assert values.attach_address("net:10.2.0.0/16") == "net:10.2.0.0/16"
    assert values.attach_address("ip:10.2.0.1/16") == "10.2.0.1"


def test_foreign_text_cannot_forge_a_second_line() -> None:
    assert one_line("bad\nname\x1b[31m") == "bad name\\x1b[31m"


def test_the_reserved_channels_are_those_of_the_node() -> None:
    assert views.RESERVED == values.RESERVED_CHANNELS


@pytest.mark.parametrize("digits", ["\u00b2", "\u0663", "9" * 5_000])
def test_digits_that_no_number_is_made_of_are_refused_by_each_rule_in_its_own_words(
    digits: str,
) -> None:
    for check, text, named in (
        (values.target, f"pid:{digits[:9]}", "target"),
        (values.host_port, f"127.0.0.1:{digits}", "HOST:PORT"),
        (values.mtu, digits, "mtu"),
        (values.address, f"10.0.0.1/{digits}", "address"),
        (places.parse_api, f"http://127.0.0.1:{digits}", "API address"),
        (BY_NAME["ipalloc_init"].check, f"consensus={digits}", "--ipalloc-init"),
    ):
        with pytest.raises(ValueError, match=named):
            check(text)
    if len(digits) == 1:
        with pytest.raises(ValueError, match="duration"):
            values.duration(digits)
