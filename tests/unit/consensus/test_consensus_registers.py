"""One register at a time: what is asked, answered, refused and kept."""

from __future__ import annotations

import pytest
from attrs import evolve
from consensus_world import GENESIS, IDENTITIES, REGISTER, World, checked

from meshcrdt.base.dice import Dice
from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.consensus import log as log_module
from meshcrdt.consensus.acceptor import Judge
from meshcrdt.consensus.attempts import Draft, Impossible
from meshcrdt.consensus.ballots import ROUND_LEAP_MAX, Ballot
from meshcrdt.consensus.entries import BODY_BYTES_MAX, Entry
from meshcrdt.consensus.guardians import Guardian, GuardianSet
from meshcrdt.consensus.log import Decided, Log, Verdict
from meshcrdt.consensus.messages import (
    Accept,
    Accepted,
    Prepare,
    Promise,
    Refusal,
    Refuse,
    Voted,
    parse,
)
from meshcrdt.consensus.outputs import (
    Declined,
    Forked,
    Learned,
    Proposed,
    Store,
    ToPeer,
    Unreachable,
)
from meshcrdt.consensus.proofs import Proof, Vote, proof_fault, sign_vote
from meshcrdt.consensus.proposer import PROPOSALS_MAX
from meshcrdt.consensus.registers import Registers
from meshcrdt.errors import CapacityError, CorruptStore, MalformedTree, UsageError
from meshcrdt.wire import decode, encode

NONCE = bytes(8)
LONE = GuardianSet.make(1, [Guardian(IDENTITIES[0].public, NONCE)])


def alone(judge: Judge = lambda _entry, _before: None, *, start: int = 1) -> Registers:
    made = Registers(
        identity=IDENTITIES[0],
        genesis=GENESIS,
        nonce=NONCE,
        instance=bytes([start]) * 8,
        dice=Dice(b"alone"),
        verify=checked,
    )
    made.open(REGISTER, LONE, judge)
    return made


def carry(registers: Registers, outputs: list[object]) -> tuple[list[object], dict[bytes, bytes]]:
    """Let a lone guardian talk with itself until it is silent; return what it told."""
    told: list[object] = []
    disk: dict[bytes, bytes] = {}
    while outputs:
        output = outputs.pop(0)
        if isinstance(output, ToPeer):
            assert output.peer == IDENTITIES[0].peer
            outputs += registers.received(output.peer, output.payload, 0.0)
        elif isinstance(output, Store):
            disk.update({key: value for key, value in output.rows if value is not None})
        else:
            told.append(output)
    return told, disk


def write(text: bytes) -> Draft:
    return Draft(text)


def test_a_lone_guardian_decides_by_itself_and_remembers() -> None:
    registers = alone()
    asked = registers.propose(REGISTER, 1, lambda _b, _s: write(b"one"), 0.0, deadline=5.0)
    told, disk = carry(registers, list(asked))
    assert [type(item) for item in told] == [Learned, Proposed]
    again = alone(start=2)
    again.load(disk)
    log = again.log(REGISTER)
    assert log is not None
    assert log.body == b"one"
    assert log.stamp == 1
    asked = again.propose(
        REGISTER, 2, lambda body, _s: write((body or b"") + b" two"), 0.0, deadline=5.0
    )
    told, _ = carry(again, list(asked))
    assert log.body == b"one two"
    again.check()


def test_what_is_not_possible_is_declined_with_the_reason() -> None:
    registers = alone()
    asked = registers.propose(
        REGISTER, 7, lambda _b, _s: Impossible("nobody is evicted twice"), 0.0, deadline=5.0
    )
    told, _ = carry(registers, list(asked))
    assert told == [Declined(7, "nobody is evicted twice")]


