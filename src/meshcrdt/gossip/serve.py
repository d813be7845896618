"""Answers to Want and Get: stateless, from what is held (rules R1, R3).

Anyone who holds a stream serves it. A Want is answered by what changed since the asker's
header when that is still remembered, by the whole state when it is small, else by the
header alone, whose tree the asker then fetches. Only held states are served: never a
local write that waits for the disk (F15), never half a fetch (F2).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from meshcrdt.gossip.context import Context
from meshcrdt.gossip.deltas import delta_since, delta_whole
from meshcrdt.gossip.fetch import node_parts, part_bytes
from meshcrdt.gossip.header import KeyOnWire, Ref, StreamKey
from meshcrdt.gossip.merkle import MerkleMap
from meshcrdt.gossip.messages import (
    ANSWER_MESSAGES_MAX,
    MESSAGE_BYTES_MAX,
    Absent,
    Announce,
    Ending,
    Get,
    Nodes,
    Parsed,
    Part,
    Want,
    Wanted,
    build,
)
from meshcrdt.gossip.outputs import Lane, Serve
from meshcrdt.gossip.record import Record
from meshcrdt.gossip.stream import State, Stream
from meshcrdt.gossip.tree_messages import Wish
from meshcrdt.wire import encode

WHOLE_BYTES_MAX = 32 * 1024
ANSWER_BYTES_MAX = ANSWER_MESSAGES_MAX * MESSAGE_BYTES_MAX
ORPHANS_MAX = 64
RENDERED_MAX = 16
RENDERED_BYTES_MAX = 256 * 1024
"""Messages that are kept for the next link that takes the same one."""


def _announced(state: State) -> Announce:
    top = state.tree.node(b"")
    parts: list[Part] = []
    if top is not None:
        parts.append(next(node_parts(b"", top, bytes_max=MESSAGE_BYTES_MAX // 2)))
    return Announce(state.envelope, tuple(parts))


def _message(
    state: State, since: Ref | None, keys: frozenset[bytes] | None, hops: int = 0
) -> tuple[Parsed, KeyOnWire]:
    """Return what takes a holder of a header, or of nothing, to a state.

    `keys` are those that moved since, or None where that is not remembered.
    """
    if keys is not None and since is not None:
        answer, key = delta_since(since, state, keys, hops)
    elif since is None or state.header.live_bytes <= WHOLE_BYTES_MAX:
        answer, key = delta_whole(state, hops)
    else:
        return _announced(state), KeyOnWire.SENT
    if not isinstance(answer, Announce):
        return answer, key
    return _announced(state), KeyOnWire.SENT


def _encoded(state: State, since: Ref | None, keys: frozenset[bytes] | None, hops: int) -> bytes:
    return encode(build(*_message(state, since, keys, hops)))


class Server:
    """Serves held streams to peers."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.orphans: dict[StreamKey, State] = {}
        """States that an origin with an older disk went past: see `rebase`."""
        self._rendered: OrderedDict[tuple[Ref | None, Ref, int], bytes] = OrderedDict()
        self._rendered_bytes = 0

    def keep_orphan(self, state: State) -> None:
        """Keep a replaced state so that its origin can fetch what it missed; bounded."""
        self.orphans[state.header.stream] = state
        if len(self.orphans) > ORPHANS_MAX:
            del self.orphans[next(iter(self.orphans))]

    def want(self, link: int, wishes: tuple[Wish, ...]) -> None:
        """Take wishes: they are answered when the link has room."""
        state = self._context.links[link]
        for key, have in wishes:
            if have is not None:
                state.learn(key, have.place)
        if wishes:
            self._context.out.append(Serve(link, Want(wishes)))

    def get(self, link: int, message: Get) -> None:
        """Take a Get: it is answered when the link has room."""
        self._context.out.append(Serve(link, message))

    def serve(self, link: int, request: Want | Get) -> Iterator[bytes]:
        """Yield the encoded messages that answer a request, each made when it is asked for."""
        if isinstance(request, Want):
            yield from self._wanted(link, request.wishes)
        else:
            for nodes in self._nodes(request):
                yield encode(build(nodes))

    def _wanted(self, link: int, wishes: tuple[Wish, ...]) -> Iterator[bytes]:
        """Yield at most as much as a Get brings; the rest is to be asked for again."""
        absent: list[StreamKey] = []
        later: list[StreamKey] = []
        size = 0
        for key, have in wishes:
            stream = self._context.holdings.stream(key)
            if stream is None or not self._is_news(link, stream, have):
                absent.append(key)
                continue
            data = b"" if later else encode(build(*self._answer(stream, have)))
            if later or (size and size + len(data) > ANSWER_BYTES_MAX):
                later.append(key)
                continue
            size += len(data)
            yield data
        if absent or later:
            yield encode(build(Absent(tuple(absent), tuple(later))))

    def _is_news(self, link: int, stream: Stream, have: Ref | None) -> bool:
        peer, ref = self._context.links.get(link), stream.state.ref
        return peer is not None and ref.hash not in peer.refused and (have is None or have < ref)

    def _answer(self, stream: Stream, have: Ref | None) -> tuple[Parsed, KeyOnWire]:
        state = stream.state
        if have is None and state.header.live_bytes > WHOLE_BYTES_MAX:
            return _announced(state), KeyOnWire.SENT
        return _message(state, have, None if have is None else stream.keys_since(have))

    def render(self, link: int, key: StreamKey, since: Ref | None) -> bytes | None:
        """Return the encoded message of a Push, or None when nothing is to be said any more.

        It tells the newest state, whatever was pushed (F3), and is made once for all links.
        """
        peer = self._context.links.get(link)
        stream = self._context.holdings.stream(key)
        if peer is None or stream is None:
            return None
        ref = stream.state.ref
        if ref.hash in peer.refused or self._context.knows(link, key, ref):
            return None
        place = (since, ref, stream.hops)
        data = self._rendered.get(place)
        if data is None:
            keys = None if since is None else stream.keys_since(since)
            memo = self._context.memo
            data = memo.of_same(_encoded, stream.state, since, keys, stream.hops)
            self._rendered[place] = data
            self._rendered_bytes += len(data)
            while len(self._rendered) > RENDERED_MAX or self._rendered_bytes > RENDERED_BYTES_MAX:
                self._rendered_bytes -= len(self._rendered.popitem(last=False)[1])
        return data

    def announce(self, link: int, state: State) -> None:
        """Send a header whose state is to be fetched, with the top of its tree."""
        self._context.send(link, Lane.REPAIR, _announced(state))

    def _nodes(self, message: Get) -> Iterator[Nodes]:
        """Yield at most four messages; the asker asks again for the rest."""
        held = (self._context.holdings.state(message.stream), self.orphans.get(message.stream))
        sources = [state.tree for state in held if state is not None]
        moved = not sources
        batch: list[Part] = []
        size = made = 0
        for part in _parts_of(message.items, sources):
            if part is None:
                moved = True
                continue
            size += part_bytes(part)
            if size > MESSAGE_BYTES_MAX and batch:
                made += 1
                if made == ANSWER_MESSAGES_MAX:
                    break
                yield Nodes(message.stream, tuple(batch), Ending.MORE)
                batch, size = [], part_bytes(part)
            batch.append(part)
        yield Nodes(message.stream, tuple(batch), Ending.MOVED if moved else Ending.DONE)


def _parts_of(items: tuple[Wanted, ...], sources: list[MerkleMap[Record]]) -> Iterator[Part | None]:
    """Yield the parts of the nodes that are asked for, None for each that is not held."""
    for path, digest, offset in items:
        found = (tree.node(path) for tree in sources)
        node = next((node for node in found if node is not None and node.hash == digest), None)
        if node is None:
            yield None
        else:
            yield from node_parts(path, node, bytes_max=MESSAGE_BYTES_MAX // 2, offset=offset)
