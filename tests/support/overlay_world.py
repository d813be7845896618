"""Overlays alone, hundreds of them: virtual time, links that take a while, kills and cuts.

No gossip, no pings, no routes: a directory is given or absent, a link is one for each pair,
and its loss is noticed after the silence that the limits publish. So a thousand nodes live
through a minute in seconds, and what is shown is the overlay's own doing.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable

from attrs import Factory, define

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.topology.dialer import Discovery, Seeds
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.overlay_terms import OverlayOutput, Say, Sight
from meshcrdt.topology.overlay_wire import OverlayMessage, from_tree, to_tree
from meshcrdt.topology.slots import Purpose

SEED_RETRY_S = 2.0


def overlay_peer(number: int) -> PeerId:
    """Return the id of node `number`."""
    return PeerId(number.to_bytes(4, "big") * 4)


def number_of(peer: PeerId) -> int:
    return int.from_bytes(peer[:4], "big")


def address_of(number: int) -> str:
    return f"sim://{number}"


@define
class Member:
    number: int
    overlay: Overlay
    seeds: tuple[int, ...] = ()
    links: set[int] = Factory(set)
    dialling: set[int] = Factory(set)
    seed_at: float = 0.0
    up: bool = True
    wake_at: float | None = None


@define
class OverlayWorld:
    """Nodes by number. `reaches` and `rtt_s` answer what an overlay asks of the rest."""

    limits: Limits = Factory(Limits)
    seed: int = 0
    latency_s: tuple[float, float] = (0.01, 0.05)
    dials_through: Callable[[int, int], bool] = lambda source, target: True
    reaches: Callable[[int, int], bool] = lambda source, target: False
    rtt_s: Callable[[int, int], float] = lambda source, target: 0.03
    hidden: set[int] = Factory(set)
    """Nodes that dial but cannot be dialled."""
    loss: float = 0.0
    now: float = 0.0
    nodes: dict[int, Member] = Factory(dict)
    sent: Counter[str] = Factory(Counter)
    dials: int = 0
    most_links: dict[int, int] = Factory(dict)
    _queue: list[tuple[float, int, Callable[[], None]]] = Factory(list)
    _count: int = 0
    _dice: Dice = Factory(lambda self: Dice(b"overlay world %d" % self.seed), takes_self=True)

    # --- making --------------------------------------------------------------------------

    def add(
        self,
        number: int,
        *,
        seeds: tuple[int, ...] = (),
        discovery: Discovery = Discovery.ON,
        domain: str = "",
    ) -> Member:
        """Add a node that starts when it is woken first."""

        def addresses(peer: PeerId) -> tuple[str, ...]:
            known = peer in self.nodes[number].overlay._candidates.roster
            return (address_of(number_of(peer)),) if known else ()

        overlay = Overlay(
            me=overlay_peer(number),
            domain=domain,
            limits=self.limits,
            dice=self._dice.fork(f"node {number}"),
            discovery=discovery,
            sight=Sight(
                addresses=addresses,
                reaches=lambda peer: self.reaches(number, number_of(peer)),
                rtt_s=lambda peer: self.rtt_s(number, number_of(peer)),
            ),
        )
        node = self.nodes[number] = Member(number, overlay, seeds)
        return node

    def give_directory(self, domains: Callable[[int], str] = lambda number: "") -> None:
        """Let everybody know everybody."""
        for node in self.nodes.values():
            for other in self.nodes:
                node.overlay.member(overlay_peer(other), domains(other))

    def start(self, number: int, after_s: float = 0.0) -> None:
        """Wake a node up."""
        self.later(after_s, lambda: self._turn(self.nodes[number], []))

    def kill(self, numbers: Iterable[int]) -> None:
        """Stop nodes without a word; who was linked notices by silence."""
        dead = set(numbers)
        for number in dead:
            self.nodes[number].up = False
        for number in sorted(dead):
            for other in sorted(self.nodes[number].links - dead):
                self.later(self.limits.link_silence_s, self._losing(other, number))
            self.nodes[number].links.clear()

    def cut(self, side: set[int]) -> None:
        """Nothing passes between the two sides any more."""
        self.dials_through = lambda a, b: (a in side) == (b in side)
        for a in sorted(side):
            for b in sorted(self.nodes[a].links - side):
                self.later(self.limits.link_silence_s, self._losing(a, b))
                self.later(self.limits.link_silence_s, self._losing(b, a))

    # --- running -------------------------------------------------------------------------

    def later(self, wait_s: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + wait_s, self._count, action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def run_until(
        self, condition: Callable[[], bool], within_s: float, step_s: float = 1.0
    ) -> float:
        """Run until the condition holds; returns the seconds it took, infinity if too long."""
        begin = self.now
        while self.now < begin + within_s:
            if condition():
                return self.now - begin
            self.run(step_s)
        return self.now - begin if condition() else float("inf")

    # --- judging -------------------------------------------------------------------------

    def view(self, number: int) -> set[int]:
        """Return the active view of a node."""
        return {number_of(peer) for peer in self.nodes[number].overlay.neighbours()}

    def up(self) -> list[int]:
        return [number for number, node in self.nodes.items() if node.up]

    def component(self, start: int) -> set[int]:
        """Return who is reached from a node by links that are in the views of both ends."""
        seen, waiting = {start}, deque([start])
        while waiting:
            here = waiting.popleft()
            for there in self.view(here):
                if there not in seen and self.nodes[there].up and here in self.view(there):
                    seen.add(there)
                    waiting.append(there)
        return seen

    def is_whole(self) -> bool:
        """Return True when all nodes that are up make one component."""
        up = self.up()
        return len(self.component(up[0])) == len(up)

    def is_full(self) -> bool:
        """Return True when all nodes are one component and no view is thin."""
        least = min(self.limits.overlay_active_min, len(self.up()) - 1)
        return all(len(self.view(n)) >= least for n in self.up()) and self.is_whole()

    def check(self) -> None:
        for node in self.nodes.values():
            node.overlay.check()

    # --- inside --------------------------------------------------------------------------

    def _latency(self) -> float:
        return self._dice.uniform(*self.latency_s)

    def _turn(self, node: Member, outputs: list[OverlayOutput]) -> None:
        """Do what a node wants after an event, and set its alarm."""
        if not node.up:
            return
        outputs = [*outputs, *node.overlay.act(self.now)]
        for output in outputs:
            if isinstance(output, Say):
                self._say(node, number_of(output.peer), output.message)
            else:
                self._close(node, number_of(output.peer))
        if node.overlay.mode().value != "configured":
            for peer in sorted(node.overlay.wanted()):
                self._dial(node, number_of(peer))
        if self.now >= node.seed_at and node.overlay.seeds(self.now) is Seeds.WANTED:
            node.seed_at = self.now + self._dice.uniform(0.5, 1.0) * SEED_RETRY_S
            for number in node.seeds:
                self._dial(node, number)
        self.most_links[node.number] = max(
            self.most_links.get(node.number, 0), len(node.overlay.neighbours())
        )
        times = [node.overlay.next_deadline()]
        if node.seeds and node.overlay.seeds(self.now) is Seeds.WANTED:
            times.append(node.seed_at)
        at = min((t for t in times if t is not None), default=None)
        if at is not None and (
            node.wake_at is None or at < node.wake_at or node.wake_at <= self.now
        ):
            node.wake_at = max(at, self.now)
            self.later(node.wake_at - self.now, self._waking(node, node.wake_at))

    def _waking(self, node: Member, at: float) -> Callable[[], None]:
        def wake() -> None:
            if node.wake_at == at:
                node.wake_at = None
                self._turn(node, [])

        return wake

    def _say(self, node: Member, target: int, message: OverlayMessage) -> None:
        self.sent[type(message).__name__] += 1
        if target not in node.links or self._dice.chance(self.loss):
            return
        tree = to_tree(message)
        assert from_tree(tree) == message

        def arrive() -> None:
            other = self.nodes[target]
            if other.up and node.number in other.links and self.dials_through(node.number, target):
                self._turn(other, other.overlay.received(overlay_peer(node.number), tree, self.now))

        self.later(self._latency(), arrive)

    def _close(self, node: Member, target: int) -> None:
        node.links.discard(target)
        self.later(self._latency(), self._losing(target, node.number))

    def _losing(self, number: int, other: int) -> Callable[[], None]:
        def lose() -> None:
            node = self.nodes[number]
            if (other in node.links and number not in self.nodes[other].links) or (
                other in node.links and not self.dials_through(number, other)
            ):
                node.links.discard(other)
                node.overlay.lost(overlay_peer(other), self.now)
                self._turn(node, [])

        return lose

    def _dial(self, node: Member, target: int) -> None:
        if target in node.links or target in node.dialling or target == node.number:
            return
        self.dials += 1
        node.dialling.add(target)
        other = self.nodes[target]
        if not other.up or target in self.hidden or not self.dials_through(node.number, target):
            self.later(5.0, lambda: self._failed(node, target))
        else:
            self.later(2 * self._latency(), lambda: self._opened(node, target))

    def _failed(self, node: Member, target: int) -> None:
        node.dialling.discard(target)
        if node.up:
            node.overlay.dial_failed(overlay_peer(target), self.now)
            self._turn(node, [])

    def _opened(self, node: Member, target: int) -> None:
        other = self.nodes[target]
        node.dialling.discard(target)
        if not node.up or target in node.links:
            return
        through = other.up and self.dials_through(node.number, target)
        if not through or len(other.links) >= self.limits.links_max:
            self._failed(node, target)
            return
        node.links.add(target)
        other.links.add(node.number)
        for here, there, dialled in ((other, node, False), (node, other, True)):
            said = here.overlay.opened(
                overlay_peer(there.number),
                dialled=dialled,
                addresses=(address_of(there.number),),
                now=self.now,
            )
            self._turn(here, said)


__all__ = ["OverlayWorld", "Purpose", "address_of", "number_of", "overlay_peer"]
