"""Each rule taken away must be noticed: by the oracle of the world or by `check`.

A test here runs one schedule twice: with the rule it passes, without it it must fail. So
these tests guard the guards.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gossip_graphs import ripen
from gossip_world import Violation, World, forged, whole

from meshcrdt.errors import InternalError
from meshcrdt.gossip import Over, Push, Put, cancels, intake, local
from meshcrdt.gossip.cancels import Deps
from meshcrdt.gossip.channels import kind_of
from meshcrdt.gossip.compact import Compact
from meshcrdt.gossip.context import Context
from meshcrdt.gossip.fetch import Fetch
from meshcrdt.gossip.header import StreamKey
from meshcrdt.gossip.holdings import Holdings
from meshcrdt.gossip.merkle import NO_HASH, Inner, MerkleMap
from meshcrdt.gossip.messages import Announce, Delta, parse
from meshcrdt.gossip.record import Record
from meshcrdt.wire import content_hash, decode

Patch = pytest.MonkeyPatch


def guarded(schedule: Callable[[], None], mutate: Callable[[], None]) -> None:
    schedule()
    mutate()
    with pytest.raises((Violation, InternalError)):
        schedule()


# --- F1: a served state without one of its live records ---------------------------------


def relayed_with_an_omission() -> None:
    world = World(2)
    world.run()
    world.all_honest = False
    a, b = world.hosts
    a.write("c", Put(b"k", b"1"), Put(b"l", b"2"))
    a.sync_disk()
    (data,) = [data for _, _, data in world.wire]
    code, envelope, since, puts, drops, hops = decode(data)
    b.perform(b.running.received(0, (code, envelope, since, puts[:1], drops, hops), 0.0))
    world.check()


def test_omitting_a_live_record_is_caught(monkeypatch: Patch) -> None:
    def mutate() -> None:
        monkeypatch.setattr(intake, "is_whole", lambda header, tree: True)
        monkeypatch.setattr(intake, "counts_rule", lambda header, keys, cost_bytes: None)

    guarded(relayed_with_an_omission, mutate)


# --- F2, F4: a state shown before it is whole --------------------------------------------


def large_epoch() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    a.write("c", *[Put(b"%d" % n, b"x" * 400) for n in range(300)])
    world.run()
    world.partition(0, 1)
    world.crash(0)
    world.restart(0)
    a.write("c", *[Put(b"%d" % n, b"y" * 600) for n in range(300)])
    world.run()
    world.heal(0, 1)
    world.tick(4)
    while world.wire:
        world.deliver()
        if len(b.view()) != 300:
            raise Violation("half an epoch is shown")
        world.check()
    assert {value for (value,) in b.view().values()} == {b"y" * 600}


def test_showing_a_half_staged_epoch_is_caught(monkeypatch: Patch) -> None:
    def build(self: Fetch, path: bytes, digest: bytes) -> object:
        staged = self._stage.get((path, digest))
        if staged is None or not isinstance(staged, tuple):
            return staged
        return Inner(
            tuple(
                None if child == NO_HASH else build(self, path + bytes([i]), child)
                for i, child in enumerate(staged)
            )
        )

    def mutate() -> None:
        missing = Fetch.missing
        monkeypatch.setattr(Fetch, "missing", lambda self: [] if self.taken else missing(self))
        monkeypatch.setattr(
            Fetch,
            "assemble",
            lambda self: MerkleMap(build(self, b"", self.envelope.header.state_root)),
        )

    guarded(large_epoch, mutate)


# --- F5: new dots for old records ---------------------------------------------------------


def removed_while_the_owner_restarts() -> None:
    world = World(3)
    world.run()
    a, b, c = world.hosts
    a.put(b"x", b"1")
    world.run()
    world.partition(0, 1)
    world.partition(0, 2)
    b.drop(b"x")
    world.run()
    world.crash(0)
    world.restart(0)
    a.put(b"y", b"2", Over.OWN)
    world.run()
    world.heal(0, 2)
    world.run()
    world.heal(0, 1)
    world.rounds(4)
    world.check_converged()
    if c.view() != {b"y": [b"2"]}:
        raise Violation("what was removed is back")


def test_fresh_dots_on_restart_are_caught(monkeypatch: Patch) -> None:
    original = local.changed_tree

    def restamped(state: object, puts: list[Record], drops: list[bytes]) -> object:
        if state is not None and puts and puts[0].dot.epoch != state.header.epoch:
            named = {record.key for record in puts} | set(drops)
            puts += [
                Record(e.key, puts[0].dot, e.value.value, e.value.supersedes)
                for e in state.tree.entries()
                if e.key not in named
            ]
        return original(state, puts, drops)

    guarded(
        removed_while_the_owner_restarts,
        lambda: monkeypatch.setattr(local, "changed_tree", restamped),
    )


# --- F7: a cancel that goes too early -------------------------------------------------------


def cancel_overtakes(*, later_writes: int) -> Callable[[], None]:
    """C saw x go by B's cancel, and then hears of B again before it hears of A."""

    def schedule() -> None:
        world = World(3)
        world.run()
        a, b, c = world.hosts
        a.put(b"x", b"1")
        world.run()
        world.partition(0, 2)
        b.drop(b"x")
        b.sync_disk()
        while c.view():
            world.deliver()
        world.partition(1, 2)
        world.run()
        for _ in range(4):
            world.tick(4)
            world.run()
        for n in range(later_writes):
            b.put(b"later", b"%d" % n)
            world.run()
        world.heal(1, 2)
        for _ in range(200):
            world.wire = [item for item in world.wire if not carries_state_of(item[2], a.peer)]
            if not world.deliver():
                break
        world.rounds(4)
        world.check_converged()

    return schedule


