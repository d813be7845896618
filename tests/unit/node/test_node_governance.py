"""Members that go for good: what goes with them, what stays, and what happens if they return."""

from __future__ import annotations

import pytest
from node_bench import Bench

from meshcrdt.base.ids import PEER_ID_BYTES, PeerId
from meshcrdt.base.tree import INT_MAX
from meshcrdt.consensus.attempts import Impossible
from meshcrdt.consensus.proposer import PROPOSALS_MAX
from meshcrdt.gossip.governance import EPOCH_LEAP, NOTHING
from meshcrdt.gossip.governance import evict as evict_from
from meshcrdt.gossip.governing import Governing
from meshcrdt.node import council, events
from meshcrdt.node.chamber import Chamber
from meshcrdt.node.core import Core
from meshcrdt.node.node import Node
from meshcrdt.node.outcomes import Done, Failed, FailureKind, Written

CHANNEL = "acme/services"
DEAD_S = 60.0
SIGNED_S = 60.0
"""More than it takes until an eviction is pruned, settled, and its adopter has signed."""
PEER = PeerId(b"p" * PEER_ID_BYTES)


def join_all(bench: Bench, names: tuple[str, ...]) -> None:
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            if one in bench.nodes and other in bench.nodes:
                bench.link(one, other)


def crash(bench: Bench, name: str) -> None:
    for owner, link in [end for end in bench.wires if end[0] == name]:
        bench.unplug(owner, link)
    del bench.nodes[name]
    bench._todo = type(bench._todo)(each for each in bench._todo if each[0] != name)
    bench.run()


def found_three(bench: Bench) -> None:
    """n1 (the founder, so its lone guardian), n2 and n3, all linked; n1 has declared the channel.

    The first write declares what the channel holds: that record is of the one who stays.
    """
    genesis = bench.genesis()
    for name in ("n1", "n2", "n3"):
        bench.add(name, genesis)
    join_all(bench, ("n1", "n2", "n3"))
    assert isinstance(bench.give("n1", events.Put(1, CHANNEL, b"own", b"1")), Written)


@pytest.fixture
def three(bench: Bench) -> Bench:
    """Three nodes, of which n3 has written things."""
    found_three(bench)
    assert isinstance(bench.give("n3", events.Put(1, CHANNEL, b"web", b"80")), Written)
    assert isinstance(bench.give("n3", events.SetName(2, "db", ("10.9.9.9",))), Written)
    bench.pass_time(5)
    assert bench.nodes["n1"].get(CHANNEL, b"web") == b"80"
    return bench


def evict(bench: Bench, by: str, who: str, request: int = 100, force=events.Force.NO):
    asked = events.Evict(request, who, force, bench.now + 10)
    outcome = bench.give(by, asked)
    if outcome is None:
        bench.pass_time(11)
        outcome = bench.replies[by, request]
    return outcome


def gone(bench: Bench, name: str = "n3") -> Node:
    node = bench.nodes[name]
    crash(bench, name)
    bench.pass_time(DEAD_S)
    return node


def names_of(node: Node) -> set[str]:
    return {member.name for member in node.topology.members().values()}


def test_a_running_member_goes_only_by_force(three: Bench) -> None:
    refused = evict(three, "n2", "n3")
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.REFUSED
    assert "alive" in refused.reason
    assert names_of(three.nodes["n1"]) == {"n1", "n2", "n3"}


@pytest.mark.parametrize(
    ("who", "kind", "why"),
    [("nobody", FailureKind.UNKNOWN, "'nobody'"), ("n2", FailureKind.USAGE, "itself")],
)
def test_whom_to_evict_is_checked_first(three: Bench, who: str, kind, why: str) -> None:
    refused = evict(three, "n2", who)
    assert isinstance(refused, Failed)
    assert refused.kind is kind
    assert why in refused.reason


