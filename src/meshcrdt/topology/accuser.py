"""Which peers this node accuses, and when it says so.

Every former neighbour of a dead peer comes to the same conclusion; two voices of different
failure domains are enough. So the first two by hash rank speak at once, and each of the
others only if after a while fewer than that have spoken.
"""

from __future__ import annotations

from meshcrdt.base.ids import PeerId
from meshcrdt.errors import InternalError
from meshcrdt.topology.adjacency import AdjacencyGraph
from meshcrdt.topology.adverts import ACCUSATIONS_MAX, Accusation
from meshcrdt.topology.liveness import Doubt, Liveness
from meshcrdt.topology.outputs import PeerState
from meshcrdt.topology.visibility import ranked

STEP_S = 0.3
"""How long each further pair of former neighbours waits for the one before it."""
STEPS_MAX = 4


class Accuser:
    """The accusations of one node.

    Args:
        me: This node.
        liveness: What it believes about others.
        graph: Who was whose neighbour.
    """

    def __init__(self, *, me: PeerId, liveness: Liveness, graph: AdjacencyGraph) -> None:
        self._me = me
        self._liveness = liveness
        self._graph = graph
        self._due: dict[PeerId, tuple[float, int]] = {}
        self._said: dict[PeerId, Accusation] = {}

    def accuse(self, subject: PeerId, now: float, *, hurry: bool) -> None:
        """Note that this node's own probes of a peer failed."""
        if subject not in self._said and len(self._due) < ACCUSATIONS_MAX:
            step = 0 if hurry else self._step(subject)
            self._due[subject] = (now + step * STEP_S, step)

    def drop(self, subject: PeerId) -> bool:
        """Take an accusation back; returns whether it was said."""
        self._due.pop(subject, None)
        return self._said.pop(subject, None) is not None

    def handle_timeout(self, now: float) -> bool:
        """Say what is due, unless others have; returns whether something new is said."""
        new = False
        if not self._due:
            return new
        for subject, (at, step) in list(self._due.items()):
            if now < at:
                continue
            del self._due[subject]
            if self._liveness.doubts(subject) is not Doubt.FAILED:
                continue
            if not step or not self._enough(subject):
                new |= self._say(subject)
        return new

    def accusations(self) -> tuple[Accusation, ...]:
        """Return what is said now, sorted by subject, without what no longer matters."""
        for subject, accusation in list(self._said.items()):
            settled = not self._graph.has_edges(subject)
            moot = accusation.word != self._liveness.witnesses.word(subject)
            if moot or (settled and self._liveness.state(subject) is not PeerState.SUSPECT):
                del self._said[subject]
        return tuple(accusation for _, accusation in sorted(self._said.items()))

    def next_deadline(self) -> float | None:
        """Return when something may have to be said, or None."""
        return min(at for at, _ in self._due.values()) if self._due else None

    def check(self) -> None:
        """Raise InternalError when a bound is broken."""
        if len(self._said) > ACCUSATIONS_MAX or len(self._due) > ACCUSATIONS_MAX:
            raise InternalError(f"{len(self._said)} accusations are said at once")

    def _say(self, subject: PeerId) -> bool:
        if len(self._said) >= ACCUSATIONS_MAX:
            return False
        epoch, incarnation = self._liveness.witnesses.word(subject)
        self._said[subject] = Accusation(subject, epoch, incarnation)
        return True

    def _enough(self, subject: PeerId) -> bool:
        witnesses = self._liveness.witnesses
        return witnesses.enough(witnesses.accusers(subject))

    def _step(self, subject: PeerId) -> int:
        """Return how many pairs of former neighbours speak before this node."""
        former = {
            peer
            for peer in self._graph.advert(subject).neighbours
            if self._liveness.state(peer) is PeerState.ALIVE
        }
        order = ranked(subject, former | {self._me})
        first = order[0]
        second = next(
            (
                p
                for p in order
                if self._liveness.witnesses.domain(p) != self._liveness.witnesses.domain(first)
            ),
            order[min(1, len(order) - 1)],
        )
        if self._me in (first, second):
            return 0
        return min(STEPS_MAX, max(1, order.index(self._me) // 2))
