"""Signing for members that are gone: their shared records live on, and can still be removed.

An adoption makes this node the owner of a departed member's streams in shared channels
(finding F19). It opens them by rebase, as the member itself would after a restart: every
record keeps its dot, nothing flickers. From then on it does what owners do: it drops what
others superseded, on sight, and goes on with the deps of the headers before (F7). It never
writes a value of its own there.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from attrs import frozen

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.errors import InternalError, UsageError
from meshcrdt.gossip.cancels import Deps, Intent, Purpose, record_after
from meshcrdt.gossip.channels import is_adoptable
from meshcrdt.gossip.context import Context, Settled
from meshcrdt.gossip.durable import state_rows
from meshcrdt.gossip.governance import Adoption
from meshcrdt.gossip.header import Dep, Header, StreamKey, seal
from meshcrdt.gossip.record import Record, records_root
from meshcrdt.gossip.stream import State, changed_tree


@frozen
class Signed:
    """A header that this node signed for another origin, on its way to the disk."""

    state: State
    changed: frozenset[bytes]


class Steward:
    """The adopting side of one replica."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due: dict[StreamKey, set[bytes] | None] = {}
        """What to look at anew; None is the whole stream."""
        self._flights: dict[int, Signed] = {}
        self._allowed: set[bytes] = set()
        """The grants under which this node signs by now."""

    def _adoption(self, origin: PeerId) -> Adoption | None:
        """Return the adoption of an origin, if it is this node that signs for it by now."""
        adoption = self._context.governance.adoption(origin)
        return adoption if adoption and adoption.capability in self._allowed else None

    def sign_for(self, origin: PeerId) -> None:
        """Begin to sign for a departed member that this node adopts.

        Whoever calls this sees to it that nobody holds writes of the member that are not held
        here: what this node signs outranks them all.
        """
        adoption = self._context.governance.adoption(origin)
        if adoption is None or adoption.adopter != self._context.me:
            raise UsageError(f"this node does not adopt {origin}")
        if adoption.capability not in self._allowed:
            self._allowed.add(adoption.capability)
            for channel in self._context.holdings.channels_of(origin):
                self.look(StreamKey(channel, origin))

    def governed(self) -> None:
        """Take in what was decided: grants that are gone are forgotten."""
        self._allowed &= {each.capability for each in self._context.governance.adoptions}

    def look(self, key: StreamKey, record_key: bytes | None = None) -> None:
        """Note that a stream moved, or that what it holds of one key may be superseded."""
        if not is_adoptable(key.channel) or self._adoption(key.origin) is None:
            return
        due = self._due.setdefault(key, set())
        if record_key is None:
            self._due[key] = None
        elif due is not None:
            due.add(record_key)

    def react(self, channel: str, changed: frozenset[bytes]) -> None:
        """Note that records of a channel changed: ours to drop may be among the superseded."""
        if not is_adoptable(channel) or not self._context.governance.adoptions:
            return
        held = self._context.holdings.channel(channel)
        for key in changed:
            for origin in held.origins_of(key):
                self.look(StreamKey(channel, origin), key)

    def is_busy(self, key: StreamKey) -> bool:
        """Return whether a header of this stream that we signed is at the disk."""
        flights = self._flights.values()
        return bool(flights) and any(each.state.header.stream == key for each in flights)

    def flush(self) -> None:
        """Sign and store what is due."""
        for key in sorted(self._due) if self._due else ():
            if self.is_busy(key):
                continue
            signed = self._build(key, self._due.pop(key))
            if signed is not None:
                settled = Settled(key, signed.state.ref)
                token = self._context.store(state_rows(signed.state, signed.changed), (settled,))
                self._flights[token] = signed

    def _build(self, key: StreamKey, due: set[bytes] | None) -> Signed | None:
        context = self._context
        adoption = self._adoption(key.origin)
        state = context.holdings.state(key)
        if adoption is None or state is None:
            return None
        epoch = Epoch(adoption.floor, adoption.instance)
        if state.header.epoch > epoch:
            return None  # its owner came back and signs for itself
        opens = state.header.epoch != epoch
        deps = Deps()
        deps.inherit(state.header.deps)
        passing: list[Dep] = []
        whole = opens or due is None
        looked = (entry.key for entry in state.tree.entries()) if whole else iter(due or ())
        puts, drops = self._changes(key, state, sorted(looked), deps=deps, passing=passing)
        if not opens and not puts and not drops:
            return None
        after, cost = changed_tree(state, puts, drops)
        header = Header(
            genesis=context.genesis,
            channel=key.channel,
            origin=key.origin,
            epoch=epoch,
            seq=1 if opens else state.header.seq + 1,
            previous=state.header.hash,
            base=state.ref if opens else None,
            records_root=records_root(puts, drops),
            state_root=after.root,
            live_keys=len(after),
            live_bytes=cost,
            deps=deps.listed(passing),
            capability=adoption.capability,
        )
        changed = frozenset(drops) | {record.key for record in puts}
        return Signed(State(seal(header, context.identity), after), changed)

    def _changes(
        self,
        key: StreamKey,
        state: State,
        record_keys: list[bytes],
        *,
        deps: Deps,
        passing: list[Dep],
    ) -> tuple[list[Record], list[bytes]]:
        """Return what is left of superseded records, and the keys of which nothing is."""
        channel = self._context.holdings.channel(key.channel)
        puts: list[Record] = []
        drops: list[bytes] = []
        for record_key in record_keys:
            record = state.tree.get(record_key)
            if record is None:
                continue
            after = record_after(
                Intent(record_key, Purpose.SEEN),
                record,
                channel=channel,
                dot=record.dot,
                deps=deps,
                passing=passing,
            )
            if after is None:
                drops.append(record_key)
            elif after != record:
                puts.append(after)
        return puts, drops

    def stored(self, token: int) -> Signed | None:
        """Take the confirmation of a header; returns it to enter the replicated state now."""
        signed = self._flights.pop(token, None)
        if signed is None:
            return None
        held = self._context.holdings.ref(signed.state.header.stream)
        if held is not None and held >= signed.state.ref:
            return None
        return signed

    def needless(self, members: Container[PeerId]) -> frozenset[PeerId]:
        """Return for whom nobody need sign any more.

        Of a departed member no record is left, or it is a member again and nothing of it
        counts by this node's grant. Only the adopter can tell: whoever else holds nothing may
        not have heard of it yet. And only once the eviction is pruned, for what is found
        after that counts again without an adopter.
        """
        context = self._context
        value = context.governance
        return frozenset(
            adoption.origin
            for adoption in value.adoptions
            if adoption.adopter == context.me
            and value.eviction(adoption.origin) is None
            and not any(
                header.live_keys and (header.capability or adoption.origin not in members)
                for header in self._headers(adoption.origin)
            )
        )

    def _headers(self, origin: PeerId) -> Iterator[Header]:
        """Yield the newest header of each adoptable stream of an origin."""
        holdings = self._context.holdings
        for channel in filter(is_adoptable, holdings.channels_of(origin)):
            state = holdings.state(StreamKey(channel, origin))
            if state is not None:
                yield state.header

    def check(self) -> None:
        """Raise InternalError when a header at the disk is not one of ours to sign."""
        for signed in self._flights.values():
            header = signed.state.header
            if header.origin == self._context.me or header.capability is None:
                raise InternalError(f"{header.stream} is signed as if it were adopted")
            if signed.state.tree.root != header.state_root:
                raise InternalError(f"{header.stream}: an adopted state does not match its root")
