"""Who is here and who is gone: known from what moved, the same as from looking at everybody."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.ids import PeerId
from meshcrdt.node.attendance import Attendance
from meshcrdt.topology.directory import Standing
from meshcrdt.topology.outputs import PeerState

PEERS = [PeerId(bytes([number]) * 16) for number in range(4)]


@frozen
class Record:
    standing: Standing = Standing.IN


@define
class Cluster:
    """A directory and states; changes of either are told to an attendance."""

    states: dict[PeerId, PeerState] = field(factory=dict)
    members: dict[PeerId, Record] = field(factory=dict)
    looks: int = 0

    @property
    def topology(self) -> Cluster:
        return self

    def state(self, peer: PeerId) -> PeerState:
        self.looks += 1
        return self.states.get(peer, PeerState.DEAD)


MOVES = st.tuples(
    st.sampled_from(PEERS),
    st.sampled_from([*PeerState, None]),
    st.sampled_from([*Standing, None]),
    st.booleans(),
)


def known(attendance: Attendance, now: float) -> object:
    everybody = frozenset(PEERS)
    return (
        attendance.alive_of(everybody),
        {peer: attendance.gone_s(peer, now) for peer in PEERS},
    )


def lived(moves: list[Any], attendances: list[Attendance], cluster: Cluster) -> list[list[object]]:
    told: list[list[object]] = []
    members: Any = cluster.members
    for now, (peer, state, standing, is_watched) in enumerate(moves):
        if state is not None:
            cluster.states[peer] = state
        if standing is None:
            cluster.members.pop(peer, None)
        else:
            cluster.members[peer] = Record(standing)
        attendances[0].moved(peer)
        for other in PEERS:
            attendances[1].moved(other)
        if is_watched:
            for attendance in attendances:
                attendance.watch(members, float(now))
            told.append([known(attendance, float(now)) for attendance in attendances])
    return told


def made() -> tuple[Cluster, list[Attendance]]:
    cluster = Cluster()
    node: Any = cluster
    return cluster, [Attendance(node), Attendance(node)]


@given(st.lists(MOVES, max_size=20))
def test_looking_at_what_moved_is_as_good_as_looking_at_everybody(moves: list[Any]) -> None:
    cluster, attendances = made()
    for moved, all_looked_at in lived(moves, attendances, cluster):
        assert moved == all_looked_at


def test_one_who_does_not_say_what_moved_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, attendances = made()
    monkeypatch.setattr(attendances[0], "moved", lambda peer: None)
    alive = (PEERS[0], PeerState.ALIVE, Standing.IN, True)
    dead = (PEERS[0], PeerState.DEAD, Standing.IN, True)
    told = lived([alive, dead], attendances, cluster)
    assert told[0][0] == told[0][1]
    assert told[1][0] != told[1][1]


def test_who_does_not_move_costs_nothing() -> None:
    cluster, (attendance, _) = made()
    members: Any = cluster.members
    for peer in PEERS:
        cluster.states[peer] = PeerState.ALIVE
        cluster.members[peer] = Record()
    attendance.watch(members, 0.0)
    assert cluster.looks == len(PEERS)
    attendance.moved(PEERS[2])
    attendance.watch(members, 1.0)
    attendance.watch(members, 2.0)
    assert cluster.looks == len(PEERS) + 1
