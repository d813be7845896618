"""A disk that goes back in time, as a restored virtual machine's does, beside a live peer.

Named regressions: what was given from the blocks of the lost store is never given again
once a peer was met, and the cluster converges.
"""

from __future__ import annotations

import copy

import pytest

from meshcrdt.ipam.outcomes import Allocated
from meshcrdt.node import events
from meshcrdt.sim import Scenario, World, checkers

SNAPSHOT_AT_S = 60.0
ROLLBACK_AT_S = 120.0
MEETING_S = 20.0
END_S = 300.0


class Story:
    """Three hosts; the disk of the last is set back, and its new life is asked for addresses."""

    def __init__(self, seed: int) -> None:
        self.world = World(Scenario(seed=seed, nodes=3, duration_s=END_S))
        self.host = self.world.hosts[2]
        self.given: dict[int, str] = {}
        self.again: list[str] = []
        self._next = 10_000
        self.host.on_reply = self._reply
        # What happens on the way counts as a violation for honest disks: not here.
        for host in self.world.hosts:
            host.on_step = lambda _host, _step: None

    def run(self) -> None:
        clock = self.world.clock
        for index, host in enumerate(self.world.hosts):
            clock.at(index * 0.2, host.start)
        for second in range(10, int(END_S) - 40, 2):
            if not ROLLBACK_AT_S <= second < ROLLBACK_AT_S + MEETING_S:
                clock.at(float(second), self._allocate)
        clock.at(SNAPSHOT_AT_S, self._snapshot)
        # A process that started after the snapshot is known to the others by its epoch.
        clock.at(SNAPSHOT_AT_S + 5, self._restart)
        clock.at(ROLLBACK_AT_S, self._roll_back)
        clock.run_until(END_S)

    def _allocate(self) -> None:
        if self.host.node is not None:
            self._next += 1
            workload = f"w{self._next}"
            deadline = self.world.clock.now + 10
            self.host.command(events.Allocate(self._next, workload, None, deadline))

    def _reply(self, host: object, reply: object) -> None:
        outcome = reply.outcome  # type: ignore[attr-defined]
        assert isinstance(outcome, Allocated), outcome
        if outcome.address in self.given.values():
            self.again.append(outcome.address)
        self.given[reply.request] = outcome.address  # type: ignore[attr-defined]

    def _snapshot(self) -> None:
        self.tables = copy.deepcopy(self.host.disk.tables)

    def _restart(self) -> None:
        self.host.crash()
        self.host.start()

    def _roll_back(self) -> None:
        self.host.crash()
        self.host.disk.tables = copy.deepcopy(self.tables)
        self.host.start()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_given_twice_after_a_rollback_that_a_peer_saw(seed: int) -> None:
    story = Story(seed)
    story.run()
    node = story.host.node
    assert node is not None
    assert node.rollbacks_seen
    assert len(story.given) > 80
    assert story.again == []
    assert checkers.converged(story.world.hosts)
    for host in story.world.hosts:
        assert checkers.check_whole(host) == []
    assert checkers.check_addresses(story.world.hosts) == []