def test_a_value_that_is_too_large_is_declined() -> None:
    registers = alone()
    big = bytes(BODY_BYTES_MAX + 1)
    asked = registers.propose(REGISTER, 7, lambda _b, _s: Draft(big), 0.0, deadline=5.0)
    told, _ = carry(registers, list(asked))
    assert isinstance(told[0], Declined)
    assert str(BODY_BYTES_MAX) in told[0].reason


def test_guardians_judge_by_the_rules_of_the_register() -> None:
    registers = alone(judge=lambda entry, _before: "no" if entry.body == b"bad" else None)
    asked = registers.propose(REGISTER, 7, lambda _b, _s: write(b"bad"), 0.0, deadline=5.0)
    told, _ = carry(registers, list(asked))
    assert told == [Declined(7, "the guardians judge that it breaks a rule")]
    assert registers.next_deadline() is None


def test_silent_guardians_are_named_at_the_deadline() -> None:
    world = World(Dice(b"silent"))
    member = world.members[0]
    world.propose(member)
    assert member.registers.next_deadline() is not None
    outputs = member.registers.handle_timeout(31.0)
    late = [output for output in outputs if isinstance(output, Unreachable)]
    assert len(late) == 1
    assert all(str(identity.peer) in late[0].reason for identity in IDENTITIES[:3])
    assert "may still be chosen" not in late[0].reason  # nothing was sent to be accepted
    assert member.registers.next_deadline() is None


def test_a_proposal_that_may_be_chosen_says_so() -> None:
    registers = alone()
    asked = registers.propose(REGISTER, 1, lambda _b, _s: write(b"x"), 0.0, deadline=5.0)
    prepare = asked[0]
    assert isinstance(prepare, ToPeer)
    promise = registers.received(prepare.peer, prepare.payload, 0.0)[-1]
    assert isinstance(promise, ToPeer)
    registers.received(promise.peer, promise.payload, 0.0)  # the accept that this asks is lost
    (late,) = registers.handle_timeout(6.0)
    assert isinstance(late, Unreachable)
    assert "may still be chosen" in late.reason


def test_proposals_are_bounded_and_refused_with_nothing_changed() -> None:
    registers = alone()
    for number in range(PROPOSALS_MAX):
        registers.propose(REGISTER, number, lambda _b, _s: write(b"x"), 0.0, deadline=5.0)
    with pytest.raises(CapacityError, match=str(PROPOSALS_MAX)):
        registers.propose(REGISTER, 99, lambda _b, _s: write(b"x"), 0.0, deadline=5.0)
    assert registers.statistics().proposals == PROPOSALS_MAX
    with pytest.raises(UsageError, match="'other' is not open"):
        registers.propose("other", 1, lambda _b, _s: write(b"x"), 0.0, deadline=5.0)
    with pytest.raises(UsageError, match="open already"):
        registers.open(REGISTER, LONE, lambda _e, _b: None)


def entry_of(log: Log, body: bytes, guardians: GuardianSet | None = None) -> Entry:
    return Entry(REGISTER, log.stamp + 1, log.tip, guardians or log.guardians, body)


def decided(log: Log, body: bytes, *, voters: tuple[int, ...] = (0,)) -> Decided:
    entry = entry_of(log, body)
    ballot = Ballot(1, IDENTITIES[0].peer, b"\x01" * 8)
    votes = tuple(
        sign_vote(IDENTITIES[n], GENESIS, entry, set_version=1, ballot=ballot, nonce=NONCE)
        for n in voters
    )
    return Decided(entry, Proof(1, ballot, votes))


def log_of(*numbers: int) -> Log:
    members = [Guardian(IDENTITIES[number].public, NONCE) for number in numbers]
    return Log(REGISTER, GENESIS, GuardianSet.make(1, members), checked)


