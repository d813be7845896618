"""Proof that an origin signed two headers for one place (finding F9, rule R8).

A separate grow-only fact: it raises an alarm, is kept, stored and spread, and never has a
say in which header wins. One proof says about an origin all that there is to say, and a
liar can sign any number of pairs; so the least for each origin is kept, by (stream,
epoch, seq, hashes), and all replicas end with the same one. A new neighbour is told
little by little, because nothing waits for a proof and its link has a bounded queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from meshcrdt.abc import Row
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import take_tuple
from meshcrdt.errors import InternalError, MalformedTree, MeshError
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.durable import EVIDENCE_TABLE
from meshcrdt.gossip.header import Envelope, KeyOnWire
from meshcrdt.gossip.messages import Proof
from meshcrdt.gossip.outputs import Alarm, Equivocated, Lane
from meshcrdt.wire import decode, encode

PROOFS_MAX = 1_024
TURN_PROOFS_MAX = 16
"""Proofs that a new neighbour is told at once; one has up to 36 KB."""
TURN_INTERVAL_S = 0.5


class Evidence:
    """The equivocations that this replica can prove."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._proofs: dict[PeerId, Proof] = {}
        self._untold: dict[int, deque[PeerId]] = {}
        """Origins whose proof a link has yet to be told."""
        self._due: float | None = None

    def __len__(self) -> int:
        return len(self._proofs)

    def proofs(self) -> tuple[Proof, ...]:
        """Return every proof."""
        return tuple(self._proofs.values())

    def is_news(self, one: Envelope, other: Envelope) -> bool:
        """Return whether two headers clash and are the proof to keep for their origin."""
        return _clash(one, other) and self._is_least(Proof(one, other))

    def _is_least(self, proof: Proof) -> bool:
        known = self._proofs.get(proof.first.header.origin)
        if known is None:
            return len(self._proofs) < PROOFS_MAX
        return _rank(proof) < _rank(known)

    def consider(self, one: Envelope, other: Envelope, link: int | None) -> None:
        """Take two headers, both verified by the caller; does nothing unless it is news."""
        if not self.is_news(one, other):
            return
        context = self._context
        proof = Proof(*sorted((one, other), key=lambda envelope: envelope.header.hash))
        header = proof.first.header
        known = self._proofs.get(header.origin)
        self._proofs[header.origin] = proof
        rows: dict[bytes, bytes | None] = {} if known is None else {_row_key(known): None}
        rows[_row_key(proof)] = _row_value(proof)
        context.store(tuple((EVIDENCE_TABLE, key, value) for key, value in rows.items()))
        if known is None:
            context.out.append(Equivocated(header.origin, header.channel, header.epoch, header.seq))
        context.send_all([each for each in context.links if each != link], Lane.REPAIR, proof)

    def received(self, link: int, proof: Proof) -> None:
        """Take a proof from a peer: both signatures are checked here."""
        stream = proof.first.header.stream
        if not _clash(proof.first, proof.second):
            self._context.waste(stream, "proof of nothing", link)
        elif not self.is_news(proof.first, proof.second):
            return
        elif not self._is_signed(proof):
            self._context.waste(stream, "signature", link)
        else:
            self.consider(proof.first, proof.second, link)

    def _is_signed(self, proof: Proof) -> bool:
        self._context.counters.verified += 2
        return all(each.is_signed(self._context.verify) for each in (proof.first, proof.second))

    # --- telling new neighbours ----------------------------------------------------------

    def link_opened(self, link: int) -> None:
        """Begin to tell a new neighbour what we can prove."""
        if self._proofs:
            self._untold[link] = deque(self._proofs)
            self._tell()

    def link_closed(self, link: int) -> None:
        """Forget what a link was yet to be told."""
        self._untold.pop(link, None)

    def handle_timeout(self) -> None:
        """Tell the next few proofs when it is time."""
        if self._due is not None and self._due <= self._context.now:
            self._tell()

    def next_deadline(self) -> float | None:
        """Return when the next few proofs are due, or None."""
        return self._due

    def _tell(self) -> None:
        for link, untold in list(self._untold.items()):
            for _ in range(min(TURN_PROOFS_MAX, len(untold))):
                self._context.send(link, Lane.REPAIR, self._proofs[untold.popleft()])
            if not untold:
                del self._untold[link]
        self._due = self._context.now + TURN_INTERVAL_S if self._untold else None

    # --- the store -----------------------------------------------------------------------

    def load(self, rows: Mapping[bytes, bytes]) -> None:
        """Read proofs from the store; what fails is dropped with an Alarm, as streams are."""
        gone: list[Row] = []
        for row_key, row in sorted(rows.items()):
            try:
                proof = self._read(row_key, row)
            except MeshError as error:
                text = f"store: proof {row_key.hex()} is dropped: {error}"
                self._context.out.append(Alarm(text))
                gone.append((EVIDENCE_TABLE, row_key, None))
                continue
            origin = proof.first.header.origin
            known = self._proofs.get(origin)
            if not self._is_least(proof):
                gone.append((EVIDENCE_TABLE, row_key, None))
                continue
            if known is not None:
                gone.append((EVIDENCE_TABLE, _row_key(known), None))
            self._proofs[origin] = proof
        if gone:
            self._context.store(tuple(gone))

    def _read(self, row_key: bytes, row: bytes) -> Proof:
        trees = take_tuple(decode(row), "proof", size=2)
        proof = Proof(*(Envelope.from_tree(tree, self._context.genesis) for tree in trees))
        if not _clash(proof.first, proof.second):
            raise MalformedTree("it proves nothing")
        if _row_key(proof) != row_key:
            raise MalformedTree("it belongs to another stream")
        if not self._is_signed(proof):
            raise MalformedTree("a signature fails")
        return proof

    def check(self) -> None:
        """Raise InternalError when a proof proves nothing, or about somebody else."""
        for origin, proof in self._proofs.items():
            if not _clash(proof.first, proof.second):
                raise InternalError("a proof of equivocation proves nothing")
            if proof.first.header.origin != origin:
                raise InternalError(f"the proof kept for {origin.short} is about another origin")
        if (self._due is None) != (not self._untold):
            raise InternalError("proofs wait to be told and no time is set for it")


def _clash(one: Envelope, other: Envelope) -> bool:
    a, b = one.header, other.header
    return (a.stream, a.epoch, a.seq) == (b.stream, b.epoch, b.seq) and a.hash != b.hash


def _rank(proof: Proof) -> tuple[bytes, Epoch, int, list[bytes]]:
    header = proof.first.header
    hashes = sorted((header.hash, proof.second.header.hash))
    return (header.stream.raw, header.epoch, header.seq, hashes)


def _row_key(proof: Proof) -> bytes:
    header = proof.first.header
    return encode((header.stream.raw, header.epoch.counter, header.epoch.instance))


def _row_value(proof: Proof) -> bytes:
    return encode((proof.first.to_tree(KeyOnWire.SENT), proof.second.to_tree(KeyOnWire.SENT)))
