"""The topology of one node: directory, links, dialling, liveness and routes as one machine.

Events go in as method calls with the time, outputs come back in the order in which they
are to be done. The parts know nothing of each other; what one must know of another is
passed on here, in `_conclude`, after every event that could matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import BOTTOM_EPOCH, Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.times import earliest
from meshcrdt.base.tree import Tree
from meshcrdt.errors import InternalError, MalformedTree, UsageError
from meshcrdt.topology.adverts import Advert
from meshcrdt.topology.detector import Detector, Parting
from meshcrdt.topology.dialer import Dialer, Discovery, Surroundings
from meshcrdt.topology.directory import MemberRecord, Standing
from meshcrdt.topology.heartbeats import PONG, Detection
from meshcrdt.topology.links import Direction, LinkEntry, Links
from meshcrdt.topology.neighbour_links import NeighbourLinks
from meshcrdt.topology.outputs import CloseLink, Dial, PeerState, StateChanged, TopologyOutput
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.overlay_terms import Sight
from meshcrdt.topology.overlay_wire import OVERLAY_CODES
from meshcrdt.topology.promise import Promise
from meshcrdt.topology.reading import Reading
from meshcrdt.topology.report import ConnectionInfo, ConnectionState
from meshcrdt.topology.swim import PROBE_CODES

__all__ = ["ConnectionInfo", "ConnectionState", "Direction", "PeerState", "Topology"]


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
        detection: How silence on links is noticed.
        root_prefix: Gives what heartbeats carry of this node's roots; nothing when empty.
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
        detection: Detection = Detection.LINKS,
        root_prefix: Callable[[], bytes] = bytes,
    ) -> None:
        self._me = me
        self._epoch = epoch
        self._limits = limits
        self._members: dict[PeerId, MemberRecord] = {}
        self._links = Links(
            me=me,
            limits=limits,
            dice=dice.fork("links"),
            detection=detection,
            root_prefix=root_prefix,
        )
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
        self._neighbour_links = NeighbourLinks(
            self._links, self._overlay, self._dialer, parted=self._agreed_to_part
        )
        self._detector = Detector(
            me=me,
            epoch=epoch,
            limits=limits,
            dice=dice.fork("detector"),
            links=self._links,
            members=self._members,
        )
        self._neighbours: frozenset[PeerId] = frozenset()
        self._active: frozenset[PeerId] = frozenset()
        self._around = Surroundings()
        self._graph_version = -1
        self._promise = Promise((self._links.next_deadline, self._detector.next_deadline), limits)

    def remember(self, baseline: Collection[PeerId]) -> None:
        """Take what `baseline()` said before a restart; call it once, before anything else."""
        self._detector.remember(baseline)

    def reepoch(self, epoch: Epoch) -> None:
        """Go on under a higher epoch of this node."""
        self._epoch = epoch
        self._detector.reepoch(epoch)

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
            self._detector.linked(peer, epoch)
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
        code = message[0] if message else None
        if code in PROBE_CODES:
            lost, outputs = self._probed(link, message, now)
        elif code in OVERLAY_CODES:
            lost, outputs = self._neighbour_links.received(link, message, now)
        else:
            lost, outputs = self._links.received(link, message, now)
            if lost is None:
                if code == PONG:
                    self._detector.health.better()
                return outputs
        if lost is not None:
            self._lost(lost, "it broke the protocol", now)
        return outputs + self._conclude(now)

    def _probed(
        self, link: int, message: tuple[Tree, ...], now: float
    ) -> tuple[LinkEntry | None, list[TopologyOutput]]:
        entry = self._links.entry(link)
        if entry is None:
            return None, []
        try:
            self._detector.received(entry.peer, message, now)
        except MalformedTree as error:
            return self._links.closed(link), [CloseLink(link, str(error))]
        return None, []

    def saw_traffic(self, link: int, now: float) -> list[TopologyOutput]:
        """Note that a frame came in on a link, whatever it holds."""
        self._arrive(now)
        entry = self._links.entry(link)
        outputs = self._links.heard(link, now)
        if entry is not None:
            outputs.extend(self._detector.heard(entry.peer, now))
        return outputs

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

    def advertised(
        self, peer: PeerId, epoch: Epoch, advert: Advert | None, now: float
    ) -> list[TopologyOutput]:
        """Take in what a peer says of itself and its neighbours; None when it withdrew."""
        self._arrive(now)
        self._detector.advertised(peer, epoch, advert, now)
        return self._conclude(now)

    # --- time --------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> list[TopologyOutput]:
        """Ping, close silent links, declare the dead, dial what is due."""
        self._arrive(now)
        silence, outputs = self._links.handle_timeout(now)
        for peer in silence.doubted:
            self._detector.doubted(peer, now)
        for entry in silence.lost:
            self._lost(entry, self._links.silence(entry), now)
        return outputs + self._conclude(now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` should be called at the latest, or None."""
        due = earliest(self._promise.due(), self._overlay.next_deadline())
        return due if self._has_left() else earliest(due, self._dialer.next_deadline())

    # --- checking ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise InternalError when an invariant of any part, or between parts, is broken."""
        for part in (self._links, self._dialer, self._overlay, self._detector):
            part.check()
        if not self._active <= self._neighbours:
            raise InternalError("a peer is advertised that has no link")
        if self._neighbours != self._links.peers():
            raise InternalError("the neighbours are not the peers that have a link")
        if self._detector.liveness.linked_peers() != self._neighbours:
            raise InternalError("the peers taken for linked are not those that have a link")
        if self._me in self._neighbours:
            raise InternalError("this node is its own neighbour")

    # --- inside ------------------------------------------------------------------------

    def _arrive(self, now: float) -> None:
        """Notice a stall of this very process, and do not blame others for it."""
        stall_s = self._promise.stalled_s(now)
        if stall_s and self._neighbours:
            self._links.forgive(stall_s)
            self._detector.forgive(stall_s)
            self._overlay.forgive(stall_s)

    def _member(self, peer: PeerId, record: MemberRecord | None, now: float) -> bool:
        full = peer not in self._members and len(self._members) >= self._limits.members_max
        if record is not None and (record.peer != peer or full):
            return False
        old = self._members.get(peer)
        if record is None:
            self._members.pop(peer, None)
        else:
            self._members[peer] = record
        if record is None or (record.standing is Standing.LEFT and peer != self._me):
            self._dialer.directory_changed(peer, (), now)
            self._overlay.gone(peer)
        else:
            self._dialer.directory_changed(peer, record.addresses, now)
            self._overlay.member(peer, record.failure_domain)
        self._detector.member(peer, old, record)
        return True

    def _reaches(self, peer: PeerId) -> bool:
        return self._detector.reach.near(peer)

    def _agreed_to_part(self, peer: PeerId, reason: str, now: float) -> None:
        self._detector.unlinked(peer, f"its last link ended: {reason}", now, Parting.AGREED)

    def _lost(self, entry: LinkEntry, reason: str, now: float) -> None:
        if self._links.link_to(entry.peer) is None:
            agreed = self._overlay.lost(entry.peer, now)
            parting = Parting.AGREED if agreed else Parting.LOST
            self._detector.unlinked(entry.peer, f"its last link ended: {reason}", now, parting)
            self._dialer.lost(entry.peer, now, lived_s=now - entry.opened_at)

    def _conclude(self, now: float) -> list[TopologyOutput]:
        """Bring every part up to date with the others, and dial."""
        left = self._has_left()
        self._overlay.retire(retired=left)
        outputs = self._notice(now)
        acts = self._overlay.act(now)
        if acts or self._overlay.neighbours() != self._active:
            outputs.extend(self._neighbour_links.carry(acts, now))
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
        version = self._detector.reach.version
        if version != self._graph_version or around != self._around:
            self._graph_version = version
            self._around = around
            self._dialer.look(around, now)
        if not left:
            outputs.extend(Dial(address) for address in self._dialer.poll(now))
        return outputs

    def _notice(self, now: float) -> list[TopologyOutput]:
        """Take in which peers are linked now, and judge anew what that means."""
        linked, advertised = self._links.peers(), self._overlay.neighbours()
        if linked != self._neighbours or advertised != self._active:
            first = linked and not self._neighbours
            self._neighbours, self._active = linked, advertised
            self._detector.neighbours_changed(linked, advertised, now)
            if first:
                self._dialer.reset(now, spared=linked)
        outputs = self._detector.conclude(now)
        for output in outputs:
            if isinstance(output, StateChanged):
                dead = output.new is PeerState.DEAD
                self._overlay.state_changed(output.peer, dead=dead, now=now)
        return outputs
