"""Proofs of equivocation: one an origin, the same everywhere, and never a burden (F9)."""

from __future__ import annotations

import pytest
from gossip_world import Host, World, forged, identity_of

from meshcrdt.gossip import Alarm, Equivocated, ToLink
from meshcrdt.gossip.durable import EVIDENCE_TABLE
from meshcrdt.gossip.evidence import TURN_PROOFS_MAX
from meshcrdt.gossip.messages import Code, Message, Proof, build

LIARS = 2 * TURN_PROOFS_MAX + 3


def proof_of(number: int, *, channel: str = "c", seq: int = 1) -> Proof:
    pair = [forged(number, {b"k": value}, channel=channel, seq=seq) for value in (b"1", b"2")]
    return Proof(*(s.envelope for s in sorted(pair, key=lambda state: state.header.hash)))


def two_hosts() -> World:
    world = World(2)
    world.all_honest = False
    world.run()
    return world


def take(host: Host, proof: Proof) -> None:
    host.perform(host.running.received(1 - host.number, build(proof), 0.0))


def told(outputs: list[object]) -> list[Message]:
    found = [o.message for o in outputs if isinstance(o, ToLink)]
    return [message for message in found if message[0] == Code.PROOF]


def test_a_liar_fills_one_place_however_much_it_signs_twice() -> None:
    proofs = [proof_of(5, channel=f"c{n % 9}", seq=1 + n) for n in range(30)]
    kept = []
    for order in (proofs, proofs[::-1]):
        world = two_hosts()
        host = world.hosts[0]
        for proof in order:
            take(host, proof)
        host.sync_disk()
        assert len(host.disk[EVIDENCE_TABLE]) == 1
        assert len([e for e in host.events if isinstance(e, Equivocated)]) == 1
        world.crash(0)
        world.restart(0)
        host.running.check()
        kept.append(host.running.equivocations())
    assert kept[0] == kept[1] == (proofs[0],)


def test_of_many_stored_proofs_of_one_liar_the_least_is_kept_and_the_others_deleted() -> None:
    world = two_hosts()
    host = world.hosts[0]
    rows = {}
    proofs = [proof_of(5, channel=channel) for channel in ("c2", "c1", "c3")]
    for proof in proofs:  # as a store has them that kept one for each stream
        take(world.hosts[1], proof)
        world.hosts[1].sync_disk()
        rows |= world.hosts[1].disk[EVIDENCE_TABLE]
        world.crash(1)
        world.hosts[1].disk = {}
        world.restart(1)
    world.crash(0)
    host.disk[EVIDENCE_TABLE] = dict(rows)
    world.restart(0)
    host.sync_disk()
    assert len(rows) == 3
    assert host.running.equivocations() == (proofs[1],)
    assert len(host.disk[EVIDENCE_TABLE]) == 1
    assert not [e for e in host.events if isinstance(e, Alarm)]


@pytest.mark.parametrize("damage", ["rubbish", "bent", "elsewhere"])
def test_a_stored_proof_that_fails_is_dropped_with_an_alarm(damage: str) -> None:
    world = two_hosts()
    host = world.hosts[0]
    take(host, proof_of(5))
    host.sync_disk()
    world.crash(0)
    ((key, row),) = host.disk[EVIDENCE_TABLE].items()
    bad = {"rubbish": (key, b"\xc1"), "bent": (key, row[:-1] + b"!"), "elsewhere": (b"x", row)}
    host.disk[EVIDENCE_TABLE] = dict([bad[damage]])
    world.restart(0)
    host.sync_disk()
    assert host.running.equivocations() == ()
    (alarm,) = [e for e in host.events if isinstance(e, Alarm)]
    assert "proof" in alarm.text
    assert host.disk[EVIDENCE_TABLE] == {}


def test_a_new_neighbour_is_told_all_proofs_but_never_many_at_once() -> None:
    world = two_hosts()
    host = world.hosts[0]
    for number in range(LIARS):
        take(host, proof_of(10 + number))
    replica = host.running
    now = 100.0
    replica.handle_timeout(now)
    turns = [told(replica.link_opened(7, identity_of(3).peer, now))]
    while len(turns) < 10 and sum(map(len, turns)) < LIARS:
        due = replica.next_deadline()
        assert due is not None
        assert due > now
        now = due
        turns.append(told(replica.handle_timeout(now)))
        replica.check()
    assert [len(turn) for turn in turns if turn] == [TURN_PROOFS_MAX, TURN_PROOFS_MAX, 3]
    messages = {message for turn in turns for message in turn}
    assert messages == {build(proof_of(10 + number)) for number in range(LIARS)}


def test_a_link_that_closes_is_told_no_more() -> None:
    world = two_hosts()
    host = world.hosts[0]
    for number in range(LIARS):
        take(host, proof_of(10 + number))
    replica = host.running
    replica.link_opened(7, identity_of(3).peer, 1.0)
    replica.link_closed(7, 1.0)
    assert told(replica.handle_timeout(2.0)) == []
    replica.check()
