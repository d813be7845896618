"""Sealing of messages that others carry: relays see who writes to whom, and nothing else.

Two members that have no link need no handshake of their own: each has a key pair that lives
in memory only and is replaced every hour and at every start, and says by its signature that
it is its own. Both ends mix the same secret from their own private and the other's public
half (X25519, RFC 7748), from which each direction and purpose has its key (HKDF, RFC 5869);
messages are sealed with ChaCha20-Poly1305 (RFC 8439). A pair that was replaced is gone for
good, so that what was sealed with it stays sealed whatever leaks later.

`Vault` does all that touches a private key, and `Seals` what is said and believed.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import Tree, epoch_tree, take_bytes, take_tuple
from meshcrdt.errors import InternalError, MalformedTree
from meshcrdt.trust.derive import derive_key
from meshcrdt.trust.identity import PUBLIC_BYTES, SIGNATURE_BYTES, Identity, peer_id
from meshcrdt.trust.identity import verify as verify_signature
from meshcrdt.wire import decode, encode

KEY_BYTES = 32
NONCE_BYTES = 16
PAIRS_KEPT = 2
"""The pair in use and the one before it, for what is on its way."""
ROTATE_S = 3_600.0
CIPHERS_MAX = 256
PEERS_MAX = 1_024
ASK_PAUSE_S = 0.2
"""For so long one question for a key serves all messages to a peer."""
ASKED = "unicast/key/1"
STATED = "unicast/seal/1"

Verifier = Callable[[bytes, str, bytes, bytes], bool]


class NoSuchKey(MalformedTree):
    """A message is sealed to a key that this node does not hold (any more)."""


class Vault:
    """The private halves of one process. Nothing that it returns is secret but opened text.

    Args:
        entropy: Returns so many fresh bytes of the system's entropy.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.entropy = entropy
        self._pairs: OrderedDict[bytes, X25519PrivateKey] = OrderedDict()
        self._ciphers: OrderedDict[tuple[bytes, bytes, bytes], ChaCha20Poly1305] = OrderedDict()

    def fresh(self) -> bytes:
        """Make a new pair and return its public half; the one before the last is forgotten."""
        private = X25519PrivateKey.from_private_bytes(self.entropy(KEY_BYTES))
        public = private.public_key().public_bytes_raw()
        self._pairs[public] = private
        while len(self._pairs) > PAIRS_KEPT:
            gone, _ = self._pairs.popitem(last=False)
            for key in [key for key in self._ciphers if key[0] == gone]:
                del self._ciphers[key]
        return public

    def seal(
        self, mine: bytes, theirs: bytes, purpose: bytes, number: int, bound: bytes, text: bytes
    ) -> bytes | None:
        """Return sealed text, or None without that pair or for a key that is none.

        `number` must be another for each text of one purpose between two keys; `bound` is
        authenticated with it.
        """
        cipher = self._cipher(mine, theirs, purpose)
        return None if cipher is None else cipher.encrypt(_nonce(number), text, bound)

    def open(
        self, mine: bytes, theirs: bytes, purpose: bytes, number: int, bound: bytes, sealed: bytes
    ) -> bytes | None:
        """Return the text, or None when it was not sealed so."""
        cipher = self._cipher(mine, theirs, purpose)
        try:
            return None if cipher is None else cipher.decrypt(_nonce(number), sealed, bound)
        except InvalidTag:
            return None

    def _cipher(self, mine: bytes, theirs: bytes, purpose: bytes) -> ChaCha20Poly1305 | None:
        key = (mine, theirs, purpose)
        cipher = self._ciphers.pop(key, None)
        if cipher is None:
            private = self._pairs.get(mine)
            if private is None:
                return None
            try:
                shared = private.exchange(X25519PublicKey.from_public_bytes(theirs))
            except ValueError:
                return None  # a low-order point
            halves = b"".join(sorted((mine, theirs)))
            cipher = ChaCha20Poly1305(derive_key(shared, "unicast", halves + purpose))
        self._ciphers[key] = cipher
        if len(self._ciphers) > CIPHERS_MAX:
            self._ciphers.popitem(last=False)
        return cipher

    def clear(self) -> None:
        """Drop all pairs, and what was derived from them."""
        self._pairs.clear()
        self._ciphers.clear()

    def holds(self, public: bytes) -> bool:
        """Return whether a pair is still there."""
        return public in self._pairs


