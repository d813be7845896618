"""Who exists: the member record that each node publishes about itself.

It lives in the durable channel "directory" under the key of the peer's own id, and
counts only when the stream's origin is that peer (owner-writes-only). `left` is signed by
its subject with the stream and is terminal for its epoch (finding F29).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from attrs import frozen

from meshcrdt.base.hosts import parse_peer_address
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.tree import (
    Tree,
    epoch_tree,
    take_bytes,
    take_epoch,
    take_int,
    take_line,
    take_lines,
    take_peer,
    take_tuple,
)
from meshcrdt.errors import UsageError
from meshcrdt.trust.identity import PUBLIC_BYTES

RECORD_VERSION = 1
NAME_CHARACTERS_MAX = 255
ADDRESS_CHARACTERS_MAX = 512
LIST_ITEMS_MAX = 64
STORE_BYTES_MAX = 16
PREFIX_DIGITS_MIN = 6
DOMAIN_ROLE = "failure-domain="
"""A role that begins so declares the failure domain: a rack, a zone, a power supply."""
DOMAIN_CHARACTERS_MAX = 128


class Standing(Enum):
    """Whether a member takes part; the value is its code in the tree."""

    IN = 0
    LEFT = 1


@frozen(kw_only=True)
class MemberRecord:
    """One member, as it describes itself.

    `trusted` holds CIDRs of underlays that it declares trusted, `underlay` the IP
    addresses that tunnels may end at, `addresses` the URLs that it can be dialled at.
    """

    peer: PeerId
    public: bytes
    name: str
    addresses: tuple[str, ...] = ()
    epoch: Epoch
    standing: Standing = Standing.IN
    trusted: tuple[str, ...] = ()
    underlay: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    store: bytes = b""
    """The nonce of its store: together with its key it names a guardian; empty says nothing."""

    @property
    def failure_domain(self) -> str:
        """What fails together with this member, as it declares, or the empty text."""
        for role in self.roles:
            if role.startswith(DOMAIN_ROLE):
                return role[len(DOMAIN_ROLE) : len(DOMAIN_ROLE) + DOMAIN_CHARACTERS_MAX]
        return ""

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (
            RECORD_VERSION,
            bytes(self.peer),
            self.public,
            self.name,
            self.addresses,
            epoch_tree(self.epoch),
            self.standing.value,
            self.trusted,
            self.underlay,
            self.roles,
            self.store,
        )

    @classmethod
    def from_tree(cls, tree: Tree) -> MemberRecord:
        """Read a record from outside; raises MalformedTree naming the field."""
        version, peer, public, name, addresses, epoch, standing, trusted, underlay, roles, store = (
            take_tuple(tree, "member", size=11)
        )
        take_int(version, "member.version", low=RECORD_VERSION, high=RECORD_VERSION)
        return cls(
            peer=take_peer(peer, "member.peer"),
            public=take_bytes(public, "member.public", size=PUBLIC_BYTES),
            name=take_line(name, "member.name", size_max=NAME_CHARACTERS_MAX),
            addresses=_take_texts(addresses, "member.addresses"),
            epoch=take_epoch(epoch, "member.epoch"),
            standing=Standing(take_int(standing, "member.standing", high=1)),
            trusted=_take_texts(trusted, "member.trusted"),
            underlay=_take_texts(underlay, "member.underlay"),
            roles=_take_texts(roles, "member.roles"),
            store=take_bytes(store, "member.store", size_max=STORE_BYTES_MAX),
        )


def _take_texts(tree: Tree, field: str) -> tuple[str, ...]:
    return take_lines(tree, field, count_max=LIST_ITEMS_MAX, size_max=ADDRESS_CHARACTERS_MAX)


class UnknownPeer(UsageError):
    """Nobody is meant, or nothing that could be acted on; ambiguous texts are another error."""


def canonical_address(text: str) -> str | None:
    """Return the URL that `text` means as an address, or None when it is not one."""
    try:
        return parse_peer_address(text)
    except UsageError:
        return None


def resolve_peer(
    text: str,
    *,
    members: Mapping[PeerId, MemberRecord],
    others: Iterable[PeerId] = (),
    leads_to: Callable[[str], Iterable[PeerId]],
) -> tuple[PeerId, ...]:
    """Return the peers that a user means by `text`.

    Accepted: a full id, a prefix of it of at least six digits, a name, an address. An
    address may stand for several members (hosts behind one relay, or the same private
    address on many hosts); anything else stands for exactly one.

    Args:
        text: What the user typed.
        members: The directory.
        others: Peers known without a record, such as a linked joiner.
        leads_to: The peers that an address is known or said to lead to.

    Raises:
        UnknownPeer: Nobody is meant.
        UsageError: More than one is meant; names the text and the candidates.
    """
    known = set(members) | set(others)
    digits = text.strip().lower()
    matches = {
        peer for peer in known if len(digits) >= PREFIX_DIGITS_MIN and peer.hex().startswith(digits)
    }
    matches |= {peer for peer, record in members.items() if record.name == text}
    if len(matches) == 1:
        return tuple(matches)
    if matches:
        listed = ", ".join(str(peer) for peer in sorted(matches))
        raise UsageError(f"{text!r} is ambiguous: it means {listed}")
    address = canonical_address(text)
    behind = sorted({peer for form in (text, address) if form for peer in leads_to(form)})
    if behind:
        return tuple(behind)
    raise UnknownPeer(
        f"{text!r} is no known peer: an id, a prefix of {PREFIX_DIGITS_MIN} or more digits, "
        "a name or an address is accepted"
    )
