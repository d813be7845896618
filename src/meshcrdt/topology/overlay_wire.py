"""What neighbours say to each other about being neighbours: five messages on a link.

Names and meaning are those of HyParView (Leitao, Pereira, Rodrigues, DSN 2007). Parsing is
strict and bounded: what is malformed raises MalformedTree, and its link is closed.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.tree import Tree, take_int, take_line, take_lines, take_peer, take_tuple
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.contacts import Contact

NEIGHBOUR = 4
NEIGHBOUR_REPLY = 5
DISCONNECT = 6
SHUFFLE = 7
SHUFFLE_REPLY = 8
OVERLAY_CODES = range(4, 9)

CONTACTS_MAX = 16
"""Accepted in one message; how many are sent is a limit of the sender."""
ADDRESSES_MAX = 4
ADDRESS_CHARACTERS_MAX = 512
DOMAIN_CHARACTERS_MAX = 128


class Priority(Enum):
    """How much the asker needs the link; the value is its code."""

    LOW = 0
    """It has neighbours, and could do with one more."""
    HIGH = 1
    """Without this link it, or a part of the mesh, may be cut off: refused by nobody."""
    PINNED = 2
    """Its operator wants exactly this link: refused by nobody, and never given up."""
    BETWEEN = 3
    """It lacks two neighbours: who is full gives up one of its own, which it asks next."""


@frozen
class Neighbour:
    """Be my neighbour; `domain` is the failure domain of the asker, or empty."""

    priority: Priority
    domain: str


@frozen
class NeighbourReply:
    """Yes, or no and others to ask; `between` when the first of them was given up for a yes."""

    accepted: bool
    contacts: tuple[Contact, ...]
    between: bool = False


@frozen
class Disconnect:
    """You are no neighbour of mine any more; the link ends after a grace. Others to ask."""

    contacts: tuple[Contact, ...]


@frozen
class Shuffle:
    """Peers I know of; tell me of others."""

    contacts: tuple[Contact, ...]


@frozen
class ShuffleReply:
    """Peers I know of."""

    contacts: tuple[Contact, ...]


OverlayMessage: TypeAlias = Neighbour | NeighbourReply | Disconnect | Shuffle | ShuffleReply


def to_tree(message: OverlayMessage) -> tuple[Tree, ...]:
    """Return the message as it travels."""
    match message:
        case Neighbour():
            return (NEIGHBOUR, message.priority.value, message.domain)
        case NeighbourReply():
            contacts = _contacts_tree(message.contacts)
            return (NEIGHBOUR_REPLY, int(message.accepted), contacts, int(message.between))
        case Disconnect():
            return (DISCONNECT, _contacts_tree(message.contacts))
        case Shuffle():
            return (SHUFFLE, _contacts_tree(message.contacts))
        case ShuffleReply():
            return (SHUFFLE_REPLY, _contacts_tree(message.contacts))


def from_tree(tree: tuple[Tree, ...]) -> OverlayMessage:
    """Read a message from outside; raises MalformedTree naming the field."""
    match tree[0] if tree else None:
        case 4:
            _, priority, domain = take_tuple(tree, "neighbour", size=3)
            return Neighbour(
                Priority(take_int(priority, "neighbour.priority", high=Priority.BETWEEN.value)),
                take_line(domain, "neighbour.domain", size_max=DOMAIN_CHARACTERS_MAX),
            )
        case 5:
            _, accepted, contacts, between = take_tuple(tree, "neighbour reply", size=4)
            return NeighbourReply(
                bool(take_int(accepted, "neighbour reply.accepted", high=1)),
                _take_contacts(contacts, "neighbour reply"),
                bool(take_int(between, "neighbour reply.between", high=1)),
            )
        case 6:
            _, contacts = take_tuple(tree, "disconnect", size=2)
            return Disconnect(_take_contacts(contacts, "disconnect"))
        case 7:
            _, contacts = take_tuple(tree, "shuffle", size=2)
            return Shuffle(_take_contacts(contacts, "shuffle"))
        case 8:
            _, contacts = take_tuple(tree, "shuffle reply", size=2)
            return ShuffleReply(_take_contacts(contacts, "shuffle reply"))
    raise MalformedTree(f"{tree[:1]} is no code of the overlay")


def _contacts_tree(contacts: tuple[Contact, ...]) -> Tree:
    return tuple((bytes(contact.peer), contact.addresses) for contact in contacts)


def _take_contacts(tree: Tree, message: str) -> tuple[Contact, ...]:
    items = take_tuple(tree, f"{message}.contacts")
    if len(items) > CONTACTS_MAX:
        raise MalformedTree(f"{message} names {len(items)} peers: {CONTACTS_MAX} are accepted")
    return tuple(_take_contact(item, f"{message}.contact") for item in items)


def _take_contact(tree: Tree, field: str) -> Contact:
    peer, addresses = take_tuple(tree, field, size=2)
    return Contact(
        take_peer(peer, f"{field}.peer"),
        take_lines(
            addresses,
            f"{field}.addresses",
            count_max=ADDRESSES_MAX,
            size_max=ADDRESS_CHARACTERS_MAX,
        ),
    )
