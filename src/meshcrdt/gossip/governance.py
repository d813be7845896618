"""What the governance register decides, and what that means for streams.

Most of a cluster's state needs nobody's consent. Two things do, because they forget: a
member that is gone for good is **evicted**, and what was needed to keep its old streams
from coming back is **pruned** once every member knows. One register orders these decisions;
its stamp is what each end of a link tells the other (finding F22).

An evicted member's owned channels die with it. What it wrote into shared channels lives
on: an **adopter** signs its streams from then on, in an epoch far above any of its own, and
every record keeps its dot (finding F19). The member itself, should it come back, goes on
above that epoch, as after any rollback: nobody else can sign there any more.
"""

from __future__ import annotations

from itertools import pairwise

from attrs import evolve, frozen

from meshcrdt.base.ids import PeerId
from meshcrdt.base.tree import INT_MAX, Tree, take_int, take_peer, take_tuple
from meshcrdt.consensus.entries import Entry
from meshcrdt.errors import MalformedTree
from meshcrdt.wire import content_hash, decode, encode

REGISTER = "governance"
FORMAT = 1
EVICTED_MAX = 512
"""Evictions that not every member knows of yet; more wait."""
ADOPTIONS_MAX = 384
"""Grants to sign for departed members whose shared records still live, former ones included."""
EPOCH_LEAP = 1 << 20
"""How far above the epochs of an evicted member its adopter writes."""
FLOOR_MAX = INT_MAX >> 1
"""No floor above, so that whoever comes back still finds room for an epoch above it."""


@frozen
class Evicted:
    """A member that is gone: of its streams only epochs of counter `floor` and above count."""

    peer: PeerId
    floor: int
    stamp: int
    """The decision by which it went."""


@frozen
class Adoption:
    """Who signs the shared streams of a departed member, in the epoch of counter `floor`."""

    origin: PeerId
    adopter: PeerId
    floor: int
    stamp: int

    @property
    def capability(self) -> bytes:
        """What every header names that the adopter signs: the hash of this very grant."""
        return content_hash(self.to_tree())

    @property
    def instance(self) -> bytes:
        """The instance id of the epoch in which the adopter signs."""
        return self.capability[:8]

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        return (bytes(self.origin), bytes(self.adopter), self.floor, self.stamp)


@frozen
class Governance:
    """The value of the register; `NOTHING` before the first decision.

    `evicted` and `adoptions` are sorted by peer. `former` are grants to adopters that went
    themselves: what they signed last counts until their successor has signed it; sorted by
    (origin, floor). `pruned` is the stamp up to which
    evictions are forgotten: who has not heard of that decision may hold streams of members
    that nobody else remembers.
    """

    evicted: tuple[Evicted, ...] = ()
    adoptions: tuple[Adoption, ...] = ()
    pruned: int = 0
    former: tuple[Adoption, ...] = ()

    def eviction(self, peer: PeerId) -> Evicted | None:
        """Return the eviction of a peer that is not pruned yet."""
        return next((each for each in self.evicted if each.peer == peer), None)

    def adoption(self, origin: PeerId) -> Adoption | None:
        """Return who signs for a departed member, if anybody does."""
        return next((each for each in self.adoptions if each.origin == origin), None)

    def grant(self, origin: PeerId, capability: bytes) -> Adoption | None:
        """Return the grant that a header names, in force or of a former adopter."""
        grants = (each for each in (*self.adoptions, *self.former) if each.origin == origin)
        return next((each for each in grants if each.capability == capability), None)

    def to_tree(self) -> Tree:
        """Return the canonical tree."""
        evicted = tuple((bytes(e.peer), e.floor, e.stamp) for e in self.evicted)
        adoptions = tuple(each.to_tree() for each in self.adoptions)
        former = tuple(each.to_tree() for each in self.former)
        return (FORMAT, evicted, adoptions, self.pruned, former)

    @classmethod
    def from_tree(cls, tree: Tree) -> Governance:
        """Read a tree from outside; raises MalformedTree."""
        form, evicted, adoptions, pruned, former = take_tuple(tree, "governance", size=5)
        take_int(form, "governance.format", low=FORMAT, high=FORMAT)
        gone = tuple(_take_evicted(item) for item in take_tuple(evicted, "evicted"))
        kept = tuple(_take_adoption(item) for item in take_tuple(adoptions, "adoptions"))
        past = tuple(_take_adoption(item) for item in take_tuple(former, "former"))
        grants = len(kept) + len(past)
        if len(gone) > EVICTED_MAX or grants > ADOPTIONS_MAX:
            raise MalformedTree(f"{len(gone)} evictions and {grants} adoptions are too many")
        if any(a.peer >= b.peer for a, b in pairwise(gone)):
            raise MalformedTree("governance.evicted is not sorted by peer")
        if any(a.origin >= b.origin for a, b in pairwise(kept)):
            raise MalformedTree("governance.adoptions is not sorted by origin")
        if any((a.origin, a.floor) >= (b.origin, b.floor) for a, b in pairwise(past)):
            raise MalformedTree("governance.former is not sorted by origin and floor")
        return cls(gone, kept, take_int(pruned, "governance.pruned"), past)

    def encode(self) -> bytes:
        """Return the body of the register."""
        return encode(self.to_tree())

    @classmethod
    def decode(cls, body: bytes | None) -> Governance:
        """Read the body of the register, None before the first decision; raises MalformedTree."""
        return NOTHING if body is None else cls.from_tree(decode(body))


