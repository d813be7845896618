import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.names import NameRecord, Names, normalise_address
from meshcrdt.wire import encode

NAMES = ("a", "b", "c.d", "a.c.d", "ac.d", "d.")
ALICE, BOB, CAROL = (PeerId(bytes([n]) * 16) for n in (1, 2, 3))


def say(names: Names, origin: PeerId, name: str, *addresses: str) -> None:
    key, record = names.record(name, addresses)
    assert names.update(origin, key, record.encode())
    names.check()


def test_names_lookup_joins_origins_sorted_and_without_duplicates() -> None:
    names = Names()
    say(names, ALICE, "web", "10.32.0.9", "fd00::1")
    say(names, BOB, "WEB", "10.32.0.10", "10.32.0.9")
    assert names.lookup("Web") == ("10.32.0.9", "10.32.0.10", "fd00::1")
    assert names.lookup("web.mesh.internal.") == names.lookup("web")
    assert names.lookup("db") == ()


def test_names_hidden_origins_are_left_out() -> None:
    names = Names()
    say(names, ALICE, "web", "10.0.0.1")
    say(names, BOB, "web", "10.0.0.2")
    assert names.lookup("web", lambda origin: origin == BOB) == ("10.0.0.1",)
    assert names.reverse("10.0.0.2", lambda origin: origin == BOB) == ()
    assert list(names.entries(lambda origin: origin == ALICE)) == [
        ("web.mesh.internal", ("10.0.0.2",))
    ]


def test_names_an_origin_changes_only_its_own_part() -> None:
    names = Names()
    say(names, ALICE, "web", "10.0.0.1")
    say(names, BOB, "web", "10.0.0.2")
    names.update(BOB, names.normalise("web"), None)
    assert names.lookup("web") == ("10.0.0.1",)
    names.update(CAROL, names.normalise("web"), None)
    assert names.lookup("web") == ("10.0.0.1",)
    say(names, ALICE, "web", "10.0.0.7")
    assert names.lookup("web") == ("10.0.0.7",)
    assert names.own(ALICE, "web") == ("10.0.0.7",)
    assert names.own(BOB, "web") == ()
    names.check()


def test_names_reverse_keeps_the_case_that_was_given() -> None:
    names = Names()
    say(names, ALICE, "Web", "10.0.0.1")
    say(names, BOB, "api.Example.com", "10.0.0.1")
    assert names.reverse("10.0.0.1") == ("api.Example.com", "Web.mesh.internal")
    assert names.reverse("10.0.0.99") == ()
    with pytest.raises(UsageError, match=r"'10\.0\.0'"):
        names.reverse("10.0.0")


def test_names_addresses_are_normalised() -> None:
    assert normalise_address("FD00:0:0::1") == "fd00::1"
    # Written the same on every Python version, or the members refuse each other's records.
    assert normalise_address("::FFFF:a00:1") == "::ffff:10.0.0.1"
    with pytest.raises(UsageError, match="scope"):
        normalise_address("fe80::1%eth0")
    with pytest.raises(UsageError, match="167772161 is not an address"):
        normalise_address(167_772_161)  # type: ignore[arg-type]
    record = NameRecord.make("web", ["10.0.0.2", "10.0.0.2", "10.0.0.1"])
    assert record.addresses == ("10.0.0.1", "10.0.0.2")
    assert NameRecord.decode(record.encode()) == record


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        encode(None),
        encode(("web.mesh.internal",)),
        encode(("web.mesh.internal", ("10.0.0",))),
        encode(("web.mesh.internal", ("10.0.0.2", "10.0.0.1"))),
        encode(("other.mesh.internal", ("10.0.0.1",))),
        encode(("web\n", ("10.0.0.1",))),
        encode((1, ("10.0.0.1",))),
    ],
)
def test_names_malformed_record_is_skipped_and_counted(value: bytes) -> None:
    names = Names()
    say(names, ALICE, "web", "10.0.0.1")
    assert not names.update(BOB, b"web.mesh.internal", value)
    assert names.statistics().malformed == 1
    assert names.lookup("web") == ("10.0.0.1",)
    names.check()


def test_names_malformed_key_is_skipped() -> None:
    names = Names()
    _, record = names.record("web", ("10.0.0.1",))
    for key in (b"", b"WEB.mesh.internal", b"web\x00", b"\xff\xfe", b"web.mesh.internal."):
        assert not names.update(ALICE, key, record.encode())
    assert names.statistics().records == 0
    assert names.statistics().malformed == 5


def test_names_a_malformed_overwrite_ends_what_the_origin_said() -> None:
    # The view is a function of the stored records: what is under the key now counts.
    names = Names()
    say(names, ALICE, "web", "10.0.0.1")
    assert not names.update(ALICE, b"web.mesh.internal", b"\xff")
    assert names.lookup("web") == ()
    names.check()


def test_names_below_another_are_found_without_looking_at_the_rest() -> None:
    # 20,000 names and a query for none of them: looking at each would take over a million steps.
    names = Names()
    for number in range(20_000):
        key, record = names.record(f"n{number}.deep", ("10.0.0.1",))
        names.update(ALICE, key, record.encode())
    steps = 0

    class Counted(str):
        __slots__ = ()

        def __lt__(self, other: str) -> bool:
            nonlocal steps
            steps += 1
            return str.__lt__(self, other)

    names._backwards = [Counted(each) for each in names._backwards]
    assert names.has_below("deep.")
    assert not names.has_below("eep.")
    assert not names.has_below("n1.deep.")
    assert steps < 100
    with pytest.raises(UsageError):
        names.has_below("..")


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ALICE, BOB, CAROL]),
            st.sampled_from(NAMES),
            st.lists(st.integers(0, 5), max_size=3),
        ),
        max_size=30,
    )
)
def test_names_view_equals_a_plain_model(
    writes: list[tuple[PeerId, str, list[int]]],
) -> None:
    names = Names()
    model: dict[tuple[PeerId, str], set[str]] = {}
    for origin, name, numbers in writes:
        addresses = tuple(str(ipaddress.IPv4Address(number)) for number in numbers)
        key = names.normalise(name)
        if addresses:
            say(names, origin, name, *addresses)
            model[(origin, name)] = set(addresses)
        else:
            names.update(origin, key, None)
            model.pop((origin, name), None)
    names.check()
    full = {names.normalise(name).decode() for _, name in model}
    for above in (*NAMES, "d.", "mesh.internal.", "internal.", "esh.internal.", "x."):
        below = "." + names.normalise(above).decode()
        assert names.has_below(above) == any(name.endswith(below) for name in full), above
    for name in NAMES:
        expected = set().union(*(v for (_, n), v in model.items() if n == name))
        assert set(names.lookup(name)) == expected
    for number in range(6):
        address = str(ipaddress.IPv4Address(number))
        users = {n for (_, n), v in model.items() if address in v}
        assert len(names.reverse(address)) == len(users)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_names_merge_never_raises(key: bytes, value: bytes) -> None:
    names = Names()
    names.update(ALICE, key, value)
    names.check()


def test_names_record_from_outside_with_too_many_addresses_is_malformed() -> None:
    many = tuple(str(ipaddress.IPv4Address(n)) for n in range(300))
    with pytest.raises(MalformedTree, match="256"):
        NameRecord.decode(encode(("web.x", many)))
