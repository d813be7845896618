"""Signature checks, remembered by their bytes.

Five nodes check each signature; in one process one check is enough.
The memo is per world, so runs do not depend on each other.
"""

from __future__ import annotations

from meshcrdt.trust.identity import verify

MEMO_MAX = 65_536


class VerifyMemo:
    """A drop-in for `trust.identity.verify`."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str, bytes, bytes], bool] = {}

    def __call__(self, public: bytes, domain: str, message: bytes, signature: bytes) -> bool:
        """Return whether the signature holds; each distinct one is checked once."""
        key = (public, domain, message, signature)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MEMO_MAX:
                self._known.clear()
            known = self._known[key] = verify(public, domain, message, signature)
        return known
