"""The tasks of one running node, how they are wired, and how they end.

Five kinds of task: the driver, the storekeeper, one acceptor per listener, a reader and a
writer per link, and a dial now and then. They talk through one inbox.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from meshcrdt.abc import Instrument, Listener, Store
from meshcrdt.base.dice import Dice
from meshcrdt.errors import ClosedError, MeshError, UsageError
from meshcrdt.ipam.genesis import Genesis, check_universes
from meshcrdt.mesh import standstill
from meshcrdt.mesh.admission import seek_admission
from meshcrdt.mesh.birth import Beginning, Plan
from meshcrdt.mesh.channel import decode_change
from meshcrdt.mesh.credentials import Credentials
from meshcrdt.mesh.driver import INBOX_EVENTS_MAX, Driver
from meshcrdt.mesh.gatekeeper import Gatekeeper
from meshcrdt.mesh.keys import ENTROPY_BYTES, Keyring
from meshcrdt.mesh.mesh import Mesh
from meshcrdt.mesh.notices import NoticeBoard
from meshcrdt.mesh.performer import Performer
from meshcrdt.mesh.recorder import TraceRecorder
from meshcrdt.mesh.requests import Requests
from meshcrdt.mesh.standstill import Standstill
from meshcrdt.mesh.statistics import ShellStatistics
from meshcrdt.mesh.storekeeper import Storekeeper
from meshcrdt.mesh.watch import WatchHub
from meshcrdt.node import durable
from meshcrdt.node.config import NodeConfig
from meshcrdt.node.events import Connect, Drain, Event
from meshcrdt.node.node import Node

FAREWELL_S = 2.0
"""How long closing may take: flush the store, send what is queued, say goodbye."""

log = logging.getLogger("meshcrdt.mesh")


class Shell:
    """One node and everything around it."""

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        tables: durable.Tables,
        *,
        keyring: Keyring,
        plan: Plan,
        listeners: Sequence[Listener],
        instrument: Instrument | None = None,
    ) -> None:
        limits = config.limits
        self._limits = limits
        self._tables = tables
        self._keyring = keyring
        self._plan = plan
        self._listeners = listeners
        self._instrument = instrument
        make = instrument.node if isinstance(instrument, TraceRecorder) else Node
        self.node = make(config, Dice(secrets.token_bytes(ENTROPY_BYTES)))
        self._inbox, self._outlet = trio.open_memory_channel[Event](INBOX_EVENTS_MAX)
        self.credentials = Credentials(config.identity, plan.security, plan.secret)
        self.storekeeper = Storekeeper(store, self._inbox)
        self._scope = trio.CancelScope(shield=True)
        self._started = trio.Event()
        self._gatekeeper: Gatekeeper | None = None
        self._requests = Requests(self._inbox)
        self._notices = NoticeBoard(limits.watch_queue_max)
        self._hub = WatchHub(
            get=self.node.get,
            items=self.node.items,
            decode=decode_change,
            queue_max=limits.watch_queue_max,
            bookmark=self.node.bookmark,
            moved_since=self.node.moved_since,
        )
        self.mesh = Mesh(
            self.node,
            credentials=self.credentials,
            requests=self._requests,
            hub=self._hub,
            notices=self._notices,
            listening=tuple(listener.address for listener in listeners),
            activity=self.statistics,
            check_shell=self.check,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mesh]:
        """Run the node's tasks inside the block, and end them after it.

        Cancelling the block does not reach the tasks: they end after the farewell, so a
        node that is told to stop still writes what it accepted and closes its links. An
        exception of the block, or of a task, comes out as it is and not in a group.
        """
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run)
                try:
                    await self._started.wait()
                    yield self.mesh
                except BaseException as error:
                    failure = error
                    raise
                finally:
                    await self._farewell()
                    self._scope.cancel()
        except BaseExceptionGroup as group:
            raise _the_one(group, failure) from None
        finally:
            self._hub.close()
            self._notices.close()

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._start(nursery)
                    self._started.set()
        finally:
            # Whoever still waits for an answer will get none.
            self._requests.end(ClosedError("the mesh is closed"))
            self._inbox.close()
            self._outlet.close()
            self.mesh.ended()

    def _start(self, nursery: trio.Nursery) -> None:
        gatekeeper = self._gatekeeper = Gatekeeper(
            self.node,
            self.credentials,
            limits=self._limits,
            inbox=self._inbox,
            nursery=nursery,
            genesis=self._genesis,
            pinned=self._plan.pinned,
        )
        performer = Performer(
            pumps=gatekeeper.pumps,
            dial=gatekeeper.dial,
            storekeeper=self.storekeeper,
            requests=self._requests,
            watches=self._hub,
            notices=self._notices,
        )
        driver = Driver(
            self.node,
            self._outlet,
            performer,
            instrument=self._instrument,
            after_turn=self.mesh.turned,
            standstill=Standstill(standstill.suspended_s),
        )
        driver.begin(self.node.load(self._tables, trio.current_time()))
        self._tables = {}
        nursery.start_soon(driver.run)
        nursery.start_soon(self.storekeeper.run)
        nursery.start_soon(self._open_doors, gatekeeper, nursery)
        if self._plan.beginning is Beginning.JOIN and self._plan.universes is not None:
            nursery.start_soon(self._check_ranges)

    async def _open_doors(self, gatekeeper: Gatekeeper, nursery: trio.Nursery) -> None:
        """Accept callers, for a joiner with a token once it has the secret to answer them."""
        plan = self._plan
        if plan.admission is not None:
            self.credentials.secret = await seek_admission(
                plan.admission,
                plan.peers,
                self.credentials,
                hello=self.node.hello(),
                limits=self._limits,
                keep=self._keep_admission,
            )
            await self._requests.ask(lambda request: Connect(request, plan.peers))
        for listener in self._listeners:
            nursery.start_soon(gatekeeper.serve, listener, name=f"listen {listener.address}")

    async def _keep_admission(self, secret: bytes) -> None:
        """Make the secret durable, and before it who to join with it.

        A secret without peers is what a founder leaves that was cut off: a joiner that
        left the same would found another cluster at its next start.
        """
        await self.storekeeper.write([durable.peers_row(self._plan.peers)])
        await self._keyring.keep_secret(secret)

    async def _check_ranges(self) -> None:
        """End a joiner that asked for other ranges than the cluster has; both are named."""
        await self.mesh.ready()
        genesis, asked = self._genesis(), self._plan.universes
        if genesis is not None and asked and check_universes(asked) != genesis.universes:
            raise UsageError(
                f"ranges {', '.join(asked)} are asked for, but cluster {genesis.cluster} has "
                f"{', '.join(genesis.universes)}: a joiner takes the ranges of its cluster"
            )

    def statistics(self) -> ShellStatistics:
        """Return the shell's queues and counts."""
        gatekeeper, queues = self._gatekeeper, self.node.queues.statistics()
        return ShellStatistics(
            inbox_events=self._inbox.statistics().current_buffer_used,
            turns_waiting=self.node.barrier.waiting,
            requests_waiting=len(self._requests),
            store_transactions=self.storekeeper.transactions,
            store_batches=self.storekeeper.batches,
            links=len(gatekeeper.pumps) if gatekeeper else 0,
            link_queued_bytes=queues.waiting_bytes,
            frames_sent=queues.frames,
            messages_sent=queues.messages,
            messages_coalesced=queues.coalesced,
            messages_dropped=queues.dropped,
            half_open=len(gatekeeper.half_open) if gatekeeper else 0,
            half_open_proved=gatekeeper.half_open.proved if gatekeeper else 0,
            half_open_evicted=gatekeeper.half_open.evicted if gatekeeper else 0,
            watchers=self._hub.watchers,
            refused=gatekeeper.refusals.latest() if gatekeeper else (),
        )

    def check(self) -> None:
        """Raise InternalError when an invariant around the node does not hold."""
        self._hub.check()
        if self._gatekeeper is not None:
            self._gatekeeper.check()

    def _genesis(self) -> Genesis | None:
        core = self.node.core
        return None if core is None else core.genesis

    async def _farewell(self) -> None:
        """Let what was accepted reach the disk and the peers; bounded, also when cancelled."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + FAREWELL_S):
            try:
                await self._requests.ask(Drain)
                await self.storekeeper.wait_idle()
                if self._gatekeeper is not None:
                    await self._gatekeeper.close_links("this node is closing")
            except MeshError as error:
                log.debug("the farewell was cut short: %s", error)


class _Closable(Protocol):
    async def aclose(self) -> None: ...


async def shutting(thing: _Closable) -> None:
    """Close something, also while cancelled."""
    with trio.CancelScope(shield=True):
        await thing.aclose()


def _the_one(group: BaseExceptionGroup[BaseException], body: BaseException | None) -> BaseException:
    """Return the exception that matters: that of the block, unless it only met the wreck.

    When a task fails, the block is cancelled, or its call is answered with ClosedError;
    then the failure of the task is what happened. A block may raise a group of its own,
    which is one exception here and stays whole.
    """
    own = [] if body is None else _leaves(body)
    others = [
        each
        for each in _leaves(group)
        if not isinstance(each, trio.Cancelled) and not any(each is leaf for leaf in own)
    ]
    only_met_the_wreck = all(isinstance(each, ClosedError | trio.Cancelled) for each in own)
    if body is None or (others and only_met_the_wreck):
        return others[0] if others else group
    return body


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
