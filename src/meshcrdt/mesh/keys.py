"""Key material of one node: read at the start, made on the first, kept beside the store.

Entropy comes from the operating system here and nowhere below.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import trio
from attrs import define, evolve, field

from meshcrdt.errors import WrongStore
from meshcrdt.storage.keyfile import KeyMaterial, read_key_file, write_key_file
from meshcrdt.storage.registry import key_path
from meshcrdt.trust.identity import Identity

ENTROPY_BYTES = 64

_remembered: trio.lowlevel.RunVar[dict[str, KeyMaterial]] = trio.lowlevel.RunVar(
    "meshcrdt.mesh.keys"
)


@define
class Keyring:
    """The keys of one node, and where they are kept."""

    url: str
    """Of the store that they belong to."""
    path: Path | None
    """Of the key file; None keeps them in memory, under the store's name."""
    material: KeyMaterial = field(repr=False)
    _kept: KeyMaterial | None = field(default=None, repr=False)
    """What is known to be durable."""
    _writing: trio.Lock = field(factory=trio.Lock, init=False, repr=False)
    """Several addresses may admit a joiner at once, and one file is replaced."""

    @property
    def identity(self) -> Identity:
        """Who this node is."""
        return Identity(self.material.seed)

    @property
    def secret(self) -> bytes | None:
        """The cluster secret, where it is known."""
        return self.material.secret

    async def keep_secret(self, secret: bytes) -> None:
        """Make the cluster secret durable; raises StoreError with nothing changed."""
        material = evolve(self.material, secret=secret)
        await self._keep(material)
        self.material = material

    async def save(self) -> None:
        """Make the material durable, if it is not; raises StoreError."""
        await self._keep(self.material)

    async def _keep(self, material: KeyMaterial) -> None:
        async with self._writing:
            if material == self._kept:
                return
            if self.path is not None:
                await trio.to_thread.run_sync(write_key_file, self.path, material)
            elif _name_in(self.url):
                _memory()[self.url] = material
            self._kept = material


async def open_keyring(store_url: str, *, owner: bytes | None) -> Keyring:
    """Return the keys beside a store; makes, but does not yet keep, an identity for a new one.

    `owner` is the peer id that the store was written by, if any: a store whose keys are
    gone cannot be used by another identity. Raises WrongStore then, or what reading the
    key file raises.
    """
    path = key_path(store_url)
    if path is None:
        material = _memory().get(store_url)
    else:
        material = await trio.to_thread.run_sync(read_key_file, path)
    if material is None:
        if owner is not None:
            raise WrongStore(
                f"store {store_url} belongs to node {owner.hex()}, but its key file "
                f"{path or 'in memory'} is missing: restore it, or start with an empty store"
            )
        material = KeyMaterial(Identity.generate(secrets.token_bytes(ENTROPY_BYTES)).seed)
    # The owner is written after the keys: a store that has one has them on disk for good.
    return Keyring(store_url, path, material, kept=None if owner is None else material)


def _name_in(url: str) -> str:
    return url.partition("://")[2]


def _memory() -> dict[str, KeyMaterial]:
    """Keys of named stores in memory live as long as those: one `trio.run`."""
    try:
        return _remembered.get()
    except LookupError:
        made: dict[str, KeyMaterial] = {}
        _remembered.set(made)
        return made
