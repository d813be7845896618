"""The clear 40 bytes before message 1: which protocol, and which key to try.

A responder must choose a key before it can open anything, so this much travels in clear:
label, major version, kind of credential, psk id, the cluster id,
and for tokens the values that their key is derived from. It is the Noise prologue, so a
changed byte breaks the first tag. The psk id and the cluster tag reveal nothing but that
two connections belong to one mesh.
"""

from __future__ import annotations

import struct
from enum import Enum

from attrs import frozen

from meshcrdt.errors import RemoteProtocolError
from meshcrdt.trust.secret import PSK_ID_BYTES

LABEL = b"mcr1"
MAJOR_VERSION = 1
TAG_BYTES = 16
NO_CLUSTER = bytes(TAG_BYTES)
NO_PSK_ID = bytes(PSK_ID_BYTES)

_LAYOUT = struct.Struct(">4sBB8s16sHQ")
PREAMBLE_BYTES = _LAYOUT.size

MESSAGE_BYTES = 1_536
"""The size of message 1, and the most that messages 2 and 3 have: a reply to a stranger
who replays a recorded message 1 is never larger than what was sent (finding T1)."""

_LENGTH_BYTES = 2


class CredentialKind(Enum):
    """What the initiator holds: the cluster secret, a join token, or nothing (insecure)."""

    SECRET = 1
    TOKEN = 2
    OPEN = 3


@frozen(kw_only=True)
class Preamble:
    """The fields before message 1; `uses` and `expiry_s` are zero but for tokens."""

    kind: CredentialKind
    psk_id: bytes
    cluster_tag: bytes
    uses: int = 0
    expiry_s: int = 0

    def to_bytes(self) -> bytes:
        """Return the PREAMBLE_BYTES that go on the wire."""
        return _LAYOUT.pack(
            LABEL,
            MAJOR_VERSION,
            self.kind.value,
            self.psk_id,
            self.cluster_tag,
            self.uses,
            self.expiry_s,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Preamble:
        """Read the preamble at the head of message 1; raises RemoteProtocolError."""
        if len(data) < PREAMBLE_BYTES:
            raise RemoteProtocolError("the first message is too short: not meshcrdt")
        label, major, kind, psk_id, tag, uses, expiry_s = _LAYOUT.unpack(data[:PREAMBLE_BYTES])
        if label != LABEL:
            raise RemoteProtocolError("the first message does not carry our label: not meshcrdt")
        if major != MAJOR_VERSION:
            raise RemoteProtocolError(
                f"the other end speaks major version {major}, this node {MAJOR_VERSION}"
            )
        if kind not in {known.value for known in CredentialKind}:
            raise RemoteProtocolError(f"unknown kind of credential {kind}")
        return cls(
            kind=CredentialKind(kind),
            psk_id=psk_id,
            cluster_tag=tag,
            uses=uses,
            expiry_s=expiry_s,
        )


def check_size(data: bytes) -> None:
    """Raise RemoteProtocolError for a message 2 or 3 that is larger than message 1."""
    if len(data) > MESSAGE_BYTES:
        raise RemoteProtocolError(f"{len(data)} bytes: at most {MESSAGE_BYTES} are accepted")


def cluster_tag(genesis: bytes | None) -> bytes:
    """Return the 16 bytes of the cluster id in the preamble; zeros for none."""
    return NO_CLUSTER if genesis is None else genesis[:TAG_BYTES]


def describe_tags(ours: bytes, theirs: bytes) -> str:
    """Return the words that name both clusters where their tags differ."""
    if ours == theirs:
        return f"both name cluster {_show(ours)}"
    return f"this node is of cluster {_show(ours)}, the other end of {_show(theirs)}"


def _show(tag: bytes) -> str:
    return "(none yet)" if tag == NO_CLUSTER else tag.hex()


def pad(body: bytes, size: int) -> bytes:
    """Return `body` with its length before it and zeros after it, `size` bytes in all."""
    padded = (len(body).to_bytes(_LENGTH_BYTES, "big") + body).ljust(size, b"\0")
    if len(padded) != size:
        raise RemoteProtocolError(f"{len(body)} bytes do not fit a message of {size}")
    return padded


def unpad(data: bytes) -> bytes:
    """Return what `pad` was given; raises RemoteProtocolError."""
    size = int.from_bytes(data[:_LENGTH_BYTES], "big")
    body, rest = data[_LENGTH_BYTES : _LENGTH_BYTES + size], data[_LENGTH_BYTES + size :]
    if len(data) < _LENGTH_BYTES or len(body) != size or rest.strip(b"\0"):
        raise RemoteProtocolError("the padding of the first message is malformed")
    return body
