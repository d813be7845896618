"""Owned channels: nobody speaks for another origin there (L4), not even with a valid signature."""

import pytest

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.errors import UsageError
from meshcrdt.gossip import Over, Put, Replica
from meshcrdt.gossip import channels as channels_module
from meshcrdt.gossip.outputs import Push, Serve, Store, ToLink
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import decode

GENESIS = bytes(32)


def make(seed: int) -> Replica:
    identity = Identity(bytes([seed]) * 32)
    return Replica(
        identity=identity,
        genesis=GENESIS,
        epoch=Epoch(1, bytes([seed]) * 8),
        dice=Dice(bytes([seed])),
        limits=DEFAULT_LIMITS,
    )


def exchange(replicas: list[Replica], now: float = 1.0) -> None:
    """Link all and let everything that they say arrive, until nobody says anything."""
    todo: list[tuple[int, object]] = []
    for at, replica in enumerate(replicas):
        for to, other in enumerate(replicas):
            if at != to:
                todo += [(at, out) for out in replica.link_opened(to, other.me, now)]
    while todo:
        at, out = todo.pop(0)
        replica = replicas[at]
        if isinstance(out, Store):
            todo += [(at, more) for more in replica.stored(out.token, now)]
        elif isinstance(out, ToLink | Push | Serve):
            other = replicas[out.link]
            if isinstance(out, ToLink):
                messages = [out.message]
            elif isinstance(out, Push):
                data = replica.render(out.link, out.stream, out.since)
                messages = [] if data is None else [decode(data)]
            else:
                messages = [decode(data) for data in replica.serve(out.link, out.request)]
            for message in messages:
                todo += [(out.link, more) for more in other.received(at, message, now)]
            todo += [(out.link, more) for more in other.flush(now)]


def commit(replica: Replica, now: float = 1.0) -> None:
    for out in replica.flush(now):
        if isinstance(out, Store):
            replica.stored(out.token, now)


def test_a_write_over_others_is_refused_in_an_owned_channel() -> None:
    with pytest.raises(UsageError, match="names"):
        make(1).write("names", [Put(b"web", b"x", Over.ALL)])


def test_a_liar_cannot_remove_anothers_record(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, liar, witness = make(1), make(2), make(3)
    honest.write("names", [Put(b"web", b"10.0.0.1", Over.OWN)])
    commit(honest)
    exchange([honest, liar, witness])
    with monkeypatch.context() as lying:
        # The liar's program thinks that the channel is shared and names the honest dot.
        lying.setattr(channels_module, "OWNED_CHANNELS", frozenset())
        lying.setattr("meshcrdt.gossip.local.scope_of", channels_module.scope_of)
        liar.write("names", [Put(b"web", b"6.6.6.6", Over.ALL)])
        commit(liar)
    exchange([honest, liar, witness])
    for replica in (honest, witness):
        origins = {seen.origin: seen.value for seen in replica.visible("names", b"web")}
        assert origins[honest.me] == b"10.0.0.1"
    assert dict(honest.records_of("names", honest.me)) == {b"web": b"10.0.0.1"}
