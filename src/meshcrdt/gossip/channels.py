"""What the name of a channel says about it: whether it is stored, and who may speak in it.

A node that has never heard of a channel must still agree with every other on these two, so
the name alone decides. What a channel means (its type) is declared elsewhere and is no
business of storage (finding F33).
"""

from __future__ import annotations

from enum import Enum, IntEnum

VOLATILE_PREFIX = "~"

OWNED_CHANNELS = frozenset({"directory", "endpoints", "governance", "ipam", "names"})
"""Channels in which each origin speaks for itself alone; they die with their origin."""


class Kind(IntEnum):
    """Whether a channel is on disk and in digests, or only in memory; the values are on the wire.

    Each kind has a Merkle tree of its own over all its streams.
    """

    DURABLE = 0
    VOLATILE = 1


class Scope(Enum):
    """Who may supersede a record: anybody in a shared channel, its origin in an owned one."""

    SHARED = "shared"
    OWNED = "owned"


def kind_of(channel: str) -> Kind:
    """Return whether a channel is stored and in digests."""
    return Kind.VOLATILE if channel.startswith(VOLATILE_PREFIX) else Kind.DURABLE


def scope_of(channel: str) -> Scope:
    """Return whether another origin's record may be superseded in a channel.

    In an owned channel a record that names another's dot changes nothing (L4): a member
    that lies can lie only about itself.
    """
    owned = channel in OWNED_CHANNELS or channel.startswith(VOLATILE_PREFIX)
    return Scope.OWNED if owned else Scope.SHARED


def is_adoptable(channel: str) -> bool:
    """Return whether what a member wrote into a channel outlives the member (finding F19)."""
    return kind_of(channel) is Kind.DURABLE and scope_of(channel) is Scope.SHARED
