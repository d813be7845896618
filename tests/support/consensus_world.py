"""Guardians and proposers over a network that loses, repeats and reorders, with disks that crash.

Global truth is kept beside them: every vote that any guardian ever gave, so that what is
chosen is known whether or not anybody noticed. At most one entry may be chosen a stamp.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import PeerId
from meshcrdt.consensus.attempts import Draft, Impossible
from meshcrdt.consensus.entries import Entry
from meshcrdt.consensus.guardians import Guardian, GuardianSet
from meshcrdt.consensus.log import Decided
from meshcrdt.consensus.messages import Accept, Voted, parse
from meshcrdt.consensus.outputs import (
    Declined,
    Forked,
    Learned,
    Output,
    Proposed,
    Store,
    ToPeer,
    Unreachable,
)
from meshcrdt.consensus.proofs import electors
from meshcrdt.consensus.registers import Registers
from meshcrdt.trust.identity import Identity, verify

REGISTER = "test"
GENESIS = b"\x07" * 32
IDENTITIES = tuple(Identity(bytes([number + 1]) * 32) for number in range(5))
NUMBER = {identity.peer: number for number, identity in enumerate(IDENTITIES)}

_checked: dict[tuple[bytes, str, bytes, bytes], bool] = {}


def checked(public: bytes, domain: str, message: bytes, signature: bytes) -> bool:
    """Remember signature checks: they are pure, and one schedule repeats them."""
    key = (public, domain, message, signature)
    if key not in _checked:
        _checked[key] = verify(*key)
    return _checked[key]


@define(eq=False)
class Member:
    """One process and its disk."""

    number: int
    nonce: bytes
    make: Callable[[Member], Registers]
    disk: dict[bytes, bytes] = field(factory=dict)
    snapshot: dict[bytes, bytes] = field(factory=dict)
    starts: int = 0
    registers: Registers = field(init=False)
    unsynced: list[Output] = field(factory=list)
    """Outputs since the last sync, in order: a crash loses them all."""

    def start(self) -> None:
        self.starts += 1
        self.unsynced = []
        self.registers = self.make(self)
        self.registers.load(dict(self.disk))


class World:
    """One schedule, determined by its dice."""

    def __init__(
        self,
        dice: Dice,
        *,
        members: int = 3,
        guardians: tuple[int, ...] = (0, 1, 2),
        make: Callable[..., Registers] = Registers,
    ) -> None:
        self.dice = dice
        self.now = 0.0
        self._make = make
        self.members = [
            Member(number, bytes([number]) * 8, self._registers) for number in range(members)
        ]
        self.first = GuardianSet.make(1, [self.guardian(number) for number in guardians])
        for member in self.members:
            member.start()
        self.wire: list[tuple[PeerId, PeerId, tuple[object, ...]]] = []
        self.proposed: dict[tuple[PeerId, object], Entry] = {}
        self.votes: dict[tuple[object, bytes], set[tuple[PeerId, bytes]]] = {}
        self.entries: dict[bytes, tuple[Entry, int]] = {}
        self.chosen: dict[int, bytes] = {}
        self.published: list[Decided] = []
        self.broken: list[str] = []
        self.results: list[Output] = []
        self.requests = 0
        self.away: set[int] = set()
        """Members that nothing reaches and nothing leaves for now."""

    def guardian(self, number: int) -> Guardian:
        """Return a member as it is now: with the store that it has."""
        return Guardian(IDENTITIES[number].public, self.members[number].nonce)

    def _registers(self, member: Member) -> Registers:
        identity = IDENTITIES[member.number]
        registers = self._make(
            identity=identity,
            genesis=GENESIS,
            nonce=member.nonce,
            instance=bytes([member.number, member.starts]) * 4,
            dice=Dice(bytes([member.number, member.starts])),
            verify=checked,
        )
        registers.open(REGISTER, self.first, lambda _entry, _before: None)
        return registers

    # --- what happens ------------------------------------------------------------------

    def propose(self, member: Member, guardians: tuple[Guardian, ...] | None = None) -> None:
        """Let a member append its next letter, perhaps with another set of guardians."""
        self.requests += 1
        text = b"%d:%d," % (member.number, self.requests)

        def change(body: bytes | None, in_force: GuardianSet) -> Draft | Impossible:
            if guardians is not None and guardians == in_force.members:
                return Impossible("they are the guardians already")
            return Draft((body or b"") + text, guardians)

        outputs = member.registers.propose(
            REGISTER, self.requests, change, self.now, deadline=self.now + 30.0
        )
        self.take(member, outputs)

    def take(self, member: Member, outputs: list[Output]) -> None:
        """Keep outputs until the member syncs; what is stored goes before what is sent."""
        member.unsynced += outputs
        member.registers.check()

    def sync(self, member: Member) -> None:
        """Bring the rows to disk, then send and tell."""
        outputs, member.unsynced = member.unsynced, []
        for output in outputs:
            match output:
                case Store(rows):
                    member.disk.update({key: value for key, value in rows if value is not None})
                case _:
                    pass
        for output in outputs:
            self._tell(member, output)

    def _tell(self, member: Member, output: Output) -> None:
        me = IDENTITIES[member.number].peer
        match output:
            case ToPeer(peer, payload, _):
                self._note(me, peer, payload)
                self.wire.append((me, peer, payload))
            case Learned(_, decided):
                self.published.append(decided)
                self._is_chosen(decided.entry, "learned")
            case Forked(_, stamp):
                self.broken.append(f"two proved entries of stamp {stamp}")
            case Proposed() | Declined() | Unreachable():
                self.results.append(output)
            case _:
                pass

    def _note(self, me: PeerId, peer: PeerId, payload: tuple[object, ...]) -> None:
        """Keep the truth about what was proposed and voted for."""
        message = parse(payload)  # type: ignore[arg-type]
        if isinstance(message, Accept):
            self.proposed[me, message.ballot] = message.entry
            self.entries[message.entry.hash] = (message.entry, message.set_version)
        if isinstance(message, Voted):
            entry = self.proposed[peer, message.ballot]
            voters = self.votes.setdefault((message.ballot, entry.hash), set())
            voters.add((me, message.nonce))
            if self._has_majorities(entry, voters):
                self._is_chosen(entry, f"voted for by {len(voters)}")

    def _has_majorities(self, entry: Entry, voters: set[tuple[PeerId, bytes]]) -> bool:
        _, version = self.entries[entry.hash]
        before = self._set(version)
        if before is None:
            return False
        return all(
            guardians.is_majority(
                {m.peer for m in guardians.members if (m.peer, m.nonce) in voters}
            )
            for guardians in electors(before, entry)
        )

    def _set(self, version: int) -> GuardianSet | None:
        if version == 1:
            return self.first
        for digest in self.chosen.values():
            entry, _ = self.entries[digest]
            if entry.guardians.version == version:
                return entry.guardians
        return None

    def _is_chosen(self, entry: Entry, how: str) -> None:
        self.entries.setdefault(entry.hash, (entry, entry.guardians.version))
        letters = entry.body.split(b",")
        if len(set(letters)) != len(letters):
            self.broken.append(f"I5: a proposal was applied twice: {entry.body!r}")
        known = self.chosen.setdefault(entry.stamp, entry.hash)
        if known != entry.hash:
            self.broken.append(f"I12: two entries are chosen at stamp {entry.stamp}: {how}")

    def deliver(self, index: int, *, keep: bool) -> None:
        """Bring one message to its target; it may come again."""
        source, target, payload = self.wire[index]
        if NUMBER[source] in self.away or NUMBER[target] in self.away:
            return
        if not keep:
            del self.wire[index]
        member = self.members[NUMBER[target]] if NUMBER[target] < len(self.members) else None
        if member is not None:
            self.take(member, member.registers.received(source, payload, self.now))  # type: ignore[arg-type]

    def crash(self, member: Member) -> None:
        """Lose what is not on disk, and start again."""
        member.start()

    def lose_store(self, member: Member) -> None:
        """Start again with an empty disk, as another guardian (rule 4)."""
        member.disk.clear()
        member.nonce = self.dice.raw(8)
        member.start()

    def gossip(self, member: Member) -> None:
        """Let a member hear of a decision that somebody published."""
        if self.published:
            decided = self.dice.choice(self.published)
            self.take(member, member.registers.learned(REGISTER, decided, self.now))

    def step(self, *, changes: tuple[tuple[int, ...], ...] = (), losses: bool = False) -> None:
        """Do one random thing."""
        dice = self.dice
        member = dice.choice(self.members)
        roll = dice.integer(0, 99)
        if dice.chance(0.02):
            self.away = set(dice.sample(range(len(self.members)), dice.integer(0, 2)))
        if roll < 55 and self.wire:
            self.deliver(dice.integer(0, len(self.wire) - 1), keep=dice.chance(0.15))
        elif roll < 75:
            self.sync(member)
        elif roll < 82:
            if self.requests < 24:
                sets = dice.choice(changes) if changes and dice.chance(0.6) else None
                chosen = None if sets is None else tuple(map(self.guardian, sets))
                self.propose(member, _sorted(chosen))
        elif roll < 90:
            self.now += dice.uniform(0.0, 1.5)
            for each in self.members:
                self.take(each, each.registers.handle_timeout(self.now))
        elif roll < 94:
            self.gossip(member)
        elif roll < 97:
            self.crash(member)
        elif roll < 99 and self.wire:
            del self.wire[dice.integer(0, len(self.wire) - 1)]
        elif losses:
            self.lose_store(member)

    def settle(self) -> None:
        """Let a calm network and calm disks finish everything."""
        self.away.clear()
        for _ in range(400):
            for member in self.members:
                self.sync(member)
            for _ in range(len(self.wire)):
                self.deliver(0, keep=False)
            for member in self.members:
                for decided in self.published[-8:]:
                    self.take(member, member.registers.learned(REGISTER, decided, self.now))
            idle = not self.wire and not any(member.unsynced for member in self.members)
            if idle and not any(m.registers.statistics().proposals for m in self.members):
                return
            if idle:
                self.now += 0.25
                for member in self.members:
                    self.take(member, member.registers.handle_timeout(self.now))


def _sorted(guardians: tuple[Guardian, ...] | None) -> tuple[Guardian, ...] | None:
    if guardians is None:
        return None
    return tuple(sorted(guardians, key=lambda guardian: guardian.peer))
