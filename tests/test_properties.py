"""A rule about properties: what a busy machine does to the clock is no counterexample."""

import re
from pathlib import Path

from hypothesis import settings

HERE = Path(__file__).parent
OWN_DEADLINE = re.compile(r"settings\([^()]*(\([^()]*\)[^()]*)*\bdeadline=")


def test_no_property_is_judged_by_the_clock() -> None:
    assert settings.default.deadline is None


def test_the_deadline_of_properties_is_said_in_one_place() -> None:
    own = [path.name for path in HERE.rglob("test_*.py") if OWN_DEADLINE.search(path.read_text())]
    assert own == []
