"""Headers from peers: the checks that each passes before anything is built from it.

The order matters for cost and for safety: held or outranked first (a duplicate never
costs a signature, F27), then quarantine, then the signature, then the rules. Only a
header that passed all is worth staging a state for.
"""

from __future__ import annotations

from attrs import evolve

from meshcrdt.base.ids import PeerId
from meshcrdt.gossip.adopt import Adopter
from meshcrdt.gossip.announcer import Announcer
from meshcrdt.gossip.broadcast import Broadcast
from meshcrdt.gossip.compact import Compact, expanded
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.evidence import Evidence
from meshcrdt.gossip.governing import Governing
from meshcrdt.gossip.header import PLACE_HASH_BYTES, Envelope, Place, Ref, StreamKey, Verify
from meshcrdt.gossip.local import Local
from meshcrdt.gossip.messages import Announce, Delta, Nodes, Part
from meshcrdt.gossip.rebase import Rebase
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.reordered import Reordered
from meshcrdt.gossip.repair import Repair
from meshcrdt.gossip.steward import Steward
from meshcrdt.gossip.stream import State, changed_tree, shared
from meshcrdt.gossip.sync import Sync
from meshcrdt.gossip.validity import counts_rule, header_rule, is_whole, record_rule


def _signed(envelope: Envelope, public: bytes, signer: PeerId, verify: Verify) -> Envelope | None:
    """Return the envelope with its key, or None when the signature fails."""
    known = evolve(envelope, public=public)
    return known if known.is_signed_by(signer, verify) else None


def _applied(
    base: State | None, envelope: Envelope, puts: tuple[Record, ...], drops: tuple[bytes, ...]
) -> State | str | None:
    """Return the state that a delta makes of its base.

    A text is the rule that the state breaks; None says that this is not what was signed.
    """
    header = envelope.header
    if any(record_rule(record, header) is not None for record in puts):
        return None  # signed or not is only known once the root fits: the tree is judged then
    tree, cost = changed_tree(base, puts, drops)
    if not is_whole(header, tree):
        return None
    return counts_rule(header, keys=len(tree), cost_bytes=cost) or State(envelope, tree)


