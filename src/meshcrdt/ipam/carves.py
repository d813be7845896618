"""The requester's side of a carve: ask, ask again, and give up only on a definite answer.

A request id is used for one order and never again; its row is stored with the first ask, so
a restarted node asks the very same thing again and gets the block that it may have been
given before it fell. Requests under way are fewer than a ledger remembers (rule 2).
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from meshcrdt.base.dice import Dice
from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.base.limits import Limits
from meshcrdt.ipam.durable import CarveRow, carve_key
from meshcrdt.ipam.ledger import REQUESTS_REMEMBERED_MAX
from meshcrdt.ipam.messages import CarveMessage
from meshcrdt.ipam.register import RequestId
from meshcrdt.ranges import Cidr

CARVES_MAX = REQUESTS_REMEMBERED_MAX // 2
"""Requests under way at once."""

_BACKGROUND_RETRY_MAX_S = 15.0


@define(eq=False)
class Carve:
    """One request under way; `waited_on` tells whether a caller waits or it is ahead of need."""

    request: RequestId
    row: CarveRow
    next_try: float
    attempts: int = 0
    waited_on: bool = field(default=False)
    trouble: str = ""
    _put_off_tries: int = field(default=0, init=False)

    @property
    def is_put_off(self) -> bool:
        """Return True when the guardian said, to one of the last two tries, that it is loading.

        Not for ever: one that was loading and then falls silent is out of reach.
        """
        return self._put_off_tries > 0

    def put_off(self) -> None:
        """Note that the guardian is loading; the request goes out again by its own clock."""
        self._put_off_tries = 2

    def sent(self) -> None:
        """Count a try."""
        self.attempts += 1
        self._put_off_tries = max(0, self._put_off_tries - 1)

    @property
    def stored(self) -> tuple[bytes, bytes]:
        """The row that makes a restarted node ask the same again."""
        return carve_key(self.row.epoch, self.row.number), self.row.encode()

    @property
    def message(self) -> CarveMessage:
        """The payload, the same at every try."""
        return CarveMessage(self.request, self.row.within, self.row.size_bits, self.row.exact)


class Carves:
    """All requests of this node that no definite answer has come for."""

    def __init__(self, me: PeerId, epoch: Epoch, limits: Limits, dice: Dice) -> None:
        self._me = me
        self._epoch = epoch
        self._limits = limits
        self._dice = dice
        self._number = 0
        self._open: dict[RequestId, Carve] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Carve]:
        return iter(self._open.values())

    def load(self, row: CarveRow, now: float) -> None:
        """Take up a request of an earlier run; it is asked again at once."""
        request = RequestId(self._me, row.epoch, row.number)
        self._open[request] = Carve(request, row, now)
        if row.epoch == self._epoch:
            self._number = max(self._number, row.number)

    def reepoch(self, epoch: Epoch) -> None:
        """Ask under a later epoch from now on; requests under way keep theirs.

        Their blocks may have been given already, and only the same request finds them again.
        """
        self._epoch = epoch

    def open(self, within: Cidr, size_bits: int, *, exact: Cidr | None, now: float) -> Carve:
        """Begin a request; the caller stores its row in the same step."""
        self._number += 1
        row = CarveRow(self._epoch, self._number, within, size_bits, exact)
        carve = Carve(RequestId(self._me, self._epoch, self._number), row, now)
        self._open[carve.request] = carve
        return carve

    @property
    def is_full(self) -> bool:
        """Return True while no more requests may begin."""
        return len(self._open) >= CARVES_MAX

    def get(self, request: RequestId) -> Carve | None:
        """Return the open request with this id."""
        return self._open.get(request)

    def find(self, within: Cidr, exact: Cidr | None) -> Carve | None:
        """Return the open request that serves a range, or covers one address."""
        for carve in self._open.values():
            if carve.row.within == within and carve.row.exact == exact:
                return carve
        return None

    def settle(self, carve: Carve) -> bytes:
        """End a request after a definite answer; returns the key of its row to delete."""
        del self._open[carve.request]
        return carve_key(carve.row.epoch, carve.row.number)

    def renew(self, carve: Carve, now: float) -> tuple[bytes, Carve]:
        """Ask the same under a new id: the old one is too old for the guardian to answer.

        Returns the key of the row to delete, and the request whose row to store. It goes out
        after a pause only: while this node's epoch is below one that the guardian remembers
        (its store was rolled back), the new id is as stale as the old one.
        """
        forgotten = self.settle(carve)
        row = carve.row
        renewed = self.open(row.within, row.size_bits, exact=row.exact, now=now)
        renewed.attempts, renewed.waited_on = carve.attempts, carve.waited_on
        renewed.next_try = now + self._pause(renewed)
        return forgotten, renewed

    def due(self, now: float) -> list[Carve]:
        """Return the requests to send now, and plan their next try."""
        ready = [carve for carve in self._open.values() if carve.next_try <= now]
        for carve in ready:
            carve.sent()
            carve.next_try = now + self._pause(carve)
        return ready

    def _pause(self, carve: Carve) -> float:
        """Seconds until the same request, with the same id, goes out again."""
        cap = 2 * self._limits.unicast_retry_s if carve.waited_on else _BACKGROUND_RETRY_MAX_S
        base = self._limits.unicast_retry_s * 2.0 ** min(carve.attempts, 8)
        return self._dice.uniform(0.75, 1.25) * min(base, cap)

    def hurry(self, carve: Carve, now: float) -> None:
        """Note that a caller waits: a request that was backing off goes out now."""
        if not carve.waited_on:
            carve.waited_on = True
            if carve.attempts > 1:
                carve.attempts = 1
                carve.next_try = min(carve.next_try, now)

    def nudge(self, now: float) -> None:
        """Send everything again: a peer came into reach."""
        for carve in self._open.values():
            carve.attempts = 0
            carve.next_try = min(carve.next_try, now)

    def next_deadline(self) -> float | None:
        """Return when the next request goes out."""
        return min((carve.next_try for carve in self._open.values()), default=None)
