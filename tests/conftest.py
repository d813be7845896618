"""How every property is tried, and the way to what tests share in tests/support.

No property is judged by the clock: Hypothesis gives an example 200 ms, and a machine that is
busy for a moment would be a failure of the property (tests/README.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.append(str(Path(__file__).resolve().parent / "support"))

from depth import examples

settings.register_profile(
    "meshcrdt", deadline=None, max_examples=examples(settings.default.max_examples)
)
settings.load_profile("meshcrdt")
