"""The report: JSON with versions, seed, machine, and a verdict for every goal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.lab import meter
from benchmarks.lab.row import Figures


def write(rows: Iterable[Figures], path: str | Path) -> None:
    Path(path).write_text(json.dumps({"machine": meter.machine(), "when": datetime.now(UTC).isoformat(), "rows": [r.tree() for r in rows]}, indent=1))
