"""How a replica begins: every stream of the store that still counts becomes part of it."""

from __future__ import annotations

from collections.abc import Mapping

from meshcrdt.errors import UsageError
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.durable import forget_rows, load_streams
from meshcrdt.gossip.governing import Governing
from meshcrdt.gossip.local import Local
from meshcrdt.gossip.outputs import Alarm


def take_stored(
    context: Context,
    local: Local,
    governing: Governing,
    tables: Mapping[str, Mapping[bytes, bytes]],
) -> None:
    """Take the streams of a store into an empty replica.

    One that fails its own checks drops to bottom with an Alarm, one that no longer counts
    without. Raises UsageError when the store holds own headers of this epoch or above.
    """
    for loaded in load_streams(tables, context.genesis, context.verify, context.memo):
        state = loaded.state
        if state is None:
            context.out.append(Alarm(f"store: {loaded.name} is dropped: {loaded.reason}"))
            context.store(loaded.delete)
            continue
        header = state.header
        if not governing.counts_as_stored(state.envelope):
            keys = frozenset(entry.key for entry in state.tree.entries())
            context.store(forget_rows(header.stream, keys))
            continue
        if header.origin == context.me and header.epoch >= context.epoch:
            raise UsageError(
                f"epoch {context.epoch} is not above the stored {header.epoch} of "
                f"channel {header.channel!r}"
            )
        changed = frozenset(entry.key for entry in state.tree.entries())
        context.holdings.adopt(state, changed)
        context.publics[state.envelope.signer] = state.envelope.public
        stream = context.holdings.stream(header.stream)
        if stream is not None:
            stream.durable = state.ref
            stream.arrived_at = context.now
        if header.origin == context.me:
            local.inherit(state)
