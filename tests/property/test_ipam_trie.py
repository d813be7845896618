"""The join of registers and of the trie: its laws, and I11 over random histories."""

from __future__ import annotations

from random import Random

import pytest
from attrs import evolve
from depth import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.errors import MalformedTree
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.ipam.register import (
    Ballot,
    Cause,
    GuardianSignature,
    Kind,
    Owner,
    Proof,
    Register,
    RequestId,
    Stamp,
    Tenure,
    join,
)
from meshcrdt.ipam.registry import Registry
from meshcrdt.ipam.trie import Leaf, Trie
from meshcrdt.ranges import Cidr
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import encode

UNIVERSE = Cidr.parse("10.0.0.0/29")
PEERS = [PeerId(bytes([n]) * 16) for n in range(3)]
EPOCH = Epoch(1, b"i" * 8)

stamps = st.builds(Stamp, st.integers(1, 2), st.integers(1, 3), st.integers(0, 1))
owners = st.builds(Owner, st.sampled_from(PEERS), st.just(EPOCH), st.sampled_from(Tenure))


@st.composite
def registers(draw: st.DrawFn, cidr: Cidr = UNIVERSE) -> Register:
    kind = draw(st.sampled_from(Kind))
    proof = Proof(
        1,
        Ballot(draw(st.integers(0, 1)), PEERS[0], b"n" * 8),
        (GuardianSignature(PEERS[0], b"n" * 8, b"s" * 64),),
        draw(st.sampled_from([(), (b"chain",)])),
    )
    return Register(
        cidr=cidr,
        birth=draw(stamps),
        stamp=draw(stamps),
        parent_birth=draw(st.none() | stamps),
        kind=kind,
        shard=draw(st.integers(0, 1)),
        owner=draw(owners) if kind is Kind.OWN else None,
        cause=draw(st.sampled_from([*Cause, 200])),
        request=draw(st.none() | st.just(RequestId(PEERS[0], EPOCH, 7))),
        proof=draw(st.none() | st.just(proof)),
    )


@given(registers(), registers(), registers())
def test_register_join_is_a_join(a: Register, b: Register, c: Register) -> None:
    assert join(a, a) == a
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(join(a, b), b) == join(a, b)


@given(registers(), registers())
def test_register_equal_stamp_with_other_value_is_frozen(a: Register, b: Register) -> None:
    b = evolve(b, stamp=a.stamp)
    same_value = evolve(a, proof=None) == evolve(b, proof=None)
    assert same_value or join(a, b).kind is Kind.FROZEN


@given(registers())
def test_register_bytes_round_trip(register: Register) -> None:
    assert Register.decode(register.encode()) == register


@given(registers(), st.integers(0, 11), st.sampled_from([None, -1, b"", "", (), True, 1 << 40]))
def test_register_with_a_foreign_field_is_malformed_or_equal(
    register: Register, index: int, junk: object
) -> None:
    body, proof = register.to_tree()  # type: ignore[misc]
    fields = list(body)  # type: ignore[arg-type]
    fields[index % len(fields)] = junk
    try:
        read = Register.from_tree((tuple(fields), proof))
    except MalformedTree:
        return
    assert read.encode() == encode((tuple(fields), proof))


class Reference(Trie):
    """The trie as it is meant, also while a test replaces its rules."""

    _children = Trie._children


