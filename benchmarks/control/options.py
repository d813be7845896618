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
SWITCHES = ("", PROBE, FULL_MESH, PLAIN)
"""The empty one is the product as it comes."""

WITHOUT_SWITCH = (
    "broadcast tree instead of flooding",
    "roots in heartbeats instead of messages of their own",
    "compact deltas",
    "coalescing by link and turn",
    "sealing of batches instead of frames",
    "group commit (one caller beside fifty in row allocate shows it)",
)


def options_of(switch: str, nodes: int) -> dict[str, Any]:
    """Return what the driver of a mesh is given for a switch."""
    if not switch:
        return {}
    if switch == PLAIN:
        return {"plain": True}
    if switch == PROBE and "detection" in inspect.signature(meshcrdt.open_mesh).parameters:
        return {"detection": "probe"}
    if switch == FULL_MESH and "overlay_active_max" in fields_dict(meshcrdt.Limits):
        return {"limits": {"overlay_active_min": nodes, "overlay_active_max": nodes}}
    raise WorkerFailed(f"meshcrdt: this version has no switch {switch!r}")
