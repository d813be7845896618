"""Traces: what a node did can be done again without its key, and a change of it is seen."""

from __future__ import annotations

import json

import pytest

from meshcrdt.errors import UsageError
from meshcrdt.gossip.replica import Replica
from meshcrdt.sim import Faults, Scenario, World
from meshcrdt.sim.replay import Keyless, KeylessVault, replay
from meshcrdt.sim.scenario import Topology
from meshcrdt.sim.trace import Recorder, TappedVault
from meshcrdt.topology.dialer import Discovery
from meshcrdt.trust.identity import Identity


def recorded(seed: int = 2) -> list[str]:
    lines: list[str] = []
    faults = Faults(loss=0.05, crash_every_s=20.0, down_for_s=2.0)
    world = World(Scenario(seed=seed, nodes=3, duration_s=60.0, command_every_s=0.5, faults=faults))
    world.record(Recorder(lines.append, version="1"))
    assert not world.run().violations
    return lines


LINES = recorded()


def test_a_replay_does_the_same_byte_for_byte() -> None:
    found = replay(LINES)
    assert found.difference is None, found.difference
    assert found.turns == len(LINES) - 1
    assert found.nodes > 3
    assert found.signatures > 10


def test_recording_changes_nothing() -> None:
    faults = Faults(loss=0.05, crash_every_s=20.0, down_for_s=2.0)
    scenario = Scenario(seed=2, nodes=3, duration_s=60.0, command_every_s=0.5, faults=faults)
    world = World(scenario)
    world.record(Recorder(lambda line: None, version="1"))
    assert world.run().trace_hash == World(scenario).run().trace_hash


def test_one_node_can_be_replayed_alone() -> None:
    found = replay(LINES, node="n2")
    assert found.difference is None
    assert 0 < found.turns < len(LINES) - 1
    with pytest.raises(UsageError, match="mine has no node 'n9'"):
        replay(LINES, node="n9", name="mine")


def test_no_trace_holds_a_key() -> None:
    text = "\n".join(LINES)
    world = World(Scenario(seed=2, nodes=3))
    for host in world.hosts:
        assert host.identity.public.hex() in text
        assert host.identity.seed.hex() not in text
        assert host.identity.noise_static.private_bytes_raw().hex() not in text


def test_a_node_that_does_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Replica.received

    def forgetful(self: Replica, link: int, message: tuple, now: float) -> list:
        return honest(self, link, message, now)[:-1]

    monkeypatch.setattr(Replica, "received", forgetful)
    found = replay(LINES)
    assert found.difference is not None
    assert f"line {found.difference.line}, n" in str(found.difference)


def test_a_node_that_would_sign_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    sign = Keyless.sign
    monkeypatch.setattr(
        Keyless, "sign", lambda self, domain, message: sign(self, domain, message + b"!")
    )
    found = replay(LINES)
    assert found.difference is not None
    assert "were not signed then" in found.difference.replayed


def test_a_signature_that_was_changed_in_the_trace_is_seen() -> None:
    lines = list(LINES)
    place = next(place for place, line in enumerate(lines) if json.loads(line).get("signed"))
    told = json.loads(lines[place])
    told["signed"][0][1] = "00" * 64
    lines[place] = json.dumps(told)
    found = replay(lines)
    assert found.difference is not None
    assert "does not verify" in found.difference.replayed


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "mine is empty"),
        (["{}"], "line 1: this is no trace of format 1"),
        (["nothing"], r"line 1: this is no line of a trace \(JSONDecodeError"),
        ([LINES[0], '{"node": "n1", "do": "timeout"}'], "line 2: this is no line of a trace"),
        (
            [*LINES[:2], '{"node": "n1", "do": "dance", "at": 1.0, "signed": [], "effects": []}'],
            "line 3: 'dance' is nothing that a node does",
        ),
    ],
)
def test_what_is_no_trace_says_so(lines: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replay(lines, name="mine")


def test_a_change_by_a_type_that_is_not_known_says_so() -> None:
    place = next(place for place, line in enumerate(LINES) if '"is":"Mutate"' in line)
    lines = [*LINES[:place], LINES[place].replace('"lattice":"', '"lattice":"strange ')]
    with pytest.raises(UsageError, match=r"lattice type 'strange .*' is not known here"):
        replay(lines)


def test_an_identity_without_a_key_has_none() -> None:
    keyless = Keyless(Identity(bytes(32)).public)
    assert keyless.peer == Identity(bytes(32)).peer
    with pytest.raises(UsageError, match="no key"):
        _ = keyless.seed
    with pytest.raises(UsageError, match="no key"):
        _ = keyless.noise_static


def in_a_line() -> tuple[World, list[str]]:
    """Record four nodes in a line: what the ends ask each other is carried by two relays."""
    lines: list[str] = []
    scenario = Scenario(
        seed=5, nodes=4, duration_s=40.0, command_every_s=0.5,
        topology=Topology.LINE, discovery=Discovery.OFF,
    )  # fmt: skip
    world = World(scenario)
    world.record(Recorder(lines.append, version="1"))
    assert not world.run().violations
    return world, lines


def test_what_relays_carried_sealed_is_replayed_without_a_key_and_no_trace_holds_one() -> None:
    world, lines = in_a_line()
    text = "\n".join(lines)
    opened = 0
    for host in world.hosts:
        assert host.node is not None
        assert host.node.unicast.statistics().delivered_total > 0
        vault = host.node.config.vault
        assert isinstance(vault, TappedVault)
        for public, private in vault._pairs.items():
            assert public.hex() in text
            assert private.private_bytes_raw().hex() not in text
            opened += 1
    assert opened >= 2
    assert replay(lines).difference is None


def test_a_text_that_is_opened_otherwise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    _, lines = in_a_line()
    monkeypatch.setattr(KeylessVault, "open", lambda self, *what: None)
    assert replay(lines).difference is not None