def carries_state_of(data: bytes, origin: bytes) -> bool:
    message = parse(decode(data), b"g" * 32)
    if isinstance(message, Compact):
        return message.stream.origin == origin
    return isinstance(message, Delta | Announce) and message.envelope.header.origin == origin


@pytest.mark.parametrize("later_writes", [0, 2])
def test_dropping_a_cancel_without_deps_is_caught(monkeypatch: Patch, later_writes: int) -> None:
    guarded(
        cancel_overtakes(later_writes=later_writes),
        lambda: monkeypatch.setattr(Deps, "admit", lambda self, dep: True),
    )


def test_deps_in_one_header_only_are_caught(monkeypatch: Patch) -> None:
    original = Deps.listed

    def forgetful(self: Deps, passing: list) -> tuple:
        found = original(self, passing)
        self._standing.clear()
        return found

    guarded(
        cancel_overtakes(later_writes=2), lambda: monkeypatch.setattr(Deps, "listed", forgetful)
    )


def test_dropping_a_cancel_before_its_owner_answered_is_caught(monkeypatch: Patch) -> None:
    def schedule() -> None:
        world = World(2)
        world.run()
        a, b = world.hosts
        a.put(b"x", b"1")
        world.run()
        world.partition(0, 1)
        b.drop(b"x")
        world.run()
        b.put(b"x2", b"")
        b.running._reaction.answered.add(("c", b"x"))
        b.running._reaction.tidy()
        b.settle()
        world.run()

    guarded(
        schedule,
        lambda: monkeypatch.setattr(
            cancels, "still_needed", lambda record, channel, deps, key: frozenset()
        ),
    )


# --- F8: digests ------------------------------------------------------------------------------


def fork() -> None:
    world = World(2)
    world.run()
    world.all_honest = False
    left, right = (forged(5, {b"p": value}, seq=10) for value in (b"left", b"right"))
    for host, link, state in ((world.hosts[0], 1, left), (world.hosts[1], 0, right)):
        world.signed[("c", state.header.origin, state.ref)] = {
            e.key: e.value for e in state.tree.entries()
        }
        world.persisted.add(("c", state.header.origin, state.ref))
        host.running.received(link, whole(state), 0.0)
    world.rounds(4)
    world.check_converged()


