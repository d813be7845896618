"""Payloads between a requester and a guardian: trees inside unicast, codes 80 to 95.

    (80, request, within, size bits, exact | None)     carve
    (81, request, register bytes)                      carved: durable at the guardian
    (82, request, reason, holder | None)               denied: nothing was changed

86 to 95 are free for what guardians will say to each other.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import Tree, take_bytes, take_int, take_peer, take_tuple
from meshcrdt.errors import MalformedTree
from meshcrdt.ipam.register import RequestId, request_tree, take_request
from meshcrdt.ipam.shard import Denial
from meshcrdt.ranges import Cidr, bits_of

CODE_CARVE = 80
CODE_CARVED = 81
CODE_DENIED = 82

REGISTER_BYTES_MAX = 8 * 1_024


@frozen
class CarveMessage:
    """A peer asks the guardian for a block of 2**size_bits addresses."""

    request: RequestId
    within: Cidr
    size_bits: int
    exact: Cidr | None

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        exact: Tree = None if self.exact is None else self.exact.to_tree()
        request = request_tree(self.request)
        return (CODE_CARVE, request, self.within.to_tree(), self.size_bits, exact)


@frozen
class CarvedMessage:
    """The guardian hands over the register of the block, with its proof."""

    request: RequestId
    register: bytes

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (CODE_CARVED, request_tree(self.request), self.register)


@frozen
class DeniedMessage:
    """The guardian says why not."""

    request: RequestId
    denial: Denial
    holder: PeerId | None

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        holder: Tree = None if self.holder is None else bytes(self.holder)
        return (CODE_DENIED, request_tree(self.request), self.denial.value, holder)


IpamMessage: TypeAlias = CarveMessage | CarvedMessage | DeniedMessage


def parse_message(payload: Tree) -> IpamMessage:
    """Read a payload from a peer; raises MalformedTree."""
    items = take_tuple(payload, "ipam message")
    code = take_int(items[0] if items else None, "ipam code")
    if code == CODE_CARVE:
        _, request, within_tree, bits, exact_tree = take_tuple(payload, "carve", size=5)
        within = Cidr.from_tree(within_tree)
        exact = None if exact_tree is None else Cidr.from_tree(exact_tree)
        if exact is not None and (exact.size != 1 or not within.contains(exact)):
            raise MalformedTree(f"carve of {exact} within {within}")
        size_bits = take_int(bits, "carve size", high=bits_of(within.family))
        return CarveMessage(_request(request), within, size_bits, exact)
    if code == CODE_CARVED:
        _, request, register = take_tuple(payload, "carved", size=3)
        data = take_bytes(register, "register", size_max=REGISTER_BYTES_MAX)
        return CarvedMessage(_request(request), data)
    if code == CODE_DENIED:
        _, request, reason, holder = take_tuple(payload, "denied", size=4)
        denial = Denial(take_int(reason, "reason", low=1, high=len(Denial)))
        peer = None if holder is None else take_peer(holder, "holder")
        return DeniedMessage(_request(request), denial, peer)
    raise MalformedTree(f"ipam message has code {code}")


def _request(tree: Tree) -> RequestId:
    request = take_request(tree)
    if request is None:
        raise MalformedTree("ipam message names no request")
    return request
