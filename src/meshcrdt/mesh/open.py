"""open_mesh: from a store URL and a few options to a running node, and back to nothing.

In order: the store (and its lock), the keys, the decision how to begin, the boot counter
on disk, the listeners, the node, the tasks. Leaving ends every task and closes every
descriptor, within a bounded farewell.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio
from attrs import evolve, frozen

from meshcrdt.abc import Instrument, Listener, Row, Store
from meshcrdt.base.hosts import parse_peer_address
from meshcrdt.base.ids import INSTANCE_BYTES, Epoch
from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.consensus.guardians import STORE_NONCE_BYTES
from meshcrdt.errors import UsageError
from meshcrdt.ipam.genesis import GENESIS_NONCE_BYTES, Genesis
from meshcrdt.mesh.addresses import advertised
from meshcrdt.mesh.arguments import addresses, cidrs, text, texts, wait_s
from meshcrdt.mesh.birth import Beginning, Given, Plan, Remembered, Security, plan
from meshcrdt.mesh.keys import ENTROPY_BYTES, Keyring, open_keyring
from meshcrdt.mesh.mesh import Mesh
from meshcrdt.mesh.shell import Shell, shutting
from meshcrdt.node import durable
from meshcrdt.node.config import DEFAULT_DOMAIN, NodeConfig
from meshcrdt.storage.registry import open_store
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.directory import DOMAIN_CHARACTERS_MAX, LIST_ITEMS_MAX, NAME_CHARACTERS_MAX
from meshcrdt.topology.heartbeats import Detection
from meshcrdt.transports.registry import transport_for
from meshcrdt.trust.sealing import Vault
from meshcrdt.trust.secret import check_secret, generate_secret
from meshcrdt.trust.token import parse_token

JOIN_WAIT_S = 5.0
"""How long `open_mesh` waits for a joiner's first contact before it yields all the same."""


@frozen(kw_only=True)
class _Options:
    """What the caller gave that is about the node and not about its beginning."""

    name: str
    listen: tuple[str, ...]
    advertise: tuple[str, ...]
    discovery: Discovery
    domain: str
    trusted: tuple[str, ...]
    underlay: tuple[str, ...]
    failure_domain: str
    detection: Detection
    limits: Limits


@frozen(kw_only=True)
class _Loaded:
    """What the store and the keys said, and what follows from it."""

    store: Store
    tables: durable.Tables
    keyring: Keyring
    epoch: Epoch
    store_nonce: bytes
    genesis: Genesis | None
    plan: Plan


@asynccontextmanager
async def open_mesh(
    *,
    name: str | None = None,
    listen: Sequence[str] = (),
    peers: Sequence[str] = (),
    secret: bytes | None = None,
    token: str | None = None,
    security: Security = Security.ENCRYPTED,
    store: str = "mem://",
    advertise: Sequence[str] = (),
    discovery: Discovery = Discovery.ON,
    universes: Sequence[str] | None = None,
    domain: str = DEFAULT_DOMAIN,
    trusted: Sequence[str] = (),
    underlay: Sequence[str] = (),
    failure_domain: str = "",
    detection: Detection = Detection.LINKS,
    limits: Limits = DEFAULT_LIMITS,
    instrument: Instrument | None = None,
    join_wait_s: float = JOIN_WAIT_S,
) -> AsyncIterator[Mesh]:
    """Open one node of a mesh; leaving the block closes it.

    `listen`, `peers` and `advertise` are URLs (tcp://HOST:PORT, unix:///path, mem://name).
    A store that remembers a cluster resumes it. A new one without peers founds a cluster,
    with `universes` as its ranges; with peers it joins theirs, by the 32-byte `secret` or a
    `token`, and is "starting" until a peer answered: `join_wait_s` says how long to wait
    for that here, in seconds. Without a secret nothing is encrypted, and `security` must say so.
    `trusted` CIDR ranges and `underlay` IP addresses are told to all members for dataplanes.
    `failure_domain` is what fails together with this node, `detection` how it notices silence.

    Raises UsageError for options that are malformed or contradict the store, StoreInUse,
    WrongStore, CorruptStore, StoreError, ListenError, and PeerRefused when all refused the token.
    """
    given = Given(
        security=security,
        secret=None if secret is None else check_secret(secret),
        token=None if token is None else parse_token(token, source="the caller"),
        peers=_urls(peers, "peer"),
        universes=None if universes is None else texts(universes, "universe"),
        discovery=discovery,
    )
    options = _Options(
        name=_name(name or socket.gethostname()),
        listen=_urls(listen, "listen"),
        advertise=_listed(_urls(advertise, "advertise"), "advertise"),
        discovery=discovery,
        domain=domain,
        trusted=_listed(cidrs(trusted, "trusted"), "trusted"),
        underlay=_listed(addresses(underlay, "underlay"), "underlay"),
        failure_domain=_failure_domain(failure_domain),
        detection=detection,
        limits=limits,
    )
    patience_s = wait_s(join_wait_s, "join_wait_s")
    async with _running(store, given, options, instrument) as mesh:
        if mesh.state == "starting":
            with trio.move_on_after(patience_s):
                await mesh.ready()
        yield mesh


