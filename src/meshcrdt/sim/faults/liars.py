"""Members that lie: their node is sound, and what it says is tampered with on its way out.

An authenticated member can drop, repeat and damage what it sends, forge what it has no key
for, echo, and make up what no version of the protocol knows. Nobody else may lose more than
a link to it. Equivocation needs the liar's key; `tests/property` covers it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from meshcrdt.base.dice import Dice
from meshcrdt.sim.host import Host
from meshcrdt.wire import encode_frame

if TYPE_CHECKING:
    from meshcrdt.sim.world import World

REMEMBERED_MAX = 64
GARBAGE_BYTES_MAX = 300
UNKNOWN_CODES = (10, 31, 47, 79, 200, 65_000)


def begin(world: World) -> None:
    """Let some hosts lie."""
    faults = world.scenario.faults
    number = round(faults.liars * len(world.hosts))
    if faults.liars:
        # The first host knows all newcomers; a cluster with a lying seed only starts more slowly.
        dice = world.dice.fork("liars")
        chosen = dice.sample(world.hosts, max(1, number))
        tongue = Tongue(world, dice.fork("lies"), {host.name for host in chosen})
        world.network.tampers.append(tongue.tamper)
        world.clock.trace("liars", " ".join(sorted(tongue.names)))


class Tongue:
    """Says something else in place of a frame, now and then."""

    def __init__(self, world: World, dice: Dice, names: set[str]) -> None:
        self.names = names
        self._faults = world.scenario.faults
        self._dice = dice
        self._heard: deque[bytes] = deque(maxlen=REMEMBERED_MAX)
        self._lies = (self._drop, self._repeat, self._damage, self._cut, self._old, self._garbage)

    def tamper(self, source: Host, target: Host, link: int, frame: bytes) -> Iterable[bytes]:
        """Return what leaves in place of a frame."""
        if source.name not in self.names:
            if target.name in self.names:
                self._heard.append(frame)
            return (frame,)
        if not self._dice.chance(self._faults.lies):
            return (frame,)
        lie = self._dice.choice((*self._lies, self._unknown))
        return lie(frame)

    def _drop(self, frame: bytes) -> tuple[bytes, ...]:
        return ()

    def _repeat(self, frame: bytes) -> tuple[bytes, ...]:
        return (frame,) * self._dice.integer(2, 5)

    def _damage(self, frame: bytes) -> tuple[bytes, ...]:
        """Change some bytes: a wrong signature, a wrong hash, or nothing that can be read."""
        said = bytearray(frame)
        for _ in range(self._dice.integer(1, 4)):
            said[self._dice.integer(0, len(said) - 1)] ^= 1 << self._dice.integer(0, 7)
        return (bytes(said),)

    def _cut(self, frame: bytes) -> tuple[bytes, ...]:
        return (frame[: self._dice.integer(0, len(frame))],)

    def _old(self, frame: bytes) -> tuple[bytes, ...]:
        """Say again what was once heard from anyone, as if it were one's own."""
        return (frame, self._dice.choice(list(self._heard))) if self._heard else (frame,)

    def _garbage(self, frame: bytes) -> tuple[bytes, ...]:
        return (frame, self._dice.raw(self._dice.integer(0, GARBAGE_BYTES_MAX)))

    def _unknown(self, frame: bytes) -> tuple[bytes, ...]:
        code = self._dice.choice(UNKNOWN_CODES)
        return (frame, encode_frame([(code, self._dice.raw(8), (1, 2))]))