def test_a_proof_needs_a_majority_of_distinct_guardians() -> None:
    log = log_of(0, 1, 2)
    assert log.admit(decided(log, b"x", voters=(0,))) is Verdict.REFUSED
    assert log.admit(decided(log, b"x", voters=(0, 0))) is Verdict.REFUSED
    assert log.admit(decided(log, b"x", voters=(0, 3))) is Verdict.REFUSED
    assert log.body is None
    assert log.admit(decided(log, b"x", voters=(0, 2))) is Verdict.NEWS
    assert log.admit(decided(log_of(0, 1, 2), b"x", voters=(0, 1))) is Verdict.KNOWN


def test_votes_of_two_ballots_prove_nothing() -> None:
    """C4: a value accepted by one guardian now and by another then was perhaps never chosen."""
    log = log_of(0, 1, 2)
    first = decided(log, b"x", voters=(0,))
    other = Ballot(2, IDENTITIES[1].peer, b"\x02" * 8)
    vote = sign_vote(IDENTITIES[1], GENESIS, first.entry, set_version=1, ballot=other, nonce=NONCE)
    for ballot in (first.proof.ballot, other):
        mixed = Proof(1, ballot, (*first.proof.votes, vote))
        fault = proof_fault(GENESIS, first.entry, mixed, log.guardians, checked)
        assert fault is not None
        assert "no majority" in fault


def test_a_fork_is_told_from_a_forgery() -> None:
    log = log_of(0)
    log.admit(decided(log, b"x"))
    rival = log_of(0)
    assert log.admit(decided(rival, b"y")) is Verdict.FORK
    assert log.body == b"x"
    forged = decided(rival, b"z")
    forged = Decided(
        forged.entry, evolve(forged.proof, votes=(Vote(IDENTITIES[0].peer, bytes(64)),))
    )
    assert log.admit(forged) is Verdict.REFUSED


def test_the_guardians_change_only_with_the_next_version() -> None:
    log = log_of(0)
    wider = GuardianSet.make(3, [Guardian(IDENTITIES[n].public, NONCE) for n in (0, 1)])
    entry = entry_of(log, b"x", wider)
    ballot = Ballot(1, IDENTITIES[0].peer, b"\x01" * 8)
    votes = tuple(
        sign_vote(IDENTITIES[n], GENESIS, entry, set_version=1, ballot=ballot, nonce=NONCE)
        for n in (0, 1)
    )
    assert log.admit(Decided(entry, Proof(1, ballot, votes))) is Verdict.REFUSED
    assert "leaps" in log.fault


def test_a_member_that_was_away_needs_the_chain_of_sets() -> None:
    world = World(Dice(b"chain"), members=4, guardians=(0,))
    first, last = world.members[0], world.members[3]
    for members in ((0, 1, 2), (1, 2)):
        world.propose(first, tuple(sorted(map(world.guardian, members), key=lambda g: g.peer)))
        world.settle()
    world.propose(first)
    world.settle()
    log = first.registers.log(REGISTER)
    assert log is not None
    assert len(log.chain) == 3
    assert log.guardians.version == 3
    late = Log(REGISTER, GENESIS, world.first, checked)
    assert late.admit(log.chain[-1]) is Verdict.GAP
    assert [late.admit(each) for each in log.chain] == [Verdict.NEWS] * 3
    assert late.body == log.body
    late.check()
    assert last.registers.log(REGISTER) is not None


def test_the_new_guardians_can_go_on_when_a_lone_one_dies_after_its_vote() -> None:
    """Rule 5: new guardians are asked before old ones, so the value outlives the old."""
    world = World(Dice(b"heir"), members=3, guardians=(0,))
    first = world.members[0]
    wanted = tuple(sorted(map(world.guardian, (1, 2)), key=lambda g: g.peer))
    world.propose(first, wanted)
    for _ in range(60):
        for member in world.members:
            world.sync(member)
        accepts = [
            index
            for index, (_, target, payload) in enumerate(world.wire)
            if isinstance(parse(payload), Accept) and target == IDENTITIES[0].peer  # type: ignore[arg-type]
        ]
        if accepts:
            break
        world.deliver(0, keep=False)
    assert accepts, "the old guardian was never asked"
    held = [member.registers for member in world.members[1:]]
    for registers, member in zip(held, world.members[1:], strict=True):
        row = member.disk[REGISTER.encode()]
        assert b"0:1," in row, "a new guardian does not hold the value yet"
        registers.check()


