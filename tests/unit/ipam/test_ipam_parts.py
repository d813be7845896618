"""The parts by themselves: ledger, proofs, shard, space, allocations, messages."""

import pytest
from attrs import evolve

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.ipam import Genesis
from meshcrdt.ipam.allocations import Allocations
from meshcrdt.ipam.durable import AllocationRow, CarveRow, Use, allocation_key, parse_allocation_key
from meshcrdt.ipam.ledger import REQUESTS_REMEMBERED_MAX, Ledger, join_ledgers
from meshcrdt.ipam.messages import CarvedMessage, CarveMessage, DeniedMessage, parse_message
from meshcrdt.ipam.proofs import proof_fault
from meshcrdt.ipam.register import Ballot, Kind, RequestId, Stamp
from meshcrdt.ipam.registry import Registry
from meshcrdt.ipam.shard import Carved, CarveOrder, Denial, Denied, Shard
from meshcrdt.ipam.space import Space
from meshcrdt.ipam.trie import Trie
from meshcrdt.ranges import Cidr
from meshcrdt.trust.identity import Identity

MAKER = Identity(b"m" * 32)
GENESIS = Genesis.make(MAKER, ["10.0.0.0/24"], nonce=b"n" * 16)
UNIVERSE = GENESIS.ranges[0]
PEER = PeerId(b"p" * 16)
EPOCH = Epoch(1, b"i" * 8)


def request(number: int, epoch: Epoch = EPOCH) -> RequestId:
    return RequestId(PEER, epoch, number)


def shard() -> Shard:
    return Shard(MAKER, GENESIS, Trie(GENESIS.ranges), ())


def carve(guard: Shard, number: int, size: int, **more) -> Carved | Denied:
    within = more.get("within", UNIVERSE)
    return guard.carve(CarveOrder(request(number), within, size, more.get("exact")))


# --- ledger -----------------------------------------------------------------------------------


def test_ledger_finds_what_it_granted_and_forgets_behind_a_floor():
    ledger = Ledger(PEER)
    for number in range(1, REQUESTS_REMEMBERED_MAX + 4):
        assert not ledger.is_stale(request(number))
        ledger = ledger.add(request(number), UNIVERSE, stamp=Stamp(1, number))
    assert len(ledger.granted) == REQUESTS_REMEMBERED_MAX
    assert ledger.find(request(3)) is None
    assert ledger.is_stale(request(3))
    assert ledger.find(request(4)) == UNIVERSE
    assert ledger.find(request(4, Epoch(1, b"j" * 8))) is None
    assert Ledger.decode(ledger.encode()) == ledger


def test_ledger_join_is_the_newer_whatever_the_order():
    old = Ledger(PEER).add(request(1), UNIVERSE, stamp=Stamp(1, 1))
    new = old.add(request(2), UNIVERSE, stamp=Stamp(1, 2))
    other = old.add(request(3), UNIVERSE, stamp=Stamp(1, 2))
    assert join_ledgers(old, new) == join_ledgers(new, old) == new
    assert join_ledgers(new, other) == join_ledgers(other, new)


def test_ledger_out_of_order_is_malformed():
    ledger = Ledger(PEER).add(request(1), UNIVERSE, stamp=Stamp(1, 1))
    twice = evolve(ledger, granted=ledger.granted * 2)
    with pytest.raises(MalformedTree, match="order"):
        Ledger.decode(twice.encode())


# --- proofs -----------------------------------------------------------------------------------


