"""I1, I2, I3, I5 and "one outcome by the deadline" in a cluster with a lossy world.

Machines with a durable store and a bus that loses, reorders and repeats; crash and restart
at any point, also between a write and its durability. Hypothesis drives it; the same world,
driven by seeded dice, shows that broken variants of the code are caught.
"""

from __future__ import annotations

import pytest
from depth import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import Limits
from meshcrdt.errors import InternalError
from meshcrdt.ipam import (
    Allocated,
    Answer,
    BlockPolicy,
    Claimed,
    Genesis,
    Ipam,
    Notice,
    Publish,
    Released,
    Store,
    ToPeer,
    audit,
)
from meshcrdt.ipam.allocations import Allocations
from meshcrdt.ipam.engine import Engine
from meshcrdt.ipam.guardian import Change, LoneGuardian
from meshcrdt.ipam.ledger import Ledger
from meshcrdt.ipam.register import Kind
from meshcrdt.ipam.space import Space
from meshcrdt.ipam.turn import Turn
from meshcrdt.trust.identity import Identity

UNIVERSES = ("10.9.0.0/27", "fd00:9::/124")
SUBNETS = (None, "10.9.0.16/28", "fd00:9::/124")
POLICY = BlockPolicy(small_bits_ipv4=1, small_bits_ipv6=1, members_floor=2)
LIMITS = Limits(reuse_cooldown_s=20.0, unicast_timeout_s=2.0)
IDENTITIES = tuple(Identity(bytes([seed]) * 32) for seed in (1, 2, 3, 4))
GENESIS = Genesis.make(IDENTITIES[0], UNIVERSES, nonce=b"g" * 16, policy=POLICY)
TIMEOUT_S = 4.0