def test_what_a_dead_member_owned_goes_and_what_it_shared_stays(three: Bench) -> None:
    """F19: a node that is scaled in takes its names along, not the entries of shared maps."""
    dead = gone(three)
    assert isinstance(evict(three, "n2", "n3"), Done)
    three.pass_time(5)
    for name in ("n1", "n2"):
        node = three.nodes[name]
        assert names_of(node) == {"n1", "n2"}
        assert node.lookup_name("db", three.now) == ()
        assert node.get(CHANNEL, b"web") == b"80"
        assert "directory" not in node.core.replica.channels_of(dead.me)
        (adoption,) = node.core.governance.adoptions
        assert (adoption.origin, adoption.adopter) == (dead.me, three.nodes["n2"].me)
        node.check()
    three.pass_time(SIGNED_S)
    for name in ("n1", "n2"):
        head = three.nodes[name].core.replica.head(CHANNEL, dead.me)
        assert head.epoch.counter == adoption.floor
    digests = {name: three.nodes[name].statistics().digests for name in ("n1", "n2")}
    assert digests["n1"] == digests["n2"]


def test_adopted_records_keep_their_dots_and_can_be_removed(three: Bench) -> None:
    dead = gone(three)
    n1 = three.nodes["n1"]
    before = n1.core.replica.visible(CHANNEL, b"web")
    evict(three, "n2", "n3")
    three.pass_time(5)
    assert n1.core.replica.visible(CHANNEL, b"web") == before
    assert isinstance(three.give("n1", events.Delete(7, CHANNEL, b"web")), Written)
    three.pass_time(60)
    for name in ("n1", "n2"):
        node = three.nodes[name]
        assert node.get(CHANNEL, b"web") is None
        assert not list(node.core.replica.records_of(CHANNEL, dead.me)), "the owner drops on sight"
        assert node.core.governance.adoptions == (), "nobody needs to sign for it any more"


def test_a_second_eviction_of_the_same_member_says_so(three: Bench) -> None:
    dead = gone(three)
    evict(three, "n1", "n3")
    again = evict(three, "n1", str(dead.me), request=101)
    assert isinstance(again, Failed)
    assert again.kind is FailureKind.UNKNOWN  # nobody of that id is left


def test_without_a_majority_it_fails_by_its_deadline_and_names_who_is_silent(three: Bench) -> None:
    founder = three.nodes["n1"].me
    crash(three, "n1")
    crash(three, "n3")
    three.pass_time(DEAD_S)
    refused = evict(three, "n2", "n3")
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.UNREACHABLE
    assert str(founder) in refused.reason
    assert "n3" in names_of(three.nodes["n2"])


def test_a_member_that_comes_back_is_a_member_again_and_nothing_of_it_is_lost(three: Bench) -> None:
    gone(three)
    evict(three, "n2", "n3")
    three.pass_time(5)
    genesis = three.nodes["n1"].core.genesis
    back = three.add("n3", genesis, counter=2)
    for name in ("n1", "n2"):
        three.link("n3", name)
    three.pass_time(30)
    assert back.epoch.counter > EPOCH_LEAP
    assert isinstance(three.give("n3", events.Put(9, CHANNEL, b"api", b"81")), Written)
    three.pass_time(5)
    for node in three.nodes.values():
        assert names_of(node) == {"n1", "n2", "n3"}
        assert node.get(CHANNEL, b"web") == b"80"
        assert node.get(CHANNEL, b"api") == b"81"
        assert node.lookup_name("db", three.now) == ("10.9.9.9",)
    assert any("is back" in text for text in back.alarms)
    assert back.rollbacks_seen == 0, "it is no rollback and no clone"


def test_what_all_know_is_pruned(three: Bench) -> None:
    gone(three)
    evict(three, "n2", "n3")
    three.pass_time(60)
    for name in ("n1", "n2"):
        governance = three.nodes[name].core.governance
        assert governance.evicted == ()
        assert governance.pruned > 0
        assert three.nodes[name].get(CHANNEL, b"web") == b"80"


def test_nothing_is_pruned_while_a_member_is_away(three: Bench) -> None:
    """F25: the directory counts, dead members included."""
    genesis = three.nodes["n1"].core.genesis
    three.add("n4", genesis)
    three.link("n4", "n1")
    three.pass_time(5)
    crash(three, "n4")
    gone(three)
    evict(three, "n2", "n3")
    three.pass_time(90)
    governance = three.nodes["n1"].core.governance
    assert len(governance.evicted) == 1
    assert governance.pruned == 0


