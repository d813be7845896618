"""The topology of one node: directory, links, dialling, liveness and routes as one machine.

Events go in as method calls with the time, outputs come back in the order in which they
are to be done. The parts know nothing of each other; what one must know of another is
passed on here, in `_conclude`, after every event that could matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import BOTTOM_EPOCH, Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.tree import Tree
from meshcrdt.errors import InternalError, UsageError
from meshcrdt.topology.adjacency import AdjacencyGraph
from meshcrdt.topology.dialer import Dialer, Discovery, Surroundings
from meshcrdt.topology.directory import MemberRecord, Standing
from meshcrdt.topology.links import Direction, LinkEntry, Links
from meshcrdt.topology.liveness import Liveness, Majority
from meshcrdt.topology.neighbour_links import NeighbourLinks
from meshcrdt.topology.outputs import (
    CloseLink,
    Dial,
    NeighboursChanged,
    PeerState,
    StateChanged,
    TopologyOutput,
)
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.overlay_terms import Sight
from meshcrdt.topology.overlay_wire import OVERLAY_CODES
from meshcrdt.topology.reading import Reading
from meshcrdt.topology.report import ConnectionInfo, ConnectionState
from meshcrdt.topology.routes import first_hops

__all__ = ["ConnectionInfo", "ConnectionState", "Direction", "PeerState", "Topology"]

STALL_PING_INTERVALS = 2
"""A machine with links that was not called for so many ping intervals was itself stalled."""


class Topology(Reading):
    """Who exists, who is linked, who is alive, and which way leads where.

    Args:
        me: This node.
        epoch: Its epoch.
        limits: Published bounds.
        dice: Jitter of pings and dials.
        discovery: Whether addresses from the directory are dialled.
        own_addresses: This node's own URLs, which it never dials.
        failure_domain: What fails together with this node, as declared, or empty.
        baseline: What `baseline()` said before a restart, for `minority`.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        epoch: Epoch,
        limits: Limits = DEFAULT_LIMITS,
        dice: Dice,
        discovery: Discovery = Discovery.ON,
        own_addresses: Iterable[str] = (),
        failure_domain: str = "",
        baseline: Collection[PeerId] | None = None,
    ) -> None:
        self._me = me
        self._epoch = epoch
        self._limits = limits
        self._members: dict[PeerId, MemberRecord] = {}
        self._links = Links(me=me, limits=limits, dice=dice.fork("links"))
        self._dialer = Dialer(
            me=me,
            limits=limits,
            dice=dice.fork("dialer"),
            discovery=discovery,
            own_addresses=own_addresses,
        )
        self._overlay = Overlay(
            me=me,
            domain=failure_domain,
            limits=limits,
            dice=dice.fork("overlay"),
            discovery=discovery,
            sight=Sight(
                addresses=self._dialer.dialable,
                reaches=self._reaches,
                rtt_s=self._links.rtt_s,
            ),
        )
        self._neighbour_links = NeighbourLinks(self._links, self._overlay, self._dialer)
        self._graph = AdjacencyGraph(me=me, members_max=limits.members_max)
        self._liveness = Liveness(me=me, limits=limits)
        self._majority = Majority(me=me, baseline=baseline)
        self._neighbours: frozenset[PeerId] = frozenset()
        self._active: frozenset[PeerId] = frozenset()
        self._around = Surroundings()
        self._hops: dict[PeerId, PeerId] = {}
        self._called_at: float | None = None
        self._stale = False
        self._judged = False

    # --- commands ----------------------------------------------------------------------

    def add_targets(self, addresses: Iterable[str], now: float) -> list[TopologyOutput]:
        """Take addresses as configured: dialled at once and kept up, whatever discovery says."""
        self._arrive(now)
        self._dialer.add(addresses, now)
        return self._conclude(now)

    def forget(self, addresses: Iterable[str], now: float) -> list[TopologyOutput]:
        """Stop dialling addresses, also where the directory names them. Live links stay.

        For a peer: `forget(topology.addresses_of(peer), now)`. `add_targets` takes it back.
        """
        self._arrive(now)
        self._dialer.forget(addresses)
        return self._conclude(now)

    def nudge(self, now: float) -> list[TopologyOutput]:
        """Forget all backoffs: the network of this host changed."""
        self._arrive(now)
        self._dialer.reset(now)
        self._overlay.nudge()
        return self._conclude(now)

    # --- links -------------------------------------------------------------------------

    def link_opened(
        self,
        link: int,
        peer: PeerId,
        *,
        direction: Direction,
        address: str,
        transport: str,
        encrypted: bool,
        now: float,
        epoch: Epoch = BOTTOM_EPOCH,
        advertised: tuple[str, ...] = (),
    ) -> list[TopologyOutput]:
        """Take in a link whose handshake proved `peer`, running in `epoch`.

        `address` is the URL that was dialled, or where an accepted link came from;
        `advertised` are the addresses of the peer's handshake. Raises UsageError when the link
        number is in use.
        """
        self._arrive(now)
        if self._links.entry(link) is not None:
            raise UsageError(f"link {link} is already open")
        if direction is Direction.DIALLED:
            self._dialer.opened(address, peer)
        if peer == self._me:
            outputs = self._conclude(now)
            return [CloseLink(link, "this address leads back to this node itself"), *outputs]
        self._liveness.seen(peer, epoch)
        self._stale = True
        outputs = self._links.opened(
            link,
            peer,
            direction=direction,
            address=address,
            transport=transport,
            encrypted=encrypted,
            epoch=epoch,
            now=now,
        )
        if self._links.entry(link) is not None:
            dialled = direction is Direction.DIALLED
            said = self._overlay.opened(peer, dialled=dialled, addresses=advertised, now=now)
            outputs.extend(self._neighbour_links.carry(said, now))
        return outputs + self._conclude(now)

    def link_closed(self, link: int, reason: str, now: float) -> list[TopologyOutput]:
        """Take in the end of a link; one that was closed here already changes nothing."""
        self._arrive(now)
        entry = self._links.closed(link)
        if entry is None:
            return []
        self._lost(entry, reason, now)
        return self._conclude(now)

    def dial_failed(
        self, address: str, reason: str, now: float, refused: bool = False
    ) -> list[TopologyOutput]:
        """Take in that a dial came to nothing; `refused` when somebody there said no."""
        self._arrive(now)
        self._neighbour_links.dial_failed(address, reason, now, refused=refused)
        return self._conclude(now)

    def received(self, link: int, message: tuple[Tree, ...], now: float) -> list[TopologyOutput]:
        """Handle a message between neighbours. A malformed one closes the link."""
        self._arrive(now)
        overlay = bool(message) and message[0] in OVERLAY_CODES
        part = self._neighbour_links if overlay else self._links
        lost, outputs = part.received(link, message, now)
        if lost is not None:
            self._lost(lost, "it broke the protocol", now)
        if lost is not None or overlay:
            outputs.extend(self._conclude(now))
        return outputs

    def saw_traffic(self, link: int, now: float) -> list[TopologyOutput]:
        """Note that a frame came in on a link, whatever it holds."""
        self._arrive(now)
        return self._links.heard(link, now)

    # --- replicated state --------------------------------------------------------------

    def member_changed(
        self, peer: PeerId, record: MemberRecord | None, now: float
    ) -> list[TopologyOutput]:
        """Take in a member's own record from the directory; None when it is gone.

        A record under another peer's key, and members beyond `members_max`, do not count.
        """
        self._arrive(now)
        return self._conclude(now) if self._member(peer, record, now) else []

    def members_loaded(self, records: Iterable[MemberRecord], now: float) -> list[TopologyOutput]:
        """Take in a whole directory at once, as `member_changed` each of them."""
        self._arrive(now)
        for record in records:
            self._member(record.peer, record, now)
        return self._conclude(now)

    def edges_changed(
        self, peer: PeerId, neighbours: frozenset[PeerId], now: float
    ) -> list[TopologyOutput]:
        """Take in what a peer advertises as its neighbours; nothing when it withdrew."""
        self._arrive(now)
        self._graph.advertise(peer, neighbours)
        self._stale = True
        return self._conclude(now)

    # --- time --------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> list[TopologyOutput]:
        """Ping, close silent links, declare the dead, dial what is due."""
        self._arrive(now)
        lost, outputs = self._links.handle_timeout(now)
        for entry in lost:
            self._lost(entry, f"silent for {self._limits.link_silence_s:g} s", now)
        return outputs + self._conclude(now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` should be called at the latest, or None."""
        deadlines = (
            self._links.next_deadline(),
            self._liveness.next_deadline(),
            self._overlay.next_deadline(),
            None if self._has_left() else self._dialer.next_deadline(),
        )
        return min((at for at in deadlines if at is not None), default=None)

    # --- checking ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise InternalError when an invariant of any part, or between parts, is broken."""
        for part in (self._links, self._dialer, self._overlay, self._graph, self._liveness):
            part.check()
        if not self._active <= self._neighbours:
            raise InternalError("a peer is advertised that has no link")
        if self._neighbours != self._links.peers():
            raise InternalError("the neighbours are not the peers that have a link")
        if any(hop not in self._neighbours for hop in self._hops.values()):
            raise InternalError("a route begins at a peer that is not linked")
        if self._me in self._neighbours or self._me in self._hops:
            raise InternalError("this node is its own neighbour")

    # --- inside ------------------------------------------------------------------------

    def _arrive(self, now: float) -> None:
        """Notice a stall of this very process, and do not blame others for it."""
        last, self._called_at = self._called_at, now
        if last is None or not self._neighbours:
            return
        stall_s = now - last - self._limits.ping_interval_s
        if stall_s > (STALL_PING_INTERVALS - 1) * self._limits.ping_interval_s:
            self._links.forgive(stall_s)
            self._liveness.forgive(stall_s)

    def _member(self, peer: PeerId, record: MemberRecord | None, now: float) -> bool:
        full = peer not in self._members and len(self._members) >= self._limits.members_max
        if record is not None and (record.peer != peer or full):
            return False
        self._stale = True
        if record is None:
            self._members.pop(peer, None)
            self._majority.evicted(peer)
        else:
            self._members[peer] = record
        if record is None or (record.standing is Standing.LEFT and peer != self._me):
            self._dialer.directory_changed(peer, (), now)
            self._overlay.gone(peer)
        else:
            self._dialer.directory_changed(peer, record.addresses, now)
            self._overlay.member(peer, record.failure_domain)
        if record is not None and peer != self._me:
            if record.standing is Standing.LEFT:
                self._liveness.left(peer, record.epoch)
            else:
                self._liveness.seen(peer, record.epoch)
        return True

    def _reaches(self, peer: PeerId) -> bool:
        return peer in self._hops

    def _lost(self, entry: LinkEntry, reason: str, now: float) -> None:
        if self._links.link_to(entry.peer) is None:
            if not self._overlay.lost(entry.peer, now):
                self._liveness.link_lost(entry.peer, f"its last link ended: {reason}")
            self._dialer.lost(entry.peer, now, lived_s=now - entry.opened_at)

    def _conclude(self, now: float) -> list[TopologyOutput]:
        """Bring every part up to date with the others, and dial."""
        left = self._has_left()
        self._overlay.retire(retired=left)
        outputs = self._notice(now)
        outputs.extend(self._neighbour_links.carry(self._overlay.act(now), now))
        outputs.extend(self._notice(now))
        wanted = self._overlay.wanted()
        around = Surroundings(
            linked=self._neighbours,
            wanted=wanted,
            avoided=self._overlay.avoided(),
            reaches=self._reaches,
            seeds=self._overlay.seeds(now),
            hearsay=self._overlay.heard(wanted),
            members=self._overlay.members(),
        )
        if self._judged or around != self._around:
            self._judged = False
            self._around = around
            self._dialer.look(around, now)
        if not left:
            outputs.extend(Dial(address) for address in self._dialer.poll(now))
        return outputs

    def _notice(self, now: float) -> list[TopologyOutput]:
        """Take in which peers are linked now, and judge anew what that means."""
        outputs: list[TopologyOutput] = []
        linked = self._links.peers()
        if linked != self._neighbours:
            first = not self._neighbours
            self._neighbours = linked
            self._graph.set_own(linked)
            self._majority.contact()
            if first:
                self._dialer.reset(now, spared=linked)
            self._stale = True
        advertised = self._overlay.neighbours()
        if advertised != self._active:
            self._active = advertised
            outputs.append(NeighboursChanged(advertised))
        judge_at = self._liveness.next_deadline()
        if self._stale or (judge_at is not None and now >= judge_at):
            outputs.extend(self._judge(now))
        return outputs

    def _judge(self, now: float) -> list[StateChanged]:
        """Find routes, states and majority anew: O(N), so only when something changed."""
        self._stale = False
        members = self._members.keys()
        self._hops = first_hops(self._me, self._graph.neighbours)
        changes = self._liveness.update(now, members=members, hops=self._hops)
        left = self._liveness.in_state(PeerState.LEFT)
        self._majority.update(
            members=members,
            alive=self._liveness.in_state(PeerState.ALIVE),
            suspect=self._liveness.in_state(PeerState.SUSPECT),
            left=left,
        )
        for change in changes:
            dead = change.new is PeerState.DEAD
            self._overlay.state_changed(change.peer, dead=dead, now=now)
        self._judged = True
        return changes