# --- the acceptor by itself --------------------------------------------------------------


def ask(registers: Registers, payload: tuple[Tree, ...], source: int = 0) -> object | None:
    peer = IDENTITIES[source].peer
    answers = [o for o in registers.received(peer, payload, 0.0) if isinstance(o, ToPeer)]
    return parse(answers[0].payload) if answers else None


def ballot(number: int, source: int = 0, nonce: int = 1) -> Ballot:
    return Ballot(number, IDENTITIES[source].peer, bytes([nonce]) * 8)


def test_one_ballot_carries_one_value() -> None:
    """Rule 3, C3: neither a late prepare nor a second value is answered."""
    registers = alone()
    log = registers.log(REGISTER)
    assert log is not None
    mine = ballot(1)
    assert isinstance(ask(registers, Prepare(REGISTER, mine, 1, 0).to_tree()), Promise)
    entry = entry_of(log, b"x")
    accept = Accept(mine, 1, entry, None).to_tree()
    voted = ask(registers, accept)
    assert isinstance(voted, Voted)
    assert ask(registers, accept) == voted  # the same again is the same vote
    assert ask(registers, Prepare(REGISTER, mine, 1, 0).to_tree()) is None
    second = ask(registers, Accept(mine, 1, entry_of(log, b"y"), None).to_tree())
    assert isinstance(second, Refuse)
    assert second.refusal is Refusal.INVALID


def test_lower_ballots_are_outbid_and_leaps_refused() -> None:
    registers = alone()
    ask(registers, Prepare(REGISTER, ballot(5), 1, 0).to_tree())
    lower = ask(registers, Prepare(REGISTER, ballot(4, 1), 1, 0).to_tree(), source=1)
    assert isinstance(lower, Refuse)
    assert (lower.refusal, lower.promised) == (Refusal.OUTBID, ballot(5))
    leap = ask(registers, Prepare(REGISTER, ballot(6 + ROUND_LEAP_MAX), 1, 0).to_tree())
    assert isinstance(leap, Refuse)
    assert leap.refusal is Refusal.INVALID


def test_nobody_bids_for_another() -> None:
    registers = alone()
    assert ask(registers, Prepare(REGISTER, ballot(1), 1, 0).to_tree(), source=1) is None


def test_an_entry_that_builds_on_nothing_proved_is_refused() -> None:
    registers = alone()
    entry = Entry(REGISTER, 2, bytes(32), LONE, b"x")
    refused = ask(registers, Accept(ballot(1), 1, entry, None).to_tree())
    assert isinstance(refused, Refuse)
    assert refused.refusal is Refusal.BEHIND


@pytest.mark.parametrize(
    "payload",
    [
        (),
        (96,),
        (96, REGISTER, None, 1, 0),
        (96, "\x00", ballot(1).to_tree(), 1, 0),
        (96, REGISTER, ballot(1).to_tree(), 0, 0),
        (97, REGISTER, ballot(1).to_tree(), 1, b"", None, None),
        (
            98,
            "other",
            ballot(1).to_tree(),
            1,
            Entry(REGISTER, 1, bytes(32), LONE, b"").to_tree(),
            None,
        ),
        (99, REGISTER, ballot(1).to_tree(), bytes(8), bytes(63)),
        (100, REGISTER, ballot(1).to_tree(), 9, bytes(8), None, None, None),
        (111, REGISTER, ballot(1).to_tree()),
    ],
)
def test_malformed_payloads_change_nothing(payload: tuple[Tree, ...]) -> None:
    registers = alone()
    assert registers.received(IDENTITIES[1].peer, payload, 0.0) == []
    assert registers.statistics().malformed_total == 1


