"""Gives the events of a trace to nodes again, and compares what they do.

The nodes of a trace signed with keys that no trace holds. A node that replays one is given
the recorded signature of exactly what was signed then, after that was verified under the
recorded public key; what it would sign beside that is a difference. So effects are compared
byte for byte, signatures included, and nobody needs a key to replay an incident.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, get_args

from attrs import define, evolve, fields, frozen, resolve_types
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from meshcrdt.abc import Lattice
from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.crdt import registry
from meshcrdt.errors import MeshError, UsageError
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.node import events
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.node import Node
from meshcrdt.sim import trace
from meshcrdt.topology.links import Direction
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.identity import Identity, peer_id, verify
from meshcrdt.trust.sealing import PAIRS_KEPT, Vault
from meshcrdt.wire import decode, encode

RECORDS: Mapping[str, type[Any]] = {
    kind.__name__: kind for kind in (*get_args(events.Event), Hello) if kind is not events.Mutate
}
ENUMS = {kind.__name__: kind for kind in (Direction, events.Durability, events.Targets)}
PEER_FIELDS = ("peer", "targets")
SHOWN_MAX = 300


class Keyless(Identity):
    """An identity without a key: it knows what was signed once, and signs nothing else."""

    __slots__ = ("proofs", "verified")

    def __init__(self, public: bytes) -> None:
        self._public = public
        self._peer = peer_id(public)
        self.proofs: dict[str, bytes] = {}
        """By fingerprint what was signed, made, sealed and opened."""
        self.verified = 0

    @property
    def seed(self) -> bytes:
        """Refuse: there is none."""
        raise UsageError("an identity of a trace has no key")

    @property
    def noise_static(self) -> X25519PrivateKey:
        """Refuse: there is none."""
        raise UsageError("an identity of a trace has no key")

    def learn(self, signed: Iterable[Sequence[str]]) -> None:
        """Take what the trace says was signed."""
        self.proofs.update((what, bytes.fromhex(proof)) for what, proof in signed)

    def sign(self, domain: str, message: bytes) -> bytes:
        """Return the signature that was recorded; raises Unsigned for what was not signed."""
        proof = self.proofs.get(trace.fingerprint(domain, message))
        if proof is None:
            raise Unsigned(
                f"it signs {len(message)} bytes for {domain!r} that were not signed then"
            )
        if not verify(self._public, domain, message, proof):
            raise Unsigned(f"the recorded signature for {domain!r} does not verify")
        self.verified += 1
        return proof


class KeylessVault(Vault):
    """A vault without private halves: it returns what was returned then."""

    def __init__(self, recorded: Mapping[str, bytes]) -> None:
        super().__init__(_no_entropy)
        self._recorded = recorded
        self._publics: list[bytes] = []
        self._made = 0

    def fresh(self) -> bytes:
        """Return the public half that was made then; raises Unsigned when none was."""
        public = self._recorded.get(trace.fingerprint(trace.FRESH, b"%d" % self._made))
        if public is None:
            raise Unsigned("it makes a pair of keys that was not made then")
        self._made += 1
        self._publics = [*self._publics, public][-PAIRS_KEPT:]
        return public

    def clear(self) -> None:
        """Hold no pair any more."""
        self._publics = []

    def holds(self, public: bytes) -> bool:
        """Return whether that pair was still there."""
        return public in self._publics

    def seal(self, *what: Any) -> bytes | None:
        """Return what was sealed then."""
        return self._recorded.get(trace.fingerprint(trace.SEAL, encode(what)))

    def open(self, *what: Any) -> bytes | None:
        """Return what was opened then."""
        return self._recorded.get(trace.fingerprint(trace.OPEN, encode(what)))


def _no_entropy(_size: int) -> bytes:
    raise UsageError("a trace holds no entropy")


class MissingResult(Exception):
    """A trace cannot be replayed from here: a function's result is not in it."""


class Unsigned(UsageError):
    """The node would sign something else than it did."""


@frozen
class Difference:
    """Where a node first did something else than was recorded."""

    line: int
    node: str
    at: float
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return (
            f"line {self.line}, {self.node} at {self.at:.3f}: recorded {self.recorded}, "
            f"replayed {self.replayed}"
        )


@define
class Replayed:
    """What a replay showed."""

    nodes: int = 0
    turns: int = 0
    signatures: int = 0
    """How many recorded signatures were asked for again, and verified."""
    difference: Difference | None = None


def replay(lines: Iterable[str], *, node: str | None = None, name: str = "trace") -> Replayed:
    """Replay a trace, of all its nodes or of one; stops at the first difference.

    Raises UsageError, naming the line, for what is no trace, for a node that is not in it, and
    for a change whose function's result the trace does not hold.
    """
    found = Replayed()
    players: dict[str, _Player] = {}
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            if number == 1:
                _check_header(told)
                continue
            if node is not None and told["node"] != node:
                continue
            if told["do"] == trace.BORN:
                players[told["node"]] = _Player(told)
                found.nodes += 1
            player = players[told["node"]]
            done = player.play(told)
        except Unsigned as error:
            found.difference = Difference(number, told["node"], told["at"], "otherwise", str(error))
            break
        except (KeyError, TypeError, ValueError, IndexError, MeshError, MissingResult) as error:
            raise UsageError(f"{name}, line {number}: {_why(error)}") from error
        found.turns += 1
        found.difference = player.compare(number, told, done)
        if found.difference is not None:
            break
    found.signatures = sum(player.verified for player in players.values())
    if not found.nodes:
        raise UsageError(f"{name} has no node {node!r}" if node else f"{name} is empty")
    return found


