"""What is held about the word of each peer: who says what of whom, and whether it counts.

A peer's last word is the newest epoch that it proved (directory, handshake, advert) with its
incarnation in it. An accusation counts while it is of that very word, and its author is a
member: older words are refuted, and of one that the subject never said nobody can know (a
liar that names the last incarnation there is accuses nobody).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from meshcrdt.base.ids import BOTTOM_EPOCH, Epoch, PeerId
from meshcrdt.errors import InternalError
from meshcrdt.topology.adverts import Accusation, Word
from meshcrdt.topology.directory import MemberRecord, Standing


class Witnesses:
    """The accusations that stand, and the failure domains of those who make them.

    Args:
        members: The directory; the owner changes it and calls `member`.
        advertised: The word in a peer's advert, or None.
    """

    def __init__(
        self,
        *,
        members: Mapping[PeerId, MemberRecord],
        advertised: Callable[[PeerId], Word | None],
    ) -> None:
        self._members = members
        self._advertised = advertised
        self._hellos: dict[PeerId, Epoch] = {}
        self._accused: dict[PeerId, dict[PeerId, Word]] = {}
        self._domains: Counter[str] = Counter()

    # --- facts ---------------------------------------------------------------------------

    def member(self, old: MemberRecord | None, new: MemberRecord | None) -> Iterable[PeerId]:
        """Take in a change of the directory; returns who must be judged anew besides."""
        several = len(self._domains) > 1
        for record, step in ((old, -1), (new, 1)):
            if record is not None and record.standing is Standing.IN:
                self._domains[record.failure_domain] += step
                if not self._domains[record.failure_domain]:
                    del self._domains[record.failure_domain]
        # One accuser of each domain, or any two: what is enough depends on there being several.
        return () if several == (len(self._domains) > 1) else tuple(self._accused)

    def accuser_changed(
        self, accuser: PeerId, old: Iterable[Accusation], new: Iterable[Accusation]
    ) -> set[PeerId]:
        """Take in what a peer accuses others of now, instead of `old`; returns who they are."""
        subjects: set[PeerId] = set()
        for accusation in old:
            against = self._accused.get(accusation.subject)
            if against is not None and against.pop(accuser, None) is not None:
                subjects.add(accusation.subject)
                if not against:
                    del self._accused[accusation.subject]
        for accusation in new:
            if accusation.subject != accuser:
                self._accused.setdefault(accusation.subject, {})[accuser] = accusation.word
                subjects.add(accusation.subject)
        return subjects

    def met(self, peer: PeerId, epoch: Epoch) -> None:
        """Note the epoch that a handshake proved."""
        self._hellos[peer] = max(epoch, self._hellos.get(peer, epoch))

    def forget(self, peer: PeerId) -> None:
        """Forget a handshake: the directory says as much."""
        self._hellos.pop(peer, None)

    # --- what follows from them ----------------------------------------------------------

    def word(self, peer: PeerId) -> Word:
        """Return the newest epoch that a peer proved, and its incarnation in it."""
        record = self._members.get(peer)
        said = self._advertised(peer)
        epoch = max(
            BOTTOM_EPOCH if record is None else record.epoch,
            BOTTOM_EPOCH if said is None else said[0],
            self._hellos.get(peer, BOTTOM_EPOCH),
        )
        return epoch, said[1] if said is not None and said[0] == epoch else 0

    def knows_more(self, peer: PeerId) -> bool:
        """Return whether a handshake proved an epoch that the directory does not show yet."""
        record = self._members.get(peer)
        epoch = self._hellos.get(peer, BOTTOM_EPOCH)
        return epoch > (BOTTOM_EPOCH if record is None else record.epoch)

    def accusers(self, peer: PeerId) -> list[PeerId]:
        """Return the other members whose accusation of a peer's last word stands, sorted."""
        against = self._accused.get(peer)
        if not against:
            return []
        word = self.word(peer)
        return sorted(a for a, said in against.items() if said == word and self._is_in(a))

    def enough(self, accusers: Iterable[PeerId]) -> bool:
        """Return whether so many accuse that it counts: two, of different failure domains."""
        domains = Counter(self.domain(accuser) for accuser in accusers)
        if len(self._domains) > 1:
            return len(domains) > 1
        return domains.total() > 1

    def domain(self, peer: PeerId) -> str:
        """Return the failure domain that a member declares; empty for none."""
        record = self._members.get(peer)
        return "" if record is None else record.failure_domain

    def check(self) -> None:
        """Raise InternalError when a table holds what it should not."""
        if any(not against for against in self._accused.values()):
            raise InternalError("an accused peer has no accuser")
        if any(count <= 0 for count in self._domains.values()):
            raise InternalError("a failure domain is counted without members")

    def _is_in(self, peer: PeerId) -> bool:
        record = self._members.get(peer)
        return record is not None and record.standing is Standing.IN
