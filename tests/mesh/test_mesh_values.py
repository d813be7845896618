"""Values are JSON, and are read as strictly as they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.errors import UsageError
from meshcrdt.mesh.channel import decode_value
from meshcrdt.mesh.values import encode_value, json_value
from meshcrdt.mesh.watch import ABSENT

NO_VALUES = [
    b"",
    b"NaN",
    b"[Infinity]",
    b'{"a":-Infinity}',
    b"1e999",
    b"[-1e999]",
    b'"\\ud800"',
    b'{"\\udfff":1}',
    b'["\\ud800\\ud800"]',
    '"wide"'.encode("utf-16"),
    b'\xef\xbb\xbf"marked"',
    b'"\xed\xa0\x80"',
    b"[" * 100_000,
    b"1" * 10_000,
    b"1 2",
]

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("data", NO_VALUES, ids=lambda data: repr(data[:16]))
def test_what_other_readers_of_json_would_refuse_is_no_value(data):
    with pytest.raises(UsageError, match="not JSON"):
        json_value(data)
    assert decode_value(data) is ABSENT


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], "\ud800", {"\udfff": 1}, {1j}])
def test_what_json_cannot_hold_is_not_written(value):
    with pytest.raises(UsageError, match="not JSON"):
        encode_value(value)


def test_escaped_pairs_and_large_numbers_are_values():
    assert json_value(b'"\\ud83d\\ude00"') == "\U0001f600"
    assert json_value(b"1e308") == 1e308
    assert json_value(bytearray(b"[1]")) == [1]


@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert json_value(encode_value(value)) == value