def _nonce(number: int) -> bytes:
    return bytes(4) + number.to_bytes(8, "little")


@frozen
class Sealed:
    """A message that was sealed: what travels, and between which keys."""

    body: Tree
    mine: bytes
    theirs: bytes


class Seals:
    """Whose key is whose, as one node knows it, and messages sealed and opened with them.

    Args:
        identity: Signs what this node says about its keys.
        epoch: Of this run; part of what is signed.
        vault: Holds the private halves.
        verify: Checks signatures.
    """

    def __init__(
        self,
        identity: Identity,
        epoch: Epoch,
        vault: Vault,
        *,
        verify: Verifier = verify_signature,
    ) -> None:
        self._identity = identity
        self._me = identity.peer
        self._epoch = epoch
        self._vault = vault
        self._verify = verify
        self._own: tuple[bytes, bytes] | None = None
        """Our public half in use, and our signature of it."""
        self._since = 0.0
        self._is_used = False
        """Whether anything was sealed, opened or said with our pair since it was made."""
        self._theirs: OrderedDict[PeerId, bytes] = OrderedDict()
        self._asked: OrderedDict[PeerId, tuple[bytes, float]] = OrderedDict()
        self._questions = 0
        self._stated: OrderedDict[tuple[PeerId, Epoch, bytes], None] = OrderedDict()

    # --- keys ------------------------------------------------------------------------------

    def _key(self, now: float) -> tuple[bytes, bytes]:
        if self._own is None or now >= self._since + ROTATE_S:
            public = self._vault.fresh()
            signature = self._identity.sign(STATED, _statement(self._me, self._epoch, public))
            self._own, self._since = (public, signature), now
        self._is_used = True
        return self._own

    def renew(self) -> None:
        """Drop all keys of this process: a copy of it may hold them, and number texts alike.

        Two texts under one key and number would give both away, and the means to forge more.
        """
        self._vault.clear()
        self._own = None

    def reepoch(self, epoch: Epoch) -> None:
        """Go on under another epoch, with other keys: what is sealed again has another head."""
        self.renew()
        self._epoch = epoch

    def expire(self, now: float) -> None:
        """Replace a pair whose hour is over; one that nobody used goes without another."""
        if self._own is None or now < self._since + ROTATE_S:
            return
        if self._is_used:
            self._key(now)
            self._is_used = False
        else:
            self.renew()

    def next_deadline(self) -> float | None:
        """Return when `expire` is due, or None."""
        return None if self._own is None else self._since + ROTATE_S

    def ask(self, dest: PeerId, now: float) -> bytes | None:
        """Return the question for a peer's key, or None when it was asked just now."""
        nonce, at = self._asked.pop(dest, (b"", -math.inf))
        self._asked[dest] = nonce, at
        if now < at + ASK_PAUSE_S:
            return None
        if not nonce:  # one that was not answered is asked again: its answer may be on its way
            self._questions += 1
            nonce = _digest(self._key(now)[0], self._questions)
        self._asked[dest] = nonce, now
        _bound(self._asked)
        return nonce

    def answer(self, asker: PeerId, nonce: Tree, now: float) -> Tree:
        """Return this node's key for one asker; raises MalformedTree."""
        question = take_bytes(nonce, "key question", size=NONCE_BYTES)
        public, _ = self._key(now)
        proof = self._identity.sign(ASKED, _answer(asker, question, self._me, public))
        return (self._identity.public, public, proof)

    def told(self, source: PeerId, body: Tree) -> bool:
        """Take the answer to a question; False when it is none. Raises MalformedTree."""
        identity, key, proof = take_tuple(body, "key", size=3)
        public = take_bytes(key, "key.public", size=KEY_BYTES)
        signer = take_bytes(identity, "key.identity", size=PUBLIC_BYTES)
        signature = take_bytes(proof, "key.signature", size=SIGNATURE_BYTES)
        nonce, _ = self._asked.get(source, (b"", 0.0))
        if not nonce or peer_id(signer) != source:
            return False
        if not self._verify(signer, ASKED, _answer(self._me, nonce, source, public), signature):
            return False
        del self._asked[source]
        self._theirs.pop(source, None)
        self._theirs[source] = public
        _bound(self._theirs)
        return True

    def forget(self, peer: PeerId, theirs: bytes) -> None:
        """Ask for a peer's key again before more is sealed with this one."""
        if self._theirs.get(peer) == theirs:
            del self._theirs[peer]

    def is_current(self, peer: PeerId, sealed: Sealed) -> bool:
        """Return whether a peer still has the key that something was sealed to."""
        return self._theirs.get(peer) == sealed.theirs and self._vault.holds(sealed.mine)

    # --- messages --------------------------------------------------------------------------

    def seal(
        self, dest: PeerId, head: bytes, number: int, payload: Tree, now: float
    ) -> Sealed | None:
        """Seal a message, or return None while the key of its destination is not known.

        Seal each message once for one key: `number` is the nonce.
        """
        theirs = self._theirs.get(dest)
        if theirs is None:
            return None
        mine, statement = self._key(now)
        purpose = _purpose(b"data", self._me, dest)
        text = self._vault.seal(mine, theirs, purpose, number, head, encode(payload))
        if text is None:
            self.forget(dest, theirs)
            return None
        return Sealed((theirs, self._identity.public, mine, statement, text), mine, theirs)

    def open(
        self, source: PeerId, run: Epoch, head: bytes, number: int, body: Tree
    ) -> tuple[Tree, bytes]:
        """Return the payload of a sealed message, and the proof that it was opened.

        Raises NoSuchKey when it was sealed to a key that is gone, else MalformedTree.
        """
        to, identity, key, statement, sealed = take_tuple(body, "sealed", size=5)
        mine = take_bytes(to, "sealed.to", size=KEY_BYTES)
        theirs = take_bytes(key, "sealed.key", size=KEY_BYTES)
        signer = take_bytes(identity, "sealed.identity", size=PUBLIC_BYTES)
        proof = take_bytes(statement, "sealed.statement", size=SIGNATURE_BYTES)
        text = take_bytes(sealed, "sealed.text")
        if not self._vault.holds(mine):
            raise NoSuchKey("the message is sealed to a key that this node does not hold")
        self._check(source, run, signer, theirs, proof)
        opened = self._vault.open(
            mine, theirs, _purpose(b"data", source, self._me), number, head, text
        )
        if opened is None:
            raise MalformedTree("sealed.text was not sealed by its sender for this node")
        purpose = _purpose(b"done", self._me, source)
        confirmed = self._vault.seal(mine, theirs, purpose, number, head, b"")
        if confirmed is None:
            raise InternalError("what was opened with a key cannot be confirmed with it")
        self._is_used = True
        return decode(opened), confirmed

    def _check(
        self, source: PeerId, run: Epoch, signer: bytes, theirs: bytes, proof: bytes
    ) -> None:
        known = (source, run, theirs)
        if known in self._stated:
            self._stated.move_to_end(known)
            return
        if peer_id(signer) != source:
            raise MalformedTree("sealed.identity is not that of the sender")
        if not self._verify(signer, STATED, _statement(source, run, theirs), proof):
            raise MalformedTree("sealed.statement is not signed by the sender")
        self._stated[known] = None
        _bound(self._stated)

    def confirmed(self, dest: PeerId, sealed: Sealed, head: bytes, number: int, tag: Tree) -> bool:
        """Return whether an acknowledgement was made by who could open the message."""
        purpose = _purpose(b"done", dest, self._me)
        proof = take_bytes(tag, "confirmation", size_max=64)
        args = (sealed.mine, sealed.theirs, purpose, number, head, proof)
        return self._vault.open(*args) == b""

    def check(self) -> None:
        """Raise InternalError when a table has outgrown its bound."""
        if max(len(self._theirs), len(self._asked), len(self._stated)) > PEERS_MAX:
            raise InternalError("more keys of peers are kept than the bound allows")


def _bound(table: OrderedDict[Any, Any]) -> None:
    while len(table) > PEERS_MAX:
        table.popitem(last=False)


def _digest(key: bytes, number: int) -> bytes:
    return hashlib.blake2b(key + number.to_bytes(8, "big"), digest_size=NONCE_BYTES).digest()


def _purpose(kind: bytes, source: PeerId, dest: PeerId) -> bytes:
    return kind + bytes(source) + bytes(dest)


def _statement(peer: PeerId, run: Epoch, public: bytes) -> bytes:
    return encode((bytes(peer), epoch_tree(run), public))


def _answer(asker: PeerId, nonce: bytes, peer: PeerId, public: bytes) -> bytes:
    return encode((bytes(asker), nonce, bytes(peer), public))