class Host:
    """One node: a machine, its disk, and what is on the way to the disk."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.identity = IDENTITIES[index]
        self.boots = 0
        self.rows: dict[bytes, bytes] = {}
        self.streams: dict[bytes, dict[bytes, bytes]] = {}
        self.queue: list[object] = []
        self.ipam: Ipam

    def start(self, now: float) -> list[object]:
        """Make a new machine from what is on disk."""
        self.boots += 1
        self.queue = []
        self.ipam = Ipam(
            me=self.identity.peer,
            identity=self.identity,
            genesis=GENESIS,
            epoch=Epoch(self.boots, bytes([self.index, self.boots % 256]) * 4),
            limits=LIMITS,
            dice=Dice(bytes([self.index, self.boots % 256])),
        )
        self.ipam.members(len(IDENTITIES))
        outputs: list[object] = list(self.ipam.load(self.rows, now))
        for stream in self.streams.values():
            for key, value in stream.items():
                outputs += self.ipam.register_changed(self.identity.peer, key, value, now)
        outputs += self.ipam.ready(now)
        return outputs


class World:
    """Hosts, the bus between them, and what callers were told."""

    def __init__(self, count: int) -> None:
        self.now = 100.0
        self.bus: list[tuple[int, int, object]] = []
        self.hosts = [Host(index) for index in range(count)]
        self.request = 0
        self.open: dict[tuple[int, int], tuple[int, str, str | None, float]] = {}
        self.told: dict[tuple[int, str, str | None], str] = {}
        self.holders: dict[str, tuple[int, str]] = {}
        self.freed: dict[str, tuple[float, str]] = {}
        self.answered: set[tuple[int, int]] = set()
        for host in self.hosts:
            self.take(host, host.start(self.now))

    # --- the world's side of the contract -----------------------------------------------

    def take(self, host: Host, outputs: list[object]) -> None:
        """Perform outputs as the node would: answers wait for the stores before them."""
        for output in outputs:
            match output:
                case Store() | Publish() | Answer():
                    host.queue.append(output)
                    if isinstance(output, Answer):
                        self.count_answer(host, output)
                case ToPeer():
                    dest = [h.identity.peer for h in self.hosts].index(output.dest)
                    self.bus.append((host.index, dest, output.payload))
                case Notice():
                    assert output.level != "alarm", output.text

    def count_answer(self, host: Host, answer: Answer) -> None:
        key = (host.index, answer.request)
        assert key not in self.answered, f"request {key} was answered twice"
        self.answered.add(key)

    def persist(self, host: Host) -> None:
        """Make the next write durable; answers behind it reach their callers."""
        while host.queue:
            output = host.queue.pop(0)
            if isinstance(output, Answer):
                self.deliver_answer(host, output)
                continue
            if isinstance(output, Store):
                for key, value in output.rows:
                    if value is None:
                        host.rows.pop(key, None)
                    else:
                        host.rows[key] = value
            elif isinstance(output, Publish):
                stream = host.streams.setdefault(host.identity.peer, {})
                for key, value in output.puts:
                    assert value is not None
                    stream[key] = value
                for key, value in output.puts:
                    self.take(
                        host,
                        list(host.ipam.register_changed(host.identity.peer, key, value, self.now)),
                    )
                self.take(host, list(host.ipam.published(output.token, self.now)))
            break
        while host.queue and isinstance(host.queue[0], Answer):
            self.deliver_answer(host, host.queue.pop(0))

    def deliver_answer(self, host: Host, answer: object) -> None:
        """A caller hears its outcome: from here on it relies on it."""
        assert isinstance(answer, Answer)
        call = self.open.pop((host.index, answer.request), None)
        outcome = answer.outcome
        if call is None:
            return
        _, workload, subnet, _ = call
        if isinstance(outcome, Allocated | Claimed):
            address = outcome.address.split("/")[0]
            holder = self.holders.get(address)
            assert holder in (None, (host.index, workload)), f"{address}: {holder} and {workload}"
            freed = self.freed.get(address)
            if freed is not None and freed[1] != workload:
                assert self.now >= freed[0] + LIMITS.reuse_cooldown_s, f"{address} was hot"
            if isinstance(outcome, Allocated):
                before = self.told.get((host.index, workload, subnet))
                assert before in (None, outcome.address), f"{workload} had {before}"
                self.told[(host.index, workload, subnet)] = outcome.address
            self.holders[address] = (host.index, workload)
        if isinstance(outcome, Released):
            for shown in outcome.addresses:
                self.holders.pop(shown.split("/")[0], None)
                self.freed[shown.split("/")[0]] = (self.now, workload)

    # --- moves ---------------------------------------------------------------------------

    def host(self, index: int) -> Host:
        return self.hosts[index % len(self.hosts)]

    def allocate(self, index: int, workload: str, subnet: str | None) -> None:
        host = self.host(index)
        self.request += 1
        deadline = self.now + TIMEOUT_S
        self.open[(host.index, self.request)] = (host.index, workload, subnet, deadline)
        self.take(
            host,
            list(host.ipam.allocate(self.request, workload, subnet, self.now, deadline=deadline)),
        )

    def claim(self, index: int, workload: str, number: int) -> None:
        host = self.host(index)
        self.request += 1
        deadline = self.now + TIMEOUT_S
        self.open[(host.index, self.request)] = (host.index, workload, "claim", deadline)
        address = f"10.9.0.{number % 32}"
        self.take(
            host,
            list(host.ipam.claim(self.request, workload, address, self.now, deadline=deadline)),
        )

    def release(self, index: int, workload: str) -> None:
        host = self.host(index)
        self.request += 1
        self.open[(host.index, self.request)] = (host.index, workload, None, self.now)
        # A caller that asks for a release relies on nothing of the workload any more.
        for key in [k for k in self.told if k[:2] == (host.index, workload)]:
            del self.told[key]
        for address in [a for a, h in self.holders.items() if h == (host.index, workload)]:
            del self.holders[address]
        for key in [k for k, call in self.open.items() if call[:2] == (host.index, workload)]:
            if key != (host.index, self.request):
                del self.open[key]
        self.take(host, list(host.ipam.release(self.request, workload, None, self.now)))
        while host.queue:
            self.persist(host)

    def deliver(self, pick: int) -> None:
        if self.bus:
            source, dest, payload = self.bus.pop(pick % len(self.bus))
            self._hand_over(source, dest, payload)

    def repeat(self, pick: int) -> None:
        if self.bus:
            self._hand_over(*self.bus[pick % len(self.bus)])

    def lose(self, pick: int) -> None:
        if self.bus:
            self.bus.pop(pick % len(self.bus))

    def _hand_over(self, source: int, dest: int, payload: object) -> None:
        host = self.hosts[dest]
        peer = self.hosts[source].identity.peer
        self.take(host, list(host.ipam.received(peer, payload, self.now)))  # type: ignore[arg-type]

    def sync(self, index: int) -> None:
        """The guardian's durable stream reaches a host."""
        guardian, host = self.hosts[0], self.host(index)
        stream = guardian.streams.get(guardian.identity.peer, {})
        host.streams.setdefault(guardian.identity.peer, {}).update(stream)
        for key, value in stream.items():
            self.take(
                host,
                list(host.ipam.register_changed(guardian.identity.peer, key, value, self.now)),
            )

    def crash(self, index: int) -> None:
        host = self.host(index)
        for key in [k for k in self.open if k[0] == host.index]:
            del self.open[key]
        # Clocks do not survive: a cool-down begins anew with the process.
        for address, (_, workload) in list(self.freed.items()):
            self.freed[address] = (min(self.freed[address][0], self.now), workload)
        self.take(host, host.start(self.now))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [
                (deadline, host)
                for host in self.hosts
                if (deadline := host.ipam.next_deadline()) is not None and deadline <= end
            ]
            if not due:
                break
            self.now, host = min(due, key=lambda item: (item[0], item[1].index))
            self.take(host, list(host.ipam.handle_timeout(self.now)))
            later = host.ipam.next_deadline()
            assert later is None or later > self.now, "a deadline that has passed is still wanted"
        self.now = end

    # --- truth ---------------------------------------------------------------------------

    def check(self) -> None:
        machines = [host.ipam for host in self.hosts]
        assert audit(machines) == []
        for machine in machines:
            machine.check()
        shard = machines[0].shard
        assert shard is not None
        requests = [
            leaf.register.request
            for leaf in shard.trie.leaves()
            if leaf.register is not None and leaf.register.kind is Kind.OWN
        ]
        assert len(requests) == len(set(requests)), "one request got two blocks"
        for key, (_, _, _, deadline) in self.open.items():
            assert key in self.answered or deadline >= self.now - 1e-9, f"{key} has no outcome"
        for host in self.hosts:
            if not host.queue:
                for (index, workload, _), address in self.told.items():
                    if index == host.index:
                        assert address in host.ipam.lookup(workload), f"{workload} lost {address}"


