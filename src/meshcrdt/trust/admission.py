"""What an admission session carries: the genesis and the cluster secret, once.

A joiner opens a session with its token. The acceptor sends one Admission on it, and the
joiner, having checked that the genesis is the one its token pins, stores both, answers
AdmissionTaken, and dials again as a member. The acceptor counts a use of the token when
the answer is in. Nothing else may pass on such a session, in either direction.

The session seals the secret with keys that are gone with it. Admission records signed
by a cluster's own keys, and a ring of several psks while one is rotated, will travel in
`extensions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import field, frozen

from meshcrdt.base.tree import Tree, take_bytes, take_int, take_tuple
from meshcrdt.errors import MalformedTree, RemoteProtocolError
from meshcrdt.trust.hello import cluster_id
from meshcrdt.trust.secret import SECRET_BYTES
from meshcrdt.wire import decode, encode

GENESIS_BYTES_MAX = 64 * 1024
_EXTENSIONS_MAX = 16
_CODE_ADMISSION = 1
_CODE_TAKEN = 2

GenesisHash: TypeAlias = Callable[[bytes], bytes]
"""Reads an encoded genesis and returns its 32-byte hash; raises MalformedTree. Trust knows
no more of a genesis than this: the caller passes what `ipam.genesis` does."""


@frozen(kw_only=True)
class Admission:
    """What makes a host a member. Prints without the secret."""

    genesis: bytes
    """The encoded genesis, as `ipam.genesis` reads it."""
    secret: bytes = field(repr=False)
    extensions: tuple[Tree, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the encoding, to be sealed by the admission session and by nothing else."""
        return encode((_CODE_ADMISSION, self.genesis, self.secret, self.extensions))


def read_admission(data: bytes, *, pinned: bytes, hash_of: GenesisHash) -> Admission:
    """Read what the acceptor sent and check it against the genesis hash that the token pins.

    Raises MalformedTree, or RemoteProtocolError naming both clusters when the genesis is
    another one. `hash_of` should verify the genesis' own signature too.
    """
    code, genesis, secret, extensions = take_tuple(decode(data), "admission", size=4)
    take_int(code, "admission.code", low=_CODE_ADMISSION, high=_CODE_ADMISSION)
    admission = Admission(
        genesis=take_bytes(genesis, "admission.genesis", size_max=GENESIS_BYTES_MAX),
        secret=take_bytes(secret, "admission.secret", size=SECRET_BYTES),
        extensions=take_tuple(extensions, "admission.extensions"),
    )
    if len(admission.extensions) > _EXTENSIONS_MAX:
        raise MalformedTree(f"admission.extensions has more than {_EXTENSIONS_MAX} items")
    found = hash_of(admission.genesis)
    if found != pinned:
        raise RemoteProtocolError(
            f"the token admits to cluster {cluster_id(pinned)}, "
            f"the other end sent the genesis of cluster {cluster_id(found)}"
        )
    return admission


def admission_taken() -> bytes:
    """Return the joiner's answer: it has stored what it was sent."""
    return encode((_CODE_TAKEN,))


def read_admission_taken(data: bytes) -> None:
    """Check the joiner's answer; raises MalformedTree for anything else."""
    (code,) = take_tuple(decode(data), "admission", size=1)
    take_int(code, "admission.code", low=_CODE_TAKEN, high=_CODE_TAKEN)
