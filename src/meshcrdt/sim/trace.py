"""Traces: everything that went in at a node's door and came out, as lines of JSON.

A trace holds what a node was told: values of channels, addresses, names of peers. It holds
no secret: neither the identity's key nor the cluster's secret is ever part of an event, an
effect or a table. Two more things are needed to replay it: the seed of the node's dice,
which makes no keys, and each signature that it made, which its peers were shown anyway. What
relays carried to it sealed is there as it was opened: it is values, like the rest.
`meshcrdt.sim.replay` reads what is written here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import asdict, evolve, fields, has

from meshcrdt.abc import Lattice
from meshcrdt.base.dice import Dice
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.crdt import registry
from meshcrdt.node.config import NodeConfig, vault_of
from meshcrdt.node.durable import Tables
from meshcrdt.node.effects import Effect
from meshcrdt.node.events import Event, Mutate
from meshcrdt.node.node import Node
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.sealing import Vault
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
        "refused": getattr(event.mutator, "refused", None),
    }


def _lattice_name(lattice: type[Lattice]) -> str:
    named = {kind: name for name, kind in registry.types.items()}
    return named.get(lattice, lattice.__qualname__)


NOT_PACKED = ("identity", "genesis", "epoch", "limits", "verify", "memo", "vault")
"""Fields of a configuration that are packed in a way of their own, or change nothing."""


def pack_config(config: NodeConfig) -> dict[str, Any]:
    """Return a configuration without its key: the public half names who it was."""
    limits = {
        key: value
        for key, value in asdict(config.limits).items()
        if value != getattr(DEFAULT_LIMITS, key)
    }
    rest = {
        each.name: pack(getattr(config, each.name))
        for each in fields(NodeConfig)
        if each.name not in NOT_PACKED
    }
    return {
        "public": config.identity.public.hex(),
        "epoch": [config.epoch.counter, config.epoch.instance.hex()],
        "genesis": None if config.genesis is None else encode(config.genesis.to_tree()).hex(),
        "limits": limits,
        "rest": rest,
    }


def fingerprint(domain: str, message: bytes) -> str:
    """Return what names something that was signed."""
    return hashlib.blake2b(domain.encode() + b"\0" + message, digest_size=16).hexdigest()


FRESH, SEAL, OPEN = "vault/fresh", "vault/seal", "vault/open"
"""What names the results of a vault in a trace."""


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


class TappedVault(Vault):
    """A vault that tells what it returns: halves that peers are shown, sealed and opened text."""

    def __init__(self, vault: Vault, tell: Callable[[str, bytes], None]) -> None:
        super().__init__(vault.entropy)
        self._tell = tell
        self._made = 0

    def fresh(self) -> bytes:
        """Make a pair, and tell its public half."""
        public = super().fresh()
        self._tell(fingerprint(FRESH, b"%d" % self._made), public)
        self._made += 1
        return public

    def seal(self, *what: Any) -> bytes | None:
        """Seal, and tell what travels."""
        sealed = super().seal(*what)
        if sealed is not None:
            self._tell(fingerprint(SEAL, encode(what)), sealed)
        return sealed

    def open(self, *what: Any) -> bytes | None:
        """Open, and tell what was in it."""
        opened = super().open(*what)
        if opened is not None:
            self._tell(fingerprint(OPEN, encode(what)), opened)
        return opened


class RecordedNode(Node):
    """A node that writes down what goes in at its door and what comes out."""

    def __init__(self, name: str, config: NodeConfig, dice: Dice, recorder: Recorder) -> None:
        self._name = name
        self._recorder = recorder
        self._now = 0.0
        self._seed = dice.seed
        self._signed: list[list[str]] = []
        vault = TappedVault(vault_of(config, dice), self._tell)
        identity = Tapped(config.identity, self._tell)
        super().__init__(evolve(config, identity=identity, vault=vault), dice)

    def _tell(self, what: str, proof: bytes) -> None:
        self._signed.append([what, proof.hex()])

    def load(self, tables: Tables, now: float) -> list[Effect]:
        """Load, and write down what."""
        # Packed before: what is loaded may change hands.
        packed = {
            table: [[key.hex(), value.hex()] for key, value in sorted(rows.items())]
            for table, rows in sorted(tables.items())
        }
        effects = super().load(tables, now)
        config = pack_config(self.config)
        self._write(BORN, now, effects, config=config, dice=self._seed.hex(), tables=packed)
        return effects

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event, and write the turn down."""
        effects = super().handle(event, now)
        self._write(HANDLE, now, effects, event=pack(event))
        return effects

    def handle_timeout(self, now: float) -> list[Effect]:
        """Let deadlines pass, and write the turn down."""
        effects = super().handle_timeout(now)
        self._write(TIMEOUT, now, effects)
        return effects

    def next_frame(self, link: int) -> bytes | None:
        """Give a link its next frame, and write down which."""
        frame = super().next_frame(link)
        self._write(PULL, self._now, (), link=link, frame=pack(frame))
        return frame

    def _write(self, do: str, now: float, effects: Sequence[Effect], **told: Any) -> None:
        self._now = now
        signed, self._signed = self._signed, []
        line = {"node": self._name, "do": do, "at": now, **told, "signed": signed}
        line["effects"] = pack(list(effects))
        self._recorder.write(json.dumps(line, separators=(",", ":")))


class Recorder:
    """Makes nodes that are recorded; `write` is given each line without its end."""

    def __init__(self, write: Callable[[str], None], *, version: str) -> None:
        self.write = write
        write(json.dumps({"trace": FORMAT, "meshcrdt": version}))

    def node(self, name: str, config: NodeConfig, dice: Dice) -> Node:
        """Return a node that is recorded; use it in the place of `Node(config, dice)`."""
        return RecordedNode(name, config, dice, self)