def returner(three: Bench, first: str = "n1") -> Node:
    """n4 was away when it was evicted, and n3 too, and both were pruned: it comes back.

    Whom it meets first decides which end asks first: what it holds, or what was decided.
    """
    genesis = three.nodes["n1"].core.genesis
    three.add("n4", genesis)
    join_all(three, ("n1", "n4"))
    three.pass_time(5)
    crash(three, "n4")
    gone(three)
    assert isinstance(evict(three, "n2", "n4", request=90), Done)
    assert isinstance(evict(three, "n2", "n3", request=91), Done)
    three.pass_time(120)
    assert three.nodes["n1"].core.governance.evicted == ()
    back = three.add("n4", genesis, counter=2)
    assert "n3" in names_of(back), "it remembers whom the others forgot"
    three.link("n4", first)
    three.pass_time(10)
    for name in ("n1", "n2"):
        three.link("n4", name)
    three.pass_time(30)
    return back


def test_a_returner_brings_nobody_back_whom_the_others_have_forgotten(three: Bench) -> None:
    """F22: what it holds of others is from a past that nobody shares any more."""
    dead = three.nodes["n3"].me
    returner(three)
    assert any("caught up" in reason for who, reason in three.closed if who == "n4")
    for node in three.nodes.values():
        assert names_of(node) == {"n1", "n2", "n4"}
        assert "directory" not in node.core.replica.channels_of(dead)
        assert node.lookup_name("db", three.now) == ()
        assert node.get(CHANNEL, b"web") == b"80"


