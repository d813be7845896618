"""Lets property tests import from tests/support, and deepens them all in a soak."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from depth import examples

settings.register_profile("meshcrdt", max_examples=examples(settings.default.max_examples))
settings.load_profile("meshcrdt")