class History:
    """A shard that carves, returns, coalesces, attaches and grants: what the format must carry.

    It writes registers as the design says for all planned operations, and keeps the truth.
    """

    def __init__(self) -> None:
        self.trie = Reference([UNIVERSE])
        self.seq = 0
        self.truth: dict[int, PeerId | None] = dict.fromkeys(range(8))
        self.deltas: list[Register] = []
        self.held: dict[int, set[PeerId]] = {n: set() for n in range(8)}

    def put(self, register: Register) -> None:
        self.trie.join(register)
        self.deltas.append(register)

    def give(self, cidr: Cidr, peer: PeerId | None) -> None:
        """Note who truly owns a range from now on."""
        for number in range(cidr.network, cidr.end):
            self.truth[number - UNIVERSE.network] = peer

    def leaf(self, pick: int, kind: Kind) -> Register | None:
        found = [
            leaf.register
            for leaf in self.trie.leaves()
            if leaf.register is not None and leaf.register.kind is kind
        ]
        return found[pick % len(found)] if found else None

    def write(self, node: Register, kind: Kind, peer: PeerId | None = None) -> Register:
        stamp = Stamp(1, self.seq)
        owner = None if peer is None else Owner(peer, EPOCH)
        register = evolve(node, birth=stamp, stamp=stamp, kind=kind, owner=owner)
        self.put(register)
        return register

    def step(self, move: int, pick: int, peer: PeerId) -> None:
        self.seq += 1
        stamp = Stamp(1, self.seq)
        if move == 0 and (node := self.leaf(pick, Kind.POOL)):
            self.write(node, Kind.OWN, peer)
            self.give(node.cidr, peer)
        elif move in (1, 2):
            wanted = Kind.POOL if move == 1 else Kind.OWN
            node = self.leaf(pick, wanted)
            if node is None or node.cidr.children is None or node.stamp.place:
                return
            self.write(node, Kind.SPLIT)
            for index, half in enumerate(node.cidr.children):
                child = Register(half, stamp, stamp, stamp, Kind.POOL)
                keeps = node.owner is not None and index == 0
                if keeps:
                    child = evolve(child, kind=Kind.OWN, owner=node.owner)
                self.put(child)
                if not keeps:
                    self.give(half, None)
        elif move == 3 and (node := self.leaf(pick, Kind.OWN)) and not node.stamp.place:
            self.write(node, Kind.POOL)
            self.give(node.cidr, None)
        elif move == 4 and (node := self.leaf(pick, Kind.OWN)) and not node.stamp.place:
            self.put(evolve(node, stamp=stamp, owner=Owner(node.owner.peer, EPOCH)))  # type: ignore[union-attr]
        elif move == 5:
            self.coalesce(pick)
        elif move == 6:
            self.grant(pick, peer)
        self.note()

    def coalesce(self, pick: int) -> None:
        """Two pool halves of one node become one again."""
        splits = [r for r in self.trie.registers.values() if r.kind is Kind.SPLIT]
        ready = [
            node
            for node in splits
            if [leaf.register.kind for leaf in self.trie.leaves(node.cidr) if leaf.register]
            == [Kind.POOL, Kind.POOL]
            and self.trie.leaf_at(node.cidr).register == node  # type: ignore[union-attr]
        ]
        if ready:
            self.write(ready[pick % len(ready)], Kind.POOL)

    def grant(self, pick: int, peer: PeerId) -> None:
        """An owner grants the lower half of its block alone, in its own chain."""
        node = self.leaf(pick, Kind.OWN)
        if node is None or node.cidr.children is None or node.stamp.place:
            return
        stamp = Stamp(node.birth.epoch, node.birth.seq, 1)
        for half, owner in zip(node.cidr.children, (peer, node.owner.peer), strict=True):  # type: ignore[union-attr]
            self.put(Register(half, stamp, stamp, node.birth, Kind.OWN, 0, Owner(owner, EPOCH)))
            self.give(half, owner)

    def note(self) -> None:
        assert credit(self.trie) == self.truth
        for number, peer in self.truth.items():
            if peer is not None:
                self.held[number].add(peer)


def credit(trie: Trie) -> dict[int, PeerId | None]:
    """Whom a replica believes to own each address."""
    found: dict[int, PeerId | None] = {}
    for leaf in trie.leaves():
        owner = None if leaf.register is None else leaf.register.owner
        for number in range(leaf.cidr.network, leaf.cidr.end):
            found[number - UNIVERSE.network] = None if owner is None else owner.peer
    return found


histories = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 7), st.sampled_from(PEERS)), max_size=14
)


@settings(max_examples=examples(150))
@given(histories, st.data())
def test_trie_no_subset_of_deltas_widens_ownership(
    moves: list[tuple[int, int, PeerId]], data: st.DataObject
) -> None:
    """I11, with the leaves of every replica still tiling the universe."""
    history = History()
    for move in moves:
        history.step(*move)
    order = data.draw(st.permutations(range(len(history.deltas))))
    chosen = order[: data.draw(st.integers(0, len(order)))]
    replica = Trie([UNIVERSE])
    for index in chosen:
        replica.join(history.deltas[index])
    believed = credit(replica)
    assert sorted(believed) == list(range(8))
    for number, peer in believed.items():
        assert peer is None or peer in history.held[number]


