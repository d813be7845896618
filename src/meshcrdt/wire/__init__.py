"""Floor 2: canonical trees to bytes and back, content hashes and frames."""

from meshcrdt.wire.codec import decode, encode, fingerprint
from meshcrdt.wire.frames import (
    FRAME_VERSION,
    FrameSplitter,
    decode_frame,
    encode_frame,
    join_frame,
    prefix,
)
from meshcrdt.wire.hashing import HASH_BYTES, content_hash

__all__ = [
    "FRAME_VERSION",
    "HASH_BYTES",
    "FrameSplitter",
    "content_hash",
    "decode",
    "decode_frame",
    "encode",
    "encode_frame",
    "fingerprint",
    "join_frame",
    "prefix",
]
