"""Signing and checking the proof of a register, before it may meet another value.

A guardian's signature covers (genesis, shard, set version, ballot, stamp, value hash), so
that it proves nothing in another cluster, for another shard, under another ballot or for
another value (rule 3, counter-example C4). A proof is a majority of distinct guardians of
one set under one ballot. Today the only set is that of the genesis, version 1; chained
sets and the chains of portable blocks are a later change, and until then a record that
needs one of them proves nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from meshcrdt.base.tree import Tree
from meshcrdt.ipam.genesis import GENESIS_SET_VERSION, Genesis
from meshcrdt.ipam.register import (
    STORE_NONCE_BYTES,
    Ballot,
    GuardianSignature,
    Proof,
    Register,
    Stamp,
)
from meshcrdt.trust.identity import Identity, peer_id, verify
from meshcrdt.wire import encode

if TYPE_CHECKING:
    from meshcrdt.ipam.ledger import Ledger

PROOF_DOMAIN = "meshcrdt ipam register"


def store_nonce(genesis: Genesis) -> bytes:
    """The store nonce of the guardians that the genesis names (rule 4)."""
    return genesis.nonce[:STORE_NONCE_BYTES]


def _statement(
    genesis: Genesis, *, shard: int, proof: Proof, stamp: Stamp, value_hash: bytes, nonce: bytes
) -> bytes:
    """The bytes that one guardian signs."""
    ballot: Tree = (proof.ballot.round, bytes(proof.ballot.peer), proof.ballot.nonce)
    return encode((genesis.hash, shard, proof.set_version, ballot, tuple(stamp), value_hash, nonce))


def sign_value(
    identity: Identity,
    genesis: Genesis,
    *,
    shard: int,
    ballot: Ballot,
    stamp: Stamp,
    value_hash: bytes,
) -> Proof:
    """Return the proof that a lone guardian of the genesis set gives by itself."""
    nonce = store_nonce(genesis)
    bare = Proof(GENESIS_SET_VERSION, ballot, ())
    statement = _statement(
        genesis, shard=shard, proof=bare, stamp=stamp, value_hash=value_hash, nonce=nonce
    )
    signature = identity.sign(PROOF_DOMAIN, statement)
    return evolve(bare, signatures=(GuardianSignature(identity.peer, nonce, signature),))


def proof_fault(genesis: Genesis, value: Register | Ledger) -> str | None:
    """Return why the proof of a value does not hold, or None when it does."""
    proof = value.proof
    if proof is None:
        return "it carries no proof"
    if value.shard >= genesis.shards:
        return f"shard {value.shard} does not exist"
    if proof.set_version != GENESIS_SET_VERSION:
        return f"guardian set {proof.set_version} is not proved here"
    if proof.chain or value.stamp.place:
        return "portable chains are not known to this version"
    guardians = {peer_id(public): public for public in genesis.guardian_keys}
    agreed = set()
    for signature in proof.signatures:
        public = guardians.get(signature.guardian)
        if public is None or signature.store_nonce != store_nonce(genesis):
            return f"{signature.guardian} is no guardian of the set"
        statement = _statement(
            genesis,
            shard=value.shard,
            proof=proof,
            stamp=value.stamp,
            value_hash=value.value_hash,
            nonce=signature.store_nonce,
        )
        if not verify(public, PROOF_DOMAIN, statement, signature.signature):
            return f"the signature of {signature.guardian} does not hold"
        agreed.add(signature.guardian)
    if len(agreed) <= len(guardians) // 2:
        return f"{len(agreed)} of {len(guardians)} guardians signed"
    return None