INDEX = st.integers(0, 3)
WORKLOAD = st.sampled_from(["a", "b", "c", "d", "e", "f"])


class Cluster(RuleBasedStateMachine):
    """Hypothesis finds the schedule."""

    @initialize(count=st.integers(3, 4))
    def begin(self, count: int) -> None:
        self.world = World(count)

    @rule(index=INDEX, workload=WORKLOAD, subnet=st.sampled_from(SUBNETS))
    def allocate(self, index: int, workload: str, subnet: str | None) -> None:
        self.world.allocate(index, workload, subnet)

    @rule(index=INDEX, workload=WORKLOAD, number=st.integers(0, 31))
    def claim(self, index: int, workload: str, number: int) -> None:
        self.world.claim(index, workload, number)

    @rule(index=INDEX, workload=WORKLOAD)
    def release(self, index: int, workload: str) -> None:
        self.world.release(index, workload)

    @rule(pick=st.integers(0, 1000))
    def deliver(self, pick: int) -> None:
        self.world.deliver(pick)

    @rule(pick=st.integers(0, 1000))
    def repeat(self, pick: int) -> None:
        self.world.repeat(pick)

    @rule(pick=st.integers(0, 1000))
    def lose(self, pick: int) -> None:
        self.world.lose(pick)

    @rule(index=INDEX)
    def persist(self, index: int) -> None:
        self.world.persist(self.world.host(index))

    @rule(index=INDEX)
    def sync(self, index: int) -> None:
        self.world.sync(index)

    @rule(index=INDEX)
    def crash(self, index: int) -> None:
        self.world.crash(index)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 25.0]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()


