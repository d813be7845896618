"""Where an assembled and proved state enters: park it or merge it, store it, pass it on.

Everything that ever becomes visible goes through `Adopter.offer`, so the rules of the
join stand in one place: greatest header wins (F9), deps first (F7), header and state to
the store in one transaction (F16), relay only what is held (R2).
"""

from __future__ import annotations

from collections.abc import Callable

from meshcrdt.gossip.announcer import Announcer
from meshcrdt.gossip.broadcast import Broadcast
from meshcrdt.gossip.channels import Kind, kind_of
from meshcrdt.gossip.context import Context, Settled
from meshcrdt.gossip.deltas import base_of
from meshcrdt.gossip.durable import forget_rows, state_rows
from meshcrdt.gossip.header import StreamKey
from meshcrdt.gossip.outputs import Alarm, Push, StreamChanged
from meshcrdt.gossip.parking import Parked, Parking, unmet
from meshcrdt.gossip.stream import State, changed_between


class Adopter:
    """Merges states into the holdings of one replica."""

    def __init__(
        self,
        context: Context,
        broadcast: Broadcast,
        announcer: Announcer,
        *,
        want: Callable[[StreamKey, int | None], None],
        adopted: Callable[[StreamKey, frozenset[bytes]], None],
        replaced: Callable[[State | None, State, int | None], None],
        busy: Callable[[StreamKey], bool],
    ) -> None:
        self._context = context
        self._broadcast = broadcast
        self._announcer = announcer
        self._want = want
        self._adopted = adopted
        self._replaced = replaced
        self._busy = busy
        self.parking = Parking()

    def offer(self, state: State, link: int | None, hops: int = 0) -> None:
        """Take a proved state: merge it when its deps are held, else let it wait for them."""
        held = self._context.holdings.ref
        ref = held(state.header.stream)
        if ref is not None and ref >= state.ref:
            return
        channel = state.header.channel
        if not unmet(state, held) and not self.parking.in_channel(channel):
            self._merge(state, link, hops)
            return
        self.parking.put(Parked(state, link, hops))
        self.release(channel)
        for dep in unmet(state, held):
            self._want(StreamKey(channel, dep.origin), link)

    def release(self, channel: str) -> None:
        """Merge what waits in a channel as far as its deps are met by now."""
        while self.parking.in_channel(channel):
            ready = self.parking.release(channel, self._context.holdings.ref, self._busy)
            if not ready:
                return
            for parked in ready:
                self._merge(parked.state, parked.link, parked.hops)

    def _merge(self, state: State, link: int | None, hops: int) -> None:
        context = self._context
        key = state.header.stream
        before = context.holdings.state(key)
        changed = context.memo.of_same(changed_between, before, state)
        if kind_of(key.channel) is Kind.DURABLE:
            rows = context.memo.of_same(state_rows, state, changed)
            context.store(rows, (Settled(key, state.ref),))
        self.enter(state, changed, link=link, hops=hops)
        self._replaced(before, state, link)

    def enter(
        self, state: State, changed: frozenset[bytes], *, link: int | None, hops: int = 0
    ) -> None:
        """Make a state the held one and pass it on; the caller has seen to the store."""
        context = self._context
        key = state.header.stream
        before = context.holdings.state(key)
        evicted = context.holdings.adopt(state, changed)
        context.publics[state.envelope.signer] = state.envelope.public
        stream = context.holdings.stream(key)
        if stream is not None:
            stream.from_peer = context.peer_of(link)
            stream.arrived_at = context.now
        context.out.append(StreamChanged(key.channel, key.origin, changed))
        self.spread(before, state, link=link, hops=hops)
        self._announcer.arrived(key, state.ref)
        for other in evicted:
            self._evict(other)
        self._adopted(key, changed)

    def forget(self, key: StreamKey) -> None:
        """Drop a stream to bottom, here and on disk."""
        context = self._context
        keys = context.holdings.forget(key)
        context.out.append(StreamChanged(key.channel, key.origin, keys))
        if kind_of(key.channel) is Kind.DURABLE:
            context.store(forget_rows(key, keys))

    def _evict(self, key: StreamKey) -> None:
        context = self._context
        self.forget(key)
        most = context.limits.streams_per_origin_max
        context.out.append(
            Alarm(f"{key} is given up: its origin has more than {most} channels", key.origin)
        )

    def spread(self, before: State | None, state: State, *, link: int | None, hops: int) -> None:
        """Send a merged header on at once along the tree, as what moved since the one before."""
        context = self._context
        key, ref = state.header.stream, state.ref
        since = base_of(before, state)
        route = self._broadcast.route(key, ref, link, hops)
        held = context.holdings.stream(key)
        if held is not None:
            held.hops = route.hops
        for to in route.eager:
            if ref.hash not in context.links[to].refused:
                context.out.append(Push(to, key, since))
        self._announcer.announce(route.lazy, key, ref)
