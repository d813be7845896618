"""The live links: one per peer after settling, probed, and closed when they fall silent.

Two nodes that dial each other at once hold two links for a moment. Both ends must keep
the same one, without a message about it, and must never close the only one that works:

* A link of a newer epoch of the peer beats one of an older: the older process is gone.
* Else a link that the lower peer id dialled beats one that the higher dialled. Both ends
  know who dialled, so they agree.
* Among links of one dialler the newest wins, and only the dialler says which that is: the
  order in which the two ends see links open may differ, and two judges would close both.
* A loser is closed only once the winner brought traffic after both were open. So a
  half-open link never pushes out a working one, and a surplus link is never the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

from attrs import define, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import BOTTOM_EPOCH, Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.base.tree import Tree
from meshcrdt.errors import InternalError, MalformedTree, UsageError
from meshcrdt.topology.heartbeats import Action, Beat, Detection, Heartbeats, parse_beat
from meshcrdt.topology.outputs import CloseLink, TopologyOutput

LINKS_PER_PEER_MAX = 4


class Direction(Enum):
    """Who opened a link; the values are those of the node's door."""

    DIALLED = "dialled"
    ACCEPTED = "accepted"


@define(kw_only=True)
class LinkEntry(Beat):
    """One live link. Steps count the events of the machine."""

    peer: PeerId
    epoch: Epoch
    direction: Direction
    address: str
    transport: str
    encrypted: bool
    opened_at: float
    opened_step: int
    heard_step: int = 0


@frozen
class Silence:
    """Links that were closed because they fell silent, and peers that may be next."""

    lost: tuple[LinkEntry, ...]
    doubted: tuple[PeerId, ...]


@frozen
class LinkStatistics:
    """Counts over the life of one `Links`."""

    open: int
    opened_total: int
    surplus_closed_total: int
    silent_closed_total: int
    misbehaved_total: int


