"""What both ends of a handshake tell and how each judges it: shared by both kinds.

Versions, features and the genesis hash travel in sealed payloads (finding T2), so each
end can refuse with a typed reason, and a downgrade breaks the transcript.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from attrs import frozen

from meshcrdt.base.tree import Tree, take_bytes, take_line, take_tuple
from meshcrdt.errors import MalformedTree, ProtocolError, UsageError
from meshcrdt.trust.hello import (
    Hello,
    cluster_id,
    take_features,
    take_genesis,
    take_versions,
)
from meshcrdt.trust.identity import SIGNATURE_BYTES, Identity, verify
from meshcrdt.trust.outcomes import HandshakeStep, Refusal, Rejected
from meshcrdt.wire import decode, encode

_DOMAIN = "handshake"
_REFUSAL_CHARACTERS_MAX = 200
_EXTENSIONS_MAX = 16


class Listening(ABC):
    """The end that listens, of either handshake: `receive` each message until an outcome."""

    _finished = False

    def receive(self, data: bytes) -> HandshakeStep:
        """Take message 1 or 3. Silent and Rejected end the handshake, as does Established."""
        if self._finished:
            raise UsageError("no message is expected now")
        step = self._take(data)
        self._finished = step.outcome is not None
        return step

    @abstractmethod
    def _take(self, data: bytes) -> HandshakeStep:
        """Take the next message that is expected."""


@frozen(kw_only=True)
class Opening:
    """What message 1 carries: enough for the responder to refuse with a reason."""

    versions: tuple[int, ...]
    features: tuple[str, ...]
    genesis: bytes | None
    nonce: bytes = b""
    """32 fresh bytes in the plain handshake, where no ephemeral key makes it fresh."""

    @classmethod
    def of(cls, hello: Hello, *, nonce: bytes = b"") -> Opening:
        """Return the opening of our own Hello."""
        return cls(
            versions=hello.versions, features=hello.features, genesis=hello.genesis, nonce=nonce
        )

    def to_bytes(self) -> bytes:
        """Return the encoding; the empty list is for later extensions."""
        return encode((self.versions, self.features, self.genesis, self.nonce, ()))

    @classmethod
    def from_bytes(cls, data: bytes) -> Opening:
        """Read what the other end sent; raises MalformedTree."""
        versions, features, genesis, nonce, extensions = take_tuple(decode(data), "opening", size=5)
        if len(take_tuple(extensions, "opening.extensions")) > _EXTENSIONS_MAX:
            raise MalformedTree(f"opening.extensions has more than {_EXTENSIONS_MAX} items")
        return cls(
            versions=take_versions(versions, "opening.versions"),
            features=take_features(features, "opening.features"),
            genesis=take_genesis(genesis, "opening.genesis"),
            nonce=take_bytes(nonce, "opening.nonce", size_max=32),
        )


@frozen(kw_only=True)
class Greeting:
    """What messages 2 and 3 carry: a proved Hello, or in message 2 a refusal instead."""

    hello: Hello | None
    refusal: str | None


def greet(identity: Identity, hello: Hello, binding: bytes, *, nonce: bytes = b"") -> bytes:
    """Return our greeting: the Hello, signed together with `binding`.

    The binding is everything that must be of this handshake and no other: transcript
    and static key, or both nonces. So the signature cannot be carried elsewhere.
    """
    tree = hello.to_tree()
    signature = identity.sign(_DOMAIN, encode((binding, tree)))
    return encode((tree, signature, None, nonce))


def refuse(reason: str) -> bytes:
    """Return a greeting that tells why, and not who."""
    return encode((None, b"", reason[:_REFUSAL_CHARACTERS_MAX], b""))


def read_greeting(data: bytes, binding: bytes) -> Greeting:
    """Read and verify the other end's greeting; raises MalformedTree."""
    tree, signature, refusal, _ = take_tuple(decode(data), "greeting", size=4)
    if refusal is not None:
        reason = take_line(refusal, "greeting.refusal", size_max=_REFUSAL_CHARACTERS_MAX)
        return Greeting(hello=None, refusal=reason)
    hello = Hello.from_tree(tree)
    proof = take_bytes(signature, "greeting.signature", size=SIGNATURE_BYTES)
    if not verify(hello.public, _DOMAIN, encode((binding, tree)), proof):
        raise MalformedTree("greeting.signature is not that of the identity")
    return Greeting(hello=hello, refusal=None)


def read_nonce(data: bytes) -> bytes:
    """Return the nonce of a plain greeting, which the binding to verify it needs first."""
    nonce: Tree = take_tuple(decode(data), "greeting", size=4)[3]
    return take_bytes(nonce, "greeting.nonce", size_max=32)


def judge_cluster(ours: bytes | None, theirs: bytes | None) -> Rejected | None:
    """Refuse another cluster, naming both ids. A node without genesis may still fetch one."""
    if ours is None or theirs is None or ours == theirs:
        return None
    own_id, remote_id = cluster_id(ours), cluster_id(theirs)
    return Rejected(
        refusal=Refusal.CLUSTER,
        reason=f"this node is of cluster {own_id}, the other end of cluster {remote_id}",
        cluster=own_id,
        remote_cluster=remote_id,
    )


def judge_versions(ours: tuple[int, ...], theirs: tuple[int, ...]) -> Rejected | None:
    """Refuse when no version is common, naming both lists."""
    if set(ours) & set(theirs):
        return None
    return Rejected(
        refusal=Refusal.VERSION,
        reason=f"no common protocol version: this node speaks {_list(ours)}, "
        f"the other end {_list(theirs)}",
    )


def judge(ours: Hello, theirs: Opening) -> Rejected | None:
    """Judge what the other end told against our own Hello: cluster first, then versions."""
    return judge_cluster(ours.genesis, theirs.genesis) or judge_versions(
        ours.versions, theirs.versions
    )


def broken(message: str, error: ProtocolError) -> Rejected:
    """Return the refusal of a message of the other end that broke the protocol."""
    return Rejected(
        refusal=Refusal.PROTOCOL, reason=f"{message} of the handshake is refused: {error}"
    )


def common(ours: Hello, theirs: Hello) -> tuple[int, tuple[str, ...]]:
    """Return (version, features) of two Hellos that `judge` lets pass."""
    version = max(set(ours.versions) & set(theirs.versions))
    return version, tuple(sorted(set(ours.features) & set(theirs.features)))


def _list(versions: tuple[int, ...]) -> str:
    return ", ".join(map(str, versions))
