"""What a node is told once, at its birth; everything else it learns or is commanded."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.memo import NO_MEMO, Memo
from meshcrdt.gossip.tree_messages import Spread
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.heartbeats import Detection
from meshcrdt.trust.identity import Identity, verify
from meshcrdt.trust.sealing import Seals, Vault

DEFAULT_DOMAIN = "mesh.internal."


@frozen(kw_only=True)
class NodeConfig:
    """One node's birth certificate.

    `genesis` None means that the node joins: it fetches the genesis over its first link.
    `advertise` are URLs where others can dial this node, `peers` URLs that it dials,
    `underlay` IP addresses usable as tunnel ends, `trusted` CIDRs declared safe for clear
    workload traffic.
    """

    identity: Identity
    epoch: Epoch
    genesis: Genesis | None
    store_nonce: bytes = b""
    """Drawn when this node's store began, and kept in it; empty means that it begins now."""
    name: str
    advertise: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    discovery: Discovery = Discovery.ON
    detection: Detection = Detection.LINKS
    trusted: tuple[str, ...] = ()
    underlay: tuple[str, ...] = ()
    domain: str = DEFAULT_DOMAIN
    failure_domain: str = ""
    """What fails together with this node: a rack, a zone. Neighbours are taken of several."""
    limits: Limits = field(default=DEFAULT_LIMITS, repr=False)
    verify: Callable[[bytes, str, bytes, bytes], bool] = field(default=verify, repr=False)
    """Checks signatures; the simulator gives one that remembers."""
    spread: Spread = Spread.TREE
    """How deltas spread; anything but the tree is for measuring what the tree is worth."""
    vault: Vault | None = field(default=None, repr=False)
    """Makes and holds the keys of messages that relays carry, from the system's entropy. Without
    one they come from the dice, which is for simulations only."""
    memo: Memo = field(default=NO_MEMO, repr=False)
    """What may be remembered of other nodes in this process; only simulators remember."""


def vault_of(config: NodeConfig, dice: Dice) -> Vault:
    """Return the vault that is configured, or one for simulations."""
    return config.vault or Vault(dice.fork("vault").raw)


def seals_of(config: NodeConfig, dice: Dice) -> Seals:
    """Return what seals and opens the messages of a node that relays carry."""
    vault = vault_of(config, dice)
    return Seals(config.identity, config.epoch, vault, verify=config.verify)
