import pytest

from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import Limits
from meshcrdt.errors import CapacityError, CorruptStore, UsageError
from meshcrdt.ipam import (
    Allocated,
    Claimed,
    Draining,
    Exhausted,
    Frozen,
    Publish,
    Recovering,
    Refused,
    Released,
    TimedOut,
    Unreachable,
    audit,
)
from meshcrdt.ipam.desk import Need
from meshcrdt.ipam.ledger import REQUESTS_REMEMBERED_MAX
from meshcrdt.ipam.trie import Trie


def test_ipam_same_workload_same_address(make_cluster):
    cluster = make_cluster()
    assert cluster.allocate(0, "pod-1") == Allocated("10.47.192.0/12")
    assert cluster.allocate(0, "pod-2") == Allocated("10.47.192.1/12")
    assert cluster.allocate(0, "pod-1") == Allocated("10.47.192.0/12")
    assert cluster.ipams[0].lookup("pod-1") == ("10.47.192.0/12",)
    assert cluster.ipams[0].entries() == {
        "pod-1": ("10.47.192.0/12",),
        "pod-2": ("10.47.192.1/12",),
    }
    cluster.check()
    assert audit(cluster.ipams) == []


def test_ipam_one_address_of_each_family(make_cluster):
    cluster = make_cluster()
    ipv4, ipv6 = cluster.ipams[0].universes
    first = cluster.allocate(0, "pod", ipv4)
    second = cluster.allocate(0, "pod", ipv6)
    assert first == Allocated("10.47.192.0/12")
    assert isinstance(second, Allocated)
    assert second.address.startswith("fd")
    assert second.address.endswith("/48")
    assert cluster.ipams[0].lookup("pod") == (first.address, second.address)


def test_ipam_starters_follow_the_policy(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=3)
    owned = [ipam.statistics().universes[0].owned for ipam in cluster.ipams]
    assert owned[0] == 16_384
    # The pool is no longer empty: the fair share is rounded down to a power of two.
    assert owned[1:] == [8_192, 8_192]
    assert make_cluster("10.2.0.0/16").ipams[0].statistics().universes[0].owned == 1_024


def test_ipam_subnet_has_its_own_network_and_broadcast_addresses(make_cluster):
    cluster = make_cluster("10.32.0.0/12")
    given = [cluster.allocate(0, f"pod-{n}", "10.32.0.8/30") for n in range(3)]
    assert given[:2] == [Allocated("10.32.0.9/30"), Allocated("10.32.0.10/30")]
    assert isinstance(given[2], Exhausted)
    assert "10.32.0.8/30" in given[2].reason
    assert cluster.allocate(0, "pod-0", "10.32.0.8/30") == given[0]
    # Another subnet is another address of the same workload.
    assert cluster.allocate(0, "pod-0") == Allocated("10.47.192.0/12")


def test_ipam_a_subnet_is_shared_by_all_hosts(make_cluster):
    """Starters leave the start of a universe alone, and a subnet is carved in small blocks."""
    cluster = make_cluster("10.32.0.0/16", count=4)
    given = [cluster.allocate(n % 4, f"pod-{n}", "10.32.1.0/24") for n in range(80)]
    assert all(isinstance(outcome, Allocated) for outcome in given)
    assert all(outcome.address.startswith("10.32.1.") for outcome in given)
    assert len({outcome.address for outcome in given}) == 80
    assert audit(cluster.ipams) == []
    for n in range(4):
        plain = cluster.allocate(n, f"plain-{n}")
        assert not plain.address.startswith("10.32.1.")


@pytest.mark.parametrize("subnet", ["10.99.0.0/24", "10.0.0.0/8", "x", "10.32.0.1/24", "fd01::/64"])
def test_ipam_bad_subnet_is_a_usage_error_that_names_it(make_cluster, subnet):
    cluster = make_cluster("10.32.0.0/12")
    with pytest.raises(UsageError) as caught:
        cluster.allocate(0, "pod", subnet)
    assert subnet in str(caught.value)
    assert cluster.ipams[0].statistics().pending == 0


@pytest.mark.parametrize("workload", ["", "a\nb", "x" * 2000])
def test_ipam_bad_workload_id_is_a_usage_error(make_cluster, workload):
    cluster = make_cluster("10.32.0.0/12")
    for call in (cluster.allocate, cluster.release):
        with pytest.raises(UsageError):
            call(0, workload)
    with pytest.raises(UsageError):
        cluster.claim(0, workload, "10.32.0.1")