def test_proof_holds_for_exactly_what_was_signed():
    carved = carve(shard(), 1, 16)
    assert isinstance(carved, Carved)
    register = carved.register
    assert proof_fault(GENESIS, register) is None
    other = Genesis.make(MAKER, ["10.0.0.0/24"], nonce=b"o" * 16)
    assert "no guardian" in (proof_fault(other, register) or "")
    forged = [
        evolve(register, stamp=Stamp(1, 9)),
        evolve(register, birth=Stamp(1, 9)),
        evolve(register, kind=Kind.POOL, owner=None),
        evolve(register, owner=evolve(register.owner, peer=MAKER.peer)),
        evolve(register, request=request(2)),
        evolve(register, proof=evolve(register.proof, ballot=Ballot(9, PEER, b"n" * 8))),
    ]
    for register_forged in forged:
        assert "does not hold" in (proof_fault(GENESIS, register_forged) or "")
    for fault, proof in [
        ("no proof", None),
        ("set 2", evolve(register.proof, set_version=2)),
        ("0 of 1", evolve(register.proof, signatures=())),
        ("chains", evolve(register.proof, chain=(b"x",))),
    ]:
        assert fault in (proof_fault(GENESIS, evolve(register, proof=proof)) or "")
    assert "shard 1" in (proof_fault(GENESIS, evolve(register, shard=1)) or "")


# --- shard ------------------------------------------------------------------------------------


def test_shard_splits_write_every_child_and_tile_the_universe():
    guard = shard()
    carved = carve(guard, 1, 64)
    assert isinstance(carved, Carved)
    assert str(carved.register.cidr) == "10.0.0.192/26"
    kinds = {str(cidr): r.kind for cidr, r in guard.trie.registers.items()}
    assert kinds == {
        "10.0.0.0/24": Kind.SPLIT,
        "10.0.0.0/25": Kind.POOL,
        "10.0.0.128/25": Kind.SPLIT,
        "10.0.0.128/26": Kind.POOL,
        "10.0.0.192/26": Kind.OWN,
    }
    # Five registers and the ledger, in one change.
    assert len(carved.puts) == 6
    guard.check()


def test_shard_retry_gets_the_same_block_and_writes_nothing():
    guard = shard()
    first = carve(guard, 1, 16)
    again = carve(guard, 1, 128)
    assert isinstance(first, Carved)
    assert again == Carved(first.register)


def test_shard_rebuilt_from_its_records_goes_on_where_it_stopped():
    guard = shard()
    blocks = [carve(guard, number, 16) for number in range(1, 4)]
    trie = Trie(GENESIS.ranges)
    for register in guard.trie.registers.values():
        trie.join(register)
    rebuilt = Shard(MAKER, GENESIS, trie, guard.ledgers.values())
    assert carve(rebuilt, 2, 16) == Carved(blocks[1].register)
    fresh = carve(rebuilt, 4, 16)
    assert not any(fresh.register.cidr.overlaps(block.register.cidr) for block in blocks)
    assert fresh.register.stamp == Stamp(1, 4)


def test_registry_keeps_ledgers_at_guardians_alone():
    granted = carve(shard(), 1, 64)
    for peer, kept in ((MAKER.peer, True), (PEER, False)):
        registry = Registry(GENESIS, peer)
        merged = [registry.merge(key, value) for key, value in granted.puts]
        assert all(each.fault is None for each in merged)
        assert bool(registry.ledgers) is kept
        assert registry.trie.get(granted.register.cidr) == granted.register


def test_shard_gives_the_largest_smaller_block_then_is_exhausted():
    guard = shard()
    sizes = []
    for number in range(1, 20):
        got = carve(guard, number, 128)
        if isinstance(got, Denied):
            assert got == Denied(Denial.EXHAUSTED)
            break
        sizes.append(got.register.cidr.size)
        carve(guard, 100 + number, 32)
    assert sizes == [128, 64]


def test_shard_exact_carve_covers_the_address_and_names_the_owner():
    guard = shard()
    exact = Cidr.parse("10.0.0.77/32")
    got = carve(guard, 1, 16, exact=exact)
    assert isinstance(got, Carved)
    assert str(got.register.cidr) == "10.0.0.64/28"
    assert carve(guard, 2, 16, exact=exact) == Denied(Denial.OWNED, PEER)
    outside = Cidr.parse("10.0.1.1/32")
    assert carve(guard, 3, 16, exact=outside) == Denied(Denial.INVALID)


def test_shard_old_request_is_stale_for_ever():
    guard = shard()
    for number in range(2, REQUESTS_REMEMBERED_MAX + 4):
        carve(guard, number, 1)
    assert carve(guard, 1, 1) == Denied(Denial.STALE)
    assert carve(guard, 2, 1) == Denied(Denial.STALE)


