"""What the parts of one replica share: who we are, what is held, the links, the outbox.

The parts are small classes that each keep one concern; they meet here and in `Replica`,
so that none needs to know another's inside.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from attrs import define, field, frozen

from meshcrdt.abc import Row
from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.gossip.governance import NOTHING, Governance
from meshcrdt.gossip.header import KeyOnWire, Place, Ref, StreamKey, Verify
from meshcrdt.gossip.holdings import Holdings
from meshcrdt.gossip.messages import Message, Parsed, Refused, build
from meshcrdt.gossip.outputs import Lane, Misbehaved, Output, Quarantined, Store, ToLink
from meshcrdt.gossip.quarantine import Offence, Quarantine
from meshcrdt.gossip.tree_messages import Branch, Spread, Turn
from meshcrdt.trust.identity import Identity

REFUSED_MAX = 1_024
WASTED_MAX = 64
"""Verifications that one link may waste before it is closed (finding F27)."""
SOUR_AT = 16
"""Verifications wasted on a link before it is lazy for good."""
KNOWN_MAX = 1_024
MISMATCHES_MIN = 2
"""Heartbeats in a row whose roots differ before roots are compared."""


@define
class LinkState:
    """What is kept about one link: its peer, what it refused, what it wasted, what it showed."""

    peer: PeerId
    stamp: int = 0
    """The newest decision of the governance register that the peer said it knows."""
    refused: OrderedDict[bytes, None] = field(factory=OrderedDict)
    told: OrderedDict[bytes, None] = field(factory=OrderedDict)
    known: dict[StreamKey, Place] = field(factory=dict)
    """The last headers that the peer showed since roots were equal; bounded."""
    branch: Branch = Branch.LAZY
    """How we send deltas here."""
    wasted: int = 0
    shows_root: bool = False
    """Whether heartbeats of the peer carry its roots."""
    mismatches: int = 0
    mismatches_needed: int = MISMATCHES_MIN

    @property
    def is_sour(self) -> bool:
        """Whether the link wasted so much that it stays lazy (finding F27)."""
        return self.wasted >= SOUR_AT

    def learn(self, key: StreamKey, place: Place) -> None:
        """Note which header of a stream the peer holds: it need not be sent there."""
        before = self.known.pop(key, None)
        self.known[key] = place if before is None else max(before, place)
        if len(self.known) > KNOWN_MAX:
            del self.known[next(iter(self.known))]

    def knows(self, key: StreamKey, ref: Ref) -> bool:
        """Return whether the peer holds this header of a stream, or a newer one."""
        known = self.known.get(key)
        return known is not None and known >= ref.place

    def note_refused(self, header_hash: bytes) -> None:
        """Remember that the peer judged a header invalid."""
        _remember(self.refused, header_hash)

    def tell_once(self, header_hash: bytes) -> bool:
        """Return True the first time that we refuse this header on the link."""
        if header_hash in self.told:
            return False
        _remember(self.told, header_hash)
        return True


def _remember(seen: OrderedDict[bytes, None], item: bytes) -> None:
    seen[item] = None
    if len(seen) > REFUSED_MAX:
        seen.popitem(last=False)


@define
class Counters:
    """What happened so far, for statistics."""

    verified: int = 0
    bad_signatures: int = 0
    duplicates: int = 0
    deltas_applied: int = 0
    deltas_missed: int = 0
    trees_fetched: int = 0
    flushes: int = 0
    sync_rounds: int = 0
    eager_news: int = 0
    redundant: int = 0
    hops_max: int = 0
    prunes: int = 0
    grafts: int = 0
    announced: int = 0


@frozen
class Settled:
    """Which header of a stream a Store token brings to disk."""

    stream: StreamKey
    ref: Ref


@define(eq=False)
class Context:
    """Shared by the parts of one replica."""

    identity: Identity
    genesis: bytes
    epoch: Epoch
    limits: Limits
    dice: Dice
    verify: Verify
    holdings: Holdings
    spread: Spread = Spread.TREE
    quarantine: Quarantine = field(factory=Quarantine)
    links: dict[int, LinkState] = field(factory=dict)
    publics: dict[PeerId, bytes] = field(factory=dict)
    """Keys of origins whose streams were verified here."""
    counters: Counters = field(factory=Counters)
    settling: dict[int, tuple[Settled, ...]] = field(factory=dict)
    memo: Memo = NO_MEMO
    governance: Governance = NOTHING
    stamp: int = 0
    """The decision by which `governance` is in force."""
    now: float = 0.0
    out: list[Output] = field(factory=list)
    _tokens: int = 0

    @property
    def me(self) -> PeerId:
        """Our own peer id."""
        return self.identity.peer

    def send(self, link: int, lane: Lane, message: Parsed, key: KeyOnWire = KeyOnWire.SENT) -> None:
        """Queue one message for a link."""
        self.send_all((link,), lane, message, key)

    def send_all(
        self,
        links: Iterable[int],
        lane: Lane,
        message: Parsed,
        key: KeyOnWire = KeyOnWire.SENT,
    ) -> None:
        """Queue one message, made once, for several links."""
        made: Message | None = None
        for link in links:
            made = made or build(message, key)
            self.out.append(ToLink(link, lane, made))

    def store(self, rows: tuple[Row, ...], settles: tuple[Settled, ...] = ()) -> int:
        """Ask for rows to be stored; what they settle counts as durable when they are.

        Returns the token with which the store confirms.
        """
        self._tokens += 1
        token = self._tokens
        if settles:
            self.settling[token] = settles
        self.out.append(Store(rows, token))
        return token

    def peer_of(self, link: int | None) -> PeerId | None:
        """Return who is at the other end of a link, or None when it is gone."""
        state = None if link is None else self.links.get(link)
        return None if state is None else state.peer

    def knows(self, link: int, key: StreamKey, ref: Ref) -> bool:
        """Return whether the peer showed that it holds a header; an ablation looks away."""
        return self.spread is Spread.TREE and self.links[link].knows(key, ref)

    def offend(self, stream: StreamKey, header_hash: bytes, rule: str, link: int | None) -> None:
        """Put a header in quarantine, report it, and tell the link that brought it."""
        peer = self.peer_of(link)
        if self.quarantine.rule(header_hash) is None:
            self.quarantine.add(Offence(stream, header_hash, rule, self.now, peer))
            self.out.append(Quarantined(stream.origin, stream.channel, rule, peer))
        self.refuse(stream, header_hash, rule, link)

    def refuse(self, stream: StreamKey, header_hash: bytes, rule: str, link: int | None) -> None:
        """Tell a link, once, that we will not take a header."""
        state = None if link is None else self.links.get(link)
        if link is not None and state is not None and state.tell_once(header_hash):
            self.send(link, Lane.REPAIR, Refused(stream, header_hash, rule))

    def waste(self, stream: StreamKey, rule: str, link: int | None) -> None:
        """Count something that fails its own proof against the link that brought it."""
        self.out.append(Quarantined(stream.origin, stream.channel, rule, self.peer_of(link)))
        state = None if link is None else self.links.get(link)
        if link is None or state is None:
            return
        state.wasted += 1
        if state.wasted == SOUR_AT:
            state.branch = Branch.LAZY
            self.send(link, Lane.DELTA, Turn(Branch.LAZY, ()))
        if state.wasted == WASTED_MAX:
            self.out.append(Misbehaved(link, f"{WASTED_MAX} messages failed their proof: {rule}"))
