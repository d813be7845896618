"""Which bounds of a mesh stand for a switch of a row, where this version has the switch."""

from __future__ import annotations

from typing import Any

from attrs import fields_dict

from benchmarks.lab.cluster import WorkerFailed
from meshcrdt import Limits


def limits_of(detection: str) -> dict[str, Any]:
    """Return the bounds for a way to detect failures: by every link, or one probe a second."""
    if detection == "links":
        return {}
    if "detection" in fields_dict(Limits):
        return {"detection": detection}
    raise WorkerFailed("meshcrdt: this version cannot detect failures by one probe a second")
