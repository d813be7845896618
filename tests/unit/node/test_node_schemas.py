"""Whom a writer waits for: members that are away, not those that left or lie."""

import pytest
from attrs import evolve

from meshcrdt.gossip.changes import Over
from meshcrdt.gossip.changes import Put as Record
from meshcrdt.node import events, schemas, views
from meshcrdt.node.outcomes import Done, Failed, FailureKind
from meshcrdt.node.schemas import Agreement, Spoken, read_spoken, schema_key
from meshcrdt.sim.replay import unpack
from meshcrdt.sim.trace import pack
from meshcrdt.wire import encode

CHANNEL = "acme/routes"
IN_SYNC_S = 10.0


@pytest.fixture
def three(bench):
    genesis = bench.genesis()
    for name in ("n1", "n2", "n3"):
        bench.add(name, genesis)
    for a, b in (("n1", "n2"), ("n2", "n3"), ("n3", "n1")):
        bench.link(a, b)
    bench.pass_time(IN_SYNC_S)
    return bench


def speaks(bench, name, *reads, writes=0):
    return bench.give(name, events.Speak(90 + len(bench.replies), CHANNEL, reads, writes))


def agreed(bench, *reads):
    return bench.nodes["n1"].agreement(CHANNEL, reads)


def peer(bench, name):
    return bench.nodes[name].me


def test_the_highest_version_that_all_read_is_written(three):
    assert agreed(three, 1, 2, 3) == Agreement(3)
    assert speaks(three, "n2", 1, 2) == Done()
    assert speaks(three, "n3", 2, 3) == Done()
    assert agreed(three, 1, 2, 3) == Agreement(2, (peer(three, "n2"),))
    assert speaks(three, "n2", 2, 3) == Done()
    assert agreed(three, 1, 2, 3) == Agreement(3)


def test_who_is_away_counts_and_who_left_does_not(three):
    speaks(three, "n2", 1)
    for end in [end for end in three.wires if end[0] == "n2"]:
        three.unplug(*end)
    three.run()
    three.pass_time(IN_SYNC_S)
    assert peer(three, "n2") not in three.nodes["n1"].alive()
    assert agreed(three, 1, 2).held_back_by == (peer(three, "n2"),)
    assert agreed(three, 1, 2).version == 1
    speaks(three, "n3", 1)
    assert three.give("n3", events.Leave(7)) == Done()
    assert agreed(three, 1, 2).held_back_by == (peer(three, "n2"),)


def test_two_that_share_nothing_make_the_lowest_be_written(three):
    speaks(three, "n2", 1)
    speaks(three, "n3", 2)
    assert agreed(three, 1, 2).version == 1


def test_what_was_written_is_not_taken_back_unless_it_cannot_be_read(three):
    speaks(three, "n1", 1, 2, writes=2)
    speaks(three, "n1", 1, 2, writes=1)
    speaks(three, "n2", 1)
    assert agreed(three, 1, 2).version == 2
    assert agreed(three, 1).version == 1


@pytest.mark.parametrize(
    "lie",
    [
        encode(7),
        encode((2, (1,), 0)),
        encode((1, (0,), 0)),
        encode((1, (1 << 16,), 0)),
        encode((1, ("1",), 0)),
        encode((1, tuple(range(1, 18)), 0)),
        encode((1, (1,), -1)),
        b"\xc1",
    ],
)
def test_a_malformed_record_says_nothing(three, lie):
    assert read_spoken(lie) is None
    liar = three.nodes["n2"].core.replica
    liar.write(views.DIRECTORY, [Record(schema_key(CHANNEL), lie, Over.OWN)])
    three.give("n2", events.SetName(5, "web", ("10.32.0.9",)))
    assert agreed(three, 1, 2) == Agreement(2)


def test_nobody_speaks_for_another(three):
    """The record is read in its member's own stream alone: a liar lies about itself."""
    speaks(three, "n2", 1)
    liar = three.nodes["n3"].core.replica
    seen = Record(schema_key(CHANNEL), Spoken((1, 2)).encode(), Over.OWN)
    liar.write(views.DIRECTORY, [seen])
    three.give("n3", events.SetName(5, "web", ("10.32.0.9",)))
    assert agreed(three, 1, 2) == Agreement(1, (peer(three, "n2"),))


def test_speaking_is_bounded_and_misuse_changes_nothing(bench, monkeypatch):
    monkeypatch.setattr(schemas, "SPOKEN_MAX", 2)
    bench.add("n1", bench.genesis())
    for request, channel in enumerate(("a", "b", "a")):
        assert bench.give("n1", events.Speak(request, channel, (1, 2 + request))) == Done()
    refused = bench.give("n1", events.Speak(10, "c", (1,)))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.CAPACITY
    for request, (channel, reads) in enumerate([("a", (0,)), ("names", (1,)), ("a", ("1",))], 20):
        refused = bench.give("n1", events.Speak(request, channel, reads))
        assert isinstance(refused, Failed)
        assert refused.kind is FailureKind.USAGE
    assert schemas.own_spoken(bench.nodes["n1"].core.replica, "a") == Spoken((1, 4))


def test_it_is_answered_only_when_it_is_on_disk(bench):
    bench.add("n1", bench.genesis())
    bench.hold_disk.add("n1")
    assert bench.give("n1", events.Speak(1, CHANNEL, (1,))) is None
    assert bench.give("n1", events.Speak(2, CHANNEL, (1,))) is None
    bench.release_disk("n1")
    assert bench.replies["n1", 1] == bench.replies["n1", 2] == Done()


def _deaf(_node, _channel, reads):
    return Agreement(max(reads))


def _of_members_alone(node, channel, reads):
    made = real(node, channel, reads)
    return evolve(made, version=max(reads)) if set(made.held_back_by) - set(node.alive()) else made


real = schemas.agreement


@pytest.mark.parametrize("broken", [_deaf, _of_members_alone])
def test_a_writer_that_does_not_wait_is_caught(three, monkeypatch, broken):
    monkeypatch.setattr(schemas, "agreement", broken)
    with pytest.raises(AssertionError):
        test_who_is_away_counts_and_who_left_does_not(three)


def test_a_trace_replays_what_was_said():
    said = events.Speak(1, CHANNEL, (1, 2), 2)
    assert unpack(pack(said)) == said