def test_ipam_full_range_is_exhausted_and_names_it(make_cluster):
    cluster = make_cluster("10.5.0.0/29")
    given = [cluster.allocate(0, f"w{n}") for n in range(7)]
    assert [type(outcome) for outcome in given] == [Allocated] * 6 + [Exhausted]
    assert len({outcome.address for outcome in given[:6]}) == 6
    assert "10.5.0.0/29 is full" in given[6].reason
    assert cluster.ipams[0].statistics().universes[0].used == 6
    assert audit(cluster.ipams) == []


def test_ipam_tiny_universe_is_usable_whole(make_cluster):
    cluster = make_cluster("10.5.0.4/31")
    assert {cluster.allocate(0, w).address for w in "ab"} == {"10.5.0.4/31", "10.5.0.5/31"}


def test_ipam_released_address_cools_down_then_comes_back(make_cluster):
    cluster = make_cluster("10.5.0.0/30")
    first = cluster.allocate(0, "a")
    second = cluster.allocate(0, "b")
    assert cluster.release(0, "a") == Released((first.address,))
    assert cluster.release(0, "a") == Released(())
    refused = cluster.allocate(0, "c")
    assert isinstance(refused, Exhausted)
    assert "1 of them cooling down" in refused.reason
    hot = cluster.claim(0, "c", first.address)
    assert isinstance(hot, Refused)
    assert "cools down for 60 s" in hot.reason
    cluster.advance(59.0)
    assert isinstance(cluster.allocate(0, "c"), Exhausted)
    cluster.advance(2.0)
    assert cluster.allocate(0, "c") == first
    assert cluster.allocate(0, "b") == second
    cluster.check()


def test_ipam_cooldown_survives_a_restart(make_cluster):
    cluster = make_cluster("10.5.0.0/30")
    first = cluster.allocate(0, "a")
    cluster.allocate(0, "b")
    cluster.release(0, "a")
    cluster.restart(0)
    assert isinstance(cluster.allocate(0, "c"), Exhausted)
    cluster.advance(61.0)
    assert cluster.allocate(0, "c") == first


def test_ipam_next_fit_does_not_give_what_was_just_freed(make_cluster):
    cluster = make_cluster("10.32.0.0/12", limits=Limits(reuse_cooldown_s=0.0))
    cluster.allocate(0, "a")
    cluster.release(0, "a")
    assert cluster.allocate(0, "b") == Allocated("10.47.192.1/12")
    assert cluster.claim(0, "c", "10.47.192.0") == Claimed("10.47.192.0/12")


def test_ipam_release_of_one_address_leaves_the_others(make_cluster):
    cluster = make_cluster("10.32.0.0/12")
    cluster.claim(0, "a", "10.32.0.5")
    cluster.claim(0, "a", "10.32.0.6")
    assert cluster.release(0, "a", "10.32.0.5/12") == Released(("10.32.0.5/12",))
    assert cluster.release(0, "a", "10.32.0.7") == Released(())
    assert cluster.release(0, "b", "10.32.0.6") == Released(())
    assert cluster.ipams[0].lookup("a") == ("10.32.0.6/12",)
    with pytest.raises(UsageError, match="nonsense"):
        cluster.release(0, "a", "nonsense")


# --- claims ---------------------------------------------------------------------------------


def test_ipam_claim_from_own_block_and_again(make_cluster):
    cluster = make_cluster("10.32.0.0/12")
    assert cluster.claim(0, "a", "10.32.1.7") == Claimed("10.32.1.7/12")
    assert cluster.claim(0, "a", "10.32.1.7") == Claimed("10.32.1.7/12")
    assert cluster.allocate(0, "a") == Allocated("10.32.1.7/12")
    assert cluster.claim(0, "b", "10.32.1.8/24") == Claimed("10.32.1.8/24")
    refused = cluster.claim(0, "b", "10.32.1.7")
    assert refused == Refused("10.32.1.7 is in use by a", "a")


@pytest.mark.parametrize("first", ["allocate", "claim"])
def test_ipam_a_claim_never_changes_what_a_workload_is_given(make_cluster, first):
    # Found by seeds 0 to 3 of the swarm: a lower address that was claimed took the place.
    cluster = make_cluster("10.32.0.0/12")
    if first == "claim":
        cluster.claim(0, "a", "10.47.192.9")
    given = cluster.allocate(0, "a")
    assert cluster.claim(0, "a", "10.32.1.7") == Claimed("10.32.1.7/12")
    assert cluster.allocate(0, "a") == given
    cluster.restart(0)
    assert cluster.allocate(0, "a") == given
    cluster.release(0, "a", given.address)
    assert cluster.allocate(0, "a") == Allocated("10.32.1.7/12")


