"""Join tokens: one line that adds one host, for a while, without giving away the secret.

A token is {id, uses, expiry, genesis hash, addresses, key}, and its key is derived from
the cluster secret and the first three (finding T3): any member can check one without a
look-up, and whoever holds one cannot make another or stretch it. It opens an admission
session only. Expiry is judged by the acceptor's clock at the handshake, never at a merge
(finding T4); how often a token was used across a partition is detected, not prevented.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from attrs import field, frozen

from meshcrdt.base.hosts import parse_peer_address
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_str, take_tuple
from meshcrdt.errors import MalformedTree, UsageError
from meshcrdt.trust.derive import KEY_BYTES, derive_key
from meshcrdt.trust.hello import cluster_id
from meshcrdt.trust.secret import PSK_ID_BYTES, check_secret, checksum
from meshcrdt.wire import HASH_BYTES, decode, encode

TOKEN_PREFIX = "mct1-"
TOKEN_ID_BYTES = PSK_ID_BYTES
TOKEN_CHARACTERS_MAX = 4_096
TOKEN_ADDRESSES_MAX = 16
USES_MAX = 65_535
EXPIRY_MAX_S = (1 << 48) - 1

_CHECKSUM_BYTES = 4


@frozen(kw_only=True)
class TokenClaim:
    """What names a token and determines its key: public, and proved by a handshake."""

    id: bytes
    uses: int
    expiry_s: int
    """Unix seconds."""


@frozen(kw_only=True)
class Token:
    """A join token. Prints without its key."""

    id: bytes
    uses: int
    expiry_s: int
    """Unix seconds."""
    genesis: bytes
    """The hash of the one genesis that this token admits to."""
    addresses: tuple[str, ...]
    key: bytes = field(repr=False)

    @property
    def claim(self) -> TokenClaim:
        """What of this token travels in clear."""
        return TokenClaim(id=self.id, uses=self.uses, expiry_s=self.expiry_s)

    @property
    def cluster(self) -> str:
        """The cluster id, 32 hex digits."""
        return cluster_id(self.genesis)


def token_psk(secret: bytes, token_id: bytes, uses: int, expiry_s: int) -> bytes:
    """Return the key of the token that these name; any member computes the same."""
    claim = token_id + uses.to_bytes(2, "big") + expiry_s.to_bytes(8, "big")
    return derive_key(check_secret(secret), "join token", claim)


def make_token(
    secret: bytes,
    *,
    token_id: bytes,
    uses: int,
    expiry_s: int,
    genesis: bytes,
    addresses: Sequence[str] = (),
) -> Token:
    """Make a token; `token_id` is 8 bytes of the system's entropy, `expiry_s` unix seconds.

    Raises UsageError for a value out of its bounds, naming it.
    """
    fields = (token_id, uses, expiry_s, genesis, tuple(addresses))
    try:
        _read_fields(fields)
    except MalformedTree as error:
        raise UsageError(f"no such token can be made: {error}") from None
    return Token(
        id=token_id,
        uses=uses,
        expiry_s=expiry_s,
        genesis=genesis,
        addresses=tuple(addresses),
        key=token_psk(secret, token_id, uses, expiry_s),
    )


def format_token(token: Token) -> str:
    """Return the one line that people copy; whoever reads it can join until it expires."""
    body = encode((token.id, token.uses, token.expiry_s, token.genesis, token.addresses, token.key))
    raw = body + checksum(body, TOKEN_PREFIX)
    return TOKEN_PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def parse_token(text: str, *, source: str) -> Token:
    """Read a token; raises UsageError naming `source` and the reason, never the value.

    Expiry is not judged here: the acceptor's clock decides, not the joiner's.
    """
    line = text.strip()
    if not line.startswith(TOKEN_PREFIX):
        raise UsageError(f"the token from {source} does not start with {TOKEN_PREFIX!r}")
    if len(line) > TOKEN_CHARACTERS_MAX:
        raise UsageError(f"the token from {source} is longer than {TOKEN_CHARACTERS_MAX}")
    encoded = line.removeprefix(TOKEN_PREFIX)
    try:
        raw = base64.b64decode(
            encoded.encode("ascii") + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError):
        raise UsageError(f"the token from {source} is truncated or altered") from None
    body, check = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if check != checksum(body, TOKEN_PREFIX):
        raise UsageError(f"the token from {source} has a wrong checksum: it was altered")
    try:
        tree = take_tuple(decode(body), "token", size=6)
        token = _read_fields(tree[:5], key=take_bytes(tree[5], "key", size=KEY_BYTES))
    except MalformedTree:
        raise UsageError(f"the token from {source} holds values that are not accepted") from None
    if format_token(token) != line:
        raise UsageError(f"the token from {source} is not in its one form: it was altered")
    return token


def _read_fields(tree: tuple[Tree, ...], *, key: bytes = bytes(KEY_BYTES)) -> Token:
    token_id, uses, expiry_s, genesis, addresses = tree
    items = take_tuple(addresses, "addresses")
    if len(items) > TOKEN_ADDRESSES_MAX:
        raise MalformedTree(f"{len(items)} addresses: {TOKEN_ADDRESSES_MAX} are accepted")
    return Token(
        id=take_bytes(token_id, "id", size=TOKEN_ID_BYTES),
        uses=take_int(uses, "uses", low=1, high=USES_MAX),
        expiry_s=take_int(expiry_s, "expiry_s", high=EXPIRY_MAX_S),
        genesis=take_bytes(genesis, "genesis", size=HASH_BYTES),
        addresses=tuple(_take_address(item) for item in items),
        key=key,
    )


def _take_address(tree: Tree) -> str:
    text = take_str(tree, "address", size_max=512)
    try:
        parse_peer_address(text)
    except UsageError as error:
        raise MalformedTree(str(error)) from None
    return text
