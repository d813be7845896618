"""Sparse networks for the tests of the broadcast tree, and what their trees look like."""

from __future__ import annotations

from collections import Counter

from gossip_world import World

from meshcrdt.base.dice import Dice
from meshcrdt.gossip import Over, Put
from meshcrdt.gossip.broadcast import RIPE_S
from meshcrdt.gossip.codes import Code
from meshcrdt.gossip.header import StreamKey
from meshcrdt.gossip.tree_messages import Branch
from meshcrdt.wire import decode


def sparse(count: int, *, degree: int = 6, seed: int = 1) -> list[tuple[int, int]]:
    """Return the pairs of a connected graph: a ring and random chords up to a degree."""
    dice = Dice(b"graph/%d" % seed)
    pairs = {(number, number + 1) for number in range(count - 1)} | {(0, count - 1)}
    degrees = Counter(end for pair in pairs for end in pair)
    for _ in range(40 * count):
        one, other = sorted((dice.integer(0, count - 1), dice.integer(0, count - 1)))
        if one != other and max(degrees[one], degrees[other]) < degree:
            if (one, other) not in pairs:
                degrees.update((one, other))
            pairs.add((one, other))
    return sorted(pairs)


def write(world: World, number: int, value: bytes, channel: str = "c") -> Counter[int]:
    """Write at one host and deliver everything; returns how many messages of each code flew."""
    host = world.hosts[number]
    host.write(channel, Put(b"k", value, Over.OWN))
    host.sync_disk()
    return drain(world)


def drain(world: World) -> Counter[int]:
    """Deliver everything; returns how many messages of each code flew (one for all deltas)."""
    codes: Counter[int] = Counter()
    while world.wire:
        code = decode(world.wire[0][2])[0]
        codes[Code.DELTA if code == Code.COMPACT else code] += 1
        world.deliver()
        for host in world.hosts:
            host.sync_disk()
    return codes


def ripen(world: World) -> None:
    """Let the links grow as old as it takes until the next flood goes over each of them."""
    drain(world)
    world.tick(RIPE_S)
    drain(world)


def second(world: World, *, beats: bool = False) -> Counter[int]:
    """Let a second pass, with heartbeats or without; returns what flew."""
    if beats:
        world.beat()
    codes = drain(world)
    world.tick(1.0)
    return codes + drain(world)


def branches(world: World) -> set[tuple[int, int]]:
    """Return the links that are eager at both ends."""
    eager = {
        (host.number, link)
        for host in world.hosts
        if host.replica is not None
        for link, state in host.replica._context.links.items()
        if state.branch is Branch.EAGER
    }
    return {(one, other) for one, other in eager if one < other and (other, one) in eager}


def pieces(world: World) -> int:
    """Return into how many pieces the branches leave the hosts."""
    piece = list(range(len(world.hosts)))
    for one, other in branches(world):
        old, new = piece[one], piece[other]
        piece = [new if each == old else each for each in piece]
    return len(set(piece))


def hops_of(world: World, origin: int, channel: str = "c") -> list[int]:
    """Return how far each host is from an origin along the tree, as its delta says."""
    key = StreamKey(channel, world.hosts[origin].peer)
    streams = (host.running._context.holdings.stream(key) for host in world.hosts)
    return [abs(stream.hops) - 1 for stream in streams if stream is not None]


def tree_of(count: int, *, degree: int = 6, seed: int = 1, writers: int = 1) -> World:
    """Return a sparse world whose tree has formed from floods that crossed."""
    world = World(count, pairs=sparse(count, degree=degree, seed=seed))
    ripen(world)
    for host in world.hosts[:writers]:
        host.write("c", Put(b"k", b"first", Over.OWN))
        host.sync_disk()
    drain(world)
    second(world)
    return world
