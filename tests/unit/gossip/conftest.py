"""Lets the tests of gossip import their world from tests/support."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "support"))
