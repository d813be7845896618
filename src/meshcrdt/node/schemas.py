"""Which versions of a channel's values each member reads, and which one is written.

A member says what it reads in its own stream of the directory, under a key for each channel:
that stream is durable and ends with its member, so who is away still counts, and who left
does not. Every writer works out by itself what all others read; nothing is voted on, and
a member that lies can hold the version back as an old program would, and do nothing else.

Storage knows nothing of versions (finding F33).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import take_int, take_tuple
from meshcrdt.errors import CapacityError, MalformedTree, UsageError
from meshcrdt.gossip.replica import Replica
from meshcrdt.node import views
from meshcrdt.topology.directory import Standing
from meshcrdt.wire import decode, encode

if TYPE_CHECKING:
    from meshcrdt.node.queries import Queries

RECORD_VERSION = 1
SCHEMA_VERSION_MAX = 0xFFFF
SCHEMA_VERSIONS_MAX = 16
"""How many versions one member reads of one channel."""
SPOKEN_MAX = 256
"""Of how many channels one member says what it reads."""
KEY_PREFIX = b"schema\0"
"""Before the channel's name; the member itself is under its id."""
UNDECLARED = 1
"""What a member reads that writes to a channel and says nothing: values without a stamp."""


@frozen
class Spoken:
    """What one member says about one channel."""

    reads: tuple[int, ...]
    """None of them says that it does not use the channel any more."""
    writes: int = 0
    """The highest version that it has written, 0 for none: it never goes below."""

    def encode(self) -> bytes:
        """Return the record value."""
        return encode((RECORD_VERSION, self.reads, self.writes))


@frozen
class Agreement:
    """What a writer writes now, and who it cannot, or must, wait for."""

    version: int
    held_back_by: tuple[PeerId, ...] = ()
    """Members that do not read the highest version that this node reads."""
    apart: tuple[PeerId, ...] = ()
    """Members that read no version that this node reads: they are not waited for."""
    is_settled: bool = True
    """False until this node has once held what another member holds: it may not know yet
    who else there is, and writes the lowest version, or what it wrote before."""


def schema_key(channel: str) -> bytes:
    """Return the key in the directory under which a member speaks of a channel."""
    return KEY_PREFIX + channel.encode()


def check_reads(reads: tuple[int, ...]) -> tuple[int, ...]:
    """Return versions sorted and once each; raises UsageError for what are none."""
    if len(reads) > SCHEMA_VERSIONS_MAX:
        raise UsageError(f"{len(reads)} schema versions: {SCHEMA_VERSIONS_MAX} are accepted")
    for each in reads:
        if type(each) is not int or not 1 <= each <= SCHEMA_VERSION_MAX:
            raise UsageError(f"schema version {each!r}: 1 to {SCHEMA_VERSION_MAX} is accepted")
    return tuple(sorted(set(reads)))


def read_spoken(raw: bytes | None) -> Spoken | None:
    """Read a record; what is malformed says nothing."""
    if raw is None:
        return None
    try:
        version, reads, writes = take_tuple(decode(raw), "schema", size=3)
        take_int(version, "schema.version", low=RECORD_VERSION, high=RECORD_VERSION)
        versions = tuple(
            take_int(each, "schema.reads", low=1, high=SCHEMA_VERSION_MAX)
            for each in take_tuple(reads, "schema.reads")
        )
        if len(versions) > SCHEMA_VERSIONS_MAX:
            raise MalformedTree(f"schema.reads has {len(versions)} items")
        return Spoken(versions, take_int(writes, "schema.writes", high=SCHEMA_VERSION_MAX))
    except MalformedTree:
        return None


def own_spoken(replica: Replica, channel: str) -> Spoken | None:
    """Return what this node said of a channel, what waits for the disk included."""
    return read_spoken(replica.own_value(views.DIRECTORY, schema_key(channel)))


def agreement(node: Queries, channel: str, reads: tuple[int, ...]) -> Agreement:
    """Return the highest version that every member that uses the channel reads.

    Never below what this node wrote before, as long as it reads that. O(members).
    """
    if node.core is None:
        return Agreement(min(reads), is_settled=False)
    replica, key = node.core.replica, schema_key(channel)
    writers = frozenset(replica.origins(channel))
    common, held_back_by, apart = set(reads), [], []
    for peer, member in sorted(node.topology.members().items()):
        if peer == node.me or member.standing is not Standing.IN:
            continue
        spoken = read_spoken(replica.value_of(views.DIRECTORY, peer, key))
        if spoken is None and peer not in writers:
            continue
        theirs = {UNDECLARED} if spoken is None else set(spoken.reads)
        if not theirs:
            continue  # it said that it has no more to do with the channel
        if not theirs & set(reads):
            apart.append(peer)
            continue
        common &= theirs
        if max(reads) not in theirs:
            held_back_by.append(peer)
    own = own_spoken(replica, channel)
    before = own.writes if own is not None and own.writes in reads else 0
    # Two that share nothing with each other, but each something with us: the lowest serves most.
    is_settled = replica.in_sync_at() is not None or _is_alone(node)
    version = max(common, default=min(reads)) if is_settled else min(reads)
    return Agreement(max(version, before), tuple(held_back_by), tuple(apart), is_settled)


def _is_alone(node: Queries) -> bool:
    """Return whether there is nobody to hear from: no other member, and nobody to dial."""
    return len(node.topology.members()) <= 1 and not node.given


def to_say(replica: Replica, channel: str, reads: tuple[int, ...], writes: int) -> Spoken:
    """Return what this node is to say of a channel: what it has written stays said."""
    before = own_spoken(replica, channel)
    return Spoken(reads, max(writes, before.writes if before else 0))


def check_spoken(replica: Replica, channel: str) -> None:
    """Raise CapacityError when this node speaks of as many channels as it may."""
    key = schema_key(channel)
    spoken = [each for each in replica.own_keys(views.DIRECTORY) if each.startswith(KEY_PREFIX)]
    if key not in spoken and len(spoken) >= SPOKEN_MAX:
        raise CapacityError(
            f"channel {channel!r}: a node has schemas of {SPOKEN_MAX} channels at most"
        )
