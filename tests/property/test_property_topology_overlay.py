"""Whatever neighbours say, and in whatever order: an overlay keeps its bounds and never raises."""

from __future__ import annotations

from typing import Any

import pytest
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from trees import TREE

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.errors import MalformedTree
from meshcrdt.topology.contacts import Contact
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.overlay import Overlay
from meshcrdt.topology.overlay_terms import Drop, Sight
from meshcrdt.topology.overlay_wire import (
    OVERLAY_CODES,
    Disconnect,
    Neighbour,
    NeighbourReply,
    Priority,
    Shuffle,
    ShuffleReply,
    from_tree,
    to_tree,
)

LIMITS = Limits()
PEERS = [PeerId(bytes([number]) * 16) for number in range(1, 31)]
peers = st.sampled_from(PEERS[1:])
contacts = st.lists(
    st.builds(Contact, st.sampled_from(PEERS), st.just(("mem://there",))), max_size=8
).map(tuple)
messages = st.one_of(
    st.builds(Neighbour, st.sampled_from(Priority), st.sampled_from(["", "cellar", "attic"])),
    st.builds(NeighbourReply, st.booleans(), contacts, st.booleans()),
    st.builds(Disconnect, contacts),
    st.builds(Shuffle, contacts),
    st.builds(ShuffleReply, contacts),
)


@given(messages)
@settings(max_examples=examples(200))
def test_messages_survive_their_tree(message: Any) -> None:
    assert from_tree(to_tree(message)) == message


@given(st.sampled_from(OVERLAY_CODES), st.lists(TREE, max_size=3))
@settings(max_examples=examples(400))
def test_any_tree_is_read_or_refused(code: int, rest: list[Any]) -> None:
    tree = (code, *rest)
    try:
        message = from_tree(tree)
    except MalformedTree:
        return
    assert to_tree(message) == tree


class OverlayHistory(RuleBasedStateMachine):
    """One overlay among thirty peers that do as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10.0
        self.linked: set[PeerId] = set()
        self.overlay = Overlay(
            me=PEERS[0],
            limits=LIMITS,
            dice=Dice(b"history"),
            discovery=Discovery.ON,
            sight=Sight(
                addresses=lambda peer: ("mem://x",),
                reaches=lambda peer: peer[0] % 2 == 0,
                rtt_s=lambda peer: peer[0] / 1000,
            ),
        )

    def carry(self, outputs: Any) -> None:
        for output in [*outputs, *self.overlay.act(self.now)]:
            if isinstance(output, Drop):
                assert output.peer in self.linked
                self.linked.discard(output.peer)
            else:
                assert output.peer in self.linked

    @rule(peer=peers, domain=st.sampled_from(["", "cellar", "attic"]))
    def member(self, peer: PeerId, domain: str) -> None:
        self.overlay.member(peer, domain)
        self.carry([])

    @rule(peer=peers)
    def gone(self, peer: PeerId) -> None:
        self.overlay.gone(peer)
        self.carry([])

    @rule(peer=peers, dead=st.booleans())
    def state(self, peer: PeerId, dead: bool) -> None:
        self.overlay.state_changed(peer, dead=dead, now=self.now)
        self.carry([])

    @rule(peer=peers, dialled=st.booleans())
    def opened(self, peer: PeerId, dialled: bool) -> None:
        self.linked.add(peer)
        self.carry(self.overlay.opened(peer, dialled=dialled, addresses=("mem://y",), now=self.now))

    @rule()
    def reach_who_is_wanted(self) -> None:
        for peer in sorted(self.overlay.wanted() - self.linked):
            self.opened(peer, dialled=True)

    @precondition(lambda self: self.linked)
    @rule(data=st.data(), message=messages)
    def received(self, data: Any, message: Any) -> None:
        peer = data.draw(st.sampled_from(sorted(self.linked)))
        self.carry(self.overlay.received(peer, to_tree(message), self.now))

    @precondition(lambda self: self.linked)
    @rule(data=st.data())
    def lost(self, data: Any) -> None:
        peer = data.draw(st.sampled_from(sorted(self.linked)))
        self.linked.discard(peer)
        self.overlay.lost(peer, self.now)
        self.carry([])

    @rule(peer=peers)
    def failed(self, peer: PeerId) -> None:
        self.overlay.dial_failed(peer, self.now)
        self.carry([])

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 30.0, 400.0]))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(10_000):
            at = self.overlay.next_deadline()
            if at is None or at > end:
                break
            self.now = max(self.now, at)
            self.carry([])
        else:
            raise AssertionError("the overlay asks to be called again and again")
        self.now = end
        self.carry([])

    @invariant()
    def is_sound(self) -> None:
        self.overlay.check()
        assert self.overlay.neighbours() <= self.linked
        assert PEERS[0] not in self.overlay.wanted()
        if self.overlay.members() > LIMITS.overlay_full_mesh_max:
            pinned = [
                p for p in self.overlay.neighbours()
                if (purpose := self.overlay.purpose(p)) is not None and purpose.value == "pinned"
            ]  # fmt: skip
            assert len(self.overlay.neighbours()) - len(pinned) <= LIMITS.overlay_active_max

    def teardown(self) -> None:
        """Left alone, every link that is no neighbour's ends."""
        if self.overlay.members() > LIMITS.overlay_full_mesh_max:
            # Two graces each: as a contact, while it is asked, and after it was turned away.
            self.wait(6 * LIMITS.overlay_link_grace_s)
            assert self.linked == self.overlay.neighbours()


TestOverlayHistory = OverlayHistory.TestCase
TestOverlayHistory.settings = settings(max_examples=examples(40), stateful_step_count=30)


def test_a_code_that_is_not_ours_is_refused() -> None:
    with pytest.raises(MalformedTree):
        from_tree((9,))
    with pytest.raises(MalformedTree):
        from_tree(())
