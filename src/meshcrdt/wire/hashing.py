"""Content hashes: BLAKE2b-256 over the canonical encoding of a tree.

Here, and not in `base`, because a hash is only meaningful over the one encoding.
"""

from __future__ import annotations

import hashlib

from meshcrdt.base.tree import Tree
from meshcrdt.wire.codec import encode

HASH_BYTES = 32


def content_hash(tree: Tree) -> bytes:
    """Return the 32-byte hash of a tree; raises UsageError as `encode` does."""
    return hashlib.blake2b(encode(tree), digest_size=HASH_BYTES).digest()