@asynccontextmanager
async def _running(
    store: str, given: Given, options: _Options, instrument: Instrument | None
) -> AsyncIterator[Mesh]:
    """Put the parts together, in the order in which each may refuse."""
    async with AsyncExitStack() as stack:
        loaded = await _load(stack, store, given)
        listeners = await _listen(stack, options)
        shell = Shell(
            _node_config(options, loaded, listeners),
            loaded.store,
            loaded.tables,
            keyring=loaded.keyring,
            plan=loaded.plan,
            listeners=listeners,
            instrument=instrument,
        )
        yield await stack.enter_async_context(shell.running())


def _urls(values: Sequence[str], source: str) -> tuple[str, ...]:
    return tuple(parse_peer_address(value, source=source) for value in texts(values, source))


def _name(value: str) -> str:
    """Return a name that peers accept; raises UsageError here, where it can still be changed."""
    shown = text(value, "name")
    if len(shown) > NAME_CHARACTERS_MAX or not shown.isprintable():
        raise UsageError(
            f"name {shown!r} is not accepted: printable text of at most {NAME_CHARACTERS_MAX} "
            "characters is"
        )
    return shown


def _failure_domain(value: str) -> str:
    shown = text(value, "failure_domain")
    if len(shown) > DOMAIN_CHARACTERS_MAX or not shown.isprintable():
        raise UsageError(
            f"failure domain {shown!r} is not accepted: printable text of at most "
            f"{DOMAIN_CHARACTERS_MAX} characters is"
        )
    return shown


def _listed(values: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return what goes into the directory; raises UsageError for more than a record holds."""
    if len(values) > LIST_ITEMS_MAX:
        raise UsageError(f"{len(values)} values of {what}: at most {LIST_ITEMS_MAX} are accepted")
    return values


async def _load(stack: AsyncExitStack, url: str, given: Given) -> _Loaded:
    store = await open_store(url)
    stack.push_async_callback(shutting, store)
    tables = await store.load()
    keyring = await open_keyring(url, owner=tables.get(durable.TABLE, {}).get(durable.OWNER_KEY))
    identity = keyring.identity
    durable.check_owner(tables, identity.peer, f"store {url}")
    genesis = durable.read_genesis(tables)
    remembered = Remembered(
        where=f"store {url}",
        secret=keyring.secret,
        genesis=genesis,
        peers=durable.read_peers(tables),
        joining=durable.read_joining(tables),
    )
    decided = plan(given, remembered)
    if decided.makes_secret:
        decided = evolve(decided, secret=generate_secret(secrets.token_bytes(ENTROPY_BYTES)))
    if decided.beginning is Beginning.JOIN:
        # Before the secret: a joiner that is cut off and knows of no one would found a cluster.
        await store.write([*_joining_rows(decided, remembered)])
    # The keys before the owner: a store is of no use to anyone without its owner's key.
    if decided.secret is not None and decided.secret != keyring.secret:
        await keyring.keep_secret(decided.secret)
    else:
        await keyring.save()
    rows: list[Row] = [durable.owner_row(identity.peer)]
    if decided.beginning is Beginning.FOUND:
        nonce = secrets.token_bytes(GENESIS_NONCE_BYTES)
        genesis = Genesis.make(identity, decided.universes, nonce=nonce)
        rows.append(durable.genesis_row(genesis))
    epoch, boot_rows = durable.next_epoch(tables, secrets.token_bytes(INSTANCE_BYTES))
    store_nonce, nonce_rows = durable.store_nonce(
        tables, secrets.token_bytes(STORE_NONCE_BYTES), genesis
    )
    await store.write([*rows, *boot_rows, *nonce_rows])
    return _Loaded(
        store=store,
        tables=tables,
        keyring=keyring,
        epoch=epoch,
        store_nonce=store_nonce,
        genesis=genesis,
        plan=decided,
    )


def _joining_rows(decided: Plan, remembered: Remembered) -> Iterator[Row]:
    """Yield what makes the next start go on joining; peers are dialled only once admitted."""
    if decided.pinned is not None:
        yield durable.joining_row(durable.Joining(decided.pinned, decided.peers))
    if decided.admission is None:
        yield durable.peers_row((*decided.peers, *remembered.peers))


async def _listen(stack: AsyncExitStack, options: _Options) -> tuple[Listener, ...]:
    listeners = []
    for url in options.listen:
        listener = await transport_for(url).listen(
            url, frame_bytes_max=options.limits.frame_bytes_max
        )
        stack.push_async_callback(shutting, listener)
        listeners.append(listener)
    return tuple(listeners)


def _node_config(options: _Options, loaded: _Loaded, listeners: Sequence[Listener]) -> NodeConfig:
    # A joiner with a token dials only once it is admitted: before, nobody would let it in.
    waits = loaded.plan.admission is not None
    return NodeConfig(
        identity=loaded.keyring.identity,
        epoch=loaded.epoch,
        store_nonce=loaded.store_nonce,
        genesis=loaded.genesis,
        name=options.name,
        advertise=options.advertise
        or advertised(each.address for each in listeners)[:LIST_ITEMS_MAX],
        peers=() if waits else loaded.plan.peers,
        discovery=options.discovery,
        trusted=options.trusted,
        underlay=options.underlay,
        failure_domain=options.failure_domain,
        detection=options.detection,
        domain=options.domain,
        limits=options.limits,
        vault=Vault(secrets.token_bytes),
    )
