"""The switchboard: every output has one home, and a home that raises spoils nothing after it."""

import pytest

from meshcrdt.errors import CapacityError, InternalError, UsageError
from meshcrdt.ipam.outcomes import Allocated
from meshcrdt.node import events
from meshcrdt.node.outcomes import Failed, FailureKind


@pytest.mark.parametrize("error", [CapacityError, UsageError])
def test_a_home_that_refuses_an_output_is_a_defect_and_no_answer_of_the_caller(
    bench, monkeypatch, error
):
    node = bench.add("n1", bench.genesis())

    def full(_request):
        raise error("no room")

    with monkeypatch.context() as patched:
        patched.setattr(node.patience, "wait", full)
        with pytest.raises(InternalError, match="Answer refused it: no room"):
            node.handle(events.Allocate(1, "w", None, bench.now + 5), bench.now)
    # The queue is not wedged: what comes next is carried, and the refused output is not.
    outcome = bench.give("n1", events.Allocate(2, "w2", None, bench.now + 5))
    assert isinstance(outcome, Allocated)
    assert ("n1", 1) not in bench.replies


def test_an_output_without_a_home_is_a_defect_and_named(bench):
    node = bench.add("n1", bench.genesis())
    with pytest.raises(InternalError, match="no home for the output str"):
        node.presence._wiring.run(["stray"], bench.now)


def test_what_a_machine_itself_refuses_stays_a_typed_answer(bench):
    bench.add("n1", bench.genesis())
    refused = bench.give("n1", events.Allocate(1, "w", "no subnet", bench.now + 5))
    assert isinstance(refused, Failed)
    assert refused.kind is FailureKind.USAGE
