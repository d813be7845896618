"""Our own stream as others know it: rollbacks, clones and what was lost (F4, F14, F20).

Two cases. A header of ours that is greater than what we hold: the disk is older than the
world, or another instance of this identity writes. It becomes the base, and the node is
told so that it takes a higher epoch. And a header that is lesser than ours but above the
base on which we opened: we opened an epoch without having heard of our own last writes.
Those records come back with their old dots; what we dropped meanwhile stays dropped.
"""

from __future__ import annotations

from meshcrdt.gossip.cancels import Intent, Purpose
from meshcrdt.gossip.channels import Kind, kind_of
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.header import Ref, StreamKey
from meshcrdt.gossip.local import Local
from meshcrdt.gossip.outputs import Alarm, OwnStreamAhead, SignedForUs
from meshcrdt.gossip.serve import Server
from meshcrdt.gossip.stream import State
from meshcrdt.gossip.validity import STREAM_BYTES_MAX, STREAM_KEYS_MAX


class Rebase:
    """Keeps one identity's streams whole over restarts, rollbacks and clones."""

    def __init__(self, context: Context, local: Local, server: Server) -> None:
        self._context = context
        self._local = local
        self._server = server

    def was_missed(self, key: StreamKey, ref: Ref) -> bool:
        """Return whether a lesser own header holds writes that our epoch was opened without."""
        if key.origin != self._context.me or kind_of(key.channel) is Kind.VOLATILE:
            return False
        state = self._local.held(key.channel)
        if state is None or ref >= state.ref or ref.epoch >= state.header.epoch:
            return False
        base = self._local.base_ref(key.channel)
        if state.header.epoch != self._context.epoch:
            return False
        return base is None or ref > base

    def recover(self, state: State) -> None:
        """Stage the causal merge of a missed own state into the epoch opened without it.

        What it has and our base did not know comes again, with its dots; what it no longer
        has of our base goes again; what we wrote since stays.
        """
        channel = state.header.channel
        base = self._local.base_ref(channel)
        held = self._local.held(channel)
        if held is None:
            return
        known = (base.epoch, base.seq) if base is not None else None
        for entry in state.tree.entries():
            dot = entry.value.dot
            ours = held.tree.get(entry.key)
            covered = known is not None and (dot.epoch, dot.seq) <= known
            if (ours is None and not covered) or (ours is not None and ours.dot < dot):
                self._keep(channel, entry.key, state)
        for entry in held.tree.entries():
            dot = entry.value.dot
            is_old = (dot.epoch, dot.seq) <= (state.header.epoch, state.header.seq)
            if is_old and state.tree.get(entry.key) is None:
                self._local.stage(channel, Intent(entry.key, Purpose.DROP))
        self._local.inherit(state)
        self._local.set_base(channel, state.ref)
        self._report(state)

    def went_ahead(self, before: State | None, state: State) -> None:
        """Note that a greater own header was adopted; keep what it does not know of ours."""
        channel = state.header.channel
        self._local.inherit(state)
        if kind_of(channel) is Kind.DURABLE and before is not None:
            for entry in before.tree.entries():
                if entry.value.dot.epoch != self._context.epoch:
                    continue
                theirs = state.tree.get(entry.key)
                if theirs is None or theirs.dot < entry.value.dot:
                    self._keep(channel, entry.key, before)
        # Our volatile streams outlive a restart at peers; only a higher epoch is news there.
        if kind_of(channel) is Kind.DURABLE or state.header.epoch >= self._context.epoch:
            self._report(state)

    def _keep(self, channel: str, key: bytes, source: State) -> None:
        record = source.tree.get(key)
        held = self._local.held(channel)
        if record is None or held is None:
            return
        header = held.header
        if (
            header.live_keys + source.header.live_keys > STREAM_KEYS_MAX
            or header.live_bytes + source.header.live_bytes > STREAM_BYTES_MAX
        ):
            self._context.out.append(
                Alarm(f"{header.stream}: no room to keep {key!r} from {source.ref.epoch}")
            )
            return
        self._local.stage(channel, Intent(key, Purpose.KEEP, keep=record))

    def _report(self, state: State) -> None:
        header = state.header
        if header.capability is not None:
            self._context.out.append(SignedForUs(header.channel, header.epoch))
        else:
            self._context.out.append(OwnStreamAhead(header.channel, header.epoch, header.seq))

    def replaced(self, before: State | None, after: State, link: int | None) -> None:
        """Show an origin what it missed when it opened an epoch on an older header (F20)."""
        header = after.header
        if header.origin == self._context.me:
            self.went_ahead(before, after)
            return
        if (
            before is None
            or kind_of(header.channel) is Kind.VOLATILE
            or header.epoch == before.header.epoch
            or header.seq != 1
        ):
            return
        if header.base == before.ref or (header.base is not None and header.base > before.ref):
            self._server.orphans.pop(header.stream, None)
            return
        self._server.keep_orphan(before)
        if link is not None and self._context.peer_of(link) == header.origin:
            self._server.announce(link, before)