def test_ipam_claim_from_the_pool_carves_the_covering_block(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2)
    assert cluster.claim(1, "a", "10.40.1.7") == Claimed("10.40.1.7/12")
    assert audit(cluster.ipams) == []
    assert any(b.cidr.contains_address(4, 0x0A280107) for b in cluster.ipams[1].blocks)


@pytest.mark.parametrize("gossip", [False, True])
def test_ipam_claim_of_another_peers_address_names_the_peer(make_cluster, gossip):
    cluster = make_cluster("10.32.0.0/12", count=2)
    if gossip:
        cluster.gossip()
    refused = cluster.claim(1, "a", "10.47.192.7")
    assert isinstance(refused, Refused)
    assert refused.holder == cluster.identities[0].peer.hex()
    assert cluster.ipams[1].statistics().carves == 0


def test_ipam_a_subnet_never_gives_its_universes_network_or_broadcast(make_cluster):
    cluster = make_cluster("10.32.0.0/12")
    assert cluster.allocate(0, "a", "10.32.0.0/31") == Allocated("10.32.0.1/31")
    assert isinstance(cluster.allocate(0, "b", "10.32.0.0/31"), Exhausted)
    assert cluster.allocate(0, "c", "10.47.255.254/31") == Allocated("10.47.255.254/31")
    assert isinstance(cluster.allocate(0, "d", "10.47.255.254/31"), Exhausted)
    with pytest.raises(UsageError, match=r"10\.32\.0\.0/32"):
        cluster.allocate(0, "e", "10.32.0.0/32")


def test_ipam_claims_too_end_at_allocations_max_which_is_named(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2, limits=Limits(allocations_max=2))
    cluster.claim(1, "elsewhere", "10.41.0.1")
    assert cluster.claim(0, "a", "10.40.0.1") == Claimed("10.40.0.1/12")
    assert cluster.claim(0, "b", "10.40.0.2") == Claimed("10.40.0.2/12")
    written = len(cluster.published)
    full = Exhausted(
        "this node holds 2 addresses, those that cool down included: allocations_max is 2"
    )
    for address in ("10.40.0.3", "10.42.0.1"):  # in an own block, and of the pool
        assert cluster.claim(0, "c", address) == full
    assert cluster.allocate(0, "c") == full
    assert len(cluster.published) == written
    # What says more than the limit does, or takes no further row, goes on.
    assert isinstance(cluster.claim(0, "c", "10.40.0.1"), Refused)
    assert cluster.claim(0, "a", "10.40.0.1") == Claimed("10.40.0.1/12")
    cluster.release(0, "b")
    assert cluster.claim(0, "c", "10.40.0.3") == full
    assert cluster.claim(0, "b", "10.40.0.2") == Claimed("10.40.0.2/12")
    cluster.check()


def test_ipam_claim_outside_every_universe_names_them(make_cluster):
    cluster = make_cluster("10.32.0.0/12", "fd00::/64")
    refused = cluster.claim(0, "a", "192.168.1.1")
    assert isinstance(refused, Refused)
    assert "10.32.0.0/12, fd00::/64" in refused.reason
    assert refused.holder is None
    for text in ("10.32.0.0", "10.47.255.255", "10.32.4.255/24", "10.32.4.0/24"):
        reserved = cluster.claim(0, "a", text)
        assert isinstance(reserved, Refused), text
        assert "network or broadcast" in reserved.reason
    for text in ("10.32.0", "10.32.0.1/x", "10.32.0.1/8", "10.32.0.1/99"):
        with pytest.raises(UsageError, match=r"10\.32\.0"):
            cluster.claim(0, "a", text)


# --- deadlines ------------------------------------------------------------------------------