class Links:
    """All links of one node.

    Args:
        me: This node's id; decides which of two crossing links wins.
        limits: `links_max`, and the bounds that `heartbeats` uses.
        dice: Jitter of pings, so that many links do not beat in step.
        detection: How silence is noticed.
        root_prefix: Gives what a heartbeat carries of this node's roots; nothing when empty.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        limits: Limits,
        dice: Dice,
        detection: Detection = Detection.LINKS,
        root_prefix: Callable[[], bytes] = bytes,
    ) -> None:
        self._me = me
        self._limits = limits
        self._entries: dict[int, LinkEntry] = {}
        self._heartbeats = Heartbeats(
            limits=limits,
            dice=dice,
            detection=detection,
            root_prefix=root_prefix,
            beats=self._entries,
        )
        self._by_peer: dict[PeerId, list[LinkEntry]] = {}
        self._chosen: dict[PeerId, int] = {}
        self._step = 0
        self._opened_total = 0
        self._surplus_closed_total = 0
        self._silent_closed_total = 0
        self._misbehaved_total = 0

    # --- events ------------------------------------------------------------------------

    def opened(
        self,
        link: int,
        peer: PeerId,
        *,
        direction: Direction,
        address: str,
        transport: str,
        encrypted: bool,
        epoch: Epoch = BOTTOM_EPOCH,
        now: float,
    ) -> list[TopologyOutput]:
        """Take a new link in; pings every link of the peer, which proves who is alive.

        Raises UsageError when the link number is in use.
        """
        if link in self._entries:
            raise UsageError(f"link {link} is already open")
        if len(self._entries) >= self._limits.links_max:
            return [CloseLink(link, f"links_max is {self._limits.links_max}")]
        self._step += 1
        self._opened_total += 1
        entry = LinkEntry(
            link=link,
            leads=direction is Direction.DIALLED,
            peer=peer,
            epoch=epoch,
            direction=direction,
            address=address,
            transport=transport,
            encrypted=encrypted,
            opened_at=now,
            opened_step=self._step,
            heard_at=now,
            pinged_at=now,
            rtt_at=now,
            lost=self._heartbeats.losses(),
        )
        self._entries[link] = entry
        siblings = self._by_peer.setdefault(peer, [])
        siblings.append(entry)
        outputs: list[TopologyOutput] = []
        if len(siblings) > LINKS_PER_PEER_MAX:
            reason = f"more than {LINKS_PER_PEER_MAX} links from one peer"
            outputs.extend(self._close_surplus(siblings[0], reason))
        outputs.extend(self._heartbeats.ping(sibling, now) for sibling in siblings)
        self._choose(peer)
        return outputs

    def closed(self, link: int) -> LinkEntry | None:
        """Forget a link that ended; None when it was not (or no longer) known."""
        entry = self._entries.get(link)
        if entry is not None:
            self._remove(entry)
        return entry

    def heard(self, link: int, now: float) -> list[TopologyOutput]:
        """Note that something came in on a link: the proof by which it may win over others."""
        entry = self._entries.get(link)
        if entry is None:
            return []
        self._step += 1
        entry.hear(now)
        entry.heard_step = self._step
        if len(self._by_peer[entry.peer]) == 1:
            return []
        outputs: list[TopologyOutput] = []
        for loser in list(self._by_peer[entry.peer]):
            if loser is not entry and self._beats(entry, loser):
                outputs.extend(self._close_surplus(loser, f"settled on link {entry.link}"))
        self._choose(entry.peer)
        return outputs

    def received(
        self, link: int, message: tuple[Tree, ...], now: float
    ) -> tuple[LinkEntry | None, list[TopologyOutput]]:
        """Handle a ping or pong. A malformed one closes the link, which is then returned."""
        entry = self._entries.get(link)
        if entry is None:
            return None, []
        try:
            beat = parse_beat(message)
        except MalformedTree as error:
            self._misbehaved_total += 1
            self._remove(entry)
            return entry, [CloseLink(link, str(error))]
        outputs = self.heard(link, now)
        if link in self._entries:
            outputs.extend(self._heartbeats.received(entry, beat, now))
        return None, outputs

    def handle_timeout(self, now: float) -> tuple[Silence, list[TopologyOutput]]:
        """Ping what is due, close what is silent; returns who fell silent and the outputs."""
        silent, doubted = [], []
        outputs: list[TopologyOutput] = []
        for beat, action in self._heartbeats.due(now):
            entry = self._entries[beat.link]
            if action is Action.CLOSE:
                self._silent_closed_total += 1
                self._remove(entry)
                silent.append(entry)
                outputs.append(CloseLink(entry.link, self.silence(entry)))
                continue
            if action is Action.ASK_AGAIN and self._chosen.get(entry.peer) == entry.link:
                doubted.append(entry.peer)
            outputs.append(self._heartbeats.ping(entry, now))
        return Silence(tuple(silent), tuple(doubted)), outputs

    def patience(self) -> float:
        """Return how many times longer than on good links anything takes: 1.0 where none loses."""
        return self._heartbeats.patience()

    def silence(self, entry: LinkEntry) -> str:
        """Return one line that says for how long a link was silent to be closed."""
        return f"silent for {self._heartbeats.silence_s(entry):.3g} s"

    def ask(self, peer: PeerId, now: float) -> list[TopologyOutput]:
        """Ping a peer now on the link that speaks for it: somebody wants to know of it."""
        entry = self._entries.get(self._chosen.get(peer, -1))
        return [] if entry is None else [self._heartbeats.ping(entry, now)]

    def heard_at(self, peer: PeerId) -> float | None:
        """Return when a linked peer was heard last, on any of its links."""
        return max((entry.heard_at for entry in self._by_peer.get(peer, ())), default=None)

    def next_deadline(self) -> float | None:
        """Return when the next ping or silence may be due, or None without links."""
        return self._heartbeats.next_deadline()

    def forgive(self, stall_s: float) -> None:
        """Do not count `stall_s` as silence: this process itself did not run then."""
        for entry in self._entries.values():
            entry.forgive(stall_s)

    # --- queries -----------------------------------------------------------------------

    def peers(self) -> frozenset[PeerId]:
        """Return the peers that have a link."""
        return frozenset(self._by_peer)

    def link_to(self, peer: PeerId) -> int | None:
        """Return the link that speaks for a peer, or None."""
        return self._chosen.get(peer)

    def rtt_s(self, peer: PeerId) -> float | None:
        """Return the smoothed round trip to a peer, or None when it was not measured yet."""
        entry = self._entries.get(self._chosen.get(peer, -1))
        return None if entry is None else entry.rtt_s

    def entry(self, link: int) -> LinkEntry | None:
        """Return one live link."""
        return self._entries.get(link)

    def entries(self) -> Iterator[LinkEntry]:
        """Yield all live links in the order in which they opened."""
        return iter(self._entries.values())

    def check(self) -> None:
        """Raise InternalError when the tables disagree."""
        listed = {entry.link for entries in self._by_peer.values() for entry in entries}
        if listed != set(self._entries):
            raise InternalError(
                f"links {sorted(listed ^ set(self._entries))} are in one table only"
            )
        if set(self._chosen) != set(self._by_peer):
            raise InternalError("a linked peer has no chosen link, or an unlinked one has")
        for peer, link in self._chosen.items():
            if link not in {entry.link for entry in self._by_peer[peer]}:
                raise InternalError(f"the chosen link {link} of {peer} is not open")
        for peer, entries in self._by_peer.items():
            if not 1 <= len(entries) <= LINKS_PER_PEER_MAX:
                raise InternalError(f"{peer} has {len(entries)} links")

    def statistics(self) -> LinkStatistics:
        """Return the current counts."""
        return LinkStatistics(
            open=len(self._entries),
            opened_total=self._opened_total,
            surplus_closed_total=self._surplus_closed_total,
            silent_closed_total=self._silent_closed_total,
            misbehaved_total=self._misbehaved_total,
        )

    # --- settling ----------------------------------------------------------------------

    def _rank(self, entry: LinkEntry) -> tuple[Epoch, bool]:
        """Return what both ends of a link agree on; the greater wins."""
        dialled_here = entry.direction is Direction.DIALLED
        return entry.epoch, dialled_here == (self._me < entry.peer)

    def _beats(self, winner: LinkEntry, loser: LinkEntry) -> bool:
        """Return True when this end may close `loser` in favour of `winner`."""
        if self._rank(winner) != self._rank(loser):
            return self._rank(winner) > self._rank(loser)
        dialled_here = winner.direction is Direction.DIALLED
        return dialled_here and winner.opened_step > loser.opened_step

    def _choose(self, peer: PeerId) -> None:
        """Pick the link that speaks for a peer: the best that was heard since the last opening."""
        old = self._chosen.get(peer)
        entries = self._by_peer.get(peer)
        if not entries:
            self._chosen.pop(peer, None)
            return
        newest = max(entry.opened_step for entry in entries)
        proven = [entry for entry in entries if entry.heard_step > newest]
        if not proven and old is not None and any(entry.link == old for entry in entries):
            return
        best = max(proven or entries, key=lambda entry: (self._rank(entry), entry.opened_step))
        self._chosen[peer] = best.link

    def _close_surplus(self, entry: LinkEntry, reason: str) -> list[TopologyOutput]:
        self._surplus_closed_total += 1
        self._remove(entry)
        return [CloseLink(entry.link, reason, agreed=True)]

    def _remove(self, entry: LinkEntry) -> None:
        del self._entries[entry.link]
        siblings = self._by_peer[entry.peer]
        siblings.remove(entry)
        if not siblings:
            del self._by_peer[entry.peer]
        self._choose(entry.peer)
