"""How a node begins: it remembers its cluster, makes one, or joins one. Pure decisions.

An option that contradicts what the node remembers is refused, and both values are named
(secrets excepted: those are never shown).
"""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen

from meshcrdt.errors import UsageError
from meshcrdt.ipam.genesis import Genesis, check_universes
from meshcrdt.node.durable import Joining
from meshcrdt.topology.dialer import Discovery
from meshcrdt.trust.token import Token


class Security(Enum):
    """Whether links are encrypted. Without encryption there is no membership either."""

    ENCRYPTED = "encrypted"
    INSECURE = "insecure"


class Beginning(Enum):
    """What a node does about its genesis at the start."""

    RESUME = "resume"
    """It remembers one."""
    FOUND = "found"
    """It makes one."""
    JOIN = "join"
    """It fetches one over its first link."""


@frozen(kw_only=True)
class Given:
    """What the caller asked for."""

    security: Security
    secret: bytes | None = field(repr=False, default=None)
    token: Token | None = None
    peers: tuple[str, ...] = ()
    universes: tuple[str, ...] | None = None
    discovery: Discovery = Discovery.ON


@frozen(kw_only=True)
class Remembered:
    """What the node knows from earlier runs."""

    where: str
    secret: bytes | None = field(repr=False, default=None)
    genesis: Genesis | None = None
    peers: tuple[str, ...] = ()
    joining: Joining | None = None


@frozen(kw_only=True)
class Plan:
    """What to do: `secret` None with ENCRYPTED means that it is made or admitted first.

    `pinned` is the only genesis hash that may be fetched, where one is pinned.
    """

    beginning: Beginning
    security: Security
    secret: bytes | None = field(repr=False)
    makes_secret: bool
    admission: Token | None
    pinned: bytes | None
    peers: tuple[str, ...]
    universes: tuple[str, ...] | None


def plan(given: Given, remembered: Remembered) -> Plan:
    """Decide; raises UsageError for options that contradict each other or the memory."""
    _check_contradictions(given, remembered)
    token, joining = given.token, remembered.joining
    peers = _peers(given) or (joining.peers if joining else ())
    secret = given.secret or remembered.secret
    knows_whom = bool(peers or remembered.peers or joining)
    if remembered.genesis is not None:
        beginning = Beginning.RESUME
    elif knows_whom or token is not None:
        beginning = Beginning.JOIN
    else:
        beginning = Beginning.FOUND
    is_open = given.security is Security.INSECURE
    if not is_open and secret is None and token is None:
        if joining is not None and not given.peers:
            raise UsageError(
                f"{remembered.where} was about to join cluster {joining.cluster} and was cut "
                "off before it was admitted: give the token again, or start with an empty "
                "state directory"
            )
        if beginning is Beginning.JOIN:
            raise UsageError(
                "peers are given but neither a token nor a secret: get one with "
                "`meshcrdt token create` on a member, or ask for an insecure mesh"
            )
    return Plan(
        beginning=beginning,
        security=given.security,
        secret=secret,
        makes_secret=not is_open and secret is None and token is None,
        admission=token if secret is None else None,
        pinned=_pinned(given, remembered),
        peers=peers,
        universes=given.universes,
    )


def _pinned(given: Given, remembered: Remembered) -> bytes | None:
    """Return the hash of the only genesis to join: that of the token, now or when it began."""
    if given.token is not None:
        return given.token.genesis
    if remembered.joining is None or given.secret or given.peers:
        return None
    return remembered.joining.genesis


def _peers(given: Given) -> tuple[str, ...]:
    """Return what to dial: a token's addresses are hints beside the peers that were named.

    Without discovery nothing but the named peers is dialled, so there a hint counts only
    where it is the one way in.
    """
    hints = given.token.addresses if given.token else ()
    if given.discovery is Discovery.OFF and given.peers:
        hints = ()
    return tuple(dict.fromkeys((*given.peers, *hints)))


def _check_contradictions(given: Given, remembered: Remembered) -> None:
    where, genesis, token = remembered.where, remembered.genesis, given.token
    if given.security is Security.INSECURE:
        if given.secret or token:
            raise UsageError("an insecure mesh has no secret and no token, but one is given")
        if remembered.secret:
            raise UsageError(
                f"the cluster in {where} was made with a secret: it is encrypted, "
                "and an insecure mesh is asked for"
            )
    elif genesis is not None and remembered.secret is None:
        # A secret that is given now would shut out every member that this one knows.
        raise UsageError(
            f"the cluster in {where} was made without a secret: it is insecure, "
            "and an encrypted mesh is asked for"
        )
    if given.secret and remembered.secret and given.secret != remembered.secret:
        raise UsageError(f"the secret that is given is not the one that is kept beside {where}")
    if genesis is None:
        if given.universes is not None:
            check_universes(given.universes)
        return
    if token is not None and token.genesis != genesis.hash:
        raise UsageError(
            f"the token is for cluster {token.cluster}, but {where} belongs to {genesis.cluster}"
        )
    if given.universes is not None and check_universes(given.universes) != genesis.universes:
        raise UsageError(
            f"ranges {', '.join(given.universes)} are asked for, but the cluster in {where} "
            f"has {', '.join(genesis.universes)}: the ranges of a cluster do not change"
        )
