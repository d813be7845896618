"""Hardware addresses as text: six pairs of hex digits, written in one way."""

from __future__ import annotations

import re

from meshcrdt.errors import UsageError

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def parse_mac(text: str) -> str:
    """Return a MAC in lower case, as the kernel writes it; raises UsageError naming the text."""
    shown = text.lower()
    if not _MAC.fullmatch(shown):
        raise UsageError(
            f"{text!r} is not a MAC address: one such as 02:00:00:00:00:01 is accepted"
        )
    return shown