def test_ipam_guardian_out_of_reach_is_unreachable_at_the_deadline(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    guardian = cluster.identities[0].peer
    own = cluster.ipams[1].statistics().universes[0]
    cluster.reachable = False
    for n in range(own.free):
        assert isinstance(cluster.allocate(1, f"w{n}"), Allocated)
    assert cluster.allocate(1, "more") is None
    waiting = cluster.request
    cluster.advance(4.9)
    assert waiting not in cluster.outcomes
    cluster.advance(0.2)
    outcome = cluster.outcomes[waiting]
    assert isinstance(outcome, Unreachable)
    assert guardian.hex() in outcome.reason
    assert "no route" in outcome.reason
    assert "10.5.0.0/24" in outcome.reason


def test_ipam_a_waiting_call_is_served_when_the_guardian_is_back(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    cluster.reachable = False
    while cluster.allocate(1, f"w{cluster.request}") is not None:
        pass
    waiting = cluster.request
    cluster.reachable = True
    cluster.advance(1.5)
    assert isinstance(cluster.outcomes[waiting], Allocated)
    assert audit(cluster.ipams) == []


def test_ipam_nudge_asks_again_at_once(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    cluster.reachable = False
    while cluster.allocate(1, f"w{cluster.request}") is not None:
        pass
    waiting = cluster.request
    cluster.advance(3.0)
    cluster.reachable = True
    cluster.run(1, cluster.ipams[1].nudge(cluster.now))
    assert isinstance(cluster.outcomes[waiting], Allocated)


def test_ipam_same_workload_waiting_twice_gets_one_address(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    cluster.reachable = False
    while cluster.allocate(1, f"w{cluster.request}") is not None:
        pass
    assert cluster.allocate(1, f"w{cluster.request - 1}") is None
    first, second = cluster.request - 1, cluster.request
    cluster.reachable = True
    cluster.advance(2.0)
    assert cluster.outcomes[first] == cluster.outcomes[second]
    assert isinstance(cluster.outcomes[first], Allocated)


def test_ipam_before_ready_calls_wait_and_end_as_recovering(make_cluster):
    cluster = make_cluster("10.5.0.0/24")
    cluster.ipams[0] = cluster.boot(0)
    assert cluster.allocate(0, "a") is None
    cluster.advance(6.0)
    assert isinstance(cluster.outcomes[cluster.request], Recovering)
    assert cluster.allocate(0, "a") is None
    cluster.run(0, cluster.ipams[0].ready(cluster.now))
    assert cluster.outcomes[cluster.request] == Allocated("10.5.0.252/24")


def test_ipam_guardian_that_is_loading_puts_orders_off(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    cluster.ipams[0] = cluster.boot(0)
    before = len(cluster.published)
    while cluster.allocate(1, f"w{cluster.request}") is not None:
        pass
    waiting = cluster.request
    cluster.advance(5.5)
    assert len(cluster.published) == before
    assert isinstance(cluster.outcomes[waiting], Recovering)


def test_ipam_a_guardian_that_was_loading_and_fell_silent_is_unreachable(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2)
    cluster.ipams[0] = cluster.boot(0)
    assert cluster.claim(1, "a", "10.40.0.1") is None
    cluster.advance(2.0)
    cluster.reachable = False
    cluster.advance(3.1)
    assert isinstance(cluster.outcomes[cluster.request], Unreachable)


def test_ipam_draining_ends_calls_and_still_releases(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    held = cluster.allocate(1, "kept")
    cluster.reachable = False
    while cluster.allocate(1, f"w{cluster.request}") is not None:
        pass
    waiting = cluster.request
    cluster.run(1, cluster.ipams[1].drain(cluster.now))
    assert isinstance(cluster.outcomes[waiting], Draining)
    assert isinstance(cluster.allocate(1, "late"), Draining)
    assert isinstance(cluster.claim(1, "late", "10.5.0.9"), Draining)
    assert cluster.release(1, "kept") == Released((held.address,))
    cluster.check()


def test_ipam_release_ends_the_allocation_that_waits(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2)
    cluster.reachable = False
    while cluster.allocate(1, f"w{cluster.request}") is not None:
        pass
    waiting = cluster.request
    cluster.release(1, f"w{waiting - 1}")
    assert isinstance(cluster.outcomes[waiting], TimedOut)


def test_ipam_thousands_of_waiting_claims_are_told_apart_without_comparing_each_pair(
    make_cluster, monkeypatch
):
    cluster = make_cluster("10.32.0.0/12", count=2)
    cluster.reachable = False
    for n in range(300):
        assert cluster.claim(1, "w", f"10.40.{n // 200}.{n % 200 + 1}") is None
    compared = 0
    same = Need.__eq__

    def counted(self, other):
        nonlocal compared
        compared += 1
        return same(self, other)

    monkeypatch.setattr(Need, "__eq__", counted)
    cluster.run(1, cluster.ipams[1].nudge(cluster.now))
    assert compared < 300
    assert cluster.ipams[1].statistics().pending == 300


def test_ipam_release_ends_the_claims_that_wait(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2)
    cluster.reachable = False
    waiting = {}
    for address in ("10.40.0.1", "10.41.0.1", "10.42.0.1"):
        assert cluster.claim(1, "a", address) is None
        waiting[address] = cluster.request
    cluster.release(1, "a", "10.41.0.1")
    assert waiting["10.40.0.1"] not in cluster.outcomes
    assert isinstance(cluster.outcomes[waiting["10.41.0.1"]], TimedOut)
    cluster.release(1, "b")
    assert waiting["10.40.0.1"] not in cluster.outcomes
    cluster.release(1, "a")
    assert isinstance(cluster.outcomes[waiting["10.40.0.1"]], TimedOut)
    assert isinstance(cluster.outcomes[waiting["10.42.0.1"]], TimedOut)
    cluster.check()


def test_ipam_waiting_calls_are_bounded(make_cluster):
    cluster = make_cluster("10.5.0.0/24", count=2, limits=Limits(allocate_pending_max=2))
    cluster.reachable = False
    for _ in range(2):
        while cluster.allocate(1, f"w{cluster.request}") is not None:
            pass
    with pytest.raises(CapacityError, match="allocate_pending_max"):
        cluster.allocate(1, "one-more")
    assert cluster.ipams[1].statistics().pending == 2


# --- the guardian ---------------------------------------------------------------------------


def test_ipam_guardian_answers_only_what_is_published(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2)
    cluster.hold_publish = True
    assert cluster.claim(1, "a", "10.40.0.1") is None
    publish = cluster.published[-1]
    # Asked again meanwhile: neither a second change nor an answer.
    cluster.advance(2.0)
    assert cluster.published[-1] is publish
    cluster.publish(0, publish)
    assert cluster.outcomes[cluster.request] == Claimed("10.40.0.1/12")


def test_ipam_restarted_guardian_gives_a_retry_the_same_block(make_cluster, monkeypatch):
    cluster = make_cluster("10.32.0.0/12", count=2)
    blocks = cluster.ipams[1].blocks
    ask = next(out.payload for n, out in cluster.sent if n == 1)
    cluster.restart(0)
    written = len(cluster.published)
    # From the ledger alone: a retry does not cost the guardian a walk over the pool.
    monkeypatch.delattr(Trie, "leaves")
    outputs = cluster.ipams[0].received(cluster.identities[1].peer, ask, cluster.now)
    monkeypatch.undo()
    assert not any(isinstance(output, Publish) for output in outputs)
    assert len(cluster.published) == written
    assert outputs[0].payload[2] == blocks[0].encode()
    assert audit(cluster.ipams) == []


def test_ipam_requester_that_fell_before_it_stored_asks_the_same_again(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2)
    cluster.hold_publish = True
    assert cluster.claim(1, "a", "10.40.0.1") is None
    cluster.reachable = False
    cluster.publish(0, cluster.published[-1])
    cluster.hold_publish = False
    cluster.reachable = True
    cluster.restart(1)
    assert cluster.claim(1, "a", "10.40.0.1") == Claimed("10.40.0.1/12")
    assert audit(cluster.ipams) == []
    assert cluster.ipams[1].statistics().carves == 0


def test_ipam_an_order_in_another_peers_name_is_ignored(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=3)
    ask = next(out.payload for n, out in cluster.sent if n == 1)
    assert cluster.ipams[0].received(cluster.identities[2].peer, ask, cluster.now) == []


def test_ipam_a_block_without_a_valid_proof_is_not_taken(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2)
    cluster.hold_publish = True
    cluster.claim(1, "a", "10.40.0.1")
    ask = [out.payload for n, out in cluster.sent if n == 1][-1]
    other = make_cluster("10.32.0.0/12", "fd00::/64", count=2)
    foreign = next(block for block in other.ipams[1].blocks)
    cluster.run(
        1,
        cluster.ipams[1].received(
            cluster.identities[0].peer, (81, ask[1], foreign.encode()), cluster.now
        ),
    )
    assert "refused" in cluster.notices[-1].text
    assert len(cluster.ipams[1].blocks) == 1


@pytest.mark.parametrize(
    "payload", [None, (), (80,), (80, 1, 2, 3, 4), (99, b"x"), (82, None, 1, None)]
)
def test_ipam_malformed_payload_is_a_notice(make_cluster, payload):
    cluster = make_cluster("10.32.0.0/12")
    cluster.run(0, cluster.ipams[0].received(cluster.identities[0].peer, payload, cluster.now))
    assert cluster.notices[-1].level == "warning"


def test_ipam_pool_too_small_gives_the_largest_smaller_block(make_cluster):
    cluster = make_cluster("10.5.0.0/28", count=2)
    outcomes = [cluster.allocate(n % 2, f"w{n}") for n in range(14)]
    assert all(isinstance(outcome, Allocated) for outcome in outcomes)
    assert audit(cluster.ipams) == []
    assert isinstance(cluster.allocate(0, "more"), Exhausted)
    assert isinstance(cluster.allocate(1, "more"), Exhausted)


# --- restart and doubt ----------------------------------------------------------------------


def test_ipam_restart_goes_on_from_its_own_rows_alone(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=2)
    before = [cluster.allocate(1, f"w{n}") for n in range(5)]
    cluster.reachable = False
    cluster.stream.clear()
    cluster.restart(1)
    assert [cluster.allocate(1, f"w{n}") for n in range(5)] == before
    after = cluster.allocate(1, "new")
    assert isinstance(after, Allocated)
    assert after not in before
    cluster.check()


def test_ipam_bad_row_is_a_corrupt_store_that_names_the_key(make_cluster):
    cluster = make_cluster("10.32.0.0/12")
    cluster.allocate(0, "a")
    good = dict(cluster.rows[0])
    key = next(key for key in good if key[:1] == b"a")
    for bad in ({**good, key: b"\xff"}, {key: good[key]}, {b"b" + key: good[key]}):
        cluster.rows[0] = bad
        with pytest.raises(CorruptStore, match=r"table 'ipam', key [0-9a-f]+"):
            cluster.boot(0)


def test_ipam_conflicting_owners_freeze_the_block_and_raise_an_alarm(make_cluster):
    """A guardian whose store was rolled back gives a block twice at one stamp."""
    cluster = make_cluster("10.32.0.0/12", count=3)
    twin = make_cluster("10.32.0.0/12", count=3)
    for world, n in ((cluster, 1), (twin, 2)):
        world.claim(n, "first", "10.40.0.1")
    cluster.allocate(1, "kept")
    for key, value in twin.stream.items():
        cluster.run(
            1,
            cluster.ipams[1].register_changed(cluster.identities[0].peer, key, value, cluster.now),
        )
    alarms = [notice.text for notice in cluster.notices if notice.level == "alarm"]
    assert any("10.40.0.0" in text for text in alarms)
    assert any(key[:1] == b"e" for publish in cluster.published for key, _ in publish.puts)
    frozen = cluster.claim(1, "second", "10.40.0.2")
    assert isinstance(frozen, Frozen)
    assert cluster.ipams[1].statistics().suspended
    assert cluster.ipams[1].lookup("first") == ("10.40.0.1/12",)


@pytest.mark.parametrize("n", [0, 1], ids=["lone-guardian", "guardian-elsewhere"])
def test_ipam_a_rolled_back_node_asks_seldom_and_grows_again_in_a_later_epoch(make_cluster, n):
    """More grants were made to a life that its disk forgot than a ledger remembers."""
    cluster = make_cluster("10.32.0.0/12", count=2)
    snapshot = dict(cluster.rows[n])
    cluster.restart(n)
    cluster.restart(n)
    for number in range(REQUESTS_REMEMBERED_MAX + 2):
        assert isinstance(cluster.claim(n, "lost", f"10.40.{number}.1"), Claimed)
    cluster.rows[n] = snapshot
    cluster.boots[n] = 1
    cluster.restart(n)
    said, written = len(cluster.sent), dict(cluster.rows[n])
    assert cluster.claim(n, "a", "10.41.0.1") is None
    cluster.advance(4.0)
    # A try, and few more: every one is an ask and a refusal, and one row for another.
    assert len(cluster.sent) - said <= 12
    assert len(cluster.rows[n]) == len(written) + 1
    cluster.run(n, cluster.ipams[n].distrust())
    cluster.ipams[n].reepoch(Epoch(4, b"reopened"))
    cluster.advance(2.0)
    assert isinstance(cluster.claim(n, "a", "10.41.0.1"), Claimed)
    assert cluster.ipams[n].statistics().carves == 0
    cluster.check()


def test_ipam_owner_is_known_from_the_replicated_trie(make_cluster):
    cluster = make_cluster("10.32.0.0/12", count=3)
    cluster.gossip()
    address = cluster.allocate(1, "a").address
    assert cluster.ipams[2].owner(address) == cluster.identities[1].peer
    assert cluster.ipams[1].owner(address) == cluster.identities[1].peer
    assert cluster.ipams[2].owner("10.47.0.1") is None
