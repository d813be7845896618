"""The barrier: what needs the disk leaves in the turn that confirms it, and nothing else waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.errors import InternalError
from meshcrdt.node.barrier import Barrier
from meshcrdt.node.effects import Persist, Reply, Writable
from meshcrdt.node.events import Connect, Persisted, Put


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans())), st.data())
def test_actions_run_once_in_order_and_never_before_their_rows(turns, data):
    barrier = Barrier()
    ran, expected, stored = [], [], 0
    for number, (rows, waits_for_turn, waits_for_all) in enumerate(turns):
        needs = barrier.watermark + bool(rows)
        if waits_for_turn and rows:
            barrier.when_durable(lambda _now, n=number, m=needs: ran.append((n, m)))
            expected.append((number, needs))
        if waits_for_all:
            barrier.when_all_durable(lambda _now, n=number, m=needs: ran.append((n, m)))
            expected.append((number, needs))
        if not rows:
            for action in barrier.ready():
                action(0.0)
        assert barrier.end_turn(rows) == needs
        barrier.check()
        if data.draw(st.booleans()) and stored < barrier.watermark:
            stored = data.draw(st.integers(stored + 1, barrier.watermark))
            barrier.stored(stored, 0.0)
            barrier.check()
        assert all(needed <= stored for _, needed in ran)
    barrier.stored(barrier.watermark, 0.0)
    assert sorted(ran) == sorted(expected)
    assert barrier.waiting == 0


def test_an_action_without_rows_is_our_own_fault():
    barrier = Barrier()
    barrier.when_durable(print)
    with pytest.raises(InternalError):
        barrier.end_turn(0)


def test_after_a_failure_nothing_is_kept_or_done():
    barrier = Barrier()
    done = []
    barrier.when_durable(done.append)
    barrier.end_turn(1)
    barrier.fail()
    barrier.when_durable(done.append)
    barrier.end_turn(1)
    barrier.stored(barrier.watermark, 0.0)
    assert (barrier.waiting, done) == (0, [])
    barrier.check()


def test_f15_what_needs_the_disk_is_no_effect_before_and_the_rest_does_not_wait(bench):
    genesis = bench.genesis()
    node = bench.add("n1", genesis)
    bench.add("n2", genesis)
    bench.link("n1", "n2")
    now = bench.now
    effects = node.handle(Connect(1, ("tcp://192.0.2.7:1",)), now)
    effects += node.handle(Put(2, "acme/c", b"k", b"v"), now)
    assert not any(isinstance(effect, Reply | Writable) for effect in effects)
    *_, first, second = [e.watermark for e in effects if isinstance(e, Persist)]
    pings = [effect for _ in range(5) for effect in node.handle_timeout(node.next_deadline())]
    assert any(isinstance(effect, Writable) for effect in pings), "liveness waits for no disk"
    assert [e.request for e in node.handle(Persisted(first), now) if isinstance(e, Reply)] == [1]
    done = node.handle(Persisted(second), now)
    assert [e.request for e in done if isinstance(e, Reply)] == [2]
    assert node.statistics().turns_waiting == node.barrier.waiting