class Intake:
    """Takes deltas and announced headers from links."""

    def __init__(
        self,
        context: Context,
        *,
        adopter: Adopter,
        broadcast: Broadcast,
        announcer: Announcer,
        repair: Repair,
        sync: Sync,
        evidence: Evidence,
        rebase: Rebase,
        local: Local,
        governing: Governing,
        steward: Steward,
    ) -> None:
        self._context = context
        self._adopter = adopter
        self._broadcast = broadcast
        self._announcer = announcer
        self.reordered = Reordered()
        self._repair = repair
        self._sync = sync
        self._evidence = evidence
        self._rebase = rebase
        self._local = local
        self._governing = governing
        self._steward = steward

    def lacks(self, key: StreamKey, ref: Ref) -> bool:
        """Return whether a header that a peer holds is worth asking for."""
        context = self._context
        if self._local.is_busy(key) or not self._governing.wants(key, ref.epoch.counter):
            return False
        parked = self._adopter.parking.get(key)
        if parked is not None and parked.state.ref >= ref:
            return False
        held = context.holdings.ref(key)
        if held is None:
            return context.holdings.admits(key)
        return ref > held or self._rebase.was_missed(key, ref)

    def lacks_place(self, key: StreamKey, place: Place) -> bool:
        """Return the same for what an announcement says of a header."""
        context = self._context
        if self._local.is_busy(key) or not self._governing.wants(key, place.counter):
            return False
        parked = self._adopter.parking.get(key)
        if parked is not None and parked.state.ref.place >= place:
            return False
        held = context.holdings.ref(key)
        return context.holdings.admits(key) if held is None else place > held.place

    def delta(self, link: int, message: Delta) -> None:
        """Merge an eager delta, or ask for what it needs."""
        context = self._context
        envelope = message.envelope
        header = envelope.header
        key = header.stream
        context.links[link].learn(key, header.ref.place)
        if not self._is_news(envelope, link, message.hops):
            return
        base = self._base(key, message.since)
        if message.since is not None and base is None:
            self._wait(message, key, header.ref.place, link)
            return
        known = self._verified(envelope, link)
        if known is None:
            return
        made = context.memo.of_same(_applied, base, known, message.puts, message.drops)
        if isinstance(made, str):
            context.offend(key, header.hash, made, link)
            return
        if made is None:
            context.counters.deltas_missed += 1
            self._fetch(known, link)
            return
        context.counters.deltas_applied += 1
        if message.hops:
            self._broadcast.first(link, message.hops)
        self._enter(shared(made, context.memo), link, message.hops)

    def compact(self, link: int, message: Compact) -> None:
        """Merge a compact delta: what it leaves out is computed, and the signature tells."""
        context = self._context
        key = message.stream
        if self._local.is_busy(key) or not self._is_ahead(message, link):
            return
        base = self._based(key, message.since)
        if base is None or (base.header.epoch.counter, base.ref.seq) >= message.place[:2]:
            self._wait(message, key, message.place, link)
            return
        state = context.memo.of_same(expanded, base, message)
        context.links[link].learn(key, state.ref.place)
        if not self._is_news(state.envelope, link, message.hops):
            return
        known = self._verified(state.envelope, link)
        if known is None:
            self._repair.want(key, link)
            return
        rules = (_rule_of(state, put.key) for put in message.puts)
        broken = next((rule for rule in rules if rule is not None), None)
        if broken is not None:
            context.offend(key, state.header.hash, broken, link)
            return
        context.counters.deltas_applied += 1
        if message.hops:
            self._broadcast.first(link, message.hops)
        made = shared(State(known, state.tree), context.memo)
        self._enter(made, link, message.hops)

    def _is_ahead(self, message: Compact, link: int) -> bool:
        """Return whether a compact delta leads beyond what is held; costs no signature."""
        context = self._context
        stream = context.holdings.stream(message.stream)
        if stream is None:
            return True
        held, place = stream.state.ref, message.place
        if place[:2] > held.place[:2]:
            return True
        is_same = message.signature == stream.state.envelope.signature
        if place[:2] == held.place[:2] and not is_same:
            self._repair.want(message.stream, link)  # two headers for one place: whole ones tell
            return False
        context.counters.duplicates += 1
        self._broadcast.duplicate(link, message.hops, stream)
        if is_same:
            context.links[link].learn(message.stream, held.place)
        elif context.links[link].peer == message.stream.origin:
            self._sync.offer(link, message.stream)
        return False

    def _wait(self, message: Delta | Compact, key: StreamKey, place: Place, link: int) -> None:
        """Let an eager delta wait for its base, which may be on another link; else ask."""
        self._context.counters.deltas_missed += 1
        if not self.lacks_place(key, place):
            return
        if message.hops and self.reordered.put(key, link, message):
            self._announcer.expect(key, place, link)
        else:
            self._repair.want(key, link)

    def _resume(self, key: StreamKey) -> None:
        """Go on with deltas that waited for what is held now."""
        held = self._context.holdings.ref(key)
        for link, message in () if held is None else self.reordered.take(key, held):
            if isinstance(message, Compact):
                self.compact(link, message)
            else:
                self.delta(link, message)

    def _fetch(self, envelope: Envelope, link: int, parts: tuple[Part, ...] = ()) -> None:
        state = self._repair.start(envelope, link, parts)
        if state is not None:
            self._enter(state, link)

    def announce(self, link: int, message: Announce) -> None:
        """Begin to fetch the state of an announced header."""
        if not self._is_news(message.envelope, link):
            return
        known = self._verified(message.envelope, link)
        if known is None:
            return
        self._fetch(known, link, message.parts)

    def nodes(self, link: int, message: Nodes) -> None:
        """Take nodes of a tree that is being fetched."""
        state = self._repair.nodes(link, message)
        if state is not None:
            self._enter(state, link)

    def _base(self, key: StreamKey, since: Ref | None) -> State | None:
        """Return the state that a delta builds on, or None."""
        base = None if since is None else self._based(key, since.hash[:PLACE_HASH_BYTES])
        return base if base is not None and base.ref == since else None

    def _based(self, key: StreamKey, since: bytes) -> State | None:
        """Return the state that is held, or parked for its deps, under a header's hash."""
        held = self._context.holdings.state(key)
        if held is not None and held.ref.hash.startswith(since):
            return held
        parked = self._adopter.parking.get(key)
        if parked is not None and parked.state.ref.hash.startswith(since):
            return parked.state
        return None

    def _is_news(self, envelope: Envelope, link: int, hops: int = 0) -> bool:
        """Return whether a header may change anything; costs no signature for duplicates."""
        context = self._context
        header = envelope.header
        key, ref = header.stream, header.ref
        if not self._governing.admits(header, link):
            return False
        stream = context.holdings.stream(key)
        if stream is not None and stream.state.ref == ref:
            context.counters.duplicates += 1
            self._broadcast.duplicate(link, hops, stream)
            return False
        rule = context.quarantine.rule(ref.hash)
        if rule is not None:
            context.refuse(key, ref.hash, rule, link)
            return False
        if stream is not None:
            held = stream.state
            if (held.header.epoch, held.header.seq) == (header.epoch, header.seq):
                self._equivocation(envelope, held.envelope, link)
            if self.lacks(key, ref):
                return True
            context.counters.duplicates += 1
            self._broadcast.duplicate(link, hops, stream)
            if ref < held.ref and context.links[link].peer == key.origin:
                self._sync.offer(link, key)
            return False
        return self.lacks(key, ref)

    def _equivocation(self, envelope: Envelope, held: Envelope, link: int) -> None:
        known = evolve(envelope, public=held.public)
        if envelope.header.capability is not None or not self._evidence.is_news(known, held):
            return
        self._context.counters.verified += 1
        if known.is_signed(self._context.verify):
            # The link showed one of the two: it has to hear of the other like everybody.
            self._evidence.consider(known, held, None)
        else:
            self._context.counters.bad_signatures += 1
            self._context.waste(held.header.stream, "signature", link)

    def _verified(self, envelope: Envelope, link: int) -> Envelope | None:
        """Return the envelope with its key when signature and rules hold, else None."""
        context = self._context
        header = envelope.header
        signer = self._governing.signer(header)
        public = envelope.public or context.publics.get(signer, b"")
        if not public:
            self._repair.want(header.stream, link)
            return None
        context.counters.verified += 1
        known = context.memo.of_same(_signed, envelope, public, signer, context.verify)
        if known is None:
            context.counters.bad_signatures += 1
            context.waste(header.stream, "signature", link)
            return None
        rule = header_rule(header)
        if rule is not None:
            context.offend(header.stream, header.hash, rule, link)
            return None
        return known

    def _enter(self, state: State, link: int, hops: int = 0) -> None:
        key = state.header.stream
        if self._local.is_busy(key) or self._steward.is_busy(key):
            return
        if not self._governing.admits(state.header, link):
            return  # a decision came while its state was being fetched
        if self._rebase.was_missed(key, state.ref):
            self._rebase.recover(state)
        else:
            self._adopter.offer(state, link, hops)
        self._repair.arrived(key)
        self._resume(key)


def _rule_of(state: State, key: bytes) -> str | None:
    record = state.tree.get(key)
    return None if record is None else record_rule(record, state.header)
