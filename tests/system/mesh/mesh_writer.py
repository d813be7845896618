"""A process that writes as fast as it can, and says on its standard output what was acknowledged.

Started and killed by `test_mesh_killed`. A line goes out only after the call has returned.
"""

import os
import sys

import trio

from meshcrdt.ipam.outcomes import Allocated
from meshcrdt.mesh.mesh import Mesh
from meshcrdt.mesh.open import open_mesh

WRITERS = 4


def acknowledge(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


async def write(mesh: Mesh, run: str, writer: int) -> None:
    channel = mesh.channel(f"written-{writer}")
    number = 0
    while True:
        number += 1
        key = f"{run}.{writer}.{number}"
        await channel.put(key, number)
        acknowledge("put", channel.name, key, str(number))
        if number % 3 == 0:
            outcome = await mesh.ipam.allocate(key)
            if isinstance(outcome, Allocated):
                acknowledge("allocated", key, outcome.address)
        if number % 4 == 0:
            acknowledge("deleting", channel.name, key)
            await channel.delete(key)
            acknowledge("deleted", channel.name, key)


async def main(store: str, run: str) -> None:
    async with open_mesh(name="writer", store=store) as mesh, trio.open_nursery() as nursery:
        for writer in range(WRITERS):
            nursery.start_soon(write, mesh, run, writer)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
