"""What governance means for streams: which headers count, who signs, what is dropped.

Three gates, all before a signature is checked. A header of an evicted member counts only
from the epoch floor on. One that names a capability counts only while exactly that adoption
is in force, or was until its adopter went too, and is signed by the adopter. And from a
link whose peer has not heard of decisions that are pruned here, nothing is taken but that
peer's own streams and governance (finding F22): it may hold streams of members that
everybody else has forgotten.

None of this quarantines: what does not count yet may count once the decision has come, so
it is left alone, and roots are compared again whenever governance moves.
"""

from __future__ import annotations

from collections.abc import Callable

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.gossip.channels import is_adoptable
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.governance import Governance
from meshcrdt.gossip.header import Envelope, Header, StreamKey
from meshcrdt.gossip.parking import Parking
from meshcrdt.gossip.steward import Steward
from meshcrdt.gossip.stream import State
from meshcrdt.trust.identity import peer_id

CHANNEL = "governance"


class Governing:
    """The gates of one replica, and what it drops when a decision comes."""

    def __init__(
        self,
        context: Context,
        steward: Steward,
        parking: Parking,
        forget: Callable[[StreamKey], None],
        compare: Callable[[int], None],
    ) -> None:
        """Make the gates; `forget` drops a stream, `compare` compares roots on a link.

        `parking` is where states wait that came before a decision.
        """
        self._context = context
        self._steward = steward
        self._parking = parking
        self._forget = forget
        self._compare = compare

    def link_governed(self, link: int, stamp: int) -> None:
        """Note the newest decision that the peer of a link knows."""
        state = self._context.links.get(link)
        if state is not None:
            state.stamp = max(state.stamp, stamp)

    def govern(self, value: Governance, stamp: int) -> None:
        """Take a decision: drop what no longer counts, and whatever may have come from the past."""
        context = self._context
        before, context.stamp = context.stamp, stamp
        context.governance = value
        is_late = self.is_late(before, value)

        def is_void(state: State) -> bool:
            header = state.header
            is_foreign = header.origin != context.me and header.channel != CHANNEL
            return is_foreign and (is_late or not self.counts(header))

        self._parking.drop(is_void)
        for key in [key for key, _ in context.holdings.streams()]:
            state = context.holdings.state(key)
            if state is not None and is_void(state):
                self._forget(key)
        self._steward.governed()
        for link in context.links:
            self._compare(link)

    def is_late(self, before: int, value: Governance) -> bool:
        """Return whether what is held of others may be from a past that they have forgotten."""
        return before < value.pruned

    def counts(self, header: Header) -> bool:
        """Return whether a header may be part of the state, as things are decided."""
        context = self._context
        value = context.governance
        if header.capability is not None:
            adoption = value.grant(header.origin, header.capability)
            return (
                adoption is not None
                and header.epoch == Epoch(adoption.floor, adoption.instance)
                and is_adoptable(header.channel)
            )
        return self.wants(header.stream, header.epoch.counter)

    def wants(self, key: StreamKey, counter: int) -> bool:
        """Return whether a header of this epoch's counter may count; the header may say more."""
        if key.channel == CHANNEL:
            return True  # decisions prove themselves, and who wrote one down may be gone since
        gone = self._context.governance.eviction(key.origin)
        return gone is None or counter >= gone.floor or self._is_kept(key)

    def _is_kept(self, key: StreamKey) -> bool:
        """Return whether what an evicted member wrote is kept until its adopter has signed it."""
        adopted = self._context.governance.adoption(key.origin) is not None
        return adopted and is_adoptable(key.channel)

    def admits(self, header: Header, link: int | None) -> bool:
        """Return whether a header may be taken from a link."""
        context = self._context
        state = None if link is None else context.links.get(link)
        if (
            state is not None
            and state.stamp < context.governance.pruned
            and header.origin != state.peer
            and header.channel != CHANNEL
        ):
            return False
        return self.counts(header)

    def counts_as_stored(self, envelope: Envelope) -> bool:
        """Return whether a stream from the store still counts, and is signed by who may."""
        header = envelope.header
        return self.counts(header) and peer_id(envelope.public) == self.signer(header)

    def signer(self, header: Header) -> PeerId:
        """Return whose signature a header needs."""
        if header.capability is None:
            return header.origin
        adoption = self._context.governance.grant(header.origin, header.capability)
        return header.origin if adoption is None else adoption.adopter