Cluster.TestCase.settings = settings(max_examples=examples(25), stateful_step_count=50)
TestCluster = Cluster.TestCase


def walk(seed: int, steps: int = 250) -> World:
    """Drive a world by dice; raises AssertionError or InternalError where it breaks."""
    dice = Dice(seed.to_bytes(4, "big"))
    world = World(3 + seed % 2)
    world.check()
    for step in range(steps):
        pick = dice.integer(0, 1000)
        index = dice.integer(0, 3)
        workload = dice.choice("abcdefgh")
        match dice.integer(0, 19):
            case 0 | 1 | 2 | 3:
                world.allocate(index, workload, dice.choice(SUBNETS))
            case 4:
                world.claim(index, workload, pick)
            case 5:
                world.release(index, workload)
            case 6 | 7 | 8:
                for _ in range(3):
                    world.deliver(pick)
            case 9:
                world.repeat(pick)
            case 10:
                world.lose(pick)
            case 11 | 12 | 13 | 14:
                world.persist(world.host(index))
            case 15:
                world.sync(index)
            case 16:
                world.crash(index)
            case _:
                world.advance(dice.choice([0.1, 0.1, 0.1, 0.5, 1.0, 5.0, 25.0]))
        if step % 4 == 0:
            world.check()
    world.check()
    return world


@pytest.mark.parametrize("seed", range(20))
def test_ipam_invariants_hold_on_a_random_walk(seed: int) -> None:
    world = walk(seed)
    assert world.told or world.answered


def _answer_before_published(patch: pytest.MonkeyPatch) -> None:
    order = LoneGuardian.order

    def eager(self: LoneGuardian, *args: object, **kwargs: object) -> object:
        result = order(self, *args, **kwargs)  # type: ignore[arg-type]
        if isinstance(result, Change):
            engine_of[id(self)] = result
        return result

    engine_of: dict[int, Change] = {}
    honest = Engine.order

    def order_and_tell(self: Engine, message: object, now: float) -> None:
        honest(self, message, now)  # type: ignore[arg-type]
        guardian = self.guardian
        change = None if guardian is None else engine_of.pop(id(guardian), None)
        verdict = None if change is None or guardian is None else guardian.published(change.token)
        if verdict is not None:
            self.deliver(verdict, now)

    patch.setattr(LoneGuardian, "order", eager)
    patch.setattr(Engine, "order", order_and_tell)


def _forget_request_ids(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "find", lambda self, request: None)
    patch.setattr(Ledger, "is_stale", lambda self, request: False)


def _ignore_the_cooldown(patch: pytest.MonkeyPatch) -> None:
    init = Allocations.__init__

    def hot(self: Allocations, space: Space, *, cooldown_s: float) -> None:
        init(self, space, cooldown_s=0.0)

    patch.setattr(Allocations, "__init__", hot)


def _answer_without_storing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Turn, "rows", lambda self, rows: None)


def _forget_who_has_what(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Allocations, "find", lambda self, workload, subnet: None)


def _serve_before_the_stream_is_read(patch: pytest.MonkeyPatch) -> None:
    honest = Ipam.register_changed

    def deaf(self: Ipam, origin: object, key: bytes, value: bytes, now: float) -> object:
        return honest(self, origin, key, value, now) if self.shard is not None else []  # type: ignore[arg-type]

    patch.setattr(Ipam, "register_changed", deaf)


@pytest.mark.parametrize(
    "mutate",
    [
        _answer_before_published,
        _forget_request_ids,
        _ignore_the_cooldown,
        _answer_without_storing,
        _forget_who_has_what,
        _serve_before_the_stream_is_read,
    ],
)
def test_ipam_broken_variant_is_caught(mutate: object, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)  # type: ignore[operator]
    caught = 0
    for seed in range(60):
        try:
            walk(seed)
        except (AssertionError, InternalError):
            caught += 1
            break
    assert caught, "no walk noticed that the code is broken"
