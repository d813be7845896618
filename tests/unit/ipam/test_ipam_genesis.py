import pytest

from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.ipam import BlockPolicy, Genesis, default_universes
from meshcrdt.trust.identity import Identity

MAKER = Identity(b"m" * 32)


def test_genesis_round_trip_keeps_hash_and_cluster():
    genesis = Genesis.make(MAKER, ["10.9.0.0/16", "fd00::/48"], nonce=b"n" * 16)
    again = Genesis.decode(genesis.encode())
    assert again == genesis
    assert again.hash == genesis.hash
    assert len(genesis.hash) == 32
    assert genesis.cluster == genesis.hash[:16].hex()
    assert genesis.guardians == (MAKER.peer,)


def test_genesis_defaults_are_weaves_range_and_a_ula_of_its_own():
    ipv4, ipv6 = Genesis.make(MAKER, nonce=b"a" * 16).universes
    assert ipv4 == "10.32.0.0/12"
    assert ipv6.startswith("fd")
    assert ipv6.endswith("::/48")
    assert default_universes(b"b" * 16)[1] != ipv6


def test_genesis_other_nonce_is_another_cluster():
    assert (
        Genesis.make(MAKER, nonce=b"a" * 16).cluster != Genesis.make(MAKER, nonce=b"b" * 16).cluster
    )


@pytest.mark.parametrize(
    ("universes", "named"),
    [
        ([], "no universe"),
        (["10.0.0.0/8", "10.9.0.0/16"], "10.9.0.0/16"),
        (["fd00::/48", "fd00::/64"], "fd00::/64"),
        (["10.0.0.1/8"], "10.0.0.1/8"),
        (["ten"], "ten"),
        ([f"10.{n}.0.0/16" for n in range(17)], "17 universes"),
    ],
)
def test_genesis_bad_universes_are_named(universes, named):
    with pytest.raises(UsageError) as caught:
        Genesis.make(MAKER, universes, nonce=b"n" * 16)
    assert named in str(caught.value)


def test_genesis_nonce_must_be_whole():
    with pytest.raises(UsageError, match="16"):
        Genesis.make(MAKER, nonce=b"n")


def test_genesis_every_changed_byte_of_the_tree_is_noticed():
    body, signature = Genesis.make(MAKER, nonce=b"n" * 16).to_tree()
    other = Genesis.make(Identity(b"x" * 32), nonce=b"n" * 16).to_tree()
    changed = [
        (body, signature[:-1] + bytes([signature[-1] ^ 1])),
        (other[0], signature),
        ((*body[:2], b"o" * 16, *body[3:]), signature),
        ((*body[:3], ("10.0.0.0/8",), *body[4:]), signature),
        ((*body[:4], 2, *body[5:]), signature),
        ((*body[:5], (MAKER.public, MAKER.public), body[6]), signature),
        ((*body[:5], (), body[6]), signature),
        ((2, *body[1:]), signature),
    ]
    for tree in changed:
        with pytest.raises(MalformedTree):
            Genesis.from_tree(tree)


@pytest.mark.parametrize(
    ("family", "size", "pool", "members", "starter"),
    [
        (4, 1 << 20, 1 << 20, 1, 16_384),
        (4, 1 << 16, 1 << 16, 1, 1_024),
        (4, 1 << 16, 1 << 16, 64, 256),
        (4, 1 << 12, 1 << 12, 1, 64),
        (4, 1 << 8, 1 << 8, 1, 4),
        (4, 2, 2, 1, 1),
        (4, 1 << 20, 0, 1, 1),
        (6, 1 << 80, 1 << 80, 1, 1 << 74),
    ],
)
def test_policy_starter_is_the_published_number(family, size, pool, members, starter):
    policy = BlockPolicy()
    assert (
        policy.starter_size(family=family, range_size=size, pool_size=pool, members=members)
        == starter
    )


def test_policy_growth_doubles_up_to_a_fair_share():
    policy = BlockPolicy()
    grow = policy.growth_size
    assert grow(owned=1024, starter=1024, pool_size=1 << 16, members=1) == 1024
    assert grow(owned=4096, starter=1024, pool_size=1 << 16, members=1) == 4096
    assert grow(owned=1 << 15, starter=1024, pool_size=1 << 15, members=1) == 4096
    assert grow(owned=64, starter=64, pool_size=3, members=1) == 1
    assert BlockPolicy.from_tree(policy.to_tree()) == policy