@pytest.mark.parametrize("rule", ["gate", "discard"])
def test_each_rule_about_returners_is_needed(
    three: Bench, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutation: without the gate, or without discarding, the forgotten member is back."""
    if rule == "gate":
        monkeypatch.setattr(Governing, "admits", lambda self, header, _link: self.counts(header))
    else:
        monkeypatch.setattr(Governing, "is_late", lambda *_: False)
    returner(three, "n2")
    assert any("n3" in names_of(node) for node in three.nodes.values())


def test_a_member_that_said_goodbye_goes_by_itself_after_a_while(three: Bench) -> None:
    assert isinstance(three.give("n3", events.Leave(5)), Done)
    crash(three, "n3")
    three.pass_time(council.LEFT_KEEP_S + 30)
    for name in ("n1", "n2"):
        assert names_of(three.nodes[name]) == {"n1", "n2"}
        assert three.nodes[name].get(CHANNEL, b"web") == b"80"


def test_nobody_goes_by_itself_while_a_member_is_away(three: Bench) -> None:
    """The one that is away may hold writes of the departed that nobody else has."""
    assert isinstance(three.give("n3", events.Leave(5)), Done)
    crash(three, "n3")
    crash(three, "n2")
    three.pass_time(council.LEFT_KEEP_S + 60)
    assert names_of(three.nodes["n1"]) == {"n1", "n2", "n3"}


def test_guardians_grow_to_three_and_the_cluster_outlives_its_founder(three: Bench) -> None:
    three.pass_time(council.STAY_S + 30)
    sets = {name: node.core.log.guardians for name, node in three.nodes.items()}
    assert {len(each.members) for each in sets.values()} == {3}
    assert len(set(sets.values())) == 1
    crash(three, "n1")
    three.pass_time(DEAD_S)
    assert isinstance(evict(three, "n2", "n1"), Done)
    three.pass_time(5)
    assert names_of(three.nodes["n3"]) == {"n2", "n3"}


@pytest.mark.parametrize("after_s", [5, SIGNED_S])
def test_decisions_outlive_restarts(three: Bench, after_s: float) -> None:
    """Before the adopter has signed, and after it."""
    gone(three)
    evict(three, "n2", "n3")
    three.pass_time(after_s)
    genesis = three.nodes["n1"].core.genesis
    for name in ("n1", "n2"):
        crash(three, name)
    for name in ("n1", "n2"):
        three.add(name, genesis, counter=2)
    for name in ("n1", "n2"):
        node = three.nodes[name]
        assert names_of(node) == {"n1", "n2"}
        assert node.get(CHANNEL, b"web") == b"80"
        assert len(node.core.governance.adoptions) == 1


def test_a_malformed_word_about_decisions_closes_the_link(three: Bench) -> None:
    from meshcrdt.node.events import FrameReceived
    from meshcrdt.node.messages import GOVERNED
    from meshcrdt.wire import encode_frame

    link = next(link for owner, link in three.wires if owner == "n1")
    three.give("n1", FrameReceived(link, encode_frame([(GOVERNED, -1)])))
    assert any("governed.stamp" in reason for _, reason in three.closed)


# --- what must not be lost -------------------------------------------------------------------


def test_what_an_adopter_kept_outlives_the_adopter_too(three: Bench) -> None:
    """Its successor has signed nothing yet when the decision comes: nobody drops the records."""
    dead = gone(three)
    assert isinstance(evict(three, "n2", "n3"), Done)
    three.pass_time(SIGNED_S)
    gone(three, "n2")
    assert isinstance(evict(three, "n1", "n2", request=101), Done)
    three.pass_time(5)
    n1 = three.nodes["n1"]
    assert n1.get(CHANNEL, b"web") == b"80"
    adoption = n1.core.governance.adoption(dead.me)
    assert adoption.adopter == n1.me
    assert n1.core.replica.head(CHANNEL, dead.me).epoch.counter < adoption.floor
    three.pass_time(SIGNED_S)
    assert n1.get(CHANNEL, b"web") == b"80"
    assert n1.core.replica.head(CHANNEL, dead.me).epoch.counter == adoption.floor
    late = three.add("n5", n1.core.genesis)
    for _ in range(2):  # what is decided first; then, on a new link, everything else
        three.link("n5", "n1")
        three.pass_time(5)
    assert late.get(CHANNEL, b"web") == b"80"


def test_an_adopter_that_has_heard_of_no_records_does_not_end_them(bench: Bench) -> None:
    """n1 decides, adopts and speaks, and holds nothing of n3 until it hears from n2."""
    found_three(bench)
    bench.pass_time(5)
    for owner, link in [end for end in bench.wires if end[0] == "n1"]:
        bench.unplug(owner, link)
    assert isinstance(bench.give("n3", events.Put(1, CHANNEL, b"web", b"80")), Written)
    bench.pass_time(2)
    gone(bench)
    assert isinstance(evict(bench, "n1", "n3"), Done)
    bench.pass_time(60)
    bench.link("n1", "n2")
    bench.pass_time(60)
    for node in bench.nodes.values():
        assert node.get(CHANNEL, b"web") == b"80"


def adopter_cut_off(bench: Bench) -> None:
    """n1 decides and adopts at a state that is older than the acknowledged one n2 holds."""
    found_three(bench)
    for request, key in enumerate((b"old", b"bad"), start=1):
        assert isinstance(bench.give("n3", events.Put(request, CHANNEL, key, b"1")), Written)
    bench.pass_time(5)
    for owner, link in [end for end in bench.wires if end[0] == "n1"]:
        bench.unplug(owner, link)
    assert isinstance(bench.give("n3", events.Put(3, CHANNEL, b"web", b"80")), Written)
    assert isinstance(bench.give("n3", events.Delete(4, CHANNEL, b"bad")), Written)
    bench.pass_time(2)
    gone(bench)
    assert isinstance(evict(bench, "n1", "n3"), Done)
    bench.pass_time(20)
    bench.link("n1", "n2")
    bench.pass_time(2 * SIGNED_S)


def test_an_adopter_that_was_cut_off_outranks_no_acknowledged_write(bench: Bench) -> None:
    """It signs once nobody may hold more than it does: neither a write nor a removal is lost."""
    adopter_cut_off(bench)
    for node in bench.nodes.values():
        assert node.get(CHANNEL, b"old") == b"1"
        assert node.get(CHANNEL, b"web") == b"80"
        assert node.get(CHANNEL, b"bad") is None
        (adoption,) = node.core.governance.adoptions
        header = node.core.replica.head(CHANNEL, adoption.origin)
        assert header.epoch.counter == adoption.floor, "and then it does sign"


def test_signing_at_once_would_lose_what_the_adopter_has_not_heard_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutation: every adoption may be signed from the moment on that it is decided."""

    def sign_at_once(chamber: Chamber, core: Core, *_: object) -> None:
        for adoption in core.governance.adoptions:
            if adoption.adopter == chamber._node.me:
                core.replica.sign_for(adoption.origin)

    monkeypatch.setattr(Chamber, "_sign", sign_at_once)
    adopter_cut_off(bench)
    assert {node.get(CHANNEL, b"web") for node in bench.nodes.values()} == {None}


def test_nobody_signs_for_a_member_that_came_back(three: Bench) -> None:
    """It is back before its adopter has signed anything: it speaks for itself, and alone."""
    gone(three)
    assert isinstance(evict(three, "n2", "n3"), Done)
    three.pass_time(5)
    back = three.add("n3", three.nodes["n1"].core.genesis, counter=2)
    join_all(three, ("n3", "n1", "n2"))
    three.pass_time(2 * SIGNED_S)
    for node in three.nodes.values():
        assert node.get(CHANNEL, b"web") == b"80"
        assert node.core.replica.head(CHANNEL, back.me).epoch.counter == 1, "as it left it"
        assert node.core.governance.adoptions == (), "it is ended, for nothing counts by it"
    assert isinstance(three.give("n3", events.Put(9, CHANNEL, b"api", b"81")), Written)
    three.pass_time(5)
    for node in three.nodes.values():
        assert (node.get(CHANNEL, b"web"), node.get(CHANNEL, b"api")) == (b"80", b"81")
        assert node.core.replica.head(CHANNEL, back.me).epoch == back.epoch


def test_an_adoption_by_which_records_count_outlives_the_return_of_the_member(
    three: Bench,
) -> None:
    """It is back with the store of long ago: what its adopter signed since is what it has."""
    gone(three)
    assert isinstance(evict(three, "n2", "n3"), Done)
    three.pass_time(SIGNED_S)
    dead = three.nodes["n2"].core.governance.adoptions[0].origin
    assert three.nodes["n2"].core.replica.needless_adoptions({dead}) == frozenset()
    back = three.add("n3", three.nodes["n1"].core.genesis, counter=2)
    join_all(three, ("n3", "n1", "n2"))
    three.pass_time(2 * SIGNED_S)
    for node in three.nodes.values():
        assert names_of(node) == {"n1", "n2", "n3"}
        assert node.get(CHANNEL, b"web") == b"80"
        head = node.core.replica.head(CHANNEL, back.me)
        grants = node.core.governance.adoptions
        assert (head.epoch == back.epoch) == (grants == ())


def test_who_only_wrote_down_a_decision_may_go_without_it(three: Bench) -> None:
    """A newcomer needs every change of the guardians, and the founder told of all of them."""
    three.pass_time(council.STAY_S + 30)
    genesis = three.nodes["n1"].core.genesis
    three.add("n4", genesis)
    three.link("n4", "n2")
    three.pass_time(5)
    crash(three, "n4")  # so that nothing is pruned
    gone(three, "n1")
    assert isinstance(evict(three, "n2", "n1"), Done)
    three.pass_time(5)
    for name in ("n2", "n3"):
        crash(three, name)
    for name in ("n2", "n3"):
        three.add(name, genesis, counter=2)
    three.link("n2", "n3")
    three.pass_time(5)
    newcomer = three.add("n5", genesis)
    three.link("n5", "n2")
    three.pass_time(10)
    assert newcomer.core.log.stamp == three.nodes["n2"].core.log.stamp > 0


def test_with_no_room_for_proposals_the_speaker_waits(
    three: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone(three)
    registers = three.nodes["n1"].core.registers
    monkeypatch.setattr(registers, "received", lambda *_: [])  # nobody answers
    for index in range(PROPOSALS_MAX):
        three.give("n1", events.Evict(200 + index, "n3", events.Force.NO, three.now + 100))
    monkeypatch.setattr(
        three.nodes["n1"].chamber, "_due", lambda *_: lambda _body, _set: Impossible("never")
    )
    three.pass_time(2 * council.CARE_EVERY_S)
    assert registers.statistics().proposals == PROPOSALS_MAX


def test_a_member_that_claims_the_last_epoch_is_not_evicted_above_it() -> None:
    claimed = INT_MAX - 1
    refused = evict_from(NOTHING, stamp=1, peer=PEER, epoch_counter=claimed, adopter=PEER)
    assert isinstance(refused, str)
    assert str(claimed) in refused
