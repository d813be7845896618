"""Versions of a map channel's values: what a program reads, and what it may write yet.

A value of version 1 is its JSON and nothing else, which is what every value was before there
were versions. A later one has its version before the JSON, in bytes that no JSON begins
with: a program that knows of no versions sees no value there, rather than one that it
misunderstands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from attrs import field, frozen

from meshcrdt.errors import UsageError
from meshcrdt.mesh.requests import Requests
from meshcrdt.mesh.values import encode_value, json_value
from meshcrdt.mesh.watch import ABSENT, Change
from meshcrdt.node.events import Speak
from meshcrdt.node.node import Node
from meshcrdt.node.schemas import UNDECLARED, Agreement, check_reads

STAMP = b"\0"
STAMP_BYTES = 3
"""STAMP and the version, two bytes, the greater one first."""

Convert: TypeAlias = Callable[[Any, int, int], Any]
"""`convert(value, from_version, to_version)` returns a value of the other version."""


def _versions(reads: Iterable[int]) -> tuple[int, ...]:
    try:
        return tuple(reads)
    except TypeError:
        raise UsageError(f"reads is {reads!r}: a list of schema versions is accepted") from None


@frozen
class Schema:
    """Which version of a channel's values a program is written for, and which it also reads.

    `convert` makes a value of one version of a value of another, both ways: what was read of
    an older one is shown as `version`, and what is written goes out as the highest version
    that every member reads. It is called with JSON values and must change none of them.
    """

    version: int
    reads: tuple[int, ...] = field(default=(), converter=_versions)
    convert: Convert | None = field(default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        readable = check_reads((self.version, *self.reads))
        if len(readable) > 1 and self.convert is None:
            listed = ", ".join(map(str, readable))
            raise UsageError(f"a schema that reads the versions {listed} needs convert")
        object.__setattr__(self, "reads", readable)


def stamped(value: Any, version: int) -> bytes:
    """Return the stored bytes of a JSON value of a version."""
    raw = encode_value(value)
    return raw if version == UNDECLARED else STAMP + version.to_bytes(2, "big") + raw


def version_of(raw: bytes) -> tuple[int | None, bytes]:
    """Return the version of stored bytes and their JSON; no version for what is cut off."""
    if not raw.startswith(STAMP):
        return UNDECLARED, raw
    if len(raw) < STAMP_BYTES:
        return None, raw
    return int.from_bytes(raw[1:STAMP_BYTES], "big"), raw[STAMP_BYTES:]


class Values:
    """Values of a channel without a schema: JSON, in and out."""

    async def declare(self) -> None:
        """Do nothing: who has no schema says nothing of it."""

    async def write(self, values: Sequence[Any]) -> list[bytes]:
        """Return the stored bytes of values; raises UsageError for what JSON cannot hold."""
        return [encode_value(value) for value in values]

    def decode(self, raw: bytes | None) -> Any:
        """Return the value of stored bytes, ABSENT when they are none to this program."""
        value, _ = self._read(raw)
        return value

    def why_unreadable(self, raw: bytes) -> str | None:
        """Return why stored bytes are no value to this program, or None when they are one."""
        _, reason = self._read(raw)
        return reason

    def change(self, key: bytes, raw: bytes | None) -> Change | None:
        """Return a change as a watcher sees it; None for a key that is not text."""
        try:
            shown = key.decode()
        except UnicodeDecodeError:
            return None
        return Change(shown, self.decode(raw))

    def _read(self, raw: bytes | None) -> tuple[Any, str | None]:
        if raw is None:
            return ABSENT, None
        version, data = version_of(raw)
        if version is None:
            return ABSENT, "its version is cut off"
        try:
            return self._shown(version, data)
        except UsageError as error:
            return ABSENT, str(error)

    def _shown(self, version: int, data: bytes) -> tuple[Any, str | None]:
        if version != UNDECLARED:
            return ABSENT, f"it is of schema version {version}, and this handle has no schema"
        return json_value(data), None


class VersionedValues(Values):
    """Values of a channel with a schema; says in the directory what this program reads."""

    def __init__(self, channel: str, schema: Schema, node: Node, requests: Requests) -> None:
        self._channel = channel
        self._schema = schema
        self._node = node
        self._requests = requests

    def agreement(self) -> Agreement:
        """Return which version is written now, and who holds it back."""
        return self._node.agreement(self._channel, self._schema.reads)

    async def declare(self) -> None:
        """Let all members know what this program reads."""
        await self._speak(self._schema.reads, 0)

    async def write(self, values: Sequence[Any]) -> list[bytes]:
        """Return the stored bytes of values, all of the version that every member reads.

        A writer says first what it is about to write: after a restart it goes not below that.
        What is no JSON value raises before anything is said.
        """
        for value in values:
            encode_value(value)
        version = self.agreement().version
        await self._speak(self._schema.reads, version)
        return [self._encode(value, version) for value in values]

    async def retire(self) -> None:
        """Say that this member does not use the channel any more."""
        await self._speak((), 0)

    async def _speak(self, reads: tuple[int, ...], writes: int) -> None:
        if not self._node.has_spoken(self._channel, reads, writes):
            await self._requests.ask(lambda request: Speak(request, self._channel, reads, writes))

    def _encode(self, value: Any, version: int) -> bytes:
        """Return the stored bytes of a value, as the version that is given.

        What `convert` raises is raised here: nothing is written yet.
        """
        mine, convert = self._schema.version, self._schema.convert
        if version != mine and convert is not None:
            value = convert(value, mine, version)
        return stamped(value, version)

    def _shown(self, version: int, data: bytes) -> tuple[Any, str | None]:
        mine, convert = self._schema.version, self._schema.convert
        if version not in self._schema.reads:
            listed = ", ".join(map(str, self._schema.reads))
            return ABSENT, f"it is of schema version {version}: this program reads {listed}"
        value = json_value(data)
        if version == mine or convert is None:
            return value, None
        try:
            return convert(value, version, mine), None
        except Exception as error:  # code of a user, on what a peer wrote
            return ABSENT, f"convert raised {type(error).__name__} on version {version}"
