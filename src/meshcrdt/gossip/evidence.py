"""Proof that an origin signed two headers for one place (finding F9, rule R8).

A separate grow-only fact: it raises an alarm, is kept, stored and spread, and never has a
say in which header wins. Of several pairs for one (stream, epoch) the least is kept, so
all replicas end with the same one.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshcrdt.base.ids import Epoch
from meshcrdt.errors import InternalError, MeshError
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.durable import EVIDENCE_TABLE
from meshcrdt.gossip.header import Envelope, KeyOnWire, StreamKey
from meshcrdt.gossip.messages import Proof
from meshcrdt.gossip.outputs import Equivocated, Lane
from meshcrdt.trust.identity import peer_id
from meshcrdt.wire import decode, encode

PROOFS_MAX = 1_024


class Evidence:
    """The equivocations that this replica can prove."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._proofs: dict[tuple[StreamKey, Epoch], Proof] = {}

    def __len__(self) -> int:
        return len(self._proofs)

    def proofs(self) -> tuple[Proof, ...]:
        """Return every proof."""
        return tuple(self._proofs.values())

    def is_news(self, one: Envelope, other: Envelope) -> bool:
        """Return whether two headers clash and prove more than what is known."""
        if not _clash(one, other):
            return False
        place = (one.header.stream, one.header.epoch)
        known = self._proofs.get(place)
        if known is None:
            return len(self._proofs) < PROOFS_MAX
        return _rank(Proof(one, other)) < _rank(known)

    def consider(self, one: Envelope, other: Envelope, link: int | None) -> None:
        """Take two headers, both verified by the caller; does nothing unless it is news."""
        if not self.is_news(one, other):
            return
        first, second = sorted((one, other), key=lambda envelope: envelope.header.hash)
        header = first.header
        place = (header.stream, header.epoch)
        is_first = place not in self._proofs
        context = self._context
        proof = self._proofs[place] = Proof(first, second)
        context.store(((EVIDENCE_TABLE, _row_key(place), _row_value(proof)),))
        if is_first:
            context.out.append(Equivocated(header.origin, header.channel, header.epoch, header.seq))
        for other_link in context.links:
            if other_link != link:
                context.send(other_link, Lane.REPAIR, proof)

    def received(self, link: int, proof: Proof) -> None:
        """Take a proof from a peer: both signatures are checked here."""
        stream = proof.first.header.stream
        if not _clash(proof.first, proof.second):
            self._context.waste(stream, "proof of nothing", link)
        elif not self.is_news(proof.first, proof.second):
            return
        elif not all(self._is_signed(envelope) for envelope in (proof.first, proof.second)):
            self._context.waste(stream, "signature", link)
        else:
            self.consider(proof.first, proof.second, link)

    def _is_signed(self, envelope: Envelope) -> bool:
        self._context.counters.verified += 1
        return peer_id(envelope.public) == envelope.header.origin and envelope.verified_by(
            self._context.verify
        )

    def link_opened(self, link: int) -> None:
        """Tell a new neighbour what we can prove."""
        for proof in self._proofs.values():
            self._context.send(link, Lane.REPAIR, proof)

    def load(self, rows: Mapping[bytes, bytes]) -> None:
        """Read proofs from the store; what fails is left out."""
        for row in rows.values():
            try:
                tree = decode(row)
                if not isinstance(tree, tuple) or len(tree) != 2:
                    continue
                first, second = (Envelope.from_tree(item, self._context.genesis) for item in tree)
            except MeshError:
                continue
            header = first.header
            if _clash(first, second) and self._is_signed(first) and self._is_signed(second):
                self._proofs[(header.stream, header.epoch)] = Proof(first, second)

    def check(self) -> None:
        """Raise InternalError when a proof proves nothing."""
        for proof in self._proofs.values():
            if not _clash(proof.first, proof.second):
                raise InternalError("a proof of equivocation proves nothing")


def _clash(one: Envelope, other: Envelope) -> bool:
    a, b = one.header, other.header
    return (a.stream, a.epoch, a.seq) == (b.stream, b.epoch, b.seq) and a.hash != b.hash


def _rank(proof: Proof) -> tuple[int, bytes, bytes]:
    first, second = sorted((proof.first.header, proof.second.header), key=lambda h: h.hash)
    return (first.seq, first.hash, second.hash)


def _row_key(place: tuple[StreamKey, Epoch]) -> bytes:
    stream, epoch = place
    return encode((stream.raw, epoch.counter, epoch.instance))


def _row_value(proof: Proof) -> bytes:
    return encode((proof.first.to_tree(KeyOnWire.SENT), proof.second.to_tree(KeyOnWire.SENT)))
