"""Moments that may be missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.times import earliest

MOMENTS = st.lists(st.none() | st.floats(allow_nan=False))


@given(MOMENTS)
def test_the_earliest_is_the_least_of_those_that_there_are(moments: list[float | None]) -> None:
    there = [at for at in moments if at is not None]
    assert earliest(*moments) == (min(there) if there else None)