def test_digests_without_the_header_hash_are_caught(monkeypatch: Patch) -> None:
    def rehash(self: Holdings, key: StreamKey, state: object) -> None:
        kind = kind_of(key.channel)
        place = content_hash((state.header.epoch.counter, state.header.seq))
        self.trees[kind] = self.trees[kind].updated([(key.raw, place, key)])

    guarded(fork, lambda: monkeypatch.setattr(Holdings, "_rehash", rehash))


# --- F10: quotas ------------------------------------------------------------------------------


def test_quotas_from_local_configuration_are_caught(monkeypatch: Patch) -> None:
    from meshcrdt.base.limits import Limits
    from meshcrdt.gossip.intake import Intake

    def schedule() -> None:
        world = World(2)
        world.hosts[1].running._context.limits = Limits(stream_keys_max=1)
        world.run()
        world.hosts[0].write("c", Put(b"k", b"1"), Put(b"l", b"2"))
        world.rounds(3)
        world.check_converged()

    original = Intake._verified

    def local_quota(self: Intake, envelope: object, link: int) -> object:
        if envelope.header.live_keys > self._context.limits.stream_keys_max:
            return None
        return original(self, envelope, link)

    guarded(schedule, lambda: monkeypatch.setattr(Intake, "_verified", local_quota))


# --- F15, F16: the disk -----------------------------------------------------------------------


def undurable() -> None:
    world = World(2)
    world.run()
    world.hosts[0].put(b"k", b"1")
    while world.deliver():
        world.check()
    world.check()


def test_a_digest_from_undurable_memory_is_caught(monkeypatch: Patch) -> None:
    original = local.Local.flush

    def hasty(self: local.Local) -> list:
        ready = original(self)
        for own in self._channels.values():
            if own.flight is not None:
                ready.append(own.flight)
                own.flight = None
        return ready

    guarded(undurable, lambda: monkeypatch.setattr(local.Local, "flush", hasty))


def crash_between_transactions() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    a.write("c", Put(b"k", b"1"), Put(b"l", b"2"))
    a.sync_disk()
    world.deliver()
    b.sync_disk(1)
    world.crash(1)
    world.restart(1)
    world.check()
    if b.view() not in ({}, {b"k": [b"1"], b"l": [b"2"]}):
        raise Violation("half a state was loaded")


def test_a_header_stored_before_its_state_is_caught(monkeypatch: Patch) -> None:
    """Without the check on load it shows at once; with it the stream is fetched again."""
    from meshcrdt.gossip import durable

    original = Context.store

    def split(self: Context, rows: tuple, settles: tuple = ()) -> int:
        original(self, tuple(row for row in rows if row[0] == "stream"), settles)
        return original(self, tuple(row for row in rows if row[0] != "stream"), ())

    def mutate() -> None:
        monkeypatch.setattr(Context, "store", split)
        monkeypatch.setattr(durable, "is_whole", lambda header, tree: True)
        monkeypatch.setattr(durable, "counts_rule", lambda header, keys, cost_bytes: None)

    guarded(crash_between_transactions, mutate)
    monkeypatch.undo()
    monkeypatch.setattr(Context, "store", split)
    crash_between_transactions()


# --- F27: what a duplicate costs ----------------------------------------------------------------


def test_a_duplicate_never_costs_a_signature() -> None:
    world = World(2)
    world.run()
    a, b = world.hosts
    a.put(b"k", b"1")
    a.sync_disk()
    (data,) = [data for _, _, data in world.wire]
    world.run()
    before = b.running.statistics()
    for _ in range(50):
        assert b.running.received(0, decode(data), 0.0) == []
    after = b.running.statistics()
    assert after.verified == before.verified
    assert after.duplicates == before.duplicates + 50


def test_relaying_stops_where_a_delta_came_from() -> None:
    world = World(3)
    ripen(world)
    a, b, _ = world.hosts
    a.put(b"k", b"1")
    a.sync_disk()
    start = len(b.events)
    world.deliver()
    assert [e.link for e in b.events[start:] if isinstance(e, Push)] == [2]