# --- space and allocations ----------------------------------------------------------------------


def test_space_counts_follow_blocks_and_addresses():
    space = Space([Cidr.parse("10.0.0.0/8")])
    subnet = Cidr.parse("10.0.0.0/28")
    assert space.next_free(UNIVERSE) is None
    space.add(Cidr.parse("10.0.0.0/29"))
    assert (space.owned(UNIVERSE), space.free(UNIVERSE), space.usable(subnet)) == (8, 7, 7)
    address = space.next_free(subnet)
    space.take(address)
    assert (space.free(UNIVERSE), space.free(subnet)) == (6, 6)
    space.check()
    with pytest.raises(InternalError):
        space.take(address)
    with pytest.raises(InternalError):
        space.add(Cidr.parse("10.0.0.4/30"))
    space.give_back(address)
    with pytest.raises(InternalError):
        space.give_back(address)
    assert space.suspend(Cidr.parse("10.0.0.0/29"))
    assert space.next_free(UNIVERSE) is None
    space.check()


def test_space_next_fit_goes_round():
    space = Space([Cidr.parse("10.0.0.0/8")])
    space.add(Cidr.parse("10.0.0.4/30"))
    seen = []
    for _ in range(8):
        address = space.next_free(UNIVERSE)
        seen.append(address[1] & 0xFF)
    assert seen == [4, 5, 6, 7, 4, 5, 6, 7]


def test_allocations_cool_down_again_after_a_second_release():
    space = Space([Cidr.parse("10.0.0.0/8")])
    space.add(Cidr.parse("10.0.0.4/30"))
    allocations = Allocations(space, cooldown_s=60.0)
    address, _ = allocations.allocate("a", UNIVERSE)
    allocations.release("a", address, 0.0)
    allocations.claim(address, "a", UNIVERSE)
    allocations.release("a", address, 50.0)
    assert allocations.cooled(60.0) == []
    allocations.check()
    assert allocations.cooled(110.0) == [(allocation_key(address), None)]
    assert allocations.next_deadline() is None
    allocations.check()


# --- rows and messages ----------------------------------------------------------------------------


def test_rows_round_trip():
    row = AllocationRow("pod", UNIVERSE, Use.CLAIMED)
    assert AllocationRow.decode(row.encode()) == row
    carve_row = CarveRow(EPOCH, 7, UNIVERSE, 6, Cidr.parse("10.0.0.1/32"))
    assert CarveRow.decode(carve_row.encode()) == carve_row
    for address in ((4, 0x0A000001), (6, 1 << 127)):
        assert parse_allocation_key(allocation_key(address)) == address
    for key in (b"", b"a", b"a\x05abcd", b"a\x04abc", b"x\x04abcd"):
        with pytest.raises(MalformedTree):
            parse_allocation_key(key)


@pytest.mark.parametrize(
    "message",
    [
        CarveMessage(request(1), UNIVERSE, 6, None),
        CarveMessage(request(1), UNIVERSE, 0, Cidr.parse("10.0.0.1/32")),
        CarvedMessage(request(1), b"register"),
        DeniedMessage(request(1), Denial.OWNED, PEER),
        DeniedMessage(request(1), Denial.EXHAUSTED, None),
    ],
)
def test_messages_round_trip_and_every_cut_is_malformed(message):
    tree = message.to_tree()
    assert parse_message(tree) == message
    assert 80 <= tree[0] <= 95
    for index in range(len(tree)):
        with pytest.raises(MalformedTree):
            parse_message(tree[:index])
        if not (index == len(tree) - 1 and tree[index] is None):
            with pytest.raises(MalformedTree):
                parse_message((*tree[:index], "junk", *tree[index + 1 :]))


def test_messages_exact_outside_the_range_is_malformed():
    tree = CarveMessage(request(1), UNIVERSE, 0, Cidr.parse("10.1.0.1/32")).to_tree()
    with pytest.raises(MalformedTree):
        parse_message(tree)
