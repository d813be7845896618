"""Traces: everything that went in at a node's door and came out, as lines of JSON.

A trace holds what a node was told: values of channels, addresses, names of peers. It holds
no secret: neither the identity's key nor the cluster's secret is ever part of an event, an
effect or a table. Two more things are needed to replay it: the seed of the node's dice,
which makes no keys, and each signature that it made, which its peers were shown anyway.
`meshcrdt.sim.replay` reads what is written here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import asdict, fields, has

from meshcrdt.abc import Lattice
from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.crdt import registry
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.effects import Effect
from meshcrdt.node.events import Mutate
from meshcrdt.trust.identity import Identity
from meshcrdt.wire import encode

FORMAT = 1

BORN, HANDLE, TIMEOUT, PULL = "born", "handle", "timeout", "pull"


def pack(value: object) -> Any:
    """Return a value as JSON holds it: bytes as {"hex"}, records and enums by their names.

    What none of these is becomes its repr, which is enough to compare it.
    """
    match value:
        case None | bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case bytes():
            return {"hex": value.hex()}
        case Enum():
            return {"enum": type(value).__name__, "name": value.name}
        case Mutate():
            return _mutate(value)
        case Mapping():
            return {"map": [[pack(key), pack(item)] for key, item in sorted(value.items())]}
        case frozenset() | set():
            return {"set": sorted((pack(item) for item in value), key=json.dumps)}
        case tuple() | list():
            return [pack(item) for item in value]
        case _ if has(type(value)):
            told = {
                each.name: pack(getattr(value, each.name))
                for each in fields(type(value))  # type: ignore[arg-type]
                if each.repr is not False
            }
            return {"is": type(value).__name__, **told}
        case _:
            return {"repr": repr(value)}


def _mutate(event: Mutate) -> dict[str, Any]:
    """Pack a change by what its function returned, which is what the node took of it."""
    delta = getattr(event.mutator, "returned", None)
    return {
        "is": "Mutate",
        "request": event.request,
        "channel": event.channel,
        "lattice": _lattice_name(event.lattice),
        "delta": encode(delta.to_tree()).hex() if isinstance(delta, Lattice) else None,
    }


def _lattice_name(lattice: type[Lattice]) -> str:
    named = {kind: name for name, kind in registry.types.items()}
    return named.get(lattice, lattice.__qualname__)


def pack_config(config: NodeConfig) -> dict[str, Any]:
    """Return a configuration without its key: the public half names who it was."""
    limits = {
        key: value
        for key, value in asdict(config.limits).items()
        if value != getattr(DEFAULT_LIMITS, key)
    }
    return {
        "public": config.identity.public.hex(),
        "epoch": [config.epoch.counter, config.epoch.instance.hex()],
        "genesis": None if config.genesis is None else encode(config.genesis.to_tree()).hex(),
        "name": config.name,
        "advertise": list(config.advertise),
        "peers": list(config.peers),
        "discovery": config.discovery.name,
        "trusted": list(config.trusted),
        "underlay": list(config.underlay),
        "domain": config.domain,
        "limits": limits,
    }


def fingerprint(domain: str, message: bytes) -> str:
    """Return what names something that was signed."""
    return hashlib.blake2b(domain.encode() + b"\0" + message, digest_size=16).hexdigest()


class Tapped(Identity):
    """An identity that tells what it signs: the fingerprint and the signature, never the key."""

    __slots__ = ("_tell",)

    def __init__(self, identity: Identity, tell: Callable[[str, bytes], None]) -> None:
        super().__init__(identity.seed)
        self._tell = tell

    def sign(self, domain: str, message: bytes) -> bytes:
        """Sign, and tell."""
        signature = super().sign(domain, message)
        self._tell(fingerprint(domain, message), signature)
        return signature


class Recorder:
    """Writes the turns of nodes, one line each; `write` is given each line without its end.

    A node that is recorded is born with the identity that `tap` returns.
    """

    def __init__(self, write: Callable[[str], None], *, version: str) -> None:
        self._write = write
        self._signed: dict[str, list[list[str]]] = {}
        write(json.dumps({"trace": FORMAT, "meshcrdt": version}))

    def tap(self, name: str, identity: Identity) -> Identity:
        """Return an identity whose signatures are written with the turn that made them."""
        signed = self._signed.setdefault(name, [])
        return Tapped(identity, lambda what, proof: signed.append([what, proof.hex()]))

    def born(
        self,
        name: str,
        config: NodeConfig,
        dice: Dice,
        tables: Mapping[str, Mapping[bytes, bytes]],
        effects: Sequence[Effect],
        now: float,
    ) -> None:
        """Write what a new process began with, and what it did when it had loaded that."""
        packed = {
            table: [[key.hex(), value.hex()] for key, value in sorted(rows.items())]
            for table, rows in sorted(tables.items())
        }
        self._line(
            name,
            BORN,
            now,
            effects,
            config=pack_config(config),
            dice=dice.seed.hex(),
            tables=packed,
        )

    def handled(self, name: str, event: object, effects: Sequence[Effect], now: float) -> None:
        """Write a turn."""
        self._line(name, HANDLE, now, effects, event=pack(event))

    def timed_out(self, name: str, effects: Sequence[Effect], now: float) -> None:
        """Write a turn that a deadline began."""
        self._line(name, TIMEOUT, now, effects)

    def pulled(self, name: str, link: int, frame: bytes | None, now: float) -> None:
        """Write that a link asked for a frame, and which one it was given."""
        self._line(name, PULL, now, (), link=link, frame=pack(frame))

    def _line(self, name: str, do: str, now: float, effects: Sequence[Effect], **told: Any) -> None:
        signed = self._signed.get(name, [])
        line = {
            "node": name,
            "do": do,
            "at": now,
            **told,
            "signed": list(signed),
            "effects": pack(list(effects)),
        }
        signed.clear()
        self._write(json.dumps(line, separators=(",", ":")))