def _check_header(told: Any) -> None:
    if not isinstance(told, dict) or told.get("trace") != trace.FORMAT:
        raise UsageError(f"this is no trace of format {trace.FORMAT}")


def _why(error: Exception) -> str:
    if isinstance(error, MeshError | MissingResult):
        return str(error)
    return f"this is no line of a trace ({type(error).__name__}: {error})"


def _field(kind: object, value: Any) -> Any:
    """Return a field of a configuration; an enum is known by what the field is."""
    if isinstance(value, dict) and "enum" in value and isinstance(kind, type):
        return getattr(kind, value["name"])
    return unpack(value)


class _Player:
    """One node of a trace."""

    def __init__(self, born: dict[str, Any]) -> None:
        told = born["config"]
        counter, instance = told["epoch"]
        self._identity = Keyless(bytes.fromhex(told["public"]))
        self._identity.learn(born["signed"])
        genesis = told["genesis"]
        kinds = {each.name: each.type for each in fields(resolve_types(NodeConfig))}
        rest = {key: _field(kinds[key], value) for key, value in told["rest"].items()}
        config = NodeConfig(
            identity=self._identity,
            epoch=Epoch(counter, bytes.fromhex(instance)),
            genesis=None if genesis is None else Genesis.from_tree(decode(bytes.fromhex(genesis))),
            limits=evolve(DEFAULT_LIMITS, **told["limits"]),
            vault=KeylessVault(self._identity.proofs),
            **rest,
        )
        self._node = Node(config, Dice(bytes.fromhex(born["dice"])))

    @property
    def verified(self) -> int:
        """How many signatures were verified."""
        return self._identity.verified

    def play(self, told: dict[str, Any]) -> Any:
        """Do one turn; returns what came of it, packed."""
        now = told["at"]
        self._identity.learn(told["signed"])
        match told["do"]:
            case trace.BORN:
                tables = {
                    table: {bytes.fromhex(key): bytes.fromhex(value) for key, value in rows}
                    for table, rows in told["tables"].items()
                }
                return trace.pack(self._node.load(tables, now))
            case trace.HANDLE:
                return trace.pack(self._node.handle(unpack(told["event"]), now))
            case trace.TIMEOUT:
                return trace.pack(self._node.handle_timeout(now))
            case trace.PULL:
                told["effects"] = [told["frame"]]
                return [trace.pack(self._node.next_frame(told["link"]))]
            case other:
                raise UsageError(f"{other!r} is nothing that a node does")

    def compare(self, line: int, told: dict[str, Any], done: Any) -> Difference | None:
        """Return the first difference between what was recorded and what was done."""
        for recorded, replayed in _differences(told["effects"], done):
            return Difference(line, told["node"], told["at"], _shown(recorded), _shown(replayed))
        return None


def _differences(recorded: Any, replayed: Any) -> Iterator[tuple[Any, Any]]:
    if recorded == replayed:
        return
    if isinstance(recorded, list) and isinstance(replayed, list):
        for one, other in zip_longest(recorded, replayed, fillvalue="nothing"):
            yield from _differences(one, other)
    elif isinstance(recorded, dict) and isinstance(replayed, dict):
        if recorded.keys() != replayed.keys():
            yield recorded, replayed
        else:
            for key, value in recorded.items():
                yield from _differences(value, replayed[key])
    else:
        yield recorded, replayed


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


def unpack(value: Any) -> Any:
    """Return what `pack` was given; raises UsageError or KeyError for what it never makes."""
    if isinstance(value, list):
        return tuple(unpack(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    if "enum" in value:
        return ENUMS[value["enum"]][value["name"]]
    if value.get("is") == "Mutate":
        return _mutate(value)
    told = {key: unpack(item) for key, item in value.items() if key != "is"}
    for key in PEER_FIELDS:
        if isinstance(told.get(key), bytes):
            told[key] = PeerId(told[key])
        elif isinstance(told.get(key), tuple):
            told[key] = tuple(PeerId(raw) for raw in told[key])
    if "epoch" in told:
        told["epoch"] = Epoch(*told["epoch"])
    return RECORDS[value["is"]](**told)


def _mutate(value: dict[str, Any]) -> events.Mutate:
    lattice = registry.types.get(value["lattice"])
    if lattice is None:
        raise UsageError(
            f"lattice type {value['lattice']!r} is not known here: import the module that "
            "registers it, and replay from there"
        )
    delta = value["delta"]

    def mutator(_: Any) -> Lattice:
        if value["refused"] is not None:
            raise UsageError(value["refused"])
        if delta is None:
            raise MissingResult("the trace does not hold what the function of a Mutate returned")
        return lattice.from_tree(decode(bytes.fromhex(delta)))

    return events.Mutate(value["request"], value["channel"], lattice, mutator)
