"""Hello: bounds, round trip, trimming, and refusal of every malformed field."""

from __future__ import annotations

import pytest

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import Tree
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.trust.hello import HELLO_BYTES_MAX, Hello, cluster_id
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import decode, encode

IDENTITY = Identity(b"i" * 32)
EPOCH = Epoch(3, b"instance")


def hello_of(**changes: object) -> Hello:
    return Hello.of(IDENTITY, name="n1", epoch=EPOCH, **changes)  # type: ignore[arg-type]


def test_round_trip() -> None:
    hello = hello_of(genesis=bytes(range(32)), features=("b", "a", "b"), advertise=["tcp://a:1"])
    assert Hello.from_tree(decode(encode(hello.to_tree()))) == hello
    assert hello.features == ("a", "b")
    assert hello.peer == IDENTITY.peer
    assert hello.cluster == bytes(range(16)).hex() == cluster_id(bytes(range(32)))
    assert hello_of().cluster is None


def test_advertised_addresses_are_trimmed_to_what_fits() -> None:
    addresses = [f"tcp://{index:03}{'x' * 200}" for index in range(30)]
    hello = hello_of(advertise=addresses)
    assert hello.advertise == tuple(addresses[: len(hello.advertise)])
    assert 3 <= len(hello.advertise) < 16
    assert len(encode(hello.to_tree())) <= HELLO_BYTES_MAX


def test_bounds_of_our_own_are_misuse() -> None:
    with pytest.raises(UsageError, match="name"):
        Hello.of(IDENTITY, name="n" * 256, epoch=EPOCH)
    with pytest.raises(UsageError, match="printable"):
        Hello.of(IDENTITY, name="a\x1b[2J", epoch=EPOCH)
    with pytest.raises(UsageError, match="genesis"):
        hello_of(genesis=b"short")
    with pytest.raises(UsageError, match="not the peer id"):
        Hello(public=IDENTITY.public, peer=PeerId(b"x" * 16), name="n", epoch=EPOCH)


GOOD = hello_of(genesis=b"g" * 32, features=("f",), advertise=("tcp://a:1",)).to_tree()


@pytest.mark.parametrize(
    ("index", "bad"),
    [
        (0, b"short"),
        (0, None),
        (1, b"bytes"),
        (1, "n" * 256),
        (1, "line\nbreak"),
        (1, "\u202e right to left"),
        (2, (1,)),
        (2, (-1, b"i" * 8)),
        (2, (1, b"i" * 7)),
        (3, b"g" * 31),
        (3, "g" * 32),
        (4, ()),
        (4, (True,)),
        (4, (65_536,)),
        (4, tuple(range(17))),
        (5, ("f" * 65,)),
        (5, ("f",) * 33),
        (5, "f"),
        (6, ("a" * 513,)),
        (6, ("a",) * 17),
        (6, ("tcp://a\x00",)),
        (7, None),
        (7, (None,) * 17),
        (7, (b"x" * HELLO_BYTES_MAX,)),
    ],
    ids=repr,
)
def test_malformed_fields(index: int, bad: Tree) -> None:
    assert isinstance(GOOD, tuple)
    tree = (*GOOD[:index], bad, *GOOD[index + 1 :])
    with pytest.raises(MalformedTree):
        Hello.from_tree(tree)


def test_wrong_size_of_the_list() -> None:
    assert isinstance(GOOD, tuple)
    for tree in (None, (), GOOD[:-1], (*GOOD, None)):
        with pytest.raises(MalformedTree):
            Hello.from_tree(tree)


def test_extensions_are_kept_for_later_versions() -> None:
    assert isinstance(GOOD, tuple)
    tree = (*GOOD[:7], (("kem", 1), b"x"))
    assert Hello.from_tree(tree).extensions == (("kem", 1), b"x")
    assert Hello.from_tree(tree).to_tree() == tree