def test_unknown_registers_are_counted() -> None:
    registers = alone()
    payload = Prepare("other", ballot(1), 1, 0).to_tree()
    assert registers.received(IDENTITIES[0].peer, payload, 0.0) == []
    assert registers.statistics().unknown_total == 1


def test_messages_read_back_as_they_were_written() -> None:
    log = log_of(0)
    known = decided(log, b"x")
    entry = entry_of(log, b"y")
    log.admit(known)
    held = Refuse(REGISTER, ballot(3), Refusal.OLD_SET, NONCE, ballot(4), None, known)
    promise = Promise(REGISTER, ballot(2), 1, NONCE, None, known)
    for message in (
        Prepare(REGISTER, ballot(1), 1, 0),
        promise,
        Accept(ballot(1), 1, entry, known),
        Voted(REGISTER, ballot(1), NONCE, bytes(64)),
        held,
    ):
        assert parse(decode(encode(message.to_tree()))) == message  # type: ignore[arg-type]


def test_a_damaged_row_is_named() -> None:
    registers = alone()
    with pytest.raises(CorruptStore, match="register 'test'"):
        registers.load({REGISTER.encode(): encode((1, 2))})
    _, disk = carry(
        registers, list(registers.propose(REGISTER, 1, lambda _b, _s: write(b"x"), 0, deadline=5))
    )
    raw = bytearray(disk[REGISTER.encode()])
    raw[-1] ^= 1  # the last byte of the proof of the newest entry
    with pytest.raises(CorruptStore, match="no majority"):
        alone().load({REGISTER.encode(): bytes(raw)})


def test_a_row_of_another_store_binds_nobody() -> None:
    """Rule 4: the log is read, the promises are not ours."""
    registers = alone()
    _, disk = carry(
        registers, list(registers.propose(REGISTER, 1, lambda _b, _s: write(b"x"), 0, deadline=5))
    )
    other = Registers(
        identity=IDENTITIES[0],
        genesis=GENESIS,
        nonce=b"\x09" * 8,
        instance=b"\x01" * 8,
        dice=Dice(b"other"),
        verify=checked,
    )
    log = other.open(REGISTER, LONE, lambda _e, _b: None)
    other.load(disk)
    assert log.body == b"x"
    promise = ask(other, Prepare(REGISTER, ballot(1), 1, 1).to_tree())
    assert isinstance(promise, Promise)
    assert promise.accepted is None


@pytest.mark.parametrize(
    ("members", "why"),
    [((), "0 guardians"), ((0, 0), "twice"), (tuple(range(8)), "8 guardians")],
)
def test_a_set_that_cannot_be(members: tuple[int, ...], why: str) -> None:
    found = [Guardian(bytes([number]) * 32, NONCE) for number in members]
    with pytest.raises(UsageError, match=why):
        GuardianSet.make(1, found)


def test_a_set_from_outside_is_sorted_and_distinct() -> None:
    two = GuardianSet.make(1, [Guardian(IDENTITIES[n].public, NONCE) for n in (0, 1)])
    version, members = two.to_tree()  # type: ignore[misc]
    with pytest.raises(MalformedTree, match="not sorted"):
        GuardianSet.from_tree((version, tuple(reversed(members))))  # type: ignore[arg-type]
    assert GuardianSet.from_tree(two.to_tree()) == two


def test_a_guardian_that_lies_about_rounds_costs_attempts_only() -> None:
    """Without a bound the next ballot would fit into no message, or be a leap to everybody."""
    registers = alone()
    asked = registers.propose(REGISTER, 1, lambda _b, _s: write(b"one"), 0.0, deadline=60.0)
    (first,) = (output for output in asked if isinstance(output, ToPeer))
    prepare = parse(first.payload)
    assert isinstance(prepare, Prepare)
    claimed = prepare.ballot._replace(round=INT_MAX)
    lie = Refuse(REGISTER, prepare.ballot, Refusal.OUTBID, NONCE, claimed, None, None)
    registers.received(IDENTITIES[0].peer, lie.to_tree(), 0.0)
    told, _ = carry(registers, list(registers.handle_timeout(5.0)))
    assert [type(item) for item in told] == [Learned, Proposed]


