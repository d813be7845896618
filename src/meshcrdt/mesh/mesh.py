"""The mesh as its user sees it: handles, queries, and a few commands."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from meshcrdt.abc import Lattice
from meshcrdt.base.hosts import parse_peer_address
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.crdt import ORMap
from meshcrdt.errors import NotReady, UsageError
from meshcrdt.mesh.arguments import text, texts, wait_s
from meshcrdt.mesh.channel import LatticeChannel, MapChannel
from meshcrdt.mesh.credentials import Credentials
from meshcrdt.mesh.facade import IpamFacade, NamesFacade, WorkloadsFacade
from meshcrdt.mesh.freshness import Access, Minority
from meshcrdt.mesh.notices import NoticeBoard, NoticeWatch
from meshcrdt.mesh.requests import Requests
from meshcrdt.mesh.schema import Schema, Values, VersionedValues
from meshcrdt.mesh.statistics import ShellStatistics
from meshcrdt.mesh.watch import WatchHub
from meshcrdt.node.events import Connect, Evict, Force, Forget, Leave
from meshcrdt.trust.token import TOKEN_ADDRESSES_MAX, TOKEN_ID_BYTES, format_token, make_token

if TYPE_CHECKING:
    from meshcrdt.node.explain import KeyStory
    from meshcrdt.node.node import Node
    from meshcrdt.node.statistics import NodeStatistics

L = TypeVar("L", bound=Lattice)

TOKEN_TTL_S = 3_600.0
EVICT_TIMEOUT_S = 10.0
TOKEN_TTL_MAX_S = 100 * 366 * 86_400.0


class Mesh:
    """One node of a mesh, open. Made by `open_mesh`; every read is local and does not wait."""

    def __init__(
        self,
        node: Node,
        *,
        credentials: Credentials,
        requests: Requests,
        hub: WatchHub,
        notices: NoticeBoard,
        listening: tuple[str, ...],
        activity: Callable[[], ShellStatistics],
        check_shell: Callable[[], None],
    ) -> None:
        self.node = node
        self.listening = listening
        """The bound URLs, with real ports."""
        self.ipam = IpamFacade(node, requests)
        self.names = NamesFacade(node, requests)
        self.workloads = WorkloadsFacade(node, requests)
        self._credentials = credentials
        self._requests = requests
        self._hub = hub
        self._notices = notices
        self._activity = activity
        self._check_shell = check_shell
        self._turned = trio.Event()
        self._is_closed = False
        self._schemas: dict[str, Schema] = {}

    # --- who -----------------------------------------------------------------------------

    @property
    def peer(self) -> PeerId:
        """This node's id."""
        return self.node.me

    @property
    def name(self) -> str:
        """This node's name for people."""
        return self.node.config.name

    @property
    def cluster(self) -> str | None:
        """The cluster id, 32 hex digits; None until this node has joined one."""
        core = self.node.core
        return None if core is None else core.genesis.cluster

    @property
    def epoch(self) -> Epoch:
        """This run of this identity: with the peer's id it numbers the dots of types."""
        return self.node.epoch

    @property
    def universes(self) -> tuple[str, ...]:
        """The cluster's address ranges, as CIDR text; none until this node has joined one."""
        core = self.node.core
        return () if core is None else core.genesis.universes

    @property
    def state(self) -> str:
        """ "starting", "ready" or "draining"; the last also when the store has failed.

        A node without a working disk accepts nothing any more, as one that is stopping or
        has stopped.
        """
        has_ended = self._is_closed or self.node.store_failure is not None
        return "draining" if has_ended else self.node.state

    @property
    def store_failure(self) -> str | None:
        """Why the store accepts nothing any more, or None."""
        return self.node.store_failure

    async def ready(self, timeout: float = float("inf")) -> None:
        """Return once the node is ready; raises NotReady when `timeout` seconds have passed."""
        with trio.move_on_after(wait_s(timeout, "timeout")):
            while self.state == "starting":
                await self._turned.wait()
            await trio.lowlevel.checkpoint()
        if self.state != "ready":
            raise NotReady(f"this node is {self.state}: it has not joined a cluster in time")

    async def members(self, *, at_least: int, timeout: float) -> tuple[PeerId, ...]:
        """Return the members that are alive, this node included, once they are `at_least`.

        What is asked of everyone, such as a receipt, is asked of the members that are known
        then. Raises NotReady, saying how many there are, when `timeout` seconds have passed
        or the mesh is closed.
        """
        if type(at_least) is not int or at_least < 1:
            raise UsageError(f"at_least {at_least!r}: 1 or more members can be waited for")
        with trio.move_on_after(wait_s(timeout, "timeout")):
            while len(self._alive()) < at_least and not self._is_closed:
                await self._turned.wait()
            await trio.lowlevel.checkpoint()
        alive = self._alive()
        if self._is_closed:
            raise NotReady("the mesh is closed: it waits for no members any more")
        if len(alive) < at_least:
            raise NotReady(
                f"{len(alive)} members are alive, this node included: "
                f"there were not {at_least} within {timeout:g} s"
            )
        return alive

    def _alive(self) -> tuple[PeerId, ...]:
        return (self.peer, *self.node.alive())

    def status(self) -> NodeStatistics:
        """Return a frozen record of everything a status page shows."""
        return self.node.statistics()

    # --- what ----------------------------------------------------------------------------

    @overload
    def channel(
        self, name: str, *, minority: Minority = ..., schema: Schema | None = ...
    ) -> MapChannel: ...

    @overload
    def channel(  # type: ignore[overload-overlap]  # ORMap comes first, as at run time
        self,
        name: str,
        lattice: type[ORMap],
        *,
        minority: Minority = ...,
        schema: Schema | None = ...,
    ) -> MapChannel: ...

    @overload
    def channel(
        self, name: str, lattice: type[L], *, minority: Minority = ...
    ) -> LatticeChannel[L]: ...

    def channel(
        self,
        name: str,
        lattice: type[Any] = ORMap,
        *,
        minority: Minority = Minority.ALLOW,
        schema: Schema | None = None,
    ) -> MapChannel | LatticeChannel[Any]:
        """Return a handle of a channel; the first write declares its type.

        ORMap, the default, is a map of JSON values, of any size; any other lattice type is
        one shared value (`lattice` gives a nested ORMap as one). Nothing is checked or
        created before the first write. `minority` is what this handle does while half or more
        of the members are out of reach; watches go on in any case. `schema` says which versions
        of the values this program reads, the same for all its handles of a channel.
        """
        if lattice is not ORMap:
            if schema is not None:
                raise UsageError(f"a schema is of ORMap, not of {lattice!r}")
            return self.lattice(name, lattice, minority=minority)
        return MapChannel(
            name,
            requests=self._requests,
            hub=self._hub,
            get=self.node.get,
            items=self.node.items,
            values=self._values(name, schema),
            access=Access(name, self.node, self._requests, minority),
        )

    def _values(self, name: str, schema: Schema | None) -> Values:
        if schema is None:
            return Values()
        known = self._schemas.setdefault(name, schema)
        if known != schema:
            raise UsageError(f"channel {name!r} is open here with {known}, not with {schema}")
        return VersionedValues(name, schema, self.node, self._requests)

    def lattice(
        self, name: str, lattice: type[L], *, minority: Minority = Minority.ALLOW
    ) -> LatticeChannel[L]:
        """Return a handle of one shared value of any lattice type, a nested ORMap too."""
        if not (isinstance(lattice, type) and issubclass(lattice, Lattice)):
            raise UsageError(f"{lattice!r} is not a lattice type")
        return LatticeChannel(
            name,
            lattice,
            requests=self._requests,
            hub=self._hub,
            read=self.node.value,
            access=Access(name, self.node, self._requests, minority),
        )

    def explain(self, channel: str, key: str) -> KeyStory:
        """Return why a key reads as it does here: every held record, and which one wins.

        Values are the stored bytes. A channel of another type than ORMap has all its records
        under the key "\\0". `record.age_s(trio.current_time())` is how long it has been here.
        """
        return self.node.explain(text(channel, "channel"), text(key, "key").encode())

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[NoticeWatch]:
        """Give an async iterator of what operators want to know, the latest first told.

        It ends when the mesh is closed. Raises ClosedError when it is already.
        """
        watch = self._notices.open()
        try:
            yield watch
        finally:
            self._notices.shut(watch)

    # --- commands ------------------------------------------------------------------------

    async def connect(self, addresses: Iterable[str]) -> None:
        """Dial more addresses, now and after every restart."""
        wanted = tuple(parse_peer_address(address) for address in texts(addresses, "peer"))
        await self._requests.ask(lambda request: Connect(request, wanted))

    async def forget(self, peers: Iterable[str]) -> None:
        """Stop dialling addresses, or the peers that an id, unique prefix or name means.

        Raises UsageError for one that is not known.
        """
        unwanted = texts(peers, "peer")
        await self._requests.ask(lambda request: Forget(request, unwanted))

    async def evict(
        self, peer: str, *, force: Force = Force.NO, timeout: float = EVICT_TIMEOUT_S
    ) -> None:
        """Let a member go for good: its names go, what it wrote into shared channels stays.

        `peer` is an id, a unique prefix of 6 or more digits, a name or an address. The
        guardians of the cluster decide; `timeout` is in seconds. A member that comes back
        after all is a member again.

        Raises UsageError when nobody, or more than one, is meant, Declined for a member that
        runs (unless forced) or is gone already, NoMajority when the guardians did not agree
        in time.
        """
        who = text(peer, "peer")
        deadline = trio.current_time() + wait_s(timeout, "timeout")
        await self._requests.ask(lambda request: Evict(request, who, force, deadline))

    async def leave(self) -> None:
        """Say goodbye for good: names and presence go. Leave `open_mesh` after it."""
        await self._requests.ask(Leave)

    def token(self, ttl_s: float = TOKEN_TTL_S, *, uses: int = 1) -> str:
        """Return one line that admits `uses` hosts for `ttl_s` seconds: a secret.

        Raises NotReady before this node has joined a cluster, UsageError for an insecure
        mesh or values out of bounds.
        """
        core = self.node.core
        secret = self._credentials.secret
        if core is None:
            raise NotReady("this node has not joined a cluster yet: it can admit nobody")
        if secret is None:
            raise UsageError("this mesh is insecure: hosts join it without a token")
        if not 0 < wait_s(ttl_s, "ttl_s") <= TOKEN_TTL_MAX_S:
            raise UsageError(
                f"a token cannot live for {ttl_s} s: more than 0 and at most "
                f"{TOKEN_TTL_MAX_S:g} is accepted"
            )
        token = make_token(
            secret,
            token_id=secrets.token_bytes(TOKEN_ID_BYTES),
            uses=uses,
            expiry_s=int(time.time() + ttl_s),
            genesis=core.genesis.hash,
            addresses=self.node.config.advertise[:TOKEN_ADDRESSES_MAX],
        )
        return format_token(token)

    def activity(self) -> ShellStatistics:
        """Return a frozen record of the shell's queues and counts."""
        return self._activity()

    def check(self) -> None:
        """Raise InternalError when an invariant of the node or the shell does not hold."""
        self.node.check()
        self._check_shell()

    # --- for the shell -------------------------------------------------------------------

    def turned(self) -> None:
        """Called by the driver after each turn: wakes who waits for a state."""
        if not self._turned.statistics().tasks_waiting:
            return
        self._turned.set()
        self._turned = trio.Event()

    def ended(self) -> None:
        """Called when no turn will come any more: wakes who waits for one."""
        self._is_closed = True
        self.turned()