@example([(1, 0, PEERS[0]), (5, 0, PEERS[0]), (0, 0, PEERS[1])], Random(0))
@given(histories, st.randoms(use_true_random=False))
def test_trie_all_deltas_in_any_order_give_the_truth(
    moves: list[tuple[int, int, PeerId]], random: Random
) -> None:
    history = History()
    for move in moves:
        history.step(*move)
    deltas = [*history.deltas, *history.deltas]
    random.shuffle(deltas)
    replica = Trie([UNIVERSE])
    for delta in deltas:
        replica.join(delta)
    assert dict(replica.registers) == dict(history.trie.registers)
    assert credit(replica) == history.truth


def test_trie_without_the_order_of_stamps_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshcrdt.ipam.trie.join", lambda a, b: b)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_trie_all_deltas_in_any_order_give_the_truth()


def test_trie_without_the_birth_link_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts a child whatever its parent's birth revives superseded divisions."""

    def any_child(self: Trie, node: Register) -> tuple[Leaf, ...]:
        if node.kind not in (Kind.SPLIT, Kind.OWN):
            return ()
        halves = [Leaf(half, self.get(half)) for half in node.cidr.children or ()]
        if node.kind is Kind.OWN and all(leaf.register is None for leaf in halves):
            return ()
        return tuple(halves)

    monkeypatch.setattr(Trie, "_children", any_child)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_trie_all_deltas_in_any_order_give_the_truth()


def test_trie_a_new_division_ends_the_old_one_at_once() -> None:
    old, new = Stamp(1, 1), Stamp(1, 5)
    trie = Trie([UNIVERSE])
    split = Register(UNIVERSE, old, old, None, Kind.SPLIT)
    trie.join(split)
    for half in UNIVERSE.children or ():
        trie.join(Register(half, old, old, old, Kind.OWN, 0, Owner(PEERS[0], EPOCH)))
    assert set(credit(trie).values()) == {PEERS[0]}
    trie.join(evolve(split, birth=new, stamp=new))
    assert set(credit(trie).values()) == {None}


def test_trie_attach_keeps_the_portable_grants_inside_a_block() -> None:
    """Counter-example C10: children link to the birth, and attach keeps it."""
    birth = Stamp(1, 1)
    trie = Trie([UNIVERSE])
    block = Register(
        UNIVERSE, birth, birth, None, Kind.OWN, 0, Owner(PEERS[0], EPOCH, Tenure.PORTABLE)
    )
    trie.join(block)
    low, high = UNIVERSE.children or (UNIVERSE, UNIVERSE)
    granted = Stamp(1, 1, 1)
    trie.join(Register(low, granted, granted, birth, Kind.OWN, 0, Owner(PEERS[1], EPOCH)))
    trie.join(Register(high, granted, granted, birth, Kind.OWN, 0, Owner(PEERS[0], EPOCH)))
    trie.join(evolve(block, stamp=Stamp(1, 9), cause=Cause.ATTACH))
    assert set(credit(trie).values()) == {PEERS[0], PEERS[1]}
    assert credit(trie)[0] == PEERS[1]
    # Counter-example C11: the register's later write beats the owner's own chain.
    trie.join(evolve(block, birth=Stamp(1, 12), stamp=Stamp(1, 12), kind=Kind.POOL, owner=None))
    assert set(credit(trie).values()) == {None}


MAKER = Identity(b"m" * 32)
GENESIS = Genesis.make(MAKER, ["10.0.0.0/29"], nonce=b"n" * 16)


@given(
    registers() | registers(Cidr.parse("10.0.0.0/30")), st.sampled_from([b"r", b"e", b"q", b"x"])
)
def test_registry_joins_nothing_that_is_not_proved(register: Register, tag: bytes) -> None:
    registry = Registry(GENESIS, MAKER.peer)
    before = dict(registry.trie.registers)
    registry.merge(tag + b"\x04\x0a\x00\x00\x00\x1d", register.encode())
    registry.merge_register(register)
    assert dict(registry.trie.registers) == before
    assert registry.refused


@given(st.binary(max_size=40), st.binary(max_size=80))
def test_registry_merge_never_raises(key: bytes, value: bytes) -> None:
    registry = Registry(GENESIS, MAKER.peer)
    registry.merge(key, value)
    assert len(registry.trie) == 1
