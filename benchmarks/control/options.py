"""Switches of a mesh: each turns one technique off or another way on, so that its gain shows.

A technique without a switch in this version is named in `WITHOUT_SWITCH`; a switch that this
version does not have makes its row say so.
"""

from __future__ import annotations

import inspect
from typing import Any

from attrs import fields_dict

import meshcrdt
from benchmarks.lab.cluster import WorkerFailed

PROBE = "detection=probe"
FULL_MESH = "partial view off"
PLAIN = "sealing off"
FLOOD = "broadcast tree off"
SINGLE = "batches off"
SWITCHES = ("", PROBE, FULL_MESH, PLAIN, FLOOD, SINGLE)
"""The empty one is the product as it comes."""

WITHOUT_SWITCH = (
    "roots in heartbeats instead of messages of their own (without them nothing starts repair)",
    "compact deltas (a node has to understand them from others in any case)",
    "coalescing by link (a link keeps what to say and not what was said: there is no other way)",
    "group commit (one caller beside fifty in row allocate shows it)",
)
"""What no option of the product turns off, and why a switch would be another product."""


def options_of(switch: str, nodes: int) -> dict[str, Any]:
    """Return what the driver of a mesh is given for a switch."""
    if not switch:
        return {}
    if switch == PLAIN:
        return {"plain": True}
    if switch == PROBE and "detection" in inspect.signature(meshcrdt.open_mesh).parameters:
        return {"detection": "probe"}
    if switch == FLOOD:
        return {"spread": "flood"}
    if switch == SINGLE:
        # A frame is full with its first message: each is framed, sealed and written alone.
        return {"limits": {"frame_fill_bytes": 1}}
    if switch == FULL_MESH and "overlay_active_max" in fields_dict(meshcrdt.Limits):
        return {"limits": {"overlay_active_min": nodes, "overlay_active_max": nodes}}
    raise WorkerFailed(f"meshcrdt: this version has no switch {switch!r}")
