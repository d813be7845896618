"""Values as JSON in UTF-8: what is written, and what of that is read, is the same everywhere.

A channel's values come from any program and any peer, so reading is as strict as writing:
what a strict reader of another language would refuse is no value here either (RFC 8259).
"""

from __future__ import annotations

import json
import math
from typing import Any

from meshcrdt.errors import UsageError


def encode_value(value: Any) -> bytes:
    """Return the JSON of a value; raises UsageError for what JSON cannot hold."""
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"a value is not JSON: {error}") from None


def json_value(data: bytes) -> Any:
    """Return the value of JSON bytes; raises UsageError for what `encode_value` never makes.

    Python alone would also take NaN and Infinity, numbers that become infinite (1e999), lone
    surrogates ("\\ud800"), and UTF-16.
    """
    try:
        value = json.loads(
            bytes(data).decode(), parse_constant=_refuse_constant, parse_float=_finite
        )
        if b"\\u" in data:  # no other way leads to a lone surrogate
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from None
    return value


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no value of JSON")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:32]} is beyond what a float holds")
    return value
