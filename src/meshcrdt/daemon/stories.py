"""The contract's object for the story of a key, and what is said where there is none."""

from __future__ import annotations

from typing import Any

import trio

from meshcrdt.base.ids import PeerId
from meshcrdt.daemon import values
from meshcrdt.errors import UsageError
from meshcrdt.mesh.mesh import Mesh
from meshcrdt.mesh.values import json_value
from meshcrdt.node.explain import KeyStory, RecordStory
from meshcrdt.node.views import LATTICE_KEY, MAP_TYPE

WHOLE = LATTICE_KEY.decode()
"""The key under which a channel of another type than a map has all its records."""
NAMED_MAX = 8
"""An error names so many channels; who has more of them knows where to look."""


def story_key(text: str) -> str:
    """Check the key of a story: one of a map, or the one of a value without keys."""
    return text if text == WHOLE else values.key(text)


def story_object(mesh: Mesh, story: KeyStory) -> dict[str, Any]:
    """Return what `why --json` and GET …/explain show."""
    now = trio.current_time()  # the clock that the shell gives to the node
    key = story.key.decode()
    return {
        "channel": story.channel,
        "key": None if key == WHOLE else key,
        "type": story.type_name,
        "records": [_record(mesh, each, now) for each in story.records],
    }


def _record(mesh: Mesh, record: RecordStory, now: float) -> dict[str, Any]:
    return {
        "writer": _peer(mesh, record.origin),
        "epoch": str(record.dot.epoch),
        "seq": record.dot.seq,
        **_value(record),
        "age_s": record.age_s(now),
        "source": _source(mesh, record),
        "from": None if record.from_peer is None else _peer(mesh, record.from_peer),
        "verdict": record.verdict.value,
        "reason": record.reason,
        "superseded_by": [_peer(mesh, each) for each in record.superseded_by],
    }


def _peer(mesh: Mesh, peer: PeerId) -> dict[str, Any]:
    if peer == mesh.peer:
        return {"peer": str(peer), "name": mesh.name}
    member = mesh.node.topology.members().get(peer)
    return {"peer": str(peer), "name": None if member is None else member.name}


def _value(record: RecordStory) -> dict[str, Any]:
    """Return the value as JSON, the bytes of what is none, and nothing of a record without."""
    if record.value is None:
        return {}
    if record.counter is not None:  # of a map: peers write what they like, JSON or not
        try:
            return {"value": json_value(record.value)}
        except UsageError:
            pass
    return {"bytes": record.value.hex()}


def _source(mesh: Mesh, record: RecordStory) -> str:
    if record.from_peer is not None:
        return "neighbour"
    return "own" if record.origin == mesh.peer else "disk"


def why_none(mesh: Mesh, story: KeyStory) -> str:
    """Return one line: why there is nothing to tell, and what could be asked instead."""
    shown, channel = story.key.decode(), story.channel
    known = [name for name in mesh.node.channels() if _is_public(name)]
    if channel not in known:
        listed = ", ".join(map(repr, known[:NAMED_MAX]))
        more = f" and {len(known) - NAMED_MAX} more" if len(known) > NAMED_MAX else ""
        accepted = f"{listed}{more} can be asked about" if known else "no channel is known yet"
        return f"channel {channel!r} is not known here: {accepted}"
    is_map = story.type_name in (None, MAP_TYPE)
    if is_map and shown == WHOLE:
        return f"channel {channel!r} is a map: one of its keys is expected"
    if not is_map and shown != WHOLE:
        return (
            f"key {shown!r}: channel {channel!r} is one {story.type_name} without keys: "
            "no key is accepted (%00 in a path)"
        )
    return (
        f"channel {channel!r} holds no record of key {shown!r}: "
        "keys that somebody wrote, or removed not long ago, are accepted"
        if is_map
        else f"channel {channel!r} holds no record"
    )


def _is_public(name: str) -> bool:
    try:
        values.channel(name)
    except ValueError:
        return False
    return True