# --- the end of the chain, and forks -----------------------------------------------------


def next_set_of(registers: Registers, request: int) -> list[object]:
    """Ask for the same guardian again, as a next set: that is a change too."""

    def apply(_body: bytes | None, now: GuardianSet) -> Draft:
        return Draft(b"%d" % now.version, (now.members[0],))

    outputs = registers.propose(REGISTER, request, apply, 0.0, deadline=5.0)
    return carry(registers, outputs)[0]


def test_guardians_that_can_change_no_more_are_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "CHAIN_MAX", 2)
    registers = alone()
    for request in (1, 2):
        assert isinstance(next_set_of(registers, request)[-1], Proposed)
    (declined,) = next_set_of(registers, 3)
    assert isinstance(declined, Declined)
    assert "2 times already" in declined.reason
    # What changes no guardian goes on for ever.
    outputs = registers.propose(REGISTER, 4, lambda _b, _s: write(b"x"), 0.0, deadline=5.0)
    assert isinstance(carry(registers, outputs)[0][-1], Proposed)
    registers.check()


def test_nobody_votes_for_guardians_that_no_log_admits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposer that ignores the end of the chain gets no vote, so nothing is half chosen."""
    monkeypatch.setattr(log_module, "CHAIN_MAX", 0)
    registers = alone()
    log = registers.log(REGISTER)
    assert log is not None
    next_set = LONE.succeeded_by(LONE.members)
    accept = Accept(ballot(1), 1, entry_of(log, b"x", next_set), None)
    refused = ask(registers, accept.to_tree())
    assert isinstance(refused, Refuse)
    assert refused.refusal is Refusal.INVALID


def test_a_promise_of_guardians_that_cannot_be_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a lie: what was accepted there can never be chosen, and ends no honest proposer."""
    monkeypatch.setattr(log_module, "CHAIN_MAX", 0)
    registers = alone()
    log = registers.log(REGISTER)
    assert log is not None
    outputs = registers.propose(REGISTER, 1, lambda _b, _s: write(b"mine"), 0.0, deadline=5.0)
    entry = entry_of(log, b"lie", LONE.succeeded_by(LONE.members))
    for _ in range(2):  # it is asked again under the set that it made up
        questions = [parse(o.payload) for o in outputs if isinstance(o, ToPeer)]
        for asked in questions:
            if isinstance(asked, Prepare):
                accepted = Accepted(ballot(1), entry)
                lie = Promise(REGISTER, asked.ballot, asked.set_version, NONCE, accepted, None)
                outputs = registers.received(IDENTITIES[0].peer, lie.to_tree(), 0.0)
    told, _ = carry(registers, outputs)
    assert isinstance(told[-1], Proposed)
    assert log.body == b"mine"


def test_a_guardian_that_is_shown_a_fork_says_so_and_votes_for_none_of_it() -> None:
    registers = alone()
    outputs = registers.propose(REGISTER, 1, lambda _b, _s: write(b"ours"), 0.0, deadline=5.0)
    carry(registers, outputs)
    rival = decided(log_of(0), b"theirs")
    after = Entry(REGISTER, 2, rival.entry.hash, LONE, b"next")
    accept = Accept(ballot(9), 1, after, rival).to_tree()
    answers = registers.received(IDENTITIES[0].peer, accept, 0.0)
    assert Forked(REGISTER, 1) in answers
    (said,) = [parse(o.payload) for o in answers if isinstance(o, ToPeer)]
    assert isinstance(said, Refuse)
    registers.check()