NOTHING = Governance()


def _take_evicted(tree: Tree) -> Evicted:
    peer, floor, stamp = take_tuple(tree, "evicted", size=3)
    return Evicted(
        take_peer(peer, "evicted.peer"),
        take_int(floor, "evicted.floor", high=FLOOR_MAX),
        take_int(stamp, "evicted.stamp", low=1),
    )


def _take_adoption(tree: Tree) -> Adoption:
    origin, adopter, floor, stamp = take_tuple(tree, "adoption", size=4)
    return Adoption(
        take_peer(origin, "adoption.origin"),
        take_peer(adopter, "adoption.adopter"),
        take_int(floor, "adoption.floor", high=FLOOR_MAX),
        take_int(stamp, "adoption.stamp", low=1),
    )


# --- decisions: value in, value out, or one line that says why not -------------------------


def evict(
    state: Governance, *, stamp: int, peer: PeerId, epoch_counter: int, adopter: PeerId | None
) -> Governance | str:
    """Return the state without a member; `epoch_counter` is its last known one.

    Args:
        state: The value in force.
        stamp: That of the decision in the making.
        peer: Who goes.
        epoch_counter: The highest epoch counter known of it.
        adopter: Who signs its shared streams from now on; None when it has no such records.
    """
    known = state.eviction(peer)
    if known is not None and epoch_counter < known.floor:
        return f"{peer} is evicted already, by decision {known.stamp}"
    if len(state.evicted) >= EVICTED_MAX and known is None:
        return f"{EVICTED_MAX} evictions are not known to every member yet: bring those back first"
    floor = epoch_counter + EPOCH_LEAP
    before = state.adoption(peer)
    if before is not None:
        floor = max(floor, before.floor + EPOCH_LEAP)
    others = [each for each in state.evicted if each.peer != peer]
    former = [*state.former] if before is None else [*state.former, before]
    adoptions = [each for each in state.adoptions if each.origin != peer]
    if adopter is not None:
        if len(adoptions) >= ADOPTIONS_MAX:
            return f"{ADOPTIONS_MAX} departed members have shared records: delete some first"
        adoptions.append(Adoption(peer, adopter, floor, stamp))
    for each in [each for each in adoptions if each.adopter == peer]:
        # Who goes cannot sign for those that went before it.
        adoptions.remove(each)
        former.append(each)
        if adopter is not None:
            adoptions.append(Adoption(each.origin, adopter, each.floor + EPOCH_LEAP, stamp))
    if max([floor, *(each.floor for each in adoptions)]) > FLOOR_MAX:
        return f"{peer} claims epoch {epoch_counter}: no epoch is left to go on above it"
    return evolve(
        state,
        evicted=tuple(sorted([*others, Evicted(peer, floor, stamp)], key=lambda e: e.peer)),
        adoptions=tuple(sorted(adoptions, key=lambda a: a.origin)),
        former=_still_needed(former, adoptions),
    )


def _still_needed(former: list[Adoption], adoptions: list[Adoption]) -> tuple[Adoption, ...]:
    """Return former grants of origins that somebody signs for, the newest as far as is room."""
    origins = {each.origin for each in adoptions}
    found = [each for each in former if each.origin in origins]
    newest = sorted(found, key=lambda a: (-a.stamp, a.origin))[: ADOPTIONS_MAX - len(adoptions)]
    return tuple(sorted(newest, key=lambda a: (a.origin, a.floor)))


def prune(state: Governance, *, upto: int) -> Governance | str:
    """Return the state without the evictions of decisions up to a stamp that all members know."""
    if upto <= state.pruned:
        return f"everything up to decision {upto} is pruned already"
    kept = tuple(each for each in state.evicted if each.stamp > upto)
    if len(kept) == len(state.evicted):
        return f"no eviction up to decision {upto} is left to prune"
    return evolve(state, evicted=kept, pruned=upto)


def end_adoption(state: Governance, *, origin: PeerId) -> Governance | str:
    """Return the state without an adoption whose records are all gone."""
    kept = tuple(each for each in state.adoptions if each.origin != origin)
    if len(kept) == len(state.adoptions):
        return f"nobody signs for {origin}"
    return evolve(state, adoptions=kept, former=_still_needed([*state.former], [*kept]))


def judge(entry: Entry, before: bytes | None) -> str | None:
    """Return why guardians do not accept an entry of this register, or None. Pure."""
    try:
        old, new = Governance.decode(before), Governance.decode(entry.body)
    except MalformedTree as error:
        return str(error)
    if new.pruned < old.pruned:
        return "what is pruned does not come back"
    forgotten = {each.peer for each in old.evicted} - {each.peer for each in new.evicted}
    for peer in forgotten:
        gone = old.eviction(peer)
        if gone is not None and gone.stamp > new.pruned:
            return f"{peer} is forgotten before decision {gone.stamp} is pruned"
    for adoption in new.adoptions:
        known = old.adoption(adoption.origin)
        if known is not None and adoption != known and adoption.floor <= known.floor:
            return f"a new adopter of {adoption.origin} would write below the old one"
    return None
