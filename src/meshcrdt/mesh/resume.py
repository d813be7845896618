"""Resume tokens: where a watcher of a channel stands, as text that survives a restart."""

from __future__ import annotations

import base64
import binascii

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_peer, take_str, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.gossip.bookmarks import Bookmark
from meshcrdt.gossip.stream import SINCE_BYTES
from meshcrdt.wire import decode, encode

VERSION = 1
WRITERS_MAX = 64
"""Writers that a token names: beyond it there is none, for it travels in an HTTP header."""
TOKEN_CHARS_MAX = 6_144
"""Characters of a token of WRITERS_MAX writers and the longest name, rounded up.

Both are part of what a token is, as its version, and no limits of a node: a token outlives
the process that gave it, so one that was given may not be refused by other settings.
"""


def token_of(channel: str, at: Bookmark) -> str | None:
    """Return the token of a bookmark; None when more have written than a token can name."""
    if len(at) > WRITERS_MAX:
        return None
    places = tuple((bytes(origin), short) for origin, short in sorted(at.items()))
    return base64.urlsafe_b64encode(encode((VERSION, channel, places))).decode().rstrip("=")


def bookmark_of(channel: str, token: str) -> dict[PeerId, bytes]:
    """Return the bookmark of a token; raises UsageError for what is none of this channel."""
    if not isinstance(token, str) or len(token) > TOKEN_CHARS_MAX:
        raise UsageError("resume is not the token of an event: the token of a watch is accepted")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, name, places = take_tuple(decode(raw), "token", size=3)
        named = take_str(name, "token.channel", size_max=TOKEN_CHARS_MAX)
        if take_int(version, "token.version") != VERSION:
            raise MalformedTree("token.version is another")
        at = dict(map(_take_place, take_tuple(places, "token.places")))
    except (MalformedTree, binascii.Error, ValueError) as error:
        raise UsageError(f"resume is not the token of an event: {error}") from None
    if named != channel:
        raise UsageError(f"resume is a token of channel {named!r}, not of {channel!r}")
    return at


def _take_place(tree: Tree) -> tuple[PeerId, bytes]:
    origin, short = take_tuple(tree, "token.place", size=2)
    return take_peer(origin, "token.origin"), take_bytes(short, "token.header", size=SINCE_BYTES)
